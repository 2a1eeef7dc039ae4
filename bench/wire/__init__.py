"""Ingest against the vendor's own client: who takes more trades a second off the same socket.

A replay server sends one seeded stream, encoded ahead, as fast as its reader takes it.
"""
