"""Freed memory goes back to the system: by itself glibc keeps what a burst has once taken."""

from __future__ import annotations

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 128 * 1024
"""glibc's own first value, up to which it serves from its heap; once set it no longer grows with what is freed."""


def give_back_freed_memory() -> bool:
    """Have large blocks (fetched batches, the tables of dicts) mapped one by one; to be called once, at the start.

    Whether the C library can: musl and others have no such setting. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (M_MMAP_THRESHOLD, M_TRIM_THRESHOLD)
    return all(mallopt(setting, LARGE_BYTES) == 1 for setting in settings)
