"""One package a service."""
