"""The health check of a container: ``python -m streaming.probe [URL]`` asks /health and says it with its exit status.

It runs every few seconds beside each service, so it imports next to nothing: an HTTP client costs ten times more.
"""

from __future__ import annotations

import os
import socket
import sys

TIMEOUT_S = 3.0


def probe(url: str) -> str | None:
    """None if ``http://HOST:PORT/PATH`` answers 200, else what is wrong."""
    address, _, path = url.removeprefix("http://").partition("/")
    host, _, port = address.partition(":")
    try:
        with socket.create_connection((host, int(port)), TIMEOUT_S) as connection:
            connection.sendall(f"GET /{path} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            with connection.makefile("rb") as answer:
                status = answer.readline().decode(errors="replace").strip()
                body = answer.read(4_000).decode(errors="replace").rpartition("\r\n\r\n")[2]
    except OSError as error:
        return f"{url} does not answer: {error}"
    return None if status.split()[1:2] == ["200"] else f"{url} answers {status}: {body}"


def main() -> int:
    """Ask the address named first, else /health on METRICS_PORT; 0 is healthy."""
    url = sys.argv[1] if len(sys.argv) > 1 else f"http://127.0.0.1:{os.environ.get('METRICS_PORT', '9100')}/health"
    wrong = probe(url)
    print(wrong or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
