"""How we speak to a provider: the contract and one file per provider. Knows nothing of the database or of GraphQL."""
