"""On which ports the services of a running stack answer: it takes free ones where the usual are taken."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from market.stack import METRICS_PORTS

FILE: Final = "services.json"


@contextlib.contextmanager
def known(data_dir: Path, ports: Mapping[str, int]) -> Iterator[None]:
    """While this lasts, other commands on ``data_dir`` find these ports."""
    path = data_dir / FILE
    path.write_text(json.dumps(dict(ports)))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def service_ports(data_dir: Path) -> dict[str, int]:
    """Port by service of the stack that runs on ``data_dir``, else the usual ones."""
    try:
        found = json.loads((data_dir / FILE).read_text())
        return {str(name): int(port) for name, port in sorted(found.items(), key=_place)}
    except (OSError, ValueError, AttributeError):
        return dict(METRICS_PORTS)


def _place(item: tuple[str, object]) -> tuple[int, str]:
    """In the order in which trades pass them."""
    order, name = list(METRICS_PORTS), item[0].partition("-")[0]
    return (order.index(name) if name in order else len(order)), item[0]


def read_ports(text: str) -> dict[str, int]:
    """``ingest=9101,ratio=9102`` as port by service.

    Raises:
        ValueError: it is written in another way; the message says what was read.
    """
    ports = {}
    for part in text.split(","):
        name, _, port = part.strip().partition("=")
        if not name or not port.isdigit():
            raise ValueError(f"{part.strip()!r} is not NAME=PORT, such as ingest=9101")
        ports[name] = int(port)
    return ports
