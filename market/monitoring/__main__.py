"""``python -m market.monitoring write|check``: docs/metrics.md and the dashboards' files, made from code."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from market.monitoring.boards import BOARDS
from market.monitoring.page import metrics_page
from market.monitoring.panels import rendered

ROOT: Final = Path(__file__).parents[2]
DASHBOARDS: Final = ROOT / "deploy" / "grafana" / "dashboards"


def files() -> dict[Path, str]:
    """What each generated file must hold."""
    made = {ROOT / "docs" / "metrics.md": metrics_page()}
    for board in BOARDS:
        made[DASHBOARDS / f"{board.uid}.json"] = json.dumps(rendered(board), indent=1) + "\n"
    return made


def differences() -> list[str]:
    """The generated files that are missing, stale or no longer made."""
    wanted = files()
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text() != text]
    left = [path for path in DASHBOARDS.glob("*.json") if path not in wanted]
    return [f"{path.relative_to(ROOT)} is not what the code says: run `make monitoring`" for path in [*stale, *left]]


def main(action: Annotated[Literal["write", "check"], typer.Argument()]) -> None:
    """Write the files, or say what differs and fail."""
    if action == "write":
        DASHBOARDS.mkdir(parents=True, exist_ok=True)
        for path in DASHBOARDS.glob("*.json"):
            path.unlink()
        for path, text in files().items():
            path.write_text(text)
    elif found := differences():
        sys.exit("\n".join(found))


if __name__ == "__main__":
    typer.run(main)
