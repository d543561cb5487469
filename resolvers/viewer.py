"""Who is asking."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import StrEnum

from channels.base import ChannelType
from resolvers.problems import Problem, RequestErrorCode

SCOPES: tuple[str, ...] = (
    "*",
    "connectors:*",
    "connectors:read",
    "connectors:write",
    "members:read",
    "members:write",
    "send:*",
    *(f"send:{channel.lower()}" for channel in ChannelType),
    "read:*",
    *(f"read:{channel.lower()}" for channel in ChannelType),
)


class CredentialKind(StrEnum):
    SESSION = "SESSION"
    API_KEY = "API_KEY"


@dataclass(frozen=True, slots=True)
class Viewer:
    """An authenticated caller, bound to one workspace.

    A scope is `area:verb` (`connectors:write`) or `verb:channel` (`send:sms`); `*` and a trailing `*` (`send:*`) widen it.
    """

    subject: str
    workspace_id: str
    organization_id: str
    scopes: frozenset[str]
    is_platform_admin: bool = False
    credential: CredentialKind = CredentialKind.SESSION
    expires_at: dt.datetime | None = None

    def has(self, scope: str) -> bool:
        verb, _, _ = scope.partition(":")
        return not self.scopes.isdisjoint((scope, f"{verb}:*", "*"))

    def require(self, scope: str) -> None:
        """Raise FORBIDDEN, naming the scope, unless the viewer has it."""
        if not self.has(scope):
            raise Problem(RequestErrorCode.FORBIDDEN, f"This needs the scope {scope}.", requiredScope=scope)
