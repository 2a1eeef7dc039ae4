"""Which TCP ports to listen on: the usual one if it is free, otherwise any free one."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import TextIO

LOOPBACK = "127.0.0.1"
# Below the range from which Linux takes ports for outgoing connections (32768 up), so that no connection of a
# neighbour takes the port between our look and the server's own bind.
_ANY = range(20000, 30000)
_random = random.SystemRandom()  # tests seed the shared generator alike, and would all choose alike
_claims: dict[int, TextIO] = {}


def _bound(port: int, host: str) -> socket.socket | None:
    """A socket bound to the port, or None where somebody listens there already."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # ports in TIME_WAIT count as free, as servers see it
    try:
        sock.bind((host, port))
        sock.listen(1)
    except OSError:
        sock.close()
        return None
    return sock


def _claim(port: int) -> bool:
    """Take the port for this process until it ends; False where another process of this account has.

    Seconds pass between choosing a port and a server's own bind: two runs side by side would both see it free.
    """
    if port in _claims:
        return True
    directory = Path(tempfile.gettempdir()) / f"market-ports-{os.getuid()}"
    directory.mkdir(mode=0o700, exist_ok=True)
    file = (directory / str(port)).open("w")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    _claims[port] = file
    return True


def _taken(port: int, host: str) -> socket.socket | None:
    """A socket bound to a port that is this process's now, or None."""
    sock = _bound(port, host)
    if sock is not None and not _claim(port):
        sock.close()
        return None
    return sock


def choose_ports(*usual: int | None, host: str = LOOPBACK) -> list[int]:
    """One free port for each argument, all different; an argument names the port to prefer, None means any.

    No other process of this account is given them while this one lives. Raises OSError where 200 attempts find
    nothing free.
    """
    chosen: list[int] = []
    with contextlib.ExitStack() as held:
        for preferred in usual:
            tries = ([preferred] if preferred else []) + _random.sample(_ANY, 200)
            sock = next((s for s in (_taken(port, host) for port in tries) if s), None)
            if sock is None:
                raise OSError(f"no free TCP port found on {host}")
            chosen.append(held.enter_context(sock).getsockname()[1])
    return chosen


def choose_port(usual: int | None = None, host: str = LOOPBACK) -> int:
    """The usual port if it is free, otherwise any free one."""
    return choose_ports(usual, host=host)[0]
