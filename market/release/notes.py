"""The notes of a release: what changed, which migrations run, which images belong to it."""

from __future__ import annotations

from pathlib import Path

from market.release.history import last_tag, migrations_since
from market.release.versions import parse, unreleased


def image_tags(version: str) -> list[str]:
    """The image's names: the exact version, and the line of versions that it is the newest of."""
    major, minor, _ = parse(version)
    return [f"market-pipeline:{version}", f"market-pipeline:{major}.{minor}"]


def release_notes(root: Path, version: str) -> str:
    """Markdown, from the changelog and the migrations since the last release."""
    tag = last_tag(root)
    migrations = migrations_since(root, tag).new
    lines = [f"# {version}", "", unreleased((root / "CHANGELOG.md").read_text()), ""]
    lines += ["## Migrations", ""]
    lines += [f"- `{Path(name).name}`: {_first_comment(root / name)}" for name in migrations] or ["None."]
    lines += ["", f"They are all that is new since {tag or 'the beginning'}. The sink runs them at its start, each"]
    lines += ["once; `market db migrate` runs them beforehand. Take a backup first: an older version does not undo"]
    lines += ["them.", ""]
    lines += ["## Images", "", *(f"- `{name}`" for name in image_tags(version)), ""]
    return "\n".join(lines)


def _first_comment(path: Path) -> str:
    first = path.read_text().lstrip().partition("\n")[0]
    return first.removeprefix("--").strip() if first.startswith("--") else "see the file"
