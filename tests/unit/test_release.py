"""What a release refuses, what its notes say, and where it puts the version."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from market.release.artifacts import write_checksums
from market.release.history import git, problems
from market.release.notes import image_tags, release_notes
from market.release.versions import found, unreleased, write

ROOT = Path(__file__).parents[2]
CHANGELOG = "# Changelog\n\n## Unreleased\n\n### Added\n- Wings.\n\n## 0.1.0 - 2026-01-01\n- Legs.\n"
SQL = "services/sink/migrations"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small project with one release, 0.1.0."""
    for name in found(ROOT):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / "CHANGELOG.md").write_text("## Unreleased\n\n## 0.1.0 - 2026-01-01\n- Legs.\n")
    (tmp_path / SQL).mkdir(parents=True)
    (tmp_path / SQL / "001_tables.sql").write_text("-- The first tables.\nSELECT 1;\n")
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "config", "user.name", "Test")
    git(tmp_path, "config", "user.email", "test@example.com")
    commit(tmp_path)
    git(tmp_path, "tag", "v0.1.0")
    return tmp_path


def commit(project: Path) -> None:
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Change")


def ready(project: Path) -> None:
    (project / "CHANGELOG.md").write_text(CHANGELOG)
    (project / SQL / "002_more.sql").write_text("\n-- More tables.\nSELECT 2;\n")
    commit(project)


def spoil_tree(project: Path) -> None:
    (project / "stray.txt").write_text("not committed")


def spoil_migration(project: Path) -> None:
    (project / SQL / "001_tables.sql").write_text("-- The first tables, otherwise.\n")
    commit(project)


def spoil_changelog(project: Path) -> None:
    (project / "CHANGELOG.md").write_text("# Changelog\n\n## Unreleased\n\n## 0.1.0\n- Legs.\n")
    commit(project)


def test_a_ready_project_can_be_released(project: Path) -> None:
    ready(project)
    assert problems(project, "0.2.0") == []


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (spoil_tree, "stray.txt"),
        (spoil_migration, "001_tables.sql"),
        (spoil_changelog, "nothing under Unreleased"),
    ],
)
def test_what_stands_in_the_way_is_named(project: Path, spoil: Callable[[Path], None], reason: str) -> None:
    ready(project)
    spoil(project)
    assert len(problems(project, "0.2.0")) == 1
    assert reason in problems(project, "0.2.0")[0]


@pytest.mark.parametrize("version", ["0.1.0", "0.0.9", "1.0", "v1.0.0", "1.0.0rc1", "01.0.0"])
def test_a_version_goes_up_and_has_three_numbers(project: Path, version: str) -> None:
    ready(project)
    assert len(problems(project, version)) == 1


def test_notes_tell_changes_new_migrations_and_images(project: Path) -> None:
    ready(project)
    notes = release_notes(project, "0.2.0")
    assert "- Wings." in notes
    assert "Legs" not in notes
    assert "- `002_more.sql`: More tables." in notes
    assert "001_tables" not in notes
    assert "- `market-pipeline:0.2.0`" in notes


def test_every_migration_is_new_before_the_first_release(project: Path) -> None:
    ready(project)
    git(project, "tag", "--delete", "v0.1.0")
    assert "001_tables.sql" in release_notes(project, "0.1.0")


def test_the_version_is_written_everywhere(project: Path) -> None:
    ready(project)
    write(project, "0.2.0", "2026-02-03")
    assert found(project) == {name: {"0.2.0"} for name in found(ROOT)}
    changelog = (project / "CHANGELOG.md").read_text()
    assert unreleased(changelog) == ""
    assert "## 0.2.0 - 2026-02-03\n\n### Added\n- Wings." in changelog


def test_the_projects_own_files_agree_on_the_version() -> None:
    versions = found(ROOT)
    assert {"pyproject.toml", "deploy/compose/compose.yaml"} <= set(versions)
    assert len(set().union(*versions.values())) == 1, versions


def test_checksums_are_what_sha256sum_reads(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"wheel")
    (tmp_path / "b.tar.gz").write_bytes(b"sdist")
    write_checksums(write_checksums(tmp_path).parent)  # a second run does not sum up the sums
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 0
    assert done.stdout.count(b": OK") == 2


def test_image_tags() -> None:
    assert image_tags("1.22.3") == ["market-pipeline:1.22.3", "market-pipeline:1.22"]
