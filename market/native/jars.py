"""The broker's jars: fetched once by Maven into the user's cache, whole or not at all."""

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from market.native.process import NativeError

KAFKA_VERSION = "4.3.1"
HERE = Path(__file__).parent
_log = structlog.get_logger(__name__)


def cache_dir() -> Path:
    """Where downloads are kept between runs: MARKET_CACHE, else ~/.cache/market."""
    named = os.environ.get("MARKET_CACHE")
    return Path(named).expanduser().absolute() if named else Path.home() / ".cache" / "market"


def _target() -> Path:
    return cache_dir() / f"kafka-{KAFKA_VERSION}"


def jars_present() -> bool:
    """Whether the broker can start without fetching anything."""
    return _target().is_dir()


@contextmanager
def _locked(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # released by the kernel if we die
        yield


def _fetch(into: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise NativeError("Maven (mvn) is needed once to fetch the Kafka broker and was not found: install it.")
    command = [maven, "-q", "-B", "-f", str(into / "pom.xml"), "dependency:copy-dependencies"]
    command += [f"-DoutputDirectory={into / 'jars'}", "-DincludeScope=runtime"]
    shutil.copy(HERE / "kafka-pom.xml", into / "pom.xml")  # Maven wants a directory it may write to
    _log.info("fetching the Kafka broker", version=KAFKA_VERSION, megabytes=44, into=str(_target()))
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0 or not list((into / "jars").glob("kafka_2.13-*.jar")):
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise NativeError(f"Maven could not fetch Kafka {KAFKA_VERSION} (no network?); its last lines:\n{tail}")


def ensure_jars() -> list[Path]:
    """The broker's jars, fetched first if the cache has none; safe when several processes ask at once.

    Raises NativeError with Maven's last lines if they cannot be fetched.
    """
    target = _target()
    if not target.is_dir():
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(target.parent / f".{target.name}.lock"):
            if not target.is_dir():
                with tempfile.TemporaryDirectory(dir=target.parent, prefix=".kafka-") as temporary:
                    _fetch(Path(temporary))
                    (Path(temporary) / "jars").rename(target)
    return sorted(target.glob("*.jar"))
