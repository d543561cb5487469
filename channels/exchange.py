"""What was said on the wire for one attempt: timed stages for `connectorTest`, a redacted record for the attempt."""

from __future__ import annotations

import asyncio
import json
import math
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "****"
EXCERPT = 4_000
SHORTEST = 3  # removing every "1" from a record would leave nothing to read
DEEPEST = 10
WIDEST = 50

# A provider may echo a text trimmed or rewritten, so these members are hidden by name and not by what they hold.
PRIVATE = frozenset({"text", "body", "caption", "html", "subject", "payload"})

_ESCAPED = re.compile(r'["\\]')


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
        self._masks = sorted(masks, key=lambda mask: len(mask[0]), reverse=True)
        self._harmless = min((len(hidden) for hidden, _shown in masks), default=EXCERPT)  # shorter texts hold none of them
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
        self.record[key] = self._clean(value)

    def redact(self, text: str) -> str:
        """`text` without the connector's secrets and the message's own texts, at most EXCERPT characters."""
        if len(text) < self._harmless and len(text) <= EXCERPT and "\0" not in text:
            return text
        for hidden, shown in self._masks:
            text = text.replace(hidden, shown)
        return text[:EXCERPT].replace("\0", "�")  # PostgreSQL stores no NUL

    def _clean(self, value: Any, depth: int = 0) -> Any:
        if type(value) is str:
            return self.redact(value)
        if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
            return value
        if isinstance(value, (dict, list, tuple, Mapping)):
            return self._clean_items(value, depth + 1) if depth < DEEPEST else "…"
        return self.redact(str(value))

    def _clean_items(self, value: Mapping[Any, Any] | Iterable[Any], depth: int) -> Any:
        if isinstance(value, Mapping):
            members = islice(value.items(), WIDEST)
            return {self.redact(str(key)): self._clean_member(str(key), item, depth) for key, item in members}
        return [self._clean(item, depth) for item in islice(value, WIDEST)]

    def _clean_member(self, key: str, value: Any, depth: int) -> Any:
        if isinstance(value, str) and key.lower() in PRIVATE:
            return _length_of(value)
        return self._clean(value, depth)


@lru_cache(maxsize=256)
def _masks_of_secrets(secrets: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """A connector's are the same for each of its messages."""
    spellings = set()
    for secret in filter(None, secrets):
        spellings |= {*_spellings(secret), quote(secret, safe="", errors="replace"), quote_plus(secret, errors="replace")}
    return tuple((spelling, MASK) for spelling in spellings)


def _masks_of_texts(texts: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for text in texts:
        for spelling in _spellings(text):
            if len(spelling) >= SHORTEST:
                yield spelling, _length_of(text)


def _spellings(text: str) -> set[str]:
    """As it is, trimmed, and as JSON writes it: an answer that cannot be parsed is recorded as it came."""
    plain = {text, text.strip() or text}
    if text.isascii() and text.isprintable() and not _ESCAPED.search(text):
        return plain
    return plain | {json.dumps(one, ensure_ascii=ascii)[1:-1] for one in plain for ascii in (True, False)}


def _length_of(text: str) -> str:
    return f"[{len(text)} characters]"
