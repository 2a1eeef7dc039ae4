"""The as-of join of stock trades with BTC, from trades.stocks to ratios."""
