from __future__ import annotations

import datetime as dt
import io
import json
import logging
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
import structlog
from pydantic import SecretStr

from gateway.addresses import ROOT
from gateway.logs import ROOMS, configure
from models.vault import Vault
from tests.harness import running, settings_for
from tests.sending import plug, script, send, settled

Lines = Callable[[], list[dict[str, Any]]]
UVICORN = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")


def mark(recipient: str) -> str:
    return Vault({"k": bytes(32)}, "k").fingerprint(recipient, "recipient")


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """A stream to configure for; everything is put back afterwards."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, (*ROOMS, *UVICORN))]
    before = [(logger, logger.level, list(logger.handlers), logger.propagate) for logger in loggers]
    yield io.StringIO()
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    for logger, level, handlers, propagate in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
        logger.propagate = propagate


@pytest.fixture
def lines(out: io.StringIO) -> Lines:
    configure("debug", "json", fingerprint=mark, stream=out)
    return lambda: [json.loads(line) for line in out.getvalue().splitlines()]


def ours() -> Any:
    return structlog.get_logger("gateway.test")


# ------------------------------------------------------------------ shape


def test_a_json_line(lines: Lines) -> None:
    structlog.contextvars.bind_contextvars(request_id="r1")
    ours().info("message_sent", message_id="msg_1", attempt=2, took=0.5, late=False, reason=None)
    (line,) = lines()
    written = dt.datetime.fromisoformat(line.pop("timestamp"))
    assert abs(dt.datetime.now(dt.UTC) - written) < dt.timedelta(seconds=10)
    assert line.pop("logger") == "gateway.test"
    assert line == {
        "event": "message_sent",
        "level": "info",
        "message_id": "msg_1",
        "attempt": 2,
        "took": 0.5,
        "late": False,
        "reason": None,
        "request_id": "r1",
    }


def test_a_line_names_the_module_that_logs(lines: Lines) -> None:
    log = structlog.get_logger()
    log.info("unbound")
    log.bind(attempt=1).warning("bound")
    assert [(line["event"], line["logger"]) for line in lines()] == [("unbound", __name__), ("bound", __name__)]


async def test_the_lines_of_a_gateway_name_their_modules(lines: Lines, tmp_path: Path) -> None:
    async with running(settings_for(tmp_path)) as gateway:
        await plug(gateway)
        await settled(gateway, await send(gateway, metadata=script("invalid-credentials")), "FAILED")
    named = {line["event"]: line["logger"] for line in lines()}
    assert (named["attempt"], named["connector_held"]) == ("delivery.worker", "delivery.settle")
    assert "gateway.logs" not in named.values()


def test_a_console_line(out: io.StringIO) -> None:
    configure("info", "console", stream=out)
    ours().info("message_sent", message_id="msg_1", password="canary")
    (line,) = out.getvalue().splitlines()
    assert "[info     ] message_sent" in line and "message_id=msg_1" in line and "password=****" in line
    assert "\x1b" not in line


def test_auto_is_json_when_nobody_watches_and_console_when_somebody_does(out: io.StringIO) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    configure("info", "auto", stream=screen)
    ours().info("seen")
    configure("info", "auto", stream=out)
    ours().info("stored")
    assert "seen" in screen.getvalue() and not screen.getvalue().startswith("{")
    assert json.loads(out.getvalue())["event"] == "stored"


def test_configuring_again_replaces_rather_than_adds(out: io.StringIO) -> None:
    for _ in range(3):
        configure("info", "json", stream=out)
    ours().info("once")
    assert len(out.getvalue().splitlines()) == 1


def test_other_handlers_keep_working(lines: Lines, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("some.library").warning("heard by both")
    assert [record.getMessage() for record in caplog.records] == ["heard by both"]
    assert [line["event"] for line in lines()] == ["heard by both"]


def test_importing_configures_nothing() -> None:
    program = "import logging, structlog, gateway.logs; print(logging.getLogger().handlers, structlog.is_configured())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[] False\n"


# ------------------------------------------------------------------ levels


def test_our_debug_is_shown_and_a_librarys_never(lines: Lines) -> None:
    logging.getLogger("delivery.worker").debug("ours")
    logging.getLogger("aiosqlite").debug("INSERT INTO messages VALUES ('canary')")
    logging.getLogger("uvicorn.error").debug("> TEXT 'canary'")
    logging.getLogger("some.library").info("theirs")
    assert [line["event"] for line in lines()] == ["ours", "theirs"]


def test_level_warning_silences_both(out: io.StringIO) -> None:
    configure("warning", "json", stream=out)
    ours().info("ours")
    logging.getLogger("some.library").info("theirs")
    ours().warning("kept")
    assert [json.loads(line)["event"] for line in out.getvalue().splitlines()] == ["kept"]


def test_uvicorns_lines_take_the_same_way_out(out: io.StringIO) -> None:
    stray = io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(stray))
    configure("info", "json", stream=out)
    access = '%s - "%s %s HTTP/%s" %d'
    logging.getLogger("uvicorn.access").info(access, "::1", "POST", "/v1/webhooks/sms/dlr?token=canary&x=1", "1.1", 200)
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["event"] == '::1 - "POST /v1/webhooks/sms/dlr?token=****&x=1 HTTP/1.1" 200'
    assert stray.getvalue() == ""


# ------------------------------------------------------------------ redaction by name


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "smtpPassword",
        "PASSWD",
        "token",
        "bot_token",
        "access-token",
        "authorization",
        "Proxy-Authorization",
        "api_key",
        "apiKeySecret",
        "X-API-Key",
        "secret",
        "app_secret",
        "signing_key",
        "signingKey",
        "credentials",
        "cookie",
        "Set-Cookie",
        "connection_init",
        "otp",
        "key",
    ],
)
@pytest.mark.parametrize("value", ["canary", 271828, b"canary", ["canary"], {"a": "canary"}, SecretStr("canary")])
def test_secret_names_are_masked_at_any_depth(lines: Lines, name: str, value: object) -> None:
    ours().info("e", **{name: value}, config={"list": [{"deep": {name: value}}]})
    (line,) = lines()
    assert line[name] == "****"
    assert line["config"] == {"list": [{"deep": {name: "****"}}]}


def test_names_that_only_look_secret_are_kept(lines: Lines) -> None:
    ours().info("e", error_id="x", idempotency_kind="y", connector_id="con_1", keyboard="z", monkey=1)
    line = lines()[0]
    assert [line[name] for name in ("error_id", "idempotency_kind", "connector_id", "keyboard", "monkey")] == [
        "x",
        "y",
        "con_1",
        "z",
        1,
    ]


@pytest.mark.parametrize("name", ["body", "html", "text", "subject", "caption", "content"])
def test_of_a_text_only_its_length_is_told(lines: Lines, name: str) -> None:
    ours().info("e", **{name: "your code is 271828"}, message={name: ["your code is 271828"]})
    (line,) = lines()
    assert line[name] == "[19 characters]"
    assert line["message"] == {name: "****"}


@pytest.mark.parametrize("name", ["to", "recipient", "destination", "test_destination", "phoneNumber"])
def test_recipients_are_a_keyed_hash_and_two_digits(lines: Lines, name: str) -> None:
    ours().info("e", **{name: "+4915112345678"})
    ours().info("e", **{name: ["+4915112345678"]})
    ours().info("e", **{name: 4915112345678})
    first, listed, number = (line[name] for line in lines())
    assert first == f"{mark('+4915112345678')}..78" and listed == [first]
    assert number == f"{mark('4915112345678')}..78"


# ------------------------------------------------------------------ values


class Colour(StrEnum):
    RED = "RED"


@dataclass
class Outgoing:
    body: str


def test_values_are_let_through_by_type(lines: Lines) -> None:
    some_id = uuid.uuid4()
    ours().info(
        "e",
        colour=Colour.RED,
        when=dt.datetime(2026, 1, 2, tzinfo=dt.UTC),
        span=dt.timedelta(seconds=90),
        some_id=some_id,
        path=Path("/srv/x"),
        pair=(1, "two"),
        failure=ValueError("password=canary"),
        raw=b"canary",
        outgoing=Outgoing("canary"),
        huge=10**30,
        ratio=float("nan"),
    )
    (line,) = lines()
    assert {name: line[name] for name in list(line) if name not in ("event", "level", "logger", "timestamp")} == {
        "colour": "RED",
        "when": "2026-01-02 00:00:00+00:00",
        "span": "0:01:30",
        "some_id": str(some_id),
        "path": "/srv/x",
        "pair": [1, "two"],
        "failure": "ValueError: password=****",
        "raw": "<bytes>",
        "outgoing": "<Outgoing>",
        "huge": "int",
        "ratio": "nan",
    }


def test_what_contains_itself_ends(lines: Lines) -> None:
    loop: dict[str, Any] = {}
    loop["again"] = loop
    ours().info("e", loop=loop)
    assert json.dumps(lines()[0]["loop"], ensure_ascii=False).count("again") == 7


def test_names_are_cleaned_too(lines: Lines) -> None:
    ours().info("e", config={"a\x1b[31m\nb": 1})
    assert lines()[0]["config"] == {"a[31m b": 1}


def test_a_line_that_cannot_be_written_is_reported_without_its_content(lines: Lines, out: io.StringIO) -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError("canary")

    root = logging.getLogger()
    root.handlers[:] = [
        handler for handler in root.handlers if type(handler).__module__ == "gateway.logs"
    ]  # pytest's own raise
    ours().info("e", failure=Broken())
    logging.getLogger("some.library").info("%d messages for %s", "canary")
    assert out.getvalue().splitlines() == [
        "a log line of gateway.test was lost (RuntimeError)",
        "a log line of test_logs was lost (TypeError)",
    ]


# ------------------------------------------------------------------ exceptions


def fail(secret: str) -> None:
    local_variable = secret  # noqa: F841
    try:
        raise ConnectionError(f"smtp://ada:{secret}@mail said no to alice@example.com")
    except ConnectionError as error:
        raise RuntimeError(f"password={secret}\n{{'level': 'info'}} forged") from error


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("library", [True, False])
def test_tracebacks_are_shown_without_secrets_and_locals(out: io.StringIO, format: Any, library: bool) -> None:
    configure("info", format, stream=out)
    log = logging.getLogger("some.library") if library else ours()
    try:
        fail("-".join(("canary", "4711")))
    except RuntimeError:
        log.exception("it broke")
    shown = out.getvalue()
    assert "Traceback (most recent call last):" in shown and "RuntimeError: password=****" in shown
    assert "smtp://****@mail said no to ****.." in shown
    assert "canary-4711" not in shown and "alice" not in shown
    unindented = [line for line in shown.splitlines()[1:] if not line.startswith(" ")]
    assert unindented in ([], ["Traceback (most recent call last):"])


# ------------------------------------------------------------------ the canary


def test_canary(lines: Lines, out: io.StringIO) -> None:
    """Say everything one must not say, in every way there is, and look for it in what was written."""
    recipient, mail, body, secret = "+4917699900777", "canary-inbox@example.org", "canary-body-9000", "canary-secret-9000"
    log, library = ours(), logging.getLogger("some.library")
    log.info("sent", to=recipient, body=body, config={"smtp": {"password": secret, "host": "h"}})
    log.info("sent", to=mail, attempts=[{"to": recipient, "text": body, "api_key": secret}])
    log.bind(token=secret).warning(f"refused {recipient} and {mail} with token={secret}")
    log.error(
        "exchange", request={"headers": {"Authorization": f"Bearer {secret}"}, "to": [recipient, mail], "body": {"a": body}}
    )
    log.info("object", outgoing=Outgoing(body), held=SecretStr(secret), raw=secret.encode())
    library.warning("to %s <%s>: password: %s", recipient, mail, secret)
    library.warning('POST https://u:%s@host/?secret=%s {"botToken": "%s"}', secret, secret, secret)
    structlog.contextvars.bind_contextvars(authorization=secret, recipient=recipient)
    try:
        raise ValueError(f"550 {mail} {recipient} Bearer {secret} [parameters: ('{body}', '{secret}')]")
    except ValueError as error:
        log.exception("broke", failure=error)
        library.exception("broke")
    written = out.getvalue()
    assert len(lines()) == 9
    for canary in (recipient, recipient[1:], mail, body, secret, "canary-"):
        assert canary not in written, canary
    assert written.count(f"{mark(recipient)}..77") >= 6
