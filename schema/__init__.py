"""What the world sees: the GraphQL schema and what runs it. Knows nothing of HTTP."""
