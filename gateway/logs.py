"""Logs: every line, ours or a library's, takes the same way out, and on that way loses what must not be written down.

Values are let through by type, not stopped by name: text, numbers and collections of them are shown cleaned, exceptions as
their cleaned message, and of anything else only the type, because a repr may hold a password or a message's body.
"""

from __future__ import annotations

import datetime as dt
import enum
import functools
import logging
import math
import re
import sys
import uuid
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import PurePath
from typing import Any, Literal, TextIO, cast

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from channels.exchange import MASK

Fingerprint = Callable[[str], str]

ROOMS = ("gateway", "schema", "resolvers", "delivery", "channels", "models")
TEXT_LIMIT = 2_000
TRACE_LIMIT = 16_000
DEEPEST = 6
LARGEST = 2**63  # beyond which orjson writes no integer
_RAW_LIMIT = 32_000  # characters looked at; what lies beyond is not worth the time

_SECRET_NAME = re.compile(
    r"passw|pwd|secret|token|authorization|apikey|accesskey|privatekey|signingkey|encryptionkey|credential|cookie"
    r"|connectioninit|^(auth|key|keys|otp|pin|jwt|bearer)$"
)
_RECIPIENT_NAMES = frozenset(
    {"to", "recipient", "recipients", "destination", "testdestination", "msisdn", "phone", "phonenumber"}
)
_TEXT_NAMES = frozenset({"body", "html", "text", "subject", "caption", "content"})
_TRACE_NAMES = frozenset({"exception", "stack"})

# One short word in which no pattern below can match: names, ids, codes. Most values are such.
_HARMLESS = re.compile(r"(?!eyJ|EAA|whsec_|pb_|sk_|xox)[A-Za-z0-9_]{0,64}")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]")
_NAMES = r"(?:passw(?:or)?d|secret|token|api[_-]?key|access[_-]?key|signing[_-]?key|authorization|credential|cookie)\w{0,20}"
_QUOTED = r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\\"[^"\\]*\\"|\\?["']?[^\s"'&,;)}\]\\]+"""
_MASKED: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,30}PRIVATE KEY-----|\Z)", re.S), MASK),
    (re.compile(r"\[parameters: [^\n]*"), f"[parameters: {MASK}]"),
    (re.compile(r"\b(bearer|basic|accesskey)\s{1,3}[^\s\"',;)}\]]+", re.I), rf"\1 {MASK}"),
    (re.compile(r"\beyJ[\w-]{5,}(?:\.[\w-]*){0,4}"), MASK),
    (re.compile(r"(://)[^/\s@\"']{1,500}@"), rf"\1{MASK}@"),
    (re.compile(r"\b(bot)?\d{5,20}:[\w-]{20,}"), rf"\1{MASK}"),
    (re.compile(r"(/bot)\d{5,20}:[^\s/]+"), rf"\1{MASK}"),
    (re.compile(r"(hooks\.slack\.com/\w{1,20}/|/api/webhooks/\d{1,20}/)[\w/-]+"), rf"\1{MASK}"),
    (re.compile(r"\b(?:whsec_|pb_live_|pb_test_|sk_live_|xox[a-z]-|EAA)[\w+/=-]{8,}"), MASK),
    (re.compile(rf"({_NAMES}\\?[\"']?\s{{0,3}}[=:]\s{{0,3}}(?:b(?=[\"']))?)(?:{_QUOTED})", re.I), rf"\1{MASK}"),
)
_ADDRESS = re.compile(
    r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}"  # alice@example.com
    r"|(?<![\w+])(?:\+|%2[Bb])[1-9]\d{6,14}(?!\d)"  # +4915112345678
)


def configure(
    level: str = "info",
    format: Literal["auto", "console", "json"] = "auto",
    *,
    fingerprint: Fingerprint | None = None,
    stream: TextIO | None = None,
) -> None:
    """Send all logging of the process to `stream` (default stderr). May be called again to change its mind.

    `level` is for our rooms; libraries never log below info, where some write what passes through them. `fingerprint`
    makes recipients recognisable across lines; without it only their last two digits are shown.
    """
    out = stream or sys.stderr
    lowest = logging.getLevelNamesMapping()[level.upper()]
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
    ]
    after = _last_steps(_renderer(format, out), fingerprint)
    handler = _Handler(out)
    handler.setFormatter(_formatter(before, after))
    structlog.configure(
        processors=[*before, _handed_in],
        wrapper_class=structlog.make_filtering_bound_logger(lowest),
        logger_factory=functools.partial(_Writer, handler, after),
        cache_logger_on_first_use=False,
    )
    _install(handler, lowest)


def masked_recipient(recipient: str, fingerprint: Fingerprint | None = None) -> str:
    """A recipient as logs may show it: a keyed hash and its last two digits."""
    digits = "".join(character for character in recipient if character.isdecimal())
    return f"{fingerprint(recipient) if fingerprint else MASK}..{digits[-2:]}"


class _Kind(enum.Enum):
    """What the name of a field says of its value."""

    SECRET = enum.auto()
    TEXT = enum.auto()
    RECIPIENT = enum.auto()
    TRACE = enum.auto()
    OTHER = enum.auto()


@functools.lru_cache(maxsize=1024)
def _kind(name: str) -> _Kind:
    plain = re.sub(r"[^a-z]", "", name.lower())
    if _SECRET_NAME.search(plain):
        return _Kind.SECRET
    named = ((_TEXT_NAMES, _Kind.TEXT), (_RECIPIENT_NAMES, _Kind.RECIPIENT), (_TRACE_NAMES, _Kind.TRACE))
    return next((kind for names, kind in named if plain in names), _Kind.OTHER)


def _is_harmless(value: object) -> bool:
    """Most values are, and need not be looked at further."""
    kind = type(value)
    if kind is str:
        return _HARMLESS.fullmatch(cast(str, value)) is not None
    if kind is int or kind is float:
        return -LARGEST < cast(float, value) < LARGEST
    return value is None or kind is bool


def _is_word(name: str) -> bool:
    return name.isidentifier() and name.isascii() and len(name) <= 20


@functools.lru_cache(maxsize=1024)
def _is_plain(name: str) -> bool:
    """A field of this name is shown as it is named, and its value is like any other."""
    return _is_word(name) and _kind(name) is _Kind.OTHER


class Redaction:
    """The step all log lines pass: see the module's first words for its rule."""

    def __init__(self, fingerprint: Fingerprint | None = None) -> None:
        self._fingerprint = fingerprint

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        ours = {name: event.pop(name) for name in ("level", "logger") if name in event}
        return {**self._mapping(event, 0), **ours}

    def text(self, text: str, limit: int = TEXT_LIMIT) -> str:
        """One line without secrets, addresses and control characters."""
        if _HARMLESS.fullmatch(text):
            return text
        return self._lines(text.replace("\n", " ").replace("\t", " "), limit)

    def _mapping(self, value: Mapping[Any, object], depth: int) -> dict[str, Any]:
        shown = {}
        for name, item in value.items():
            if type(name) is str and _is_harmless(item) and _is_plain(name):
                shown[name] = item
            else:
                shown[self._name(str(name))] = self._field(str(name), item, depth)
        return shown

    def _name(self, name: str) -> str:
        return name if _is_word(name) else self.text(name, 100)

    def _field(self, name: str, value: object, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        match _kind(name):
            case _Kind.SECRET:
                return MASK
            case _Kind.TEXT:
                return f"[{len(value)} characters]" if isinstance(value, str) else MASK
            case _Kind.RECIPIENT if isinstance(value, (str, int)):
                return masked_recipient(str(value), self._fingerprint)
            case _Kind.TRACE if isinstance(value, str):
                # Indented, so that no line of a foreign message can pass for a line of this log.
                return self._lines(value, TRACE_LIMIT).replace("\n", "\n  ")
        return self._value(value, depth, name)

    def _value(self, value: object, depth: int, name: str = "") -> Any:
        if type(value) is str:
            return self.text(value)
        if depth > DEEPEST:
            return "…"
        match value:
            case None | bool():
                return value
            case enum.Enum() | dt.date() | dt.time() | dt.timedelta() | uuid.UUID() | PurePath():
                return self.text(str(value))
            case str():
                return self.text(value)
            case int():
                return value if abs(value) < LARGEST else str(type(value).__name__)
            case float():
                return value if math.isfinite(value) else str(value)
            case Mapping():
                return self._mapping(value, depth + 1)
            case list() | tuple() | set() | frozenset():
                return [self._field(name, item, depth + 1) for item in value]
            case BaseException():
                return self.text(f"{type(value).__name__}: {value}")
        return f"<{type(value).__name__}>"

    def _lines(self, text: str, limit: int) -> str:
        text = _CONTROL.sub("", text if len(text) <= _RAW_LIMIT else f"{text[: _RAW_LIMIT // 2]} … {text[-_RAW_LIMIT // 2 :]}")
        for pattern, mask in _MASKED:
            text = pattern.sub(mask, text)
        text = _ADDRESS.sub(lambda found: masked_recipient(found[0], self._fingerprint), text)
        return text if len(text) <= limit else f"{text[: limit // 2]} … {text[-limit // 2 :]}"


class _Handler(logging.StreamHandler[TextIO]):
    """Ours, so that it can be found again. Says that a line was lost without saying what was in it."""

    def write(self, line: str) -> None:
        """A line that is complete already."""
        with self.lock or nullcontext():
            self.stream.write(line + self.terminator)
            self.flush()

    def handleError(self, record: logging.LogRecord) -> None:
        self.lose(record.module)

    def lose(self, origin: str) -> None:
        """Called while the error is handled that kept a line from being written."""
        kind = sys.exc_info()[0]
        try:
            self.stream.write(f"a log line of {origin} was lost ({kind.__name__ if kind else 'unknown'})\n")
        except (OSError, ValueError):
            return


class _Writer:
    """Finishes the lines of a logger of ours and writes them. They pass no `LogRecord`: making one costs more than the line."""

    def __init__(self, handler: _Handler, steps: list[Processor], *name: str) -> None:
        self._handler = handler
        self._steps = steps
        self.name = name[0] if name else structlog.stdlib.LoggerFactory(ignore_frame_names=[__name__])().name

    def write(self, event: EventDict) -> None:
        line, level = cast(Any, event), event["level"]
        try:
            for step in self._steps:
                line = step(self, level, line)
            self._handler.write(line)
        except Exception:
            self._handler.lose(self.name)

    debug = info = warning = error = critical = exception = write


def _handed_in(_logger: WrappedLogger, _method: str, event: EventDict) -> tuple[tuple[EventDict], dict[str, Any]]:
    return (event,), {}


def _last_steps(renderer: Processor, fingerprint: Fingerprint | None) -> list[Processor]:
    return [
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        Redaction(fingerprint),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        renderer,
    ]


def _formatter(before: list[Processor], after: list[Processor]) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *after]
    )


def _renderer(format: str, stream: TextIO) -> Processor:
    is_watched = stream.isatty()
    if format == "json" or (format == "auto" and not is_watched):
        return _json
    # The default formatter prints the local variables of every frame.
    return structlog.dev.ConsoleRenderer(colors=is_watched, exception_formatter=structlog.dev.plain_traceback)


def _json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    return orjson.dumps(event).decode()


def _install(handler: logging.Handler, lowest: int) -> None:
    root = logging.getLogger()
    for old in [old for old in root.handlers if isinstance(old, _Handler)]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(max(lowest, logging.INFO))
    for room in ROOMS:
        logging.getLogger(room).setLevel(lowest)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
        library.setLevel(logging.NOTSET)
