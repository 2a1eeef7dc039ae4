"""Wheel, sdist, bill of materials and checksums, each made from a clean clone and tried in a clean environment."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from collections.abc import Mapping
from pathlib import Path

from market.release.history import git


class ReleaseError(RuntimeError):
    """A step failed; the message holds the end of what it said."""


def run(*command: str | Path, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """What the command prints.

    Raises:
        ReleaseError: it ended with an error.
    """
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=env, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-20:])
        raise ReleaseError(f"{' '.join(str(part) for part in command)} ended with {done.returncode}:\n{tail}")
    return done.stdout.strip()


def environment(folder: Path, requirements: Path) -> Path:
    """A new virtual environment with what ``requirements`` pins by hash; returns its folder of programs."""
    venv.create(folder, with_pip=True)
    programs = folder / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", "--require-hashes", "-r", requirements)
    return programs


def build(source: Path, out: Path, scratch: Path) -> list[Path]:
    """The sdist of ``source``, and the wheel made from that sdist; the files' times are the last commit's."""
    programs = environment(scratch / "builder", source / "requirements" / "build.txt")
    env = {**os.environ, "SOURCE_DATE_EPOCH": git(source, "log", "-1", "--format=%ct")}
    run(programs / "python", "-m", "build", "--no-isolation", "--outdir", out, source, env=env)
    return sorted(out.glob("market_pipeline-*"))


def try_out(wheel: Path, source: Path, scratch: Path) -> str:
    """Install ``wheel`` where nothing else is but what it needs; returns what ``market --version`` says there."""
    programs = environment(scratch / "clean", source / "requirements" / "runtime.txt")
    run(programs / "python", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(programs / "python", "-m", "pip", "check")
    return run(programs / "market", "--version", cwd=scratch)


def bill_of_materials(source: Path, path: Path) -> None:
    """CycloneDX JSON of what requirements/runtime.txt pins; the same bytes for the same input."""
    run(sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "--of", "JSON", "--pyproject",
        source / "pyproject.toml", "--output-file", path, source / "requirements" / "runtime.txt")  # fmt: skip


def write_checksums(folder: Path) -> Path:
    """SHA256SUMS of every file of ``folder``, for ``sha256sum --check``."""
    path = folder / "SHA256SUMS"
    files = sorted(file for file in folder.iterdir() if file.is_file() and file != path)
    path.write_text("".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files))
    return path


if __name__ == "__main__":  # make sbom
    target = Path(sys.argv[1])
    target.parent.mkdir(parents=True, exist_ok=True)
    bill_of_materials(Path.cwd(), target)
    print(target)
