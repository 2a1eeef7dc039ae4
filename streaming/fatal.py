"""The one way out of an error that must not be survived: a clear last line and a non-zero status.

A worker that lives on after a failed delivery or a failed agent would leave a hole; a restarted one does not.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import structlog

FATAL_STATUS = 70
log = structlog.stdlib.get_logger()


def die(reason: str, **where: object) -> NoReturn:
    """Log ``reason`` with where it happened and end the process at once, with status 70."""
    log.critical("fatal", reason=reason, action="process ends, its supervisor restarts it", **where)
    sys.stderr.flush()
    os._exit(FATAL_STATUS)


@contextmanager
def fatal_where_it_fails(what: str, **where: object) -> Iterator[None]:
    """Log any exception as ``what`` and end the process: for places where others would catch it and go on."""
    try:
        yield
    except Exception as error:
        log.exception(what)
        die(what, error=repr(error), **where)
