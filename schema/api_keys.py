"""Keys for programs."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry

from models import api_keys as rows
from resolvers import api_keys as use_cases
from resolvers.pages import PageArguments
from schema.base import THE_INPUT, Node, UserError, answering, no_errors
from schema.context import Info
from schema.pages import After, Connection, First

Row = strawberry.Parent[rows.ApiKey]


@strawberry.type(description="A key for a program. Its text is shown once, when it is made.")
class ApiKey(Node):
    name: str = strawberry.field(description="What it is for.")
    prefix: str = strawberry.field(description="How its text begins, to be recognised by; no secret.")
    created_by: str = strawberry.field(description="Who made it: the subject of their session.")
    expires_at: dt.datetime | None = strawberry.field(description="When it ends by itself.")
    last_used_at: dt.datetime | None = strawberry.field(description="When it was last used, to the minute.")
    revoked_at: dt.datetime | None = strawberry.field(description="When it was revoked.")
    created_at: dt.datetime = strawberry.field(description="When it was made.")

    @classmethod
    def is_type_of(cls, value: object, _info: object) -> bool:
        return isinstance(value, (cls, rows.ApiKey))

    @strawberry.field(description="What it opens.")
    def scopes(root: Row) -> list[str]:
        return root.scopes.split()


@strawberry.input(description="A key to make.")
class ApiKeyCreateInput:
    name: str = strawberry.field(description="What it is for; trimmed, at most 200 characters.")
    scopes: list[str] = strawberry.field(description="What it opens: at least one scope, none that you do not have yourself.")
    expires_at: dt.datetime | None = strawberry.field(default=None, description="When it ends by itself; null is never.")


@strawberry.input(description="A key to end.")
class ApiKeyRevokeInput:
    id: strawberry.ID = strawberry.field(description="The key.")


@strawberry.type(description="What came of `apiKeyCreate`.")
class ApiKeyCreatePayload:
    api_key: ApiKey | None = strawberry.field(default=None, description="The key.")
    key: str | None = strawberry.field(default=None, description="Its text. Keep it: it is never shown again.")
    user_errors: list[UserError] = no_errors()


@strawberry.type(description="What came of `apiKeyRevoke`.")
class ApiKeyRevokePayload:
    api_key: ApiKey | None = strawberry.field(default=None, description="The key as it is now.")
    user_errors: list[UserError] = no_errors()


@strawberry.type
class ApiKeyQueries:
    @strawberry.field(
        description="The workspace's keys, newest first, those that have ended included. Needs the token of a session."
    )
    async def api_keys(self, info: Info, first: First = None, after: After = None) -> Connection[ApiKey] | None:
        arguments = PageArguments(first=first, after=after)
        return Connection(content=await use_cases.page(info.context.call, arguments))


@strawberry.type
class ApiKeyMutations:
    @strawberry.mutation(description="Make a key; its text is shown once. Needs the token of a session.")
    @answering(lambda errors: ApiKeyCreatePayload(user_errors=errors))
    async def api_key_create(self, info: Info, input: Annotated[ApiKeyCreateInput, THE_INPUT]) -> ApiKeyCreatePayload | None:
        key, text = await use_cases.create(info.context.call, input.name, input.scopes, input.expires_at)
        return ApiKeyCreatePayload(api_key=key, key=text)  # type: ignore[arg-type]

    @strawberry.mutation(
        description="End a key: it opens nothing any more, and sockets opened with it close within a second. "
        "Revoking one again changes nothing. Needs the token of a session."
    )
    @answering(lambda errors: ApiKeyRevokePayload(user_errors=errors))
    async def api_key_revoke(self, info: Info, input: Annotated[ApiKeyRevokeInput, THE_INPUT]) -> ApiKeyRevokePayload | None:
        return ApiKeyRevokePayload(api_key=await use_cases.revoke(info.context.call, input.id))  # type: ignore[arg-type]
