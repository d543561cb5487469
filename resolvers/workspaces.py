"""The viewer's workspace."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError

from models import workspaces as rows
from models.workspaces import Organization, Workspace
from resolvers.call import Call
from resolvers.problems import Problem, UserErrorCode

WRITE = "members:write"
LONGEST_NAME = 200


async def get(call: Call) -> Workspace:
    async with call.read() as session:
        workspace = await rows.get(session, call.workspace_id)
    if workspace is None:
        raise LookupError(f"the viewer's workspace {call.workspace_id} is gone")
    return workspace


async def organization(call: Call) -> Organization:
    async with call.read() as session:
        found = await rows.organization(session, call.viewer.organization_id)
    if found is None:
        raise LookupError(f"the viewer's organization {call.viewer.organization_id} is gone")
    return found


async def update(call: Call, settings: Mapping[str, Any]) -> Workspace:
    """Write what was given. Raises VALIDATION_ERROR for an empty or taken name, or when nothing was given."""
    call.require(WRITE)
    if not settings:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "Give at least one field to change.", ["input"])
    values = dict(settings)
    if "name" in values:
        values["name"] = _name(values["name"] or "")
    if values.get("will_active", False) is None:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "willActive cannot be null; leave it out.", ["input", "willActive"])
    try:
        async with call.write() as session:
            return await rows.change(session, call.workspace_id, values)
    except IntegrityError:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "Another workspace has this name.", ["input", "name"]) from None


def _name(given: str) -> str:
    name = unicodedata.normalize("NFC", given).strip()
    if not 1 <= len(name) <= LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        message = f"A workspace's name has 1 to {LONGEST_NAME} characters, none of them a control character."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "name"])
    return name
