"""How costs grow: with worker processes and partitions, with symbols and intervals."""
