"""The health check of a container: ``python -m streaming.probe [URL]`` asks /health and says it with its exit status.

Only the standard library is imported, so that a probe costs little.
"""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 3.0


def probe(url: str) -> str | None:
    """None if ``url`` answers 200, else what is wrong."""
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S):  # noqa: S310 - our own address
            return None
    except urllib.error.HTTPError as error:
        return f"{url} answers {error.code}: {error.read(2_000).decode(errors='replace')}"
    except OSError as error:
        return f"{url} does not answer: {error}"


def main() -> int:
    """Ask the address named first, else /health on METRICS_PORT; 0 is healthy."""
    url = sys.argv[1] if len(sys.argv) > 1 else f"http://127.0.0.1:{os.environ.get('METRICS_PORT', '9100')}/health"
    wrong = probe(url)
    print(wrong or "ok")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
