"""The viewer's workspace."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from typing import Any

from sqlalchemy.exc import IntegrityError

from models import workspaces as rows
from models.workspaces import Organization, Workspace
from resolvers import audit
from resolvers.call import Call
from resolvers.problems import Problem, UserErrorCode

WRITE = "members:write"
LONGEST_NAME = 200
LONGEST_RETENTION = 3_650  # days


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
    """Write what was given. Raises VALIDATION_ERROR for a value out of range, a taken name, or when nothing was given."""
    call.require(WRITE)
    if not settings:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "Give at least one field to change.", ["input"])
    values = dict(settings)
    if "name" in values:
        values["name"] = checked_name(values["name"] or "")
    if values.get("will_active", False) is None:
        raise Problem(UserErrorCode.VALIDATION_ERROR, "willActive cannot be null; leave it out.", ["input", "willActive"])
    _check_retention(values.get("retention_days"))
    try:
        async with call.write() as session:
            before = shown(await rows.lock(session, call.workspace_id))
            changed = await rows.change(session, call.workspace_id, values)
            audit.record(call, session, "workspaceUpdate", changed.id, before, shown(changed))
            return changed
    except IntegrityError:
        raise name_taken() from None


def _check_retention(days: int | None) -> None:
    if days is not None and not 1 <= days <= LONGEST_RETENTION:
        message = f"retentionDays must be from 1 to {LONGEST_RETENTION}, or null to keep messages as they are."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "retentionDays"])


def shown(workspace: Workspace | None) -> dict[str, Any]:
    """A workspace as the audit log knows it."""
    if workspace is None:
        return {}
    return {"name": workspace.name, "willActive": workspace.will_active, "retentionDays": workspace.retention_days}


def name_taken() -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, "Another workspace has this name.", ["input", "name"])


def checked_name(given: str) -> str:
    """The name in its normal form. Raises VALIDATION_ERROR."""
    name = unicodedata.normalize("NFC", given).strip()
    if not 1 <= len(name) <= LONGEST_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        message = f"A workspace's name has 1 to {LONGEST_NAME} characters, none of them a control character."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "name"])
    return name
