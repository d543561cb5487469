"""What alembic runs: on the connection it is handed by `models.migrate`."""

from __future__ import annotations

from alembic import context

from models.migrate import METADATA

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=METADATA, render_as_batch=connection.dialect.name == "sqlite")
with context.begin_transaction():
    context.run_migrations()
