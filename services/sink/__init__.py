"""Rows and position in one transaction, from the topics to the database."""
