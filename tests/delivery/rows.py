"""Rows as they would come from the database, for functions that only look at them."""

from __future__ import annotations

import datetime as dt
from typing import Any

from channels.base import Accepted
from channels.errors import SendError
from channels.exchange import Exchange
from delivery.verdict import Finished, Outcome
from models.connectors import CircuitState, Connector
from models.messages import Message
from models.queue import Claim

AT = dt.datetime(2026, 3, 1, 12, 0, tzinfo=dt.UTC)


def message(**changes: Any) -> Message:
    given = {"id": "msg_1", "flow": "STANDARD", "created_at": AT, "scheduled_at": None, "expires_at": None}
    return Message(**{**given, **changes})


def connector(**changes: Any) -> Connector:
    given = {"id": "con_1", "circuit": CircuitState.CLOSED, "template_ref": "simulator:1"}
    return Connector(**{**given, **changes})


def finished(result: Accepted | SendError, tries: int = 0, on: Connector | None = None, **of: Any) -> Finished:
    """An attempt that ended so, after `tries` others."""
    claim = Claim("msg_1", "wsp_1", "con_1", attempt=tries + 1, tries=tries, fence=tries + 1)
    return Finished(claim, message(**of), on or connector(), Outcome(result, Exchange()))
