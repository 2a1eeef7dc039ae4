"""Job (b) against peers: 15 s candles by symbol to an output topic, ours and theirs on the same input, in turn.

Each peer is a program of its own in a folder here, frozen, with an environment of its own; none of them is imported.
"""
