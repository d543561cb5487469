"""Bring a database to the present schema, and tell whether it is there.

alembic is imported where it works: ten megabytes and a tenth of a second that a process whose database is current does without.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, column, inspect, select, table
from sqlalchemy.ext.asyncio import AsyncEngine

import models
from models.base import Base

if TYPE_CHECKING:
    from alembic.config import Config

for _noun in pkgutil.iter_modules(models.__path__, "models."):
    import_module(_noun.name)  # so that METADATA holds its tables
METADATA = Base.metadata
MIGRATIONS = Path(__file__).parent / "migrations"
_VERSION = table("alembic_version", column("version_num"))


class StrangeDatabaseError(Exception):
    """Another version of Patchbay migrated this database."""


def config(connection: Connection | None = None) -> Config:
    """alembic's configuration, without a file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(MIGRATIONS))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


async def upgrade(engine: AsyncEngine) -> None:
    """Run every migration that has not run. Raises StrangeDatabaseError."""
    from alembic import command
    from alembic.util import CommandError

    async with engine.begin() as connection:
        try:
            await connection.run_sync(lambda sync: command.upgrade(config(sync), "head"))
        except CommandError as error:
            raise StrangeDatabaseError(str(error)) from error


async def is_current(engine: AsyncEngine) -> bool:
    """Every migration has run."""
    async with engine.connect() as connection:
        return await connection.run_sync(_revision) == newest()


async def differences(engine: AsyncEngine) -> list[object]:
    """What the migrations make, compared with what the tables declare; empty when they agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.runtime.migration import MigrationContext

    async with engine.connect() as connection:
        return await connection.run_sync(lambda sync: compare_metadata(MigrationContext.configure(sync), METADATA))


def newest() -> str:
    """The last migration there is: their files begin with their numbers."""
    return max(path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("[0-9]*_*.py"))


def _revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found: str | None = connection.scalar(select(_VERSION.c.version_num))
    return found
