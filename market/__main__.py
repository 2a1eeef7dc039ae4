"""``python -m market`` is the command ``market``."""

from market.cli import main

main()
