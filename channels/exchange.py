"""What was said on the wire for one attempt: timed stages for `connectorTest`, a redacted record for the attempt."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MASK = "****"
EXCERPT = 4_000
SHORTEST = 3  # removing every "1" from a record would leave nothing to read


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

    `sent` turns true when bytes of the request have left: from then on a lost answer means an unknown outcome.
    """

    def __init__(self, secrets: tuple[str, ...] = (), texts: tuple[str, ...] = ()) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._texts = sorted((text for text in texts if len(text) >= SHORTEST), key=len, reverse=True)
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
            self.add_stage(name, False, started, str(error) or type(error).__name__)
            raise
        self.add_stage(name, True, started)

    def add_stage(self, name: StageName, ok: bool, started: float, detail: str | None = None) -> None:
        """`started` is a `time.perf_counter()` reading."""
        elapsed = round((time.perf_counter() - started) * 1000, 3)
        self.stages.append(Stage(name, ok, elapsed, self.redact(detail) if detail else None))

    def note(self, key: str, value: Any) -> None:
        """Record `value` (JSON-like) under `key`, redacted."""
        self.record[key] = self._clean(value)

    def redact(self, text: str) -> str:
        """`text` without the connector's secrets and the message's own texts, at most EXCERPT characters."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        for own in self._texts:
            text = text.replace(own, f"[{len(own)} characters]")
        return text[:EXCERPT]

    def _clean(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {str(key): self._clean(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self._clean(item) for item in value]
        if value is None or isinstance(value, (bool, int, float)):
            return value
        return self.redact(str(value))
