"""Each peer's own environment, made at its first use and kept in the user's cache."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from bench.context import BenchError, say
from market.native import NativeError
from market.native.jars import cache_dir
from market.native.java import find_java

HERE: Final = Path(__file__).resolve().parent
_READY: Final = ".ready"
_Build = Callable[[Path, Path], None]


def command_of(peer: str, program: str) -> list[str]:
    """How to start ``program`` of ``peer``; its environment is made first if it is not there. In Java it has one.

    Raises:
        BenchError: the environment cannot be made.
        NativeError: there is no Java for the peer that needs it.
    """
    source = HERE / peer
    if (source / "pom.xml").exists():
        target = _environment(source, source / "pom.xml", _build_java)
        return [find_java(), "-Xmx1g", "-cp", f"{target / 'target' / 'classes'}:{target / 'jars'}/*", "bench.Candles"]
    target = _environment(source, source / "requirements.txt", _build_python)
    return [str(target / "bin" / "python"), str(source / program)]


def version_of(peer: str, package: str) -> str:
    """The version of ``package`` that ``peer`` is pinned to."""
    requirements = HERE / peer / "requirements.txt"
    if requirements.exists():
        pinned = rf"^{re.escape(package)}==(\S+)"
        text = requirements.read_text(encoding="utf-8")
    else:
        pinned = rf"<artifactId>{re.escape(package)}</artifactId>\s*<version>([^<]+)<"
        text = (HERE / peer / "pom.xml").read_text(encoding="utf-8")
    found = re.search(pinned, text, re.MULTILINE)
    if found is None:
        raise BenchError(f"{peer} does not pin {package}")
    return found[1]


def _environment(source: Path, pinned: Path, build: _Build) -> Path:
    """The folder named after what the environment is made of, so that a change of that makes another."""
    parts = sorted([pinned, *source.rglob("*.java")])
    digest = hashlib.sha256(b"\0".join([sys.version.encode(), *(part.read_bytes() for part in parts)])).hexdigest()
    target = cache_dir() / "peers" / f"{source.name}-{digest[:12]}"
    if not (target / _READY).exists():
        say(f"making the environment of {source.name} in {target}")
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        build(source, target)
        (target / _READY).touch()
    return target


def _build_python(source: Path, target: Path) -> None:
    _run([sys.executable, "-m", "venv", str(target)], source.name)
    pip = [str(target / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--quiet"]
    _run([*pip, "install", "--no-deps", "-r", str(source / "requirements.txt")], source.name)


def _build_java(source: Path, target: Path) -> None:
    """Maven writes beside its project, so it works on a copy."""
    maven = shutil.which("mvn")
    if maven is None or shutil.which("javac") is None:
        raise NativeError(
            f"{source.name} needs Maven (mvn) and a JDK (javac): install them, or leave it out by --only"
        )
    shutil.copytree(source, target, dirs_exist_ok=True)
    goals = ["compile", "dependency:copy-dependencies", f"-DoutputDirectory={target / 'jars'}"]
    _run([maven, "-q", "-B", "-f", str(target / "pom.xml"), *goals, "-DincludeScope=runtime"], source.name)


def _run(command: list[str], name: str) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-15:])
        raise BenchError(f"the environment of {name} cannot be made; the last lines of {command[0]}:\n{tail}")
