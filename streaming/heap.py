"""Freed memory goes back to the system: by itself glibc keeps what a burst has once taken."""

from __future__ import annotations

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
LARGE_BYTES: Final = 512 * 1024
"""Up to which glibc serves from its heap; once set it no longer grows with what is freed."""
KEPT_BYTES: Final = 8 * 1024 * 1024
"""What may stay at a heap's end: given back at each moment's rest it is asked for again, and each page is a fault."""


def give_back_freed_memory() -> bool:
    """Have large blocks (fetched batches, the tables of dicts) mapped one by one; to be called once, at the start.

    Whether the C library can: musl and others have no such setting. Source: mallopt(3).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = ((M_MMAP_THRESHOLD, LARGE_BYTES), (M_TRIM_THRESHOLD, KEPT_BYTES))
    return all(mallopt(setting, size) == 1 for setting, size in settings)
