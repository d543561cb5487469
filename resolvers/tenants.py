"""Workspaces across the platform: made and listed by its administrators, each seen by those who work in it."""

from __future__ import annotations

from sqlalchemy.exc import IntegrityError

from models import workspaces as rows
from models.workspaces import Workspace
from resolvers import audit
from resolvers.call import Call
from resolvers.pages import Page, PageArguments, cut
from resolvers.problems import Problem, UserErrorCode
from resolvers.workspaces import checked_name, name_taken, shown


async def get(call: Call, workspace_id: str | None) -> Workspace | None:
    """The viewer's workspace, or for an administrator any other one."""
    wanted = workspace_id or call.workspace_id
    if wanted != call.workspace_id and not call.viewer.is_platform_admin:
        return None
    async with call.read() as session:
        return await rows.get(session, wanted)


async def page(call: Call, arguments: PageArguments) -> Page[Workspace]:
    """Every workspace of the platform, newest first."""
    call.require_admin()
    window = arguments.window(call.means.cursors, "workspaces")
    async with call.read() as session:
        found = await rows.page(session, window)

    async def total() -> int:
        async with call.read() as session:
            return await rows.count(session)

    return cut(found, window, arguments, lambda row: call.means.cursors.seal("workspaces", (row.id,)), total)


async def create(call: Call, name: str, organization_id: str | None) -> Workspace:
    """A workspace, in a new organization of the same name unless one is given. Raises VALIDATION_ERROR."""
    call.require_admin()
    name = checked_name(name)
    try:
        async with call.write() as session:
            if organization_id is not None and await rows.organization(session, organization_id) is None:
                message = "There is no such organization."
                raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "organizationId"])
            made = await rows.create(session, name, organization_id)
            audit.record(call, session, "workspaceCreate", made.id, after=shown(made), workspace_id=made.id)
            return made
    except IntegrityError:
        raise name_taken() from None
