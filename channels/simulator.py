"""A provider that sends nothing and behaves as told: for trying Patchbay out, for drills and for tests.

Who a message goes to decides what happens (`BEHAVIOURS`; `@simulator` may follow the word, any other recipient is delivered):

  delivered     accepted, then DELIVERED                 read            accepted, then DELIVERED and READ
  undelivered   accepted, then FAILED                    no-receipt      accepted, then silence
  out-of-order  DELIVERED before SENT, DELIVERED twice   slow            accepted after two seconds
  throttled     429 twice, then accepted                 flaky           unavailable twice, then accepted
  outage        unavailable every time                   rejected        the recipient is refused
  refused       the content is refused                   invalid-credentials  the connector is refused
  lost-answer   taken, but nobody knows                  hang            no answer at all
  crash         an unexpected exception                  invalid         not even an address

Or the message brings its own script in `metadata.simulator`, for instance
`{"steps": [{"outcome": "throttled", "retryAfter": 0.2}, {"outcome": "accept"}],
  "receipts": [{"afterMs": 50, "status": "DELIVERED"}]}`:
one step per hand-over, the last one repeats; receipts follow an accepted one.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import OrderedDict
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

import structlog
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from channels.base import (
    Accepted,
    Assertion,
    Capabilities,
    ChannelType,
    Check,
    CheckStatus,
    DeliveryStatus,
    Outbound,
    Provider,
    Report,
    Template,
)
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange, StageName
from channels.wire import Wire

LONGEST_ADDRESS = 200
REMEMBERED = 10_000  # messages whose hand-overs are counted
REFUSED_KEY = "invalid"


class Outcome(StrEnum):
    """How one hand-over ends."""

    ACCEPT = "accept"
    THROTTLED = "throttled"
    UNAVAILABLE = "unavailable"
    REJECTED = "rejected"
    REFUSED = "refused"
    INVALID_CREDENTIALS = "invalid-credentials"
    LOST_ANSWER = "lost-answer"
    HANG = "hang"
    CRASH = "crash"


class _Scripted(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="forbid", alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Step(_Scripted):
    """`retry_after` is in seconds."""

    outcome: Outcome
    retry_after: float | None = Field(None, ge=0, le=3600)


class Receipt(_Scripted):
    """Reported `after_ms` milliseconds after the message was accepted; the same status twice is one receipt repeated."""

    status: DeliveryStatus
    after_ms: int = Field(0, ge=0, le=3_600_000)


class Script(_Scripted):
    """What happens to one message; `latency_ms` is added to the connector's own."""

    steps: tuple[Step, ...] = Field((Step(outcome=Outcome.ACCEPT),), min_length=1, max_length=100)
    receipts: tuple[Receipt, ...] = Field((), max_length=100)
    latency_ms: int = Field(0, ge=0, le=60_000)

    def step(self, hand_over: int) -> Step:
        """The step of the first (0), second (1), … hand-over."""
        return self.steps[min(hand_over, len(self.steps) - 1)]


class _Refusal(NamedTuple):
    kind: FailureKind
    code: str
    message: str
    status: int


_REFUSALS: Mapping[Outcome, _Refusal] = {
    Outcome.THROTTLED: _Refusal(FailureKind.THROTTLED, "THROTTLED", "The simulator asks to slow down.", 429),
    Outcome.UNAVAILABLE: _Refusal(FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "The simulator is not available now.", 503),
    Outcome.REJECTED: _Refusal(FailureKind.RECIPIENT, "INVALID_RECIPIENT", "The simulator knows no such recipient.", 404),
    Outcome.REFUSED: _Refusal(FailureKind.CONTENT, "MESSAGE_REFUSED", "The simulator refused the message.", 422),
    Outcome.INVALID_CREDENTIALS: _Refusal(
        FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", "The simulator refused the credentials.", 401
    ),
}
_DEFAULT_RETRY_AFTER = 1.0


def _script(*outcomes: Outcome, receipts: tuple[DeliveryStatus, ...] = (), latency_ms: int = 0) -> Script:
    """Receipts come 20 ms apart."""
    return Script(
        steps=tuple(Step(outcome=outcome, retry_after=0.2 if outcome is Outcome.THROTTLED else None) for outcome in outcomes),
        receipts=tuple(Receipt(status=status, after_ms=20 * n) for n, status in enumerate(receipts, 1)),
        latency_ms=latency_ms,
    )


_SENT, _DELIVERED, _READ = DeliveryStatus.SENT, DeliveryStatus.DELIVERED, DeliveryStatus.READ

BEHAVIOURS: Mapping[str, Script] = {
    "delivered": _script(Outcome.ACCEPT, receipts=(_DELIVERED,)),
    "read": _script(Outcome.ACCEPT, receipts=(_DELIVERED, _READ)),
    "undelivered": _script(Outcome.ACCEPT, receipts=(DeliveryStatus.FAILED,)),
    "no-receipt": _script(Outcome.ACCEPT),
    "out-of-order": _script(Outcome.ACCEPT, receipts=(_DELIVERED, _SENT, _DELIVERED)),
    "slow": _script(Outcome.ACCEPT, receipts=(_DELIVERED,), latency_ms=2_000),
    "throttled": _script(Outcome.THROTTLED, Outcome.THROTTLED, Outcome.ACCEPT, receipts=(_DELIVERED,)),
    "flaky": _script(Outcome.UNAVAILABLE, Outcome.UNAVAILABLE, Outcome.ACCEPT, receipts=(_DELIVERED,)),
    "outage": _script(Outcome.UNAVAILABLE),
    "rejected": _script(Outcome.REJECTED),
    "refused": _script(Outcome.REFUSED),
    "invalid-credentials": _script(Outcome.INVALID_CREDENTIALS),
    "lost-answer": _script(Outcome.LOST_ANSWER),
    "hang": _script(Outcome.HANG),
    "crash": _script(Outcome.CRASH),
}
INVALID = "invalid"


class Simulator(Provider):
    """A scripted provider; nothing leaves the process."""

    about = Template(
        slug="simulator",
        key="simulator",
        channel=ChannelType.SIMULATOR,
        provider="SIMULATOR",
        title="Simulator",
        capabilities=Capabilities(
            text=True, subject=True, media=True, templates=True, delivery_receipts=True, read_receipts=True
        ),
    )

    latency_ms: int = Field(
        0, title="Latency", description="Milliseconds every hand-over takes.", examples=[50], ge=0, le=60_000
    )
    api_key: SecretStr | None = Field(
        None,
        title="API key",
        description=f'Anything; "{REFUSED_KEY}" is refused.',
        examples=["sim_0123456789"],
        max_length=200,
    )

    _hand_overs: OrderedDict[str, int] = PrivateAttr(default_factory=OrderedDict)
    _reports: set[asyncio.Task[None]] = PrivateAttr(default_factory=set)

    def destination(self, to: str) -> str:
        to = to.strip()
        if not to or len(to) > LONGEST_ADDRESS or not to.isprintable():
            raise ValueError(f"must be 1 to {LONGEST_ADDRESS} characters without control characters")
        if _word(to) == INVALID:
            raise ValueError("is an address the simulator refuses on purpose")
        return to

    def check(self, message: Outbound) -> None:
        script_of(message)

    async def verify(self, wire: Wire) -> list[Check]:
        credentials = (
            Assertion("credentials", CheckStatus.ERROR, "The simulator refuses this API key.")
            if self._refused
            else Assertion("credentials", CheckStatus.OK, "The simulator accepts the credentials.")
        )
        reachable = Assertion("reachable", CheckStatus.OK, "The simulator is part of this process.")
        return [
            Check("connection", "Connection", (reachable,)),
            Check("authentication", "Authentication", (credentials,)),
        ]

    async def send(self, wire: Wire, message: Outbound, exchange: Exchange) -> Accepted:
        script = script_of(message)
        hand_over = self._count(message.id)
        step = Step(outcome=Outcome.INVALID_CREDENTIALS) if self._refused else script.step(hand_over)
        exchange.note("request", {"to": message.to, "body": message.body, "handOver": hand_over + 1})
        provider_id = f"sim_{message.id}"
        with exchange.stage(StageName.SUBMIT):
            exchange.sent = True
            await asyncio.sleep((self.latency_ms + script.latency_ms) / 1000)
        with exchange.stage(StageName.ACCEPTED):
            await _play(step, exchange, wire.total_timeout)
        exchange.provider_status = 202
        exchange.note("response", {"outcome": step.outcome.value, "id": provider_id})
        self._report_later(wire, provider_id, script.receipts)
        return Accepted(provider_id, detail=f"accepted at hand-over {hand_over + 1}")

    async def close(self) -> None:
        """Receipts not reported yet never will be."""
        for task in self._reports:
            task.cancel()
        await asyncio.gather(*self._reports, return_exceptions=True)

    @property
    def _refused(self) -> bool:
        return self.api_key is not None and self.api_key.get_secret_value() == REFUSED_KEY

    def _count(self, message_id: str) -> int:
        """How often this message was handed over before."""
        before = self._hand_overs.pop(message_id, 0)
        self._hand_overs[message_id] = before + 1
        if len(self._hand_overs) > REMEMBERED:
            self._hand_overs.popitem(last=False)
        return before

    def _report_later(self, wire: Wire, provider_id: str, receipts: tuple[Receipt, ...]) -> None:
        if not receipts:
            return
        task = asyncio.create_task(_report_all(wire, provider_id, receipts))
        self._reports.add(task)
        task.add_done_callback(self._reported)

    def _reported(self, task: asyncio.Task[None]) -> None:
        self._reports.discard(task)
        if not task.cancelled() and (error := task.exception()):
            structlog.get_logger().error("simulator.receipt_lost", error=type(error).__name__)


def script_of(message: Outbound) -> Script:
    """The script a message brings, or the one its recipient stands for. Raises SendError(CONTENT)."""
    if "simulator" not in message.metadata:
        return BEHAVIOURS.get(_word(message.to), BEHAVIOURS["delivered"])
    try:
        return Script.model_validate(message.metadata["simulator"])
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        path = ".".join(("metadata", "simulator", *(str(part) for part in first["loc"])))
        raise SendError(FailureKind.CONTENT, "INVALID_SIMULATOR_SCRIPT", f"{path}: {first['msg']}.") from None


def _word(to: str) -> str:
    return to.lower().removesuffix("@simulator")


async def _play(step: Step, exchange: Exchange, patience: float) -> None:
    if step.outcome is Outcome.CRASH:
        raise RuntimeError("The simulator was told to crash.")
    if step.outcome is Outcome.HANG:
        await asyncio.sleep(patience)
    if step.outcome in (Outcome.HANG, Outcome.LOST_ANSWER):
        raise SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", "The simulator's answer was lost on purpose.")
    if step.outcome in _REFUSALS:
        raise _refused(step, exchange)


def _refused(step: Step, exchange: Exchange) -> SendError:
    refusal = _REFUSALS[step.outcome]
    exchange.provider_status = refusal.status
    exchange.note("response", {"outcome": step.outcome.value, "status": refusal.status})
    throttled = step.outcome is Outcome.THROTTLED
    return SendError(
        refusal.kind,
        refusal.code,
        refusal.message,
        provider_code=str(refusal.status),
        provider_message=step.outcome.value,
        retry_after=_DEFAULT_RETRY_AFTER if throttled and step.retry_after is None else step.retry_after,
    )


async def _report_all(wire: Wire, provider_id: str, receipts: tuple[Receipt, ...]) -> None:
    waited = 0
    for receipt in sorted(receipts, key=lambda receipt: receipt.after_ms):
        await asyncio.sleep((receipt.after_ms - waited) / 1000)
        waited = receipt.after_ms
        await wire.report(_report(provider_id, receipt))


def _report(provider_id: str, receipt: Receipt) -> Report:
    failed = receipt.status is DeliveryStatus.FAILED
    return Report(
        event_id=f"{provider_id}:{receipt.status}",
        provider_id=provider_id,
        status=receipt.status,
        occurred_at=dt.datetime.now(dt.UTC),
        failure=_undelivered() if failed else None,
        raw={"id": provider_id, "status": receipt.status.value},
    )


def _undelivered() -> SendError:
    return SendError(FailureKind.RECIPIENT, "UNDELIVERED", "The simulator could not deliver the message.")
