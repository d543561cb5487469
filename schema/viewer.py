"""Who is asking, and for which workspace."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from models import workspaces as rows
from resolvers import viewer as viewers
from resolvers import whatsapp_lines
from resolvers import workspaces as use_cases
from resolvers.viewer import CredentialKind
from schema.base import THE_INPUT, Node, UserError, answering, no_errors
from schema.context import Info
from schema.whatsapp_lines import WhatsappCloudLine


@strawberry.type(description="Who the workspace belongs to.")
class Organization:
    id: strawberry.ID = strawberry.field(description="Opaque.")
    name: str = strawberry.field(description="Its name.")

    @strawberry.field(description="The WhatsApp line of all its workspaces; needs `members:read` and a session.")
    async def whatsapp_cloud_line(self, info: Info) -> WhatsappCloudLine:
        return await whatsapp_lines.get(info.context.call)  # type: ignore[return-value]


@strawberry.type(description="Everything of a tenant lies in a workspace.")
class Workspace(Node):
    organization_id: strawberry.ID = strawberry.field(description="Whose it is.")
    name: str = strawberry.field(description="Its name; unique.")
    will_active: bool = strawberry.field(description="Its will is active: it must keep at least one connector.")
    retention_days: int | None = strawberry.field(
        description="After so many days messages forget whom they went to and what they said; null keeps them."
    )
    created_at: dt.datetime = strawberry.field(description="When it was made.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.Workspace))


Row = strawberry.Parent[viewers.Viewer]


@strawberry.type(description="The caller.")
class Viewer:
    subject: str = strawberry.field(description="Who the credential was made for.")
    is_platform_admin: bool = strawberry.field(description="May act for the whole platform.")
    credential: CredentialKind = strawberry.field(description="How they proved who they are.")
    expires_at: dt.datetime | None = strawberry.field(description="When the credential ends.")

    @strawberry.field(description="What they may do.")
    def scopes(root: Row) -> list[str]:
        return sorted(root.scopes)

    @strawberry.field(description="The workspace they act in.")
    async def workspace(root: Row, info: Info) -> Workspace:
        return await use_cases.get(info.context.call)  # type: ignore[return-value]

    @strawberry.field(description="The organization it belongs to.")
    async def organization(root: Row, info: Info) -> Organization:
        return await use_cases.organization(info.context.call)  # type: ignore[return-value]


@strawberry.type(description="How often the viewer may do something, and how often still.")
class RateLimit:
    name: str = strawberry.field(description="The field it limits; `requests` limits all root fields together.")
    limit: int = strawberry.field(description="How often in a window.")
    window_seconds: int = strawberry.field(description="How long a window is. It begins with the first use.")
    remaining: int = strawberry.field(description="How often still in this window.")
    reset_at: dt.datetime = strawberry.field(description="When the window ends; without one, when it would.")


@strawberry.type
class ViewerQueries:
    @strawberry.field(description="Every rate limit, as the viewer stands with it.")
    async def rate_limits(self, info: Info) -> list[RateLimit] | None:
        return await info.context.call.rates()  # type: ignore[return-value]

    @strawberry.field(description="Who is asking.")
    def viewer(self, info: Info) -> Viewer | None:
        return info.context.call.viewer  # type: ignore[return-value]


@strawberry.input(description="A change of the viewer's workspace. What is left out stays.")
class WorkspaceUpdateInput:
    name: strawberry.Maybe[str | None] = strawberry.field(default=None, description="A new name.")
    will_active: strawberry.Maybe[bool | None] = strawberry.field(
        default=None, description="With true, the last connector stays."
    )
    retention_days: strawberry.Maybe[int | None] = strawberry.field(
        default=None, description="1 to 3650; null keeps messages as they are."
    )


@strawberry.type(description="What came of `workspaceUpdate`.")
class WorkspaceUpdatePayload:
    workspace: Workspace | None = strawberry.field(default=None, description="The workspace as it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class WorkspaceMutations:
    @strawberry.mutation(description="Change the workspace.")
    @answering(lambda errors: WorkspaceUpdatePayload(user_errors=errors))
    async def workspace_update(
        self, info: Info, input: Annotated[WorkspaceUpdateInput, THE_INPUT]
    ) -> WorkspaceUpdatePayload | None:
        given = {"name": input.name, "will_active": input.will_active, "retention_days": input.retention_days}
        settings = {name: some.value for name, some in given.items() if some is not None}
        return WorkspaceUpdatePayload(workspace=await use_cases.update(info.context.call, settings))  # type: ignore[arg-type]
