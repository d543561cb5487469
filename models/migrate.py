"""Bring a database to the present schema, and tell whether it is there."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from models import batches, connectors, events, lanes, messages, queue, receipts, workers, workspaces
from models.base import Base

METADATA = Base.metadata
NOUNS = (
    batches,
    connectors,
    events,
    lanes,
    messages,
    queue,
    receipts,
    workers,
    workspaces,
)  # imported so that METADATA holds their tables


def config(connection: Connection | None = None) -> Config:
    """alembic's configuration, without a file."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


async def upgrade(engine: AsyncEngine) -> None:
    """Run every migration that has not run."""
    async with engine.begin() as connection:
        await connection.run_sync(lambda sync: command.upgrade(config(sync), "head"))


async def is_current(engine: AsyncEngine) -> bool:
    """Every migration has run."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) == newest()


async def differences(engine: AsyncEngine) -> list[object]:
    """What the migrations make, compared with what the tables declare; empty when they agree."""
    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA))


def newest() -> str | None:
    """The last migration there is."""
    return ScriptDirectory.from_config(config()).get_current_head()


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
