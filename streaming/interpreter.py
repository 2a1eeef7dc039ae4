"""Python's own settings for a process that handles millions of records beside threads that mostly wait."""

from __future__ import annotations

import gc
import sys
from typing import Final

SWITCH_INTERVAL_S: Final = 0.0002
"""After a wait a thread asks a busy one for the interpreter's lock and gets it so much later: by Python's default
after 5 ms, which who writes to a socket would pay for each piece."""
GC_THRESHOLDS: Final = (20_000, 20, 50)
"""Nearly all goes by its count of references; what does not is little, and to look for it at every 700th object, as
Python does by default, took a ninth of the aggregator."""


def tune_for_records() -> None:
    """To be called once, when all that lasts as long as the process has been loaded."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
