"""Who is asking: a token or an API key becomes a Viewer, or the request is refused with a fixed sentence.

The key that verifies comes from the settings alone, never from the token: either our secret (HS256) or the published keys of
one identity provider. Of a token's header only `kid` is read, to choose among those keys.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import hashlib
import re
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import jwt
import structlog

from gateway.doorkeeper import Doorkeeper
from gateway.settings import Settings
from resolvers.key_texts import START
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import SCOPES, Viewer

REMEMBERED = 1_024  # tokens
LEEWAY = 30  # seconds a clock may be wrong
TOKEN_LIMIT = 8 * 1024
KEYS_FRESH = 300.0  # seconds published keys are used without asking again
KEYS_STALE = 86_400.0  # seconds they are still used while their server does not answer
KEYS_COOLDOWN = 60.0  # seconds between two questions, so that invented key ids cost nothing; KEYS_TIMEOUT without any key
KEYS_TIMEOUT = 5.0
LONGEST_LIFE = dt.timedelta(days=3650)

MISSING = "Send a token or an API key: Authorization: Bearer <token or key>."
MALFORMED = "The Authorization header does not hold a bearer token or an API key."
SEVERAL = "Send one credential: Authorization or X-API-Key, not both."
EXPIRED = "The token has expired."
INVALID = "The token is not valid."
NO_WORKSPACE = "The token's workspace does not exist."
NO_KEYS = "The token cannot be verified now; try again shortly."

_TYPES = ("jwt", "at+jwt", "application/jwt", "application/at+jwt")
_WORKSPACE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LIFE = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

log = structlog.get_logger()


class WorkspaceRow(Protocol):
    """What is needed of a workspace."""

    @property
    def id(self) -> str: ...

    @property
    def organization_id(self) -> str: ...


LoadWorkspace = Callable[[str], Awaitable[WorkspaceRow | None]]
AdmitKey = Callable[[str], Awaitable[Viewer]]


class PublishedKeys:
    """An identity provider's public keys, remembered through its outages. `clock` counts seconds."""

    def __init__(self, url: str, algorithms: Iterable[str], clock: Callable[[], float] = time.monotonic) -> None:
        self._client = jwt.PyJWKClient(url, cache_jwk_set=False, timeout=KEYS_TIMEOUT)
        self._algorithms = frozenset(algorithms)
        self._clock = clock
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched_at = self._asked_at = float("-inf")
        self._asking = asyncio.Lock()
        self._refresh: asyncio.Future[None] | None = None

    async def find(self, kid: str | None) -> jwt.PyJWK | None:
        """The key of that id. Raises Problem when no keys are known at all."""
        being_refreshed = kid in self._keys and self._asking.locked()
        if not self._is_fresh(kid) and not being_refreshed:
            async with self._asking:
                if not self._is_fresh(kid) and self._may_ask():
                    self._refresh = asyncio.ensure_future(self._ask())
                    # A caller who hangs up must not take the answer away from everybody else.
                    await asyncio.shield(self._refresh)
        if self._clock() - self._fetched_at > KEYS_STALE:
            raise _refusal(NO_KEYS)
        return self._keys.get(kid)

    def _is_fresh(self, kid: str | None) -> bool:
        return kid in self._keys and self._clock() - self._fetched_at < KEYS_FRESH

    def _may_ask(self) -> bool:
        return self._clock() - self._asked_at >= (KEYS_COOLDOWN if self._keys else KEYS_TIMEOUT)

    async def _ask(self) -> None:
        self._asked_at = self._clock()
        try:
            found = await asyncio.to_thread(self._client.get_signing_keys)
        except (jwt.PyJWTError, OSError, ValueError) as error:
            log.warning("jwks.unreachable", error=type(error).__name__, known_keys=len(self._keys))
            return
        self._keys = {key.key_id: key for key in found if key.algorithm_name in self._algorithms}
        self._fetched_at = self._clock()


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says, in our types."""

    subject: str
    workspace_id: str
    scopes: frozenset[str]
    is_admin: bool
    expires_at: dt.datetime

    @classmethod
    def read(cls, claims: Mapping[str, Any]) -> Claims:
        """Raises ValueError on a claim of the wrong type or of no sensible value."""
        subject, workspace, admin, exp = claims["sub"], claims.get("workspace"), claims.get("admin", False), claims["exp"]
        if not (isinstance(subject, str) and 0 < len(subject) <= 255 and subject.isprintable()):
            raise ValueError("A subject is 1 to 255 printable characters.")
        if not (isinstance(workspace, str) and _WORKSPACE.fullmatch(workspace)):
            raise ValueError("A workspace id is 1 to 64 letters, digits, - or _.")
        if not isinstance(admin, bool) or type(exp) not in (int, float):
            raise ValueError("admin must be true or false, and exp a number.")
        return cls(subject, workspace, _scopes(claims.get("scopes", "")), admin, dt.datetime.fromtimestamp(exp, dt.UTC))


class Authenticator:
    """Turns headers (or a socket's connection_init payload) into a Viewer. `admit_key` is given the text of an API key."""

    def __init__(
        self,
        settings: Settings,
        load_workspace: LoadWorkspace,
        admit_key: AdmitKey,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load_workspace = load_workspace
        self._admit_key = admit_key
        self._door = Doorkeeper(settings.auth_failures, clock)
        self._algorithms = list(settings.jwt_algorithms)
        self._issuer = settings.jwt_issuer
        self._audience = settings.jwt_audience
        self._secret = None if settings.jwt_jwks_url else _secret_of(settings)
        self._known: OrderedDict[bytes, Viewer] = OrderedDict()
        url = settings.jwt_jwks_url
        self._published = PublishedKeys(url, settings.jwt_algorithms, clock) if url else None

    async def authenticate(self, headers: Mapping[str, object]) -> Viewer:
        """Raises Problem(UNAUTHENTICATED) with a sentence that never repeats anything of the credential, and RATE_LIMITED to an
        address that was refused too often."""
        credential = _credential(headers)
        fingerprint = hashlib.sha256(credential.encode()).digest()
        self._door.check(fingerprint)
        try:
            viewer = await self._viewer(credential, fingerprint)
        except Problem as problem:
            if problem.code is RequestErrorCode.UNAUTHENTICATED and problem.message != NO_KEYS:
                self._door.refused()
            raise
        self._door.admitted(fingerprint)
        return viewer

    async def _viewer(self, credential: str, fingerprint: bytes) -> Viewer:
        """Who comes with it. A token that our own secret signed is looked into once: from then on it can only expire, for a
        workspace is never removed, nor given to another organization."""
        if credential.startswith(START):
            return await self._admit_key(credential)
        known = self._known.get(fingerprint)
        if known is not None and known.expires_at is not None and dt.datetime.now(dt.UTC) < known.expires_at:
            return known
        viewer = await self._bearer(await self._decoded(credential))
        if self._secret is not None:
            self._known[fingerprint] = viewer
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return viewer

    async def _bearer(self, claims: Claims) -> Viewer:
        workspace = await self._load_workspace(claims.workspace_id)
        if workspace is None:
            raise _refusal(NO_WORKSPACE)
        return Viewer(
            subject=claims.subject,
            workspace_id=workspace.id,
            organization_id=workspace.organization_id,
            scopes=claims.scopes,
            is_platform_admin=claims.is_admin,
            expires_at=claims.expires_at,
        )

    async def _decoded(self, token: str) -> Claims:
        try:
            return Claims.read(self._decode(token, self._secret or await self._published_key(token)))
        except jwt.ExpiredSignatureError:
            raise _refusal(EXPIRED) from None
        except (jwt.PyJWTError, ValueError, OverflowError, OSError):
            raise _refusal(INVALID) from None

    async def _published_key(self, token: str) -> jwt.PyJWK:
        header = jwt.get_unverified_header(token)
        assert self._published is not None
        key = await self._published.find(header.get("kid")) if header.get("alg") in self._algorithms else None
        if key is None:
            raise jwt.InvalidKeyError
        return key

    def _decode(self, token: str, key: str | jwt.PyJWK) -> dict[str, Any]:
        decoded = jwt.decode_complete(
            token,
            key,
            algorithms=self._algorithms,
            audience=self._audience,
            issuer=self._issuer,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "aud", "iss", "sub"], "enforce_minimum_key_length": True},
        )
        kind = decoded["header"].get("typ", "JWT")
        if not isinstance(kind, str) or kind.lower() not in _TYPES:
            raise jwt.InvalidTokenError
        payload: dict[str, Any] = decoded["payload"]
        return payload


def mint(
    settings: Settings,
    workspace_id: str,
    subject: str,
    scopes: Iterable[str],
    ttl: dt.timedelta,
    *,
    admin: bool = False,
    now: dt.datetime | None = None,
) -> str:
    """A token signed with our secret. Raises ValueError for unknown scopes, or when an identity provider signs instead."""
    if settings.jwt_jwks_url:
        raise ValueError("Tokens come from your identity provider, since PATCHBAY_JWT_JWKS_URL is set.")
    wanted = sorted(set(scopes))
    if unknown := [scope for scope in wanted if scope not in SCOPES]:
        raise ValueError(f"There is no scope {', '.join(map(repr, unknown))}. Known are: {', '.join(SCOPES)}.")
    if not dt.timedelta(0) < ttl <= LONGEST_LIFE:
        raise ValueError(f"A token lives for more than 0 seconds and at most {LONGEST_LIFE.days} days.")
    issued = int((now or dt.datetime.now(dt.UTC)).timestamp())
    claims = {
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "sub": subject,
        "iat": issued,
        "exp": issued + int(ttl.total_seconds()),
        "jti": uuid.uuid4().hex,
        "workspace": workspace_id,
        "scopes": " ".join(wanted),
        "admin": admin,
    }
    Claims.read(claims)
    return jwt.encode(claims, _secret_of(settings), algorithm="HS256")


def parse_ttl(text: str) -> dt.timedelta:
    """`45s`, `30m`, `1h` or `7d`. Raises ValueError with a sentence."""
    found = _LIFE.fullmatch(text.strip())
    if found is None:
        raise ValueError("A lifetime is a number and s, m, h or d, as in 45s, 30m, 1h or 7d.")
    life = dt.timedelta(**{_UNITS[found[2]]: int(found[1])})
    if not dt.timedelta(0) < life <= LONGEST_LIFE:
        raise ValueError(f"A lifetime is more than 0 seconds and at most {LONGEST_LIFE.days} days.")
    return life


def _secret_of(settings: Settings) -> str:
    if settings.jwt_secret is None:
        raise ValueError("PATCHBAY_JWT_SECRET is not set, nor is PATCHBAY_JWT_JWKS_URL.")
    return settings.jwt_secret.get_secret_value()


def _refusal(sentence: str) -> Problem:
    return Problem(RequestErrorCode.UNAUTHENTICATED, sentence)


def _credential(headers: Mapping[str, object]) -> str:
    """The only token or key among the headers. One that begins like a key is one; only `Bearer` may name a token."""
    given = [(name.lower(), value) for name, value in headers.items()]
    authorization = [value for name, value in given if name == "authorization"]
    keys = [value for name, value in given if name == "x-api-key"]
    if not authorization and not keys:
        raise _refusal(MISSING)
    if authorization and keys:
        raise _refusal(SEVERAL)
    values = authorization or [f"AccessKey {value}" if isinstance(value, str) else value for value in keys]
    if len(values) > 1 or not isinstance(values[0], str) or len(values[0]) > TOKEN_LIMIT:
        raise _refusal(MALFORMED)
    scheme, _, text = values[0].strip().partition(" ")
    text = text.strip()
    is_key = text.startswith(START) and scheme.lower() in ("bearer", "accesskey")
    is_token = text.count(".") == 2 and scheme.lower() == "bearer"
    if not (is_key or is_token) or not text.isascii() or not text.isprintable():
        raise _refusal(MALFORMED)
    return text


def _scopes(value: object) -> frozenset[str]:
    words = value.split() if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError("scopes must be a string or a list of strings.")
    return frozenset(words)
