"""The files of contracts/ and the table in docs/topics.md: ``python -m market.contracts_cmd write|check|release``.

``write`` makes them anew, ``check`` says what differs, ``release`` makes today's contracts the baseline that later
ones must stay readable beside.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from marketdata.contracts import breaks, documents, topics_table

ROOT: Final = Path(__file__).parents[1]
TABLE_BEGINS: Final = "<!-- topics: made by `make contracts` -->\n"
TABLE_ENDS: Final = "<!-- end of topics -->\n"
REMEDY: Final = "run `make contracts` and look at the difference"


def files(root: Path = ROOT) -> dict[Path, str]:
    """What each generated file must hold, by its path."""
    made = {root / "contracts" / name: text for name, text in documents().items()}
    page = root / "docs" / "topics.md"
    before, _, rest = page.read_text().partition(TABLE_BEGINS)
    made[page] = before + TABLE_BEGINS + topics_table() + TABLE_ENDS + rest.partition(TABLE_ENDS)[2]
    return made


def differences(root: Path = ROOT) -> list[str]:
    """The generated files that are missing, stale or no longer made."""
    wanted = files(root)
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    left = [path for path in (root / "contracts").glob("*.json") if path not in wanted]
    return [f"{path.relative_to(root)} is not what the record types say: {REMEDY}" for path in sorted(stale + left)]


def baseline_breaks(root: Path = ROOT) -> list[str]:
    """What readers of the released contracts could not read of today's."""
    return breaks(_texts(root / "contracts" / "baseline"), documents())


def write(root: Path = ROOT) -> None:
    """Make every generated file anew and delete those of kinds that are gone."""
    wanted = files(root)
    (root / "contracts").mkdir(exist_ok=True)
    for path in (root / "contracts").glob("*.json"):
        if path not in wanted:
            path.unlink()
    for path, text in wanted.items():
        path.write_text(text)


def release(root: Path = ROOT) -> None:
    """Make today's contracts the baseline."""
    baseline = root / "contracts" / "baseline"
    baseline.mkdir(parents=True, exist_ok=True)
    for name, text in documents().items():
        (baseline / name).write_text(text)


def main(action: Annotated[Literal["write", "check", "release"], typer.Argument(help=__doc__)]) -> None:
    """Write the generated contracts, check them, or release them as the new baseline."""
    problems = baseline_breaks()
    if action == "write":
        write()
    elif action == "check":
        problems += differences()
    elif not problems:
        release()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        raise typer.Exit(1)


def _texts(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.glob("*.json")}


if __name__ == "__main__":
    typer.run(main)
