"""The domain: events, conditions, join, windows. Pure: no socket, file, clock or thread."""
