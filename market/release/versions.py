"""Where the version stands, and what a version may be."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_PROJECT: Final = re.compile(r'^(version = ")([^"]+)(")$', re.MULTILINE)
_DEPLOYED: Final = re.compile(
    r"(\$\{MARKET_VERSION:-|name: market-pipeline\n\s+newTag: |market-pipeline:)(\d+\.\d+\.\d+)()"
)
_VERSION: Final = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)")
_UNRELEASED: Final = "## Unreleased\n"


def parse(version: str) -> tuple[int, int, int]:
    """``1.2.3`` as numbers.

    Raises:
        ValueError: it is written otherwise.
    """
    match = _VERSION.fullmatch(version)
    if match is None:
        raise ValueError(f"{version!r} is no version: three numbers are wanted, such as 1.2.3")
    major, minor, patch = map(int, match.groups())
    return major, minor, patch


def places(root: Path) -> dict[Path, re.Pattern[str]]:
    """File -> where in it the version may stand, as the second group: the project's own, and what deploys it."""
    deployed = sorted((root / "deploy").rglob("*.yaml"))
    return {root / "pyproject.toml": _PROJECT, **dict.fromkeys(deployed, _DEPLOYED)}


def found(root: Path) -> dict[str, set[str]]:
    """Each file with a version in it -> the versions that stand there."""
    versions = {
        path: {match[2] for match in place.finditer(path.read_text())} for path, place in places(root).items()
    }
    return {str(path.relative_to(root)): named for path, named in versions.items() if named}


def write(root: Path, version: str, day: str) -> list[str]:
    """Put ``version`` in every place and head the changelog's unreleased entries with it; returns the files."""
    names = list(found(root))
    for path in (root / name for name in names):
        path.write_text(places(root)[path].sub(rf"\g<1>{version}\g<3>", path.read_text()))
    changelog = root / "CHANGELOG.md"
    headed = f"{_UNRELEASED}\n## {version} - {day}\n"
    changelog.write_text(changelog.read_text().replace(_UNRELEASED, headed, 1))
    return [*names, changelog.name]


def unreleased(changelog: str) -> str:
    """What stands under Unreleased, without the heading; empty if nothing does."""
    _, heading, rest = changelog.partition(_UNRELEASED)
    return re.split(r"^## ", rest, maxsplit=1, flags=re.MULTILINE)[0].strip() if heading else ""
