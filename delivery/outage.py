"""A database that is away, told of once."""

from __future__ import annotations

import structlog

from models.database import is_passing

log = structlog.get_logger()


class Outage:
    """What the errors of a loop that goes on regardless say about the database."""

    def __init__(self) -> None:
        self._lasts = False

    def met(self, error: Exception, event: str, **told: str | int) -> None:
        """Log a database that is away the first time, and everything else, which is our own fault, each time."""
        if not is_passing(error):
            log.exception(event, **told)
        elif not self._lasts:
            log.error("database_unavailable", error=type(error).__name__, reason=str(getattr(error, "orig", error))[:200])
            self._lasts = True

    def over(self) -> None:
        """The database has answered."""
        if self._lasts:
            log.info("database_available")
        self._lasts = False
