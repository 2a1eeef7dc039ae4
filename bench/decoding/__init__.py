"""Job (a): records a second of taking a topic's records and decoding them, by the product's reader and by others."""
