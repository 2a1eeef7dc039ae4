"""``python -m tests.chaos --seed N [--short | --rolling]``."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tests.chaos.rolling import roll
from tests.chaos.run import run


def main() -> int:
    """Run once with the seed given, or one drawn from the time."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=int(time.time()) % 100_000, help="the plan follows from it alone")
    parser.add_argument("--short", action="store_true", help="fewer of everything, under 6 minutes")
    parser.add_argument("--rolling", action="store_true", help="restart every service one by one, and hurt nothing")
    parser.add_argument("--keep", type=Path, help="directory for data and logs, kept")
    options = parser.parse_args()
    if options.rolling:
        return int(bool(roll(options.seed, options.keep).wrong()))
    return run(options.seed, short=options.short, directory=options.keep)


if __name__ == "__main__":
    sys.exit(main())
