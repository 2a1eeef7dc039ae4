"""The tools that native processes need: Java, Maven, a PostgreSQL; what is missing is named in one line each."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from market.native.jars import jars_present
from market.native.pgbin import find_binaries
from market.native.process import NativeError

LEAST_JAVA = 17
_NO_JAVA = (
    f"Java {LEAST_JAVA} or newer is needed for the Kafka broker and {{found}}: install a JRE "
    "(Debian, Ubuntu: apt-get install openjdk-17-jre-headless; macOS: brew install openjdk) or set JAVA_HOME."
)
_NO_MAVEN = (
    "Maven (mvn) is needed once to fetch the Kafka broker and was not found: install it "
    "(Debian, Ubuntu: apt-get install maven; macOS: brew install maven)."
)


def _java_version(java: str) -> int | None:
    """The feature release (17, 21); None if it cannot be run or its answer cannot be read."""
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', answer.stderr + answer.stdout)
    return int(found[1]) if found else None


def find_java() -> str:
    """The java program: JAVA_HOME's, else the one on PATH. Raises NativeError, in one line, if there is none fit."""
    home = os.environ.get("JAVA_HOME")
    candidates = [str(Path(home) / "bin" / "java")] if home else []
    on_path = shutil.which("java")
    candidates += [on_path] if on_path else []
    versions = {java: _java_version(java) for java in candidates}
    for java, version in versions.items():
        if version is not None and version >= LEAST_JAVA:
            return java
    seen = ", ".join(f"{java} is {version or 'not runnable'}" for java, version in versions.items())
    raise NativeError(_NO_JAVA.format(found=f"only this was found ({seen})" if seen else "was not found"))


def check_tools() -> list[str]:
    """One clear line for each tool the native processes lack on this machine; empty if all is there."""
    missing = []
    try:
        find_java()
    except NativeError as error:
        missing.append(str(error))
    if not jars_present() and shutil.which("mvn") is None:
        missing.append(_NO_MAVEN)
    try:
        find_binaries()
    except NativeError as error:
        missing.append(str(error))
    return missing
