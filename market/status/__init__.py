"""``market status``: every part of a running stack in one table, and whether something is broken."""
