"""A bundled Polygon-compatible feed: market model, recordings, WebSocket and REST."""
