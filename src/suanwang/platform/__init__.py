"""What the contexts stand on: database, outbox, blob store, signals, settings, telemetry."""
