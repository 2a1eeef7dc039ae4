"""``python -m market.release VERSION`` tries a release; with ``--tag`` it is also committed and tagged."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from market.release import artifacts
from market.release.history import git, problems
from market.release.notes import image_tags, release_notes
from market.release.versions import write


def release(
    version: Annotated[str, typer.Argument(help="three numbers, such as 1.2.3")],
    tag: Annotated[
        bool, typer.Option("--tag", help="commit the version and tag it; without it git stays as it is")
    ] = False,
    root: Annotated[Path, typer.Option(help="the project's folder")] = Path(),
) -> None:
    """Build everything a release consists of into dist/VERSION and try it; nothing is sent anywhere."""
    root = root.absolute()
    if wrong := problems(root, version):
        _fail(*wrong)
    out, day = root / "dist" / version, datetime.now(UTC).date().isoformat()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    try:
        with tempfile.TemporaryDirectory(prefix="market-release-") as scratch:
            _make(root, version, day, out, Path(scratch))
    except artifacts.ReleaseError as error:
        _fail(str(error))
    for path in sorted(out.iterdir()):
        typer.echo(f"{path.stat().st_size:>10,}  {path.relative_to(root)}")
    if tag:
        _commit_and_tag(root, version, day)
    _say_next(version, tagged=tag)


def _make(root: Path, version: str, day: str, out: Path, scratch: Path) -> None:
    source = scratch / "source"
    git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(source))
    (out / "NOTES.md").write_text(release_notes(source, version))
    write(source, version, day)
    typer.echo("building the sdist and the wheel")
    wheel = next(path for path in artifacts.build(source, out, scratch) if path.suffix == ".whl")
    typer.echo("installing the wheel into a clean environment")
    said = artifacts.try_out(wheel, source, scratch)
    if said != f"market-pipeline {version}":
        raise artifacts.ReleaseError(f"the installed wheel says {said!r}, not version {version}")
    artifacts.bill_of_materials(source, out / f"market-pipeline-{version}.cdx.json")
    (out / "IMAGES").write_text("".join(f"{name}\n" for name in image_tags(version)))
    artifacts.write_checksums(out)


def _commit_and_tag(root: Path, version: str, day: str) -> None:
    files = write(root, version, day)
    git(root, "commit", "--quiet", "--message", f"Release {version}", "--", *files)
    git(root, "tag", "--annotate", f"v{version}", "--message", f"Release {version}")


def _say_next(version: str, *, tagged: bool) -> None:
    tags = " ".join(f"--tag {name}" for name in image_tags(version))
    if tagged:
        typer.echo(f"tagged v{version}. Next:\n  git push --follow-tags\n  docker build {tags} "
                   f"--build-arg VERSION={version} --build-arg REVISION=$(git rev-parse HEAD) .")  # fmt: skip
    else:
        typer.echo(f"nothing was committed or tagged: make release VERSION={version} TAG=1 does that too")


def _fail(*reasons: str) -> None:
    for reason in reasons:
        typer.echo(f"no release: {reason}", err=True)
    raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(release)
