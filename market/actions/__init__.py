"""``market actions``: splits and changes of symbol, from REST into a file and from there into the database."""
