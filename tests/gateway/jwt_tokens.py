"""Tokens, good and forged, and a workspace loader: what the tests of authentication share."""

from __future__ import annotations

import base64
import json
import time
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.warnings import InsecureKeyLengthWarning

from gateway.auth import Authenticator
from gateway.settings import Settings
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import Viewer

SECRET = "the-secret-of-this-installation-0001"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_RSA_KEY = rsa.generate_private_key(65537, 1024)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Row:
    id: str
    organization_id: str


@dataclass
class Workspaces:
    """The loader; remembers what it was asked."""

    asked: list[str] = field(default_factory=list)

    async def __call__(self, workspace_id: str) -> Row | None:
        self.asked.append(workspace_id)
        return Row("wsp_1", "org_1") if workspace_id == "wsp_1" else None


async def no_keys(text: str) -> Viewer:
    """Where no API key is expected."""
    raise AssertionError("an API key")


def local(**values: Any) -> Settings:
    return Settings(**{"jwt_secret": SECRET, **values})


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with some changed; None takes one away."""
    now = int(time.time())
    good = {
        "iss": "patchbay",
        "aud": "patchbay",
        "sub": "ada",
        "iat": now,
        "exp": now + 86_400,
        "workspace": "wsp_1",
        "scopes": "send:sms connectors:read",
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def segment(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def forged(header: object, payload: object, signature: bytes = b"") -> str:
    return f"{segment(header)}.{segment(payload)}.{segment(signature)}"


def signed(payload: object, header: Mapping[str, Any] | None = None, secret: str = SECRET) -> str:
    """A correct HS256 signature over any header and payload, which jwt.encode would refuse to make."""
    head = segment({"typ": "JWT", "alg": "HS256", **(header or {})}) + "." + segment(payload)
    mac = jwt.algorithms.HMACAlgorithm(jwt.algorithms.HMACAlgorithm.SHA256).sign(head.encode(), secret.encode())
    return f"{head}.{segment(mac)}"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


def issued(private: Any = RSA_KEY, kid: str | None = "one", algorithm: str = "RS256", **header: Any) -> dict[str, str]:
    named = {} if kid is None else {"kid": kid}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return bearer(jwt.encode(claims(), private, algorithm=algorithm, headers={**named, **header}))


async def refusal(settings: Settings, headers: Mapping[str, object], asked: int = 0) -> str:
    """The sentence, after checking that it is UNAUTHENTICATED, leaks nothing and was decided before the database."""
    workspaces = Workspaces()
    with pytest.raises(Problem) as caught:
        await Authenticator(settings, workspaces, no_keys).authenticate(headers)
    assert caught.value.code is RequestErrorCode.UNAUTHENTICATED and caught.value.http_status == 401
    assert caught.value.field is None and caught.value.extra == {}
    assert len(workspaces.asked) == asked
    shown = "".join(traceback.format_exception_only(caught.value))
    assert not [value for value in headers.values() if isinstance(value, str) and len(value) > 20 and value[-20:] in shown]
    return caught.value.message
