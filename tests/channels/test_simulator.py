from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

import channels.simulator
from channels.base import CheckStatus, DeliveryStatus, Outbound, Report
from channels.egress import Egress
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange
from channels.http import Http
from channels.simulator import BEHAVIOURS, REMEMBERED, Simulator
from channels.wire import Wire

MESSAGE = Outbound(id="msg_1", to="delivered", body="Your code is 482913")


class Reports(list[Report]):
    """What was reported, with a way to wait for the next ones."""

    async def take(self, report: Report) -> None:
        self.append(report)

    async def wait(self, number: int) -> list[Report]:
        async with asyncio.timeout(5):
            while len(self) < number:  # noqa: ASYNC110
                await asyncio.sleep(0.002)
        return list(self)


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
async def wire(reports: Reports) -> AsyncIterator[Wire]:
    async with Http(Egress(allow_private=True)) as http:
        yield Wire(http, Egress(), reports.take)


@pytest.fixture
async def simulator() -> AsyncIterator[Simulator]:
    provider = Simulator()
    yield provider
    await provider.close()


def scripted(script: Any, **changes: Any) -> Outbound:
    return replace(MESSAGE, metadata={"simulator": script}, **changes)


async def refused(provider: Simulator, wire: Wire, message: Outbound, exchange: Exchange | None = None) -> SendError:
    with pytest.raises(SendError) as caught:
        await provider.send(wire, message, exchange or Exchange())
    return caught.value


@pytest.mark.parametrize(
    ("to", "statuses"),
    [
        ("delivered", ["DELIVERED"]),
        ("Delivered@Simulator", ["DELIVERED"]),
        ("+15551234567", ["DELIVERED"]),
        ("read", ["DELIVERED", "READ"]),
        ("out-of-order", ["DELIVERED", "SENT", "DELIVERED"]),
        ("undelivered", ["FAILED"]),
    ],
)
async def test_accepted_and_reported(wire: Wire, reports: Reports, simulator: Simulator, to: str, statuses: list[str]) -> None:
    exchange = Exchange(texts=MESSAGE.texts())
    accepted = await simulator.send(wire, replace(MESSAGE, to=to), exchange)
    assert (accepted.provider_id, accepted.status) == ("sim_msg_1", DeliveryStatus.SENT)
    assert [(stage.name.value, stage.ok) for stage in exchange.stages] == [("SUBMIT", True), ("ACCEPTED", True)]
    assert exchange.record == {
        "request": {"to": to, "body": "[19 characters]", "handOver": 1},
        "response": {"outcome": "accept", "id": "sim_msg_1"},
    }
    assert (exchange.sent, exchange.provider_status) == (True, 202)
    told = await reports.wait(len(statuses))
    assert [report.status.value for report in told] == statuses
    assert [report.event_id for report in told] == [f"sim_msg_1:{status}" for status in statuses]
    assert {report.provider_id for report in told} == {"sim_msg_1"}


async def test_a_failed_receipt_says_why(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    await simulator.send(wire, replace(MESSAGE, to="undelivered"), Exchange())
    (report,) = await reports.wait(1)
    assert report.failure is not None
    assert (report.failure.kind, report.failure.code) == (FailureKind.RECIPIENT, "UNDELIVERED")


async def test_no_receipt(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    await simulator.send(wire, replace(MESSAGE, to="no-receipt"), Exchange())
    await asyncio.sleep(0.1)
    assert reports == []


@pytest.mark.parametrize(
    ("to", "kind", "code", "status"),
    [
        ("outage", FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", 503),
        ("rejected", FailureKind.RECIPIENT, "INVALID_RECIPIENT", 404),
        ("refused", FailureKind.CONTENT, "MESSAGE_REFUSED", 422),
        ("invalid-credentials", FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", 401),
    ],
)
async def test_refused_every_time(
    wire: Wire, reports: Reports, simulator: Simulator, to: str, kind: FailureKind, code: str, status: int
) -> None:
    for _ in range(4):
        exchange = Exchange()
        error = await refused(simulator, wire, replace(MESSAGE, to=to), exchange)
        assert (error.kind, error.code, error.provider_code) == (kind, code, str(status))
        assert (exchange.provider_status, exchange.record["response"]["status"]) == (status, status)
        assert [stage.ok for stage in exchange.stages] == [True, False]
    assert reports == []


@pytest.mark.parametrize(
    ("to", "kind", "retry_after"),
    [("throttled", FailureKind.THROTTLED, 0.2), ("flaky", FailureKind.TRANSIENT, None)],
)
async def test_twice_refused_then_accepted(
    wire: Wire, reports: Reports, simulator: Simulator, to: str, kind: FailureKind, retry_after: float | None
) -> None:
    # The engine does not count a throttled hand-over as an attempt, so the message says 1 each time.
    message = replace(MESSAGE, to=to)
    for _ in range(2):
        error = await refused(simulator, wire, message)
        assert (error.kind, error.retry_after) == (kind, retry_after)
    assert (await simulator.send(wire, message, Exchange())).detail == "accepted at hand-over 3"
    assert (await refused(simulator, wire, replace(message, id="msg_2"))).kind is kind
    assert [report.provider_id for report in await reports.wait(1)] == ["sim_msg_1"]


async def test_a_lost_answer(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    exchange = Exchange()
    error = await refused(simulator, wire, replace(MESSAGE, to="lost-answer"), exchange)
    assert (error.kind, error.code, exchange.sent) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", True)
    assert reports == []


async def test_silence_ends_with_the_patience_of_the_wire(wire: Wire, simulator: Simulator) -> None:
    error = await refused(simulator, replace(wire, total_timeout=0.05), replace(MESSAGE, to="hang"))
    assert (error.kind, error.code) == (FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST")


async def test_a_crash_is_not_a_refusal(wire: Wire, simulator: Simulator) -> None:
    with pytest.raises(RuntimeError, match="told to crash"):
        await simulator.send(wire, replace(MESSAGE, to="crash"), Exchange())


async def test_a_script_decides_whatever_the_recipient(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    script = {
        "steps": [{"outcome": "throttled", "retryAfter": 0.5}, {"outcome": "unavailable"}, {"outcome": "accept"}],
        "receipts": [{"afterMs": 30, "status": "READ"}, {"afterMs": 5, "status": "DELIVERED"}],
    }
    message = scripted(script, to="rejected")
    first, second = await refused(simulator, wire, message), await refused(simulator, wire, message)
    assert (first.kind, first.retry_after) == (FailureKind.THROTTLED, 0.5)
    assert (second.kind, second.retry_after) == (FailureKind.TRANSIENT, None)
    for _ in range(2):
        await simulator.send(wire, message, Exchange())
    assert sorted(report.status.value for report in await reports.wait(4)) == ["DELIVERED", "DELIVERED", "READ", "READ"]


async def test_an_empty_script_accepts(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    assert (await simulator.send(wire, scripted({}, to="outage"), Exchange())).provider_id == "sim_msg_1"
    await asyncio.sleep(0.03)
    assert reports == []


async def test_throttling_without_a_time_asks_for_a_second(wire: Wire, simulator: Simulator) -> None:
    error = await refused(simulator, wire, scripted({"steps": [{"outcome": "throttled"}]}))
    assert error.retry_after == 1.0


async def test_latencies_add_up(wire: Wire) -> None:
    provider = Simulator.model_validate({"latencyMs": 40})
    exchange = Exchange()
    await provider.send(wire, scripted({"latencyMs": 30}), exchange)
    assert 65 < exchange.stages[0].duration_ms < 500


async def test_many_at_once_are_counted_apart(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    messages = [replace(MESSAGE, id=f"msg_{n}", to="throttled") for n in range(50)]
    for _ in range(2):
        outcomes = await asyncio.gather(*(refused(simulator, wire, message) for message in messages))
        assert {error.kind for error in outcomes} == {FailureKind.THROTTLED}
    await asyncio.gather(*(simulator.send(wire, message, Exchange()) for message in messages))
    assert len({report.event_id for report in await reports.wait(50)}) == 50


async def test_only_so_many_messages_are_remembered(wire: Wire, simulator: Simulator) -> None:
    message = replace(MESSAGE, id="first", to="flaky")
    await refused(simulator, wire, message)
    for n in range(REMEMBERED):
        await simulator.send(wire, replace(MESSAGE, id=f"msg_{n}", to="no-receipt"), Exchange())
    exchange = Exchange()
    await refused(simulator, wire, message, exchange)
    assert exchange.record["request"]["handOver"] == 1


async def test_closing_stops_the_receipts(wire: Wire, reports: Reports) -> None:
    provider = Simulator()
    await provider.send(wire, scripted({"receipts": [{"afterMs": 60, "status": "DELIVERED"}]}), Exchange())
    await provider.close()
    await asyncio.sleep(0.12)
    assert reports == []


async def test_a_receipt_nobody_takes_harms_nothing(wire: Wire, reports: Reports, simulator: Simulator) -> None:
    async def broken(_: Report) -> None:
        raise LookupError("no such message")

    script = {"receipts": [{"status": "DELIVERED"}]}
    await simulator.send(replace(wire, report=broken), scripted(script), Exchange())
    await asyncio.sleep(0.03)
    await simulator.send(wire, scripted(script, id="msg_2"), Exchange())
    assert [report.provider_id for report in await reports.wait(1)] == ["sim_msg_2"]


@pytest.mark.parametrize(
    ("script", "path"),
    [
        ({"steps": []}, "metadata.simulator.steps: "),
        ({"steps": [{"outcome": "explode"}]}, "metadata.simulator.steps.0.outcome: Input should be 'accept', "),
        ({"steps": [{"outcome": "accept"}, {}]}, "metadata.simulator.steps.1.outcome: Field required"),
        ({"steps": [{"outcome": "throttled", "retryAfter": -1}]}, "metadata.simulator.steps.0.retryAfter: "),
        ({"steps": [{"outcome": "throttled", "retryAfter": float("nan")}]}, "metadata.simulator.steps.0.retryAfter: "),
        ({"receipts": [{"status": "QUEUED"}]}, "metadata.simulator.receipts.0.status: "),
        ({"receipts": [{"status": "READ", "afterMs": 10**9}]}, "metadata.simulator.receipts.0.afterMs: "),
        ({"receipts": [{"status": "READ"}] * 101}, "metadata.simulator.receipts: "),
        ({"latencyMs": 10**9}, "metadata.simulator.latencyMs: "),
        ({"step": []}, "metadata.simulator.step: Extra inputs are not permitted"),
        ("accept", "metadata.simulator: "),
        (None, "metadata.simulator: "),
    ],
)
def test_a_wrong_script_is_refused_before_it_is_stored(script: Any, path: str) -> None:
    with pytest.raises(SendError) as caught:
        Simulator().check(scripted(script))
    error = caught.value
    assert (error.kind, error.code) == (FailureKind.CONTENT, "INVALID_SIMULATOR_SCRIPT")
    assert error.message.startswith(path)


@pytest.mark.parametrize("to", ["delivered", " read ", "Ada Lovelace", "用户", "x" * 200])
def test_destination(to: str) -> None:
    assert Simulator().destination(to) == to.strip()


@pytest.mark.parametrize("to", ["", "  ", "a\nb", "a\x00b", "x" * 201, "half \ud83d", "invalid", "INVALID@simulator"])
def test_no_destination(to: str) -> None:
    with pytest.raises(ValueError, match=r"must be 1 to 200|on purpose"):
        Simulator().destination(to)


async def test_verifying(wire: Wire) -> None:
    checks = await Simulator.model_validate({"apiKey": "sim_1"}).verify(wire)
    assert [(check.name, check.status) for check in checks] == [
        ("connection", CheckStatus.OK),
        ("authentication", CheckStatus.OK),
    ]


async def test_a_refused_key(wire: Wire, reports: Reports) -> None:
    provider = Simulator.model_validate({"apiKey": "invalid"})
    checks = await provider.verify(wire)
    assert [check.status for check in checks] == [CheckStatus.OK, CheckStatus.ERROR]
    assert checks[1].assertions[0].name == "credentials"
    error = await refused(provider, wire, MESSAGE)
    assert (error.kind, error.code) == (FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED")
    assert reports == []


async def test_the_key_is_in_no_repr_and_no_record(wire: Wire) -> None:
    provider = Simulator.model_validate({"apiKey": "sim_very_secret"})
    exchange = Exchange(provider.secrets())
    await provider.send(wire, scripted({}, to="sim_very_secret"), exchange)
    assert "sim_very_secret" not in repr((provider, exchange.record, provider.model_dump()))
    assert exchange.record["request"]["to"] == "****"


@pytest.mark.parametrize("config", [{"latencyMs": -1}, {"latencyMs": 60_001}, {"latencyMs": "soon"}, {"other": 1}])
def test_a_wrong_configuration_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Simulator.model_validate(config)


def test_every_behaviour_is_explained() -> None:
    explained = set(re.findall(r"[a-z-]+", channels.simulator.__doc__ or ""))
    assert set(BEHAVIOURS) <= explained
