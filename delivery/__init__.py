"""What we do afterwards: checking connectors, sending queued messages, taking receipts. Holds no SQL and no GraphQL."""
