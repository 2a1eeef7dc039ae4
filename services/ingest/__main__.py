"""Starts ingest: ``python -m services.ingest``."""

from __future__ import annotations

from services.ingest.main import main

main()
