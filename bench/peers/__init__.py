"""Jobs (b), candles, and (c), the join, against peers: ours and theirs on the same input, in turn.

Each peer is a program of its own in a folder here, frozen, with an environment of its own; none of them is imported.
"""
