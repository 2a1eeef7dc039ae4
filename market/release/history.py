"""What git knows about a release: is the tree clean, what was released before, which migrations are new."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from market.release.versions import parse, unreleased

MIGRATIONS: Final = "services/sink/migrations"


def git(root: Path, *arguments: str) -> str:
    """What git prints.

    Raises:
        subprocess.CalledProcessError: git ended with an error.
    """
    done = subprocess.run(["git", "-C", str(root), *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@dataclass(frozen=True, slots=True)
class Migrations:
    """SQL files since the last release: new ones, and ones that were released and are other now."""

    new: list[str]
    changed: list[str]


def last_tag(root: Path) -> str | None:
    """The tag (``v1.2.3``) of the highest version released so far."""
    tags = [tag for tag in git(root, "tag", "--list", "v*").splitlines() if _is_version(tag[1:])]
    return max(tags, key=lambda tag: parse(tag[1:]), default=None)


def migrations_since(root: Path, tag: str | None) -> Migrations:
    """SQL files that the release adds; all of them if there was none before."""
    if tag is None:
        return Migrations(git(root, "ls-files", f"{MIGRATIONS}/*.sql").splitlines(), [])
    lines = git(root, "diff", "--no-renames", "--name-status", tag, "HEAD", "--", MIGRATIONS).splitlines()
    changes = [line.split("\t") for line in lines if line.endswith(".sql")]
    new = [name for kind, name in changes if kind == "A"]
    return Migrations(new, [name for kind, name in changes if kind != "A"])


def problems(root: Path, version: str) -> list[str]:
    """Why ``version`` cannot be released from this tree; empty if it can."""
    if not _is_version(version):
        return [f"{version!r} is no version: three numbers are wanted, such as 1.2.3"]
    wrong = []
    if changes := git(root, "status", "--porcelain"):
        wrong.append(f"the tree is not clean:\n{changes}")
    tag = last_tag(root)
    if tag is not None and parse(version) <= parse(tag[1:]):
        wrong.append(f"{version} does not follow {tag}, the last release")
    if changed := migrations_since(root, tag).changed:
        wrong.append(f"released migrations are other now, and databases would refuse them: {', '.join(changed)}")
    if not unreleased((root / "CHANGELOG.md").read_text()):
        wrong.append("CHANGELOG.md has nothing under Unreleased")
    return wrong


def _is_version(text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
