"""Trades in: the feed or recorded files to trades.stocks and trades.crypto."""
