"""Tokens of an identity provider whose keys are published: a real server on loopback, rotation, outages, attacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt_tokens import (
    EC_KEY,
    OTHER_RSA_KEY,
    RSA_KEY,
    RSA_PEM,
    SECRET,
    WEAK_RSA_KEY,
    Workspaces,
    bearer,
    claims,
    forged,
    issued,
    no_keys,
    refusal,
    segment,
    signed,
)

from gateway.auth import Authenticator
from gateway.settings import Settings
from resolvers.problems import Problem, RequestErrorCode


def jwk(private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, kid: str, **more: str) -> dict[str, Any]:
    if isinstance(private, rsa.RSAPrivateKey):
        shape = jwt.algorithms.RSAAlgorithm.to_jwk(private.public_key(), as_dict=True)
    else:
        shape = jwt.algorithms.ECAlgorithm.to_jwk(private.public_key(), as_dict=True)
    return {**shape, "kid": kid, **more}


@dataclass
class Provider:
    """An identity provider on loopback and a clock that moves when told."""

    url: str = ""
    keys: list[Any] = field(default_factory=lambda: [jwk(RSA_KEY, "one")])
    answer: str | bytes | None = None
    status: int = 200
    calls: int = 0
    other_paths: list[str] = field(default_factory=list)
    called: asyncio.Event = field(default_factory=asyncio.Event)
    wait: asyncio.Event | None = None
    now: float = 1000.0

    async def serve(self, request: web.Request) -> web.Response:
        if request.path != "/jwks":
            self.other_paths.append(request.path)
        self.calls += 1
        self.called.set()
        if self.wait:
            await self.wait.wait()
        body = self.answer if self.answer is not None else json.dumps({"keys": self.keys})
        headers = {"Location": self.url + "2"} if self.status == 302 else None
        return web.Response(status=self.status, body=body, headers=headers)

    def authenticator(self, **values: Any) -> Authenticator:
        settings = Settings(jwt_jwks_url=self.url, allow_private_addresses=True, **values)
        return Authenticator(settings, Workspaces(), no_keys, clock=lambda: self.now)


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    provider = Provider()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", provider.serve)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}/jwks"
    yield provider
    await runner.cleanup()


async def said(authenticator: Authenticator, headers: Mapping[str, str]) -> str:
    """The subject, or the sentence of the refusal."""
    try:
        return (await authenticator.authenticate(headers)).subject
    except Problem as problem:
        assert problem.code is RequestErrorCode.UNAUTHENTICATED
        return problem.message


async def test_published_keys_are_fetched_once(provider: Provider) -> None:
    provider.keys = [jwk(RSA_KEY, "one"), jwk(EC_KEY, "two")]
    authenticator = provider.authenticator()
    for headers in (issued(), issued(EC_KEY, "two", "ES256"), issued()):
        assert await said(authenticator, headers) == "ada"
    assert provider.calls == 1


async def test_many_at_once_fetch_once(provider: Provider) -> None:
    authenticator = provider.authenticator()
    assert await asyncio.gather(*(said(authenticator, issued()) for _ in range(20))) == ["ada"] * 20
    assert provider.calls == 1


PUBLISHED_ATTACKS = {
    "HS256 by the public key": bearer(signed(claims(), {"kid": "one"}, RSA_PEM.decode())),
    "HS256 by the published symmetric key": bearer(signed(claims(), {"kid": "sym"}, SECRET)),
    "none": bearer(forged({"typ": "JWT", "alg": "none", "kid": "one"}, claims())),
    "another's key": issued(OTHER_RSA_KEY),
    "key of another kind": issued(EC_KEY, "one", "ES256"),
    "algorithm not listed": issued(RSA_KEY, "one", "RS512"),
    "weak key": issued(WEAK_RSA_KEY, "weak"),
    "no kid": issued(kid=None),
    "kid is a path": issued(OTHER_RSA_KEY, "../../../../dev/null"),
    "kid is SQL": issued(OTHER_RSA_KEY, "x' UNION SELECT 'key"),
    "kid is a URL": issued(OTHER_RSA_KEY, "http://127.0.0.1:1/keys"),
    "encryption key": issued(OTHER_RSA_KEY, "enc"),
}


@pytest.mark.parametrize("headers", PUBLISHED_ATTACKS.values(), ids=PUBLISHED_ATTACKS.keys())
async def test_attack_on_published_keys(provider: Provider, headers: dict[str, str]) -> None:
    provider.keys = [
        jwk(RSA_KEY, "one"),
        jwk(WEAK_RSA_KEY, "weak"),
        jwk(OTHER_RSA_KEY, "enc", use="enc"),
        {"kty": "oct", "kid": "sym", "k": segment(SECRET.encode())},
        {"kty": "unheard-of", "kid": "new"},
        "rubbish",
    ]
    assert await said(provider.authenticator(), headers) == "The token is not valid."
    assert provider.other_paths == []


async def test_keys_named_or_carried_by_the_token_are_ignored(provider: Provider) -> None:
    place = provider.url.replace("/jwks", "/mallory")
    for name, value in {"jku": place, "x5u": place, "jwk": jwk(OTHER_RSA_KEY, "one"), "x5c": ["AAAA"]}.items():
        authenticator = provider.authenticator()
        assert await said(authenticator, issued(OTHER_RSA_KEY, "one", "RS256", **{name: value})) == "The token is not valid."
        assert await said(authenticator, issued(RSA_KEY, "one", "RS256", **{name: value})) == "ada"
    assert provider.other_paths == []


async def test_a_rotated_key_is_found_after_a_minute_at_most(provider: Provider) -> None:
    authenticator = provider.authenticator()
    assert await said(authenticator, issued()) == "ada"
    provider.keys = [jwk(OTHER_RSA_KEY, "two")]
    provider.now += 59
    for _ in range(5):
        assert await said(authenticator, issued(OTHER_RSA_KEY, "two")) == "The token is not valid."
    assert provider.calls == 1
    provider.now += 1
    assert await said(authenticator, issued(OTHER_RSA_KEY, "two")) == "ada"
    assert await said(authenticator, issued()) == "The token is not valid."
    assert provider.calls == 2


async def test_a_withdrawn_key_is_forgotten_after_five_minutes(provider: Provider) -> None:
    authenticator = provider.authenticator()
    assert await said(authenticator, issued()) == "ada"
    provider.keys = [jwk(OTHER_RSA_KEY, "two")]
    provider.now += 300
    assert await said(authenticator, issued()) == "The token is not valid."
    assert provider.calls == 2


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (500, None),
        (302, None),
        (200, b""),
        (200, b"{}"),
        (200, b"[]"),
        (200, b'{"keys": 7}'),
        (200, b'{"keys": []}'),
        (200, b"\xff"),
    ],
)
async def test_an_outage_is_survived_with_the_keys_known(provider: Provider, status: int, answer: bytes | None) -> None:
    authenticator = provider.authenticator()
    assert await said(authenticator, issued()) == "ada"
    provider.status, provider.answer = status, answer
    for minutes in (6, 60, 23 * 60):
        provider.now = 1000 + minutes * 60
        assert [await said(authenticator, issued()) for _ in range(3)] == ["ada"] * 3
    assert provider.calls == 4
    provider.now = 1000 + 86_401
    assert await said(authenticator, issued()) == "The token cannot be verified now; try again shortly."
    provider.status, provider.answer = 200, None
    provider.now += 60
    assert await said(authenticator, issued()) == "ada"


async def test_without_any_key_nobody_enters_and_the_provider_is_spared(provider: Provider) -> None:
    provider.status = 503
    authenticator = provider.authenticator()
    answers = await asyncio.gather(*(said(authenticator, issued()) for _ in range(10)))
    assert answers == ["The token cannot be verified now; try again shortly."] * 10
    assert provider.calls == 1
    provider.status = 200
    provider.now += 5
    assert await said(authenticator, issued()) == "ada"


async def test_nobody_listens() -> None:
    settings = Settings(jwt_jwks_url="http://127.0.0.1:1/jwks", allow_private_addresses=True)
    assert await refusal(settings, issued()) == "The token cannot be verified now; try again shortly."


async def test_a_slow_provider_blocks_neither_the_loop_nor_those_with_known_keys(provider: Provider) -> None:
    authenticator = provider.authenticator()
    assert await said(authenticator, issued()) == "ada"
    provider.now += 300
    provider.called.clear()
    provider.wait = asyncio.Event()
    waiting = asyncio.create_task(said(authenticator, issued()))
    await provider.called.wait()
    assert await said(authenticator, issued()) == "ada"
    assert not waiting.done()
    provider.wait.set()
    assert await waiting == "ada"


async def test_hanging_up_does_not_throw_the_answer_away(provider: Provider) -> None:
    authenticator = provider.authenticator()
    provider.wait = asyncio.Event()
    waiting = asyncio.create_task(said(authenticator, issued()))
    await provider.called.wait()
    waiting.cancel()
    provider.wait.set()
    for _ in range(1000):
        if await said(authenticator, issued()) == "ada":
            break
        await asyncio.sleep(0.005)
    assert await said(authenticator, issued()) == "ada"
    assert provider.calls == 1
