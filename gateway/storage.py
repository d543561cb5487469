"""The database as a process finds it: held, opened, migrated. Apart from the server, so that short commands start quickly."""

from __future__ import annotations

import fcntl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import structlog
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from gateway.settings import Settings, SettingsError, variable
from models import migrate, workspaces
from models.database import Database
from models.workspaces import Workspace

log = structlog.get_logger()


@contextmanager
def only_process(settings: Settings) -> Iterator[None]:
    """Hold the SQLite database for this process. Raises SettingsError when another one has it."""
    path = settings.database_file
    if path is None:
        yield
        return
    with open_database(settings):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = Path(f"{path}.lock").open("a")
    with lock as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SettingsError(f"{path} is in use by another Patchbay; SQLite serves one process at a time.") from None
        yield


@contextmanager
def open_database(settings: Settings) -> Iterator[None]:
    """Turn what keeps a database from being used into a SettingsError."""
    try:
        yield
    except migrate.StrangeDatabaseError:
        reason = f"another version of Patchbay migrated it; this one ends at migration {migrate.newest()}"
    except DBAPIError as error:
        reason = str(error.orig).partition("\n")[0]
    except OSError as error:
        reason = error.strerror or type(error).__name__
    else:
        return
    url = make_url(settings.database_url)
    place = settings.database_file or f"{url.host or 'localhost'}/{url.database}"
    raise SettingsError(f"{variable('database_url')}: {place} cannot be used ({reason}).")


@asynccontextmanager
async def current_database(settings: Settings) -> AsyncIterator[Database]:
    """The database with every migration: run here on SQLite, while PostgreSQL must have been migrated."""
    database = Database(settings.database_url)
    try:
        with open_database(settings):
            if not await migrate.is_current(database.engine):
                if not database.is_sqlite:
                    raise SettingsError("The database is not up to date; run `patchbay migrate` first.")
                await migrate.upgrade(database.engine)
                log.info("migrated", migration=migrate.newest())
        yield database
    finally:
        await database.close()


async def prepare(settings: Settings, demo: str) -> Workspace:
    """Bring the database up to date, and give an empty one its first workspace."""
    async with current_database(settings) as database, database.write() as session:
        return await workspaces.first_or_create(session, demo)
