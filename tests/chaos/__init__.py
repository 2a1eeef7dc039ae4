"""Chaos: services, broker, database and feed are hurt at random, and what is left is held against the truth."""
