"""One command makes a release: ``python -m market.release VERSION`` (docs/deployment.md)."""
