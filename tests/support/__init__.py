"""What tests of running services share: logs to read, workers to hurt, topics to compare."""
