"""The workspaces of the platform."""

from __future__ import annotations

from typing import Annotated

import strawberry

from resolvers import tenants as use_cases
from resolvers.pages import PageArguments
from schema.base import THE_INPUT, UserError, answering, no_errors
from schema.context import Info
from schema.pages import After, Connection, First
from schema.viewer import Workspace


@strawberry.input(description="A workspace to make.")
class WorkspaceCreateInput:
    name: str = strawberry.field(description="Its name; trimmed, unique on the platform, at most 200 characters.")
    organization_id: strawberry.ID | None = strawberry.field(
        default=None, description="Whose it is. Left out, it gets an organization of its own, of the same name."
    )


@strawberry.type(description="What came of `workspaceCreate`.")
class WorkspaceCreatePayload:
    workspace: Workspace | None = strawberry.field(default=None, description="The workspace.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class TenantQueries:
    @strawberry.field(description="The viewer's workspace; an administrator of the platform may name any other one.")
    async def workspace(
        self,
        info: Info,
        id: Annotated[strawberry.ID | None, strawberry.argument(description="Its id; the viewer's when left out.")] = None,
    ) -> Workspace | None:
        return await use_cases.get(info.context.call, id)  # type: ignore[return-value]

    @strawberry.field(description="Every workspace, newest first. For administrators of the platform.")
    async def workspaces(self, info: Info, first: First = None, after: After = None) -> Connection[Workspace] | None:
        return Connection(content=await use_cases.page(info.context.call, PageArguments(first=first, after=after)))


@strawberry.type
class TenantMutations:
    @strawberry.mutation(description="Make a workspace. For administrators of the platform.")
    @answering(lambda errors: WorkspaceCreatePayload(user_errors=errors))
    async def workspace_create(
        self, info: Info, input: Annotated[WorkspaceCreateInput, THE_INPUT]
    ) -> WorkspaceCreatePayload | None:
        made = await use_cases.create(info.context.call, input.name, input.organization_id)
        return WorkspaceCreatePayload(workspace=made)  # type: ignore[arg-type]
