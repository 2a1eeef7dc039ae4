"""`python -m feed`."""

from feed.cli import app

app()
