"""Candles of all intervals from ratios and trades.crypto."""
