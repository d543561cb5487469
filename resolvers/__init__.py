"""What we do when asked: use cases in plain Python. Knows nothing of GraphQL or HTTP."""
