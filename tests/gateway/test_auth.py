from __future__ import annotations

import asyncio
import datetime as dt
import json
import time
from typing import Any

import jwt
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from jwt_tokens import (
    RSA_KEY,
    RSA_PEM,
    SECRET,
    Row,
    Workspaces,
    bearer,
    claims,
    forged,
    local,
    no_keys,
    refusal,
    segment,
    signed,
)

from channels.base import ChannelType
from gateway import auth
from gateway.auth import Authenticator, mint, parse_ttl
from gateway.settings import Settings
from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import SCOPES, Viewer

# ------------------------------------------------------------------ good tokens


async def test_a_good_token_becomes_a_viewer() -> None:
    payload = claims(admin=True)
    assert await Authenticator(local(), Workspaces(), no_keys).authenticate(bearer(signed(payload))) == Viewer(
        subject="ada",
        workspace_id="wsp_1",
        organization_id="org_1",
        scopes=frozenset({"send:sms", "connectors:read"}),
        is_platform_admin=True,
        expires_at=dt.datetime.fromtimestamp(payload["exp"], dt.UTC),
    )


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Bearer {}"},
        {"AUTHORIZATION": "bearer {}"},
        {"other": 1, "authorization": "  BEARER   {}  "},
        {"headers": {"nested": "ignored"}, "authorization": "Bearer {}"},
    ],
)
async def test_spelling_of_header_and_scheme_does_not_matter(headers: dict[str, Any]) -> None:
    token = signed(claims())
    sent = {name: value.format(token) if isinstance(value, str) else value for name, value in headers.items()}
    assert (await Authenticator(local(), Workspaces(), no_keys).authenticate(sent)).subject == "ada"


@pytest.mark.parametrize(
    ("changes", "header"),
    [
        ({"scopes": ["send:sms", "connectors:read"]}, {}),
        ({"aud": ["other", "patchbay"]}, {}),
        ({}, {"typ": "at+jwt"}),
        ({}, {"kid": "../../dev/null"}),
        ({"nbf": int(time.time()) + 25}, {}),
        ({"jti": "x"}, {}),
    ],
)
async def test_what_is_also_taken(changes: dict[str, Any], header: dict[str, Any]) -> None:
    viewer = await Authenticator(local(), Workspaces(), no_keys).authenticate(bearer(signed(claims(**changes), header)))
    assert viewer.scopes == {"send:sms", "connectors:read"} and viewer.is_platform_admin is False


async def test_within_the_leeway_the_expiry_is_still_the_tokens_own() -> None:
    exp = int(time.time()) - 20
    viewer = await Authenticator(local(), Workspaces(), no_keys).authenticate(bearer(signed(claims(exp=exp))))
    assert viewer.expires_at == dt.datetime.fromtimestamp(exp, dt.UTC)


async def test_a_token_that_was_good_is_known_again_but_nothing_like_it() -> None:
    authenticator, token = Authenticator(local(), Workspaces(), no_keys), signed(claims())
    first = await authenticator.authenticate(bearer(token))
    assert await authenticator.authenticate(bearer(token)) == first
    for like in (token[:-2] + ("AA" if token[-2:] != "AA" else "BB"), token + "A", token.rpartition(".")[0] + "."):
        with pytest.raises(Problem):
            await authenticator.authenticate(bearer(like))


async def test_without_scopes_nothing_is_allowed() -> None:
    viewer = await Authenticator(local(), Workspaces(), no_keys).authenticate(bearer(signed(claims(scopes=None))))
    assert viewer.scopes == frozenset() and not viewer.has("connectors:read")


async def test_an_unknown_workspace_is_refused() -> None:
    headers = bearer(signed(claims(workspace="wsp_2")))
    assert await refusal(local(), headers, asked=1) == "The token's workspace does not exist."


async def test_a_loader_that_fails_is_not_the_callers_fault() -> None:
    async def broken(workspace_id: str) -> Row | None:
        raise ConnectionError(workspace_id)

    with pytest.raises(ConnectionError):
        await Authenticator(local(), broken, no_keys).authenticate(bearer(signed(claims())))


def test_there_must_be_a_key() -> None:
    with pytest.raises(ValueError, match=r"^PATCHBAY_JWT_SECRET is not set, nor is PATCHBAY_JWT_JWKS_URL\.$"):
        Authenticator(Settings(), Workspaces(), no_keys)


# ------------------------------------------------------------------ attacks on the header line


@pytest.mark.parametrize("headers", [{}, {"host": "x"}, {"x-authorization": "Bearer a.b.c"}])
async def test_no_token(headers: dict[str, str]) -> None:
    assert await refusal(local(), headers) == "Send a token or an API key: Authorization: Bearer <token or key>."


MALFORMED_SENTENCE = "The Authorization header does not hold a bearer token or an API key."
MALFORMED = {
    "empty": "",
    "scheme only": "Bearer",
    "scheme and blanks": "Bearer    ",
    "basic": "Basic dXNlcjpwYXNzd29yZA==",
    "no scheme": signed(claims()),
    "token as a key": "AccessKey " + signed(claims()),
    "key as another scheme": "Basic pb_0123456789AB_0123456789",
    "key with a line end": "Bearer pb_0123456789AB\nX-Admin: 1",
    "two segments": "Bearer a.b",
    "four segments": "Bearer " + signed(claims()) + ".x",
    "encrypted token": "Bearer a.b.c.d.e",
    "two tokens": "Bearer " + signed(claims()) + " " + signed(claims()),
    "unicode": "Bearer ａ.ｂ.ｃ",
    "unicode in a good token": "Bearer " + signed(claims()) + "é",
    "lone surrogate": "Bearer a.b.\ud800",
    "control characters": "Bearer a.b.c\r\nX-Admin: 1",
    "nul": "Bearer a.b.\0",
    "nine KiB": "Bearer " + signed(claims(padding="x" * 9_000)),
    "one MB": "Bearer " + "a" * 1_000_000 + ".b.c",
    "number": 7,
    "nothing": None,
    "list": ["Bearer a.b.c"],
    "object": {"Bearer": "a.b.c"},
}


@pytest.mark.parametrize("value", MALFORMED.values(), ids=MALFORMED.keys())
async def test_malformed_header(value: object) -> None:
    assert await refusal(local(), {"authorization": value}) == MALFORMED_SENTENCE


async def test_two_headers_of_different_spelling_are_not_chosen_between() -> None:
    headers = {"Authorization": "Bearer a.b.c", "authorization": "Bearer " + signed(claims())}
    assert await refusal(local(), headers) == MALFORMED_SENTENCE


# ------------------------------------------------------------------ attacks on the token

NONE = {"typ": "JWT", "alg": "none"}
NOW = int(time.time())
ATTACKS = {
    "none": forged(NONE, claims()),
    "None": forged({**NONE, "alg": "None"}, claims()),
    "no algorithm": forged({"typ": "JWT"}, claims()),
    "empty algorithm": forged({**NONE, "alg": ""}, claims()),
    "algorithm is a list": forged({**NONE, "alg": ["HS256"]}, claims()),
    "algorithm is an object": forged({**NONE, "alg": {}}, claims()),
    "HS512": jwt.encode(claims(), SECRET * 2, algorithm="HS512"),
    "RS256": jwt.encode(claims(), RSA_KEY, algorithm="RS256"),
    "HS256 by the RSA public key": signed(claims(), secret=RSA_PEM.decode()),
    "wrong secret": signed(claims(), secret=SECRET[::-1]),
    "empty secret": signed(claims(), secret=""),
    "no signature": signed(claims()).rsplit(".", 1)[0] + ".",
    "cut signature": signed(claims())[:-4],
    "payload swapped": ".".join([signed(claims()).split(".")[0], segment(claims(admin=True)), signed(claims()).split(".")[2]]),
    "not base64": "!!!.???.$$$",
    "empty segments": "..",
    "header is a list": forged([], claims()),
    "header is deep": forged(b"[" * 3_000, claims()),
    "header is not JSON": forged(b"\xff\xfe", claims()),
    "payload is a list": signed([]),
    "payload is a string": signed("x"),
    "payload is not JSON": signed(b"\xff"),
    "payload is deep": signed(b"[" * 3_000),
    "typ of another kind": signed(claims(), {"typ": "logout+jwt"}),
    "typ is a number": signed(claims(), {"typ": 1}),
    "typ is null": signed(claims(), {"typ": None}),
    "kid is a number": signed(claims(), {"kid": 1}),
    "unknown critical extension": signed(claims(), {"crit": ["exp"]}),
    "detached payload": signed(claims(), {"crit": ["b64"], "b64": False}),
    "wrong issuer": signed(claims(iss="mallory")),
    "issuer is a list": signed(claims(iss=["patchbay"])),
    "no issuer": signed(claims(iss=None)),
    "wrong audience": signed(claims(aud="other")),
    "audience is a list of others": signed(claims(aud=["other"])),
    "audience is a list of numbers": signed(claims(aud=[1, "patchbay"])),
    "audience is an object": signed(claims(aud={"patchbay": 1})),
    "no audience": signed(claims(aud=None)),
    "not yet valid": signed(claims(nbf=NOW + 3600)),
    "nbf is a word": signed(claims(nbf="soon")),
    "issued in the future": signed(claims(iat=NOW + 3600)),
    "no issue time": signed(claims(iat=None)),
    "no expiry": signed(claims(exp=None)),
    "expiry is null": signed({**claims(), "exp": None}),
    "expiry is a word": signed(claims(exp="never")),
    "expiry is digits in a string": signed(claims(exp=str(NOW + 86_400))),
    "expiry is a list": signed(claims(exp=[NOW + 60])),
    "expiry is infinite": signed(claims(exp=float("inf"))),
    "expiry is not a number": signed(claims(exp=float("nan"))),
    "expiry beyond the calendar": signed(claims(exp=10**15)),
    "expiry of 300 digits": signed(claims(exp=10**300)),
    "expiry of 5000 digits": signed(
        json.dumps(claims()).replace(f'"exp": {claims()["exp"]}', f'"exp": 1{"0" * 5000}').encode()
    ),
    "no subject": signed(claims(sub=None)),
    "subject is empty": signed(claims(sub="")),
    "subject is a number": signed(claims(sub=7)),
    "subject is a list": signed(claims(sub=["ada"])),
    "subject is long": signed(claims(sub="a" * 256)),
    "subject forges a log line": signed(claims(sub="ada\nlevel=info")),
    "subject holds NUL": signed(claims(sub="ada\0")),
    "subject is a lone surrogate": signed(claims(sub="\ud800")),
    "subject turns the text": signed(claims(sub="ada\u202e")),
    "no workspace": signed(claims(workspace=None)),
    "workspace is a number": signed(claims(workspace=1)),
    "workspace is a list": signed(claims(workspace=["wsp_1"])),
    "workspace is an object": signed(claims(workspace={"id": "wsp_1"})),
    "workspace is empty": signed(claims(workspace="")),
    "workspace is SQL": signed(claims(workspace="wsp_1' OR '1'='1")),
    "workspace holds NUL": signed(claims(workspace="wsp_1\0")),
    "workspace in full-width letters": signed(claims(workspace="ｗsp_1")),
    "workspace with a line end": signed(claims(workspace="wsp_1\n")),
    "scopes are an object": signed(claims(scopes={"*": True})),
    "scopes are a number": signed(claims(scopes=1)),
    "scopes are numbers": signed(claims(scopes=[1])),
    "scopes are nested": signed(claims(scopes=[["*"]])),
    "admin is a word": signed(claims(admin="true")),
    "admin is a number": signed(claims(admin=1)),
    "jti is a number": signed(claims(jti=1)),
}


@pytest.mark.parametrize("token", ATTACKS.values(), ids=ATTACKS.keys())
async def test_attack(token: str) -> None:
    assert await refusal(local(), bearer(token)) == "The token is not valid."


@pytest.mark.parametrize("late", [31, 3600, NOW], ids=["just", "an hour", "since 1970"])
async def test_expired(late: int) -> None:
    assert await refusal(local(), bearer(signed(claims(exp=int(time.time()) - late)))) == "The token has expired."


async def test_an_expired_token_of_somebody_else_is_only_not_valid() -> None:
    token = signed(claims(exp=1), secret=SECRET[::-1])
    assert await refusal(local(), bearer(token)) == "The token is not valid."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = st.sampled_from(["iss", "aud", "sub", "iat", "nbf", "exp", "jti", "workspace", "scopes", "admin"])
HEADERS = st.sampled_from(["typ", "alg", "kid", "crit", "b64", "jku", "x5u", "jwk", "cty"])


@effort(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(changed=st.dictionaries(NAMES, JSON, max_size=3), header=st.dictionaries(HEADERS, JSON, max_size=2))
def test_any_signed_rubbish_is_refused_or_understood(changed: dict[str, Any], header: dict[str, Any]) -> None:
    authenticator = Authenticator(local(), Workspaces(), no_keys)
    try:
        viewer = asyncio.run(authenticator.authenticate(bearer(signed({**claims(), **changed}, header))))
    except Problem as problem:
        assert problem.code is RequestErrorCode.UNAUTHENTICATED
    else:
        assert viewer.workspace_id == "wsp_1" and viewer.is_platform_admin is changed.get("admin", False)


# ------------------------------------------------------------------ minting


async def test_a_minted_token_is_taken() -> None:
    token = mint(local(), "wsp_1", "cli", ["send:*", "members:read"], dt.timedelta(hours=1), admin=True)
    viewer = await Authenticator(local(), Workspaces(), no_keys).authenticate(bearer(token))
    assert (viewer.subject, viewer.workspace_id, viewer.is_platform_admin) == ("cli", "wsp_1", True)
    assert viewer.scopes == {"send:*", "members:read"}
    assert viewer.expires_at is not None
    assert abs(viewer.expires_at - dt.datetime.now(dt.UTC) - dt.timedelta(hours=1)) < dt.timedelta(seconds=5)


def test_what_a_minted_token_says() -> None:
    now = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    token = mint(local(jwt_issuer="us", jwt_audience="them"), "wsp_1", "cli", ["*"], dt.timedelta(minutes=1), now=now)
    payload = jwt.decode(token, options={"verify_signature": False})
    assert len(payload.pop("jti")) == 32
    assert payload == {
        "iss": "us",
        "aud": "them",
        "sub": "cli",
        "iat": 1_893_456_000,
        "exp": 1_893_456_060,
        "workspace": "wsp_1",
        "scopes": "*",
        "admin": False,
    }
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_every_known_scope_can_be_minted() -> None:
    assert {f"{verb}:{channel.lower()}" for verb in ("send", "read") for channel in ChannelType} < set(SCOPES)
    token = mint(local(), "wsp_1", "cli", SCOPES, dt.timedelta(hours=1))
    assert jwt.decode(token, options={"verify_signature": False})["scopes"].split() == sorted(SCOPES)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"scopes": ["send:sms", "send:fax", "root"]},
            r"^There is no scope 'root', 'send:fax'\. Known are: \*, connectors:\*,",
        ),
        ({"ttl": dt.timedelta(0)}, r"^A token lives for more than 0 seconds and at most 3650 days\.$"),
        ({"ttl": dt.timedelta(days=4000)}, r"^A token lives for more than 0 seconds and at most 3650 days\.$"),
        ({"workspace_id": "my workspace"}, r"^A workspace id is 1 to 64 letters, digits, - or _\.$"),
        ({"subject": ""}, r"^A subject is 1 to 255 printable characters\.$"),
    ],
)
def test_mint_refuses(changes: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"workspace_id": "wsp_1", "subject": "cli", "scopes": ["*"], "ttl": dt.timedelta(hours=1)}
    with pytest.raises(ValueError, match=message):
        mint(local(), **{**good, **changes})


def test_mint_needs_our_own_secret() -> None:
    hour = dt.timedelta(hours=1)
    with pytest.raises(ValueError, match=r"^Tokens come from your identity provider, since PATCHBAY_JWT_JWKS_URL is set\.$"):
        mint(Settings(jwt_jwks_url="https://id.example.com/jwks"), "wsp_1", "cli", ["*"], hour)
    with pytest.raises(ValueError, match=r"^PATCHBAY_JWT_SECRET is not set"):
        mint(Settings(), "wsp_1", "cli", ["*"], hour)


@pytest.mark.parametrize(
    ("text", "seconds"), [("45s", 45), ("30m", 1800), ("1h", 3600), ("7d", 604_800), (" 1h ", 3600), ("3650d", 315_360_000)]
)
def test_lifetimes(text: str, seconds: int) -> None:
    assert parse_ttl(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "h", "1", "1 h", "1w", "1H", "-1h", "1.5h", "１h", "1h30m", "1000000s"])
def test_lifetimes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"^A lifetime is a number and s, m, h or d, as in 45s, 30m, 1h or 7d\.$"):
        parse_ttl(text)


@pytest.mark.parametrize("text", ["0s", "0d", "3651d", "999999d"])
def test_lifetimes_out_of_range(text: str) -> None:
    with pytest.raises(ValueError, match=r"^A lifetime is more than 0 seconds and at most 3650 days\.$"):
        parse_ttl(text)


def test_limits() -> None:
    assert (auth.TOKEN_LIMIT, auth.LEEWAY, auth.KEYS_COOLDOWN, auth.KEYS_TIMEOUT) == (8192, 30, 60.0, 5.0)
