"""What was said on the wire for one attempt: timed stages for `connectorTest`, a redacted record for the attempt."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import quote, quote_plus

import orjson

MASK = "****"
EXCERPT = 4_000
SHORTEST = 3  # removing every "1" from a record would leave nothing to read
DEEPEST = 10
WIDEST = 50

# A provider may echo a text trimmed or rewritten, so these members are hidden by name and not by what they hold.
PRIVATE = frozenset({"text", "body", "caption", "html", "subject", "payload"})

_ESCAPED = re.compile(r'["\\]')
_PRIVATE_MEMBER = re.compile(rb'([{,]"(?:%s)":)("(?:[^"\\]|\\.)*")' % "|".join(sorted(PRIVATE)).encode(), re.IGNORECASE)


class StageName(StrEnum):
    RESOLVE = "RESOLVE"
    CONNECT = "CONNECT"
    TLS = "TLS"
    AUTH = "AUTH"
    SUBMIT = "SUBMIT"
    ACCEPTED = "ACCEPTED"


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of a hand-over; the duration is in milliseconds."""

    name: StageName
    ok: bool
    duration_ms: float
    detail: str | None = None


class Exchange:
    """Collects stages and a record from which every secret and message text is removed as it is written.

    `sent` turns true when bytes of the last request have left: from then on a lost answer means an unknown outcome.
    """

    def __init__(self, secrets: tuple[str, ...] = (), texts: tuple[str, ...] = ()) -> None:
        masks = [*_masks_of_secrets(secrets), *_masks_of_texts(texts)]
        self._masks = sorted(masks, key=lambda mask: len(mask.hidden), reverse=True)
        self.stages: list[Stage] = []
        self.record: dict[str, Any] = {}
        self.provider_status: int | None = None
        self.sent = False

    @contextmanager
    def stage(self, name: StageName) -> Iterator[None]:
        """Time one step; an exception inside marks the stage failed and goes on."""
        started = time.perf_counter()
        try:
            yield
        except BaseException as error:
            reason = "Interrupted, or out of time." if isinstance(error, asyncio.CancelledError) else str(error)
            self.add_stage(name, False, started, reason or type(error).__name__)
            raise
        self.add_stage(name, True, started)

    def add_stage(self, name: StageName, ok: bool, started: float, detail: str | None = None) -> None:
        """`started` is a `time.perf_counter()` reading."""
        elapsed = round((time.perf_counter() - started) * 1000, 3)
        self.stages.append(Stage(name, ok, elapsed, self.redact(detail) if detail else None))

    def note(self, key: str, value: Any) -> None:
        """Record `value` (JSON-like) under `key`: redacted, and cut where it is too deep, too wide or too long."""
        try:
            self.record[key] = _cleaned(orjson.dumps(value), self._masks)
        except (TypeError, ValueError):
            self.record[key] = _clean(value, self._masks)

    def redact(self, text: str) -> str:
        """`text` without the connector's secrets and the message's own texts, at most EXCERPT characters."""
        return _redacted(text, self._masks)


class _Mask(NamedTuple):
    """What is hidden, as itself and as it stands in JSON, and what is shown instead."""

    hidden: str
    written: bytes
    shown: str


def _mask(hidden: str, shown: str) -> _Mask:
    written = hidden if _is_plain(hidden) else json.dumps(hidden, ensure_ascii=False)[1:-1]
    return _Mask(hidden, written.encode("utf-8", "surrogatepass"), shown)


def _cleaned(written: bytes, masks: Sequence[_Mask]) -> Any:
    """As `_clean`, of JSON that is too small to need cutting, at a fraction of the cost. Raises ValueError for other JSON, and
    where something hidden stood outside of a text: what is shown instead is no JSON there."""
    if len(written) > EXCERPT or written.count(b",") >= WIDEST or written.count(b"[") + written.count(b"{") >= DEEPEST:
        raise ValueError("has to be looked at part by part")
    if b"\\u0000" in written:
        raise ValueError("holds what PostgreSQL does not store")
    written = _PRIVATE_MEMBER.sub(_hidden_member, written)
    for mask in masks:
        if mask.written in written:
            written = written.replace(mask.written, mask.shown.encode())
    return orjson.loads(written)


def _hidden_member(found: re.Match[bytes]) -> bytes:
    return found[1] + orjson.dumps(_length_of(orjson.loads(found[2])))


def _redacted(text: str, masks: Sequence[_Mask]) -> str:
    for mask in masks:
        text = text.replace(mask.hidden, mask.shown)
    return text[:EXCERPT].replace("\0", "�")  # PostgreSQL stores no NUL


def _clean(value: Any, masks: Sequence[_Mask], depth: int = 0) -> Any:
    if type(value) is str:
        return _redacted(value, masks)
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, (dict, list, tuple, Mapping)):
        return _clean_items(value, masks, depth + 1) if depth < DEEPEST else "…"
    return _redacted(str(value), masks)


def _clean_items(value: Mapping[Any, Any] | Iterable[Any], masks: Sequence[_Mask], depth: int) -> Any:
    if isinstance(value, Mapping):
        members = islice(value.items(), WIDEST)
        return {_redacted(str(key), masks): _clean_member(str(key), item, masks, depth) for key, item in members}
    return [_clean(item, masks, depth) for item in islice(value, WIDEST)]


def _clean_member(key: str, value: Any, masks: Sequence[_Mask], depth: int) -> Any:
    if isinstance(value, str) and key.lower() in PRIVATE:
        return _length_of(value)
    return _clean(value, masks, depth)


@lru_cache(maxsize=256)
def _masks_of_secrets(secrets: tuple[str, ...]) -> tuple[_Mask, ...]:
    """A connector's are the same for each of its messages."""
    spellings = set()
    for secret in filter(None, secrets):
        spellings |= {*_spellings(secret), quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    return tuple(_mask(spelling, MASK) for spelling in spellings)


def _masks_of_texts(texts: tuple[str, ...]) -> Iterator[_Mask]:
    for text in texts:
        for spelling in _spellings(text):
            if len(spelling) >= SHORTEST:
                yield _mask(spelling, _length_of(text))


def _spellings(text: str) -> set[str]:
    """As it is, trimmed, and as JSON writes it: an answer that cannot be parsed is recorded as it came."""
    plain = {text, text.strip() or text}
    if _is_plain(text):
        return plain
    return plain | {json.dumps(one, ensure_ascii=ascii)[1:-1] for one in plain for ascii in (True, False)}


def _is_plain(text: str) -> bool:
    """JSON writes it as it is."""
    return text.isascii() and text.isprintable() and not _ESCAPED.search(text)


def _length_of(text: str) -> str:
    return f"[{len(text)} characters]"
