"""Who is asking."""

from __future__ import annotations

import datetime as dt
from collections.abc import Hashable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from channels.base import ChannelType
from resolvers.problems import Problem, RequestErrorCode

_KEPT = 4_096  # answers; each credential has the same scopes all its life

ADMIN = "admin:platform"  # not a scope that can be given: a token's claim `admin` stands for it
SCOPES: tuple[str, ...] = (
    "*",
    "connectors:*",
    "connectors:read",
    "connectors:write",
    "keys:*",
    "keys:read",
    "keys:write",
    "members:read",
    "members:write",
    "audit:read",
    "opt-outs:*",
    "opt-outs:read",
    "opt-outs:write",
    "sender-ids:*",
    "sender-ids:read",
    "sender-ids:write",
    "send:*",
    *(f"send:{channel.lower()}" for channel in ChannelType),
    "read:*",
    *(f"read:{channel.lower()}" for channel in ChannelType),
    "webhooks:*",
    "webhooks:read",
    "webhooks:write",
)


class CredentialKind(StrEnum):
    SESSION = "SESSION"
    API_KEY = "API_KEY"


@lru_cache(_KEPT)
def grants(scopes: frozenset[str], scope: str) -> bool:
    """Whether somebody who has these has this one."""
    verb, _, _ = scope.partition(":")
    return not scopes.isdisjoint((scope, f"{verb}:*", "*"))


@dataclass(frozen=True, slots=True)
class Viewer:
    """An authenticated caller, bound to one workspace.

    A scope is `area:verb` (`connectors:write`) or `verb:channel` (`send:sms`); `*` and a trailing `*` (`send:*`) widen it.
    `key_id` is the API key they came with, if it was one.
    """

    subject: str
    workspace_id: str
    organization_id: str
    scopes: frozenset[str]
    is_platform_admin: bool = False
    credential: CredentialKind = CredentialKind.SESSION
    expires_at: dt.datetime | None = None
    key_id: str | None = None

    @property
    def audience(self) -> Hashable:
        """Viewers with the same may see the same."""
        return self.workspace_id, self.organization_id, self.scopes, self.is_platform_admin, self.credential

    @property
    def identity(self) -> str:
        """Who it is within the workspace, however often the credential is made anew."""
        return f"{self.credential.value}:{self.subject}"

    def has(self, scope: str) -> bool:
        return grants(self.scopes, scope)

    def require(self, scope: str) -> None:
        """Raise FORBIDDEN, naming the scope, unless the viewer has it."""
        if not self.has(scope):
            raise Problem(RequestErrorCode.FORBIDDEN, f"This needs the scope {scope}.", requiredScope=scope)

    def require_session(self) -> None:
        """Raise SESSION_REQUIRED for an API key: what a person must answer for is not done by a program's key."""
        if self.credential is not CredentialKind.SESSION:
            message = "This needs the token of a session; an API key cannot do it."
            raise Problem(RequestErrorCode.SESSION_REQUIRED, message)

    def require_admin(self) -> None:
        """Raise FORBIDDEN unless the viewer may act for the whole platform, and SESSION_REQUIRED for an API key: none may."""
        self.require_session()
        if not self.is_platform_admin:
            message = "This needs a platform administrator."
            raise Problem(RequestErrorCode.FORBIDDEN, message, requiredScope=ADMIN)
