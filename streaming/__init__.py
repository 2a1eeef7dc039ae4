"""What services share: Faust run transport, producer, reader rule, settings, logs, metrics, health."""
