"""When a circuit opens and closes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import select

from channels.base import Accepted
from channels.errors import FailureKind, SendError
from delivery.circuit import Circuits
from models.connectors import CircuitState, Connector
from tests import lab, make
from tests.delivery.rows import connector, finished
from tests.harness import Gateway, eventually, running, settings_for
from tests.sending import log_of, send, settled

GOOD = Accepted("p1")
BAD = SendError(FailureKind.TRANSIENT, "SERVICE_UNAVAILABLE", "no")
OPEN, CLOSED, HALF_OPEN = CircuitState.OPEN, CircuitState.CLOSED, CircuitState.HALF_OPEN


def states(circuits: Circuits, *results: Accepted | SendError, circuit: CircuitState = CLOSED) -> list[CircuitState | None]:
    return [circuits.next_state(finished(result, on=connector(circuit=circuit))) for result in results]


def test_ten_calls_of_which_half_failed() -> None:
    assert states(Circuits(), *[BAD] * 9) == [None] * 9
    assert states(Circuits(), *[BAD] * 10) == [None] * 9 + [OPEN]
    assert states(Circuits(), *[GOOD] * 5, *[BAD] * 5) == [None] * 9 + [OPEN]
    assert states(Circuits(), *[GOOD] * 6, *[BAD] * 5) == [None] * 11
    assert states(Circuits(), *[GOOD] * 6, *[BAD] * 6) == [None] * 11 + [OPEN]


def test_a_success_never_opens() -> None:
    assert states(Circuits(), *[BAD] * 9, GOOD, GOOD) == [None] * 11
    assert states(Circuits(fewest=2), BAD, GOOD, GOOD, GOOD, BAD, BAD) == [None] * 5 + [OPEN]


def test_after_it_opened_it_begins_to_count_anew() -> None:
    circuits = Circuits()
    assert states(circuits, *[BAD] * 19) == [None] * 9 + [OPEN] + [None] * 9


async def test_what_lies_further_back_than_the_window_does_not_count() -> None:
    circuits = Circuits(window_seconds=0.05)
    assert states(circuits, *[BAD] * 9) == [None] * 9
    await asyncio.sleep(0.06)
    assert states(circuits, *[BAD] * 10) == [None] * 9 + [OPEN]


@pytest.mark.parametrize(
    "kind", [FailureKind.RECIPIENT, FailureKind.CONTENT, FailureKind.THROTTLED, FailureKind.CONFIGURATION, FailureKind.EXPIRED]
)
def test_what_is_not_the_providers_failing_does_not_open(kind: FailureKind) -> None:
    assert states(Circuits(), *[SendError(kind, "X", "no")] * 30) == [None] * 30


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (FailureKind.UNKNOWN_OUTCOME, "WORKER_LOST"),
        (FailureKind.UNKNOWN_OUTCOME, "WORKER_STOPPED"),
        (FailureKind.TRANSIENT, "WORKER_STOPPED"),
        (FailureKind.TRANSIENT, "WORKER_DELAYED"),
    ],
)
def test_our_own_processes_dying_is_not_the_connectors_fault(kind: FailureKind, code: str) -> None:
    died = SendError(kind, code, "gone")
    assert states(Circuits(), *[died] * 30) == [None] * 30
    assert states(Circuits(), died, circuit=HALF_OPEN) == [None]


def test_the_message_it_is_tried_with_decides() -> None:
    lost = SendError(FailureKind.UNKNOWN_OUTCOME, "ANSWER_LOST", "no")
    refused = SendError(FailureKind.RECIPIENT, "X", "no")
    throttled = SendError(FailureKind.THROTTLED, "X", "no")
    for result, state in ((GOOD, CLOSED), (refused, CLOSED), (BAD, OPEN), (lost, OPEN), (throttled, None)):
        assert states(Circuits(), result, circuit=HALF_OPEN) == [state]


def test_connectors_are_counted_apart() -> None:
    circuits = Circuits()
    for n in range(9):
        for name in ("con_1", "con_2"):
            assert circuits.next_state(finished(BAD, on=connector(id=name))) is None, n
    assert circuits.next_state(finished(BAD, on=connector(id="con_2"))) is OPEN


async def state_of(gateway: Gateway, connector_id: str) -> str | None:
    async with gateway.read() as session:
        return await session.scalar(select(Connector.circuit).where(Connector.id == connector_id))


async def in_state(gateway: Gateway, connector_id: str, state: CircuitState) -> None:
    async def there() -> bool:
        return await state_of(gateway, connector_id) == state

    await eventually(there)


async def causes(gateway: Gateway) -> list[tuple[str, str]]:
    """The circuit after each event that it caused."""
    found = [event for event in await log_of(gateway) if event.kind == "channel"]
    return [(e.payload["cause"], e.payload["status"]["circuit"]) for e in found if e.payload["cause"] == "circuit"]


async def test_it_opens_waits_tries_and_closes_and_what_waited_is_sent(tmp_path: Path) -> None:
    """No other connector: messages stay until it works again."""
    async with running(settings_for(tmp_path), worker=False) as gateway, lab.Twilio() as twilio:
        mended = asyncio.Event()
        twilio.answers = lambda _body: None if mended.is_set() else lab.refusal(503)
        only = await lab.verified(gateway, "Only", twilio.config)
        circuits = Circuits(open_seconds=0.6)
        await lab.send_batch(gateway, [lab.sms(f"m{n}") for n in range(10)])
        async with lab.working(gateway, circuits=circuits):
            await in_state(gateway, only, OPEN)
            assert len(twilio.bodies) == 10
            batch = await lab.send_batch(gateway, [lab.sms(f"w{n}") for n in range(30)])
            await asyncio.sleep(0.3)
            assert len(twilio.bodies) == 10
            assert await lab.counts(gateway, batch) == {"QUEUED": 30}

            async def tried() -> bool:
                return len(twilio.bodies) >= 12

            await eventually(tried)  # two tries, one at a time, that fail
            assert (await lab.counts(gateway, batch)).keys() <= {"QUEUED", "PROCESSING"}
            assert len(twilio.bodies) <= 13
            mended.set()
            await lab.drained(gateway, batch, {"SENT": 30})
            await in_state(gateway, only, CLOSED)
        rises = [state for _cause, state in await causes(gateway)]
        assert rises[:4] == [OPEN, HALF_OPEN, OPEN, HALF_OPEN] and rises[-2:] == [HALF_OPEN, CLOSED]
        assert lab.twice(twilio.taken) == []
        status = "query($id: ID!) { connector(id: $id) { status { ready circuit reasons } } }"
        assert (await gateway.gql(status, id=only))["connector"]["status"]["circuit"] == CLOSED


async def test_what_waits_goes_elsewhere_when_there_is_another(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway, lab.Twilio() as ill, lab.Twilio() as well:
        ill.answers = lambda _body: lab.refusal(503)
        bad = await lab.verified(gateway, "Bad", ill.config, priority=0)
        batch = await lab.send_batch(gateway, [lab.sms(f"m{n}") for n in range(10)])
        async with lab.working(gateway, circuits=Circuits(open_seconds=30)):
            await in_state(gateway, bad, OPEN)
            waiting = await lab.send_batch(gateway, [lab.sms(f"w{n}") for n in range(5)])
            assert await lab.counts(gateway, waiting) == {"QUEUED": 5}
            good = await lab.verified(gateway, "Good", well.config, priority=1)
            await lab.drained(gateway, waiting, {"SENT": 5})
            await lab.drained(gateway, batch, {"SENT": 10})
            later = await settled(gateway, await send(gateway, **lab.sms("later")), "SENT")
        assert len(ill.bodies) == 10 and sorted(well.bodies) == sorted([*ill.bodies, *[f"w{n}" for n in range(5)], "later"])
        assert await state_of(gateway, bad) == OPEN and later["connector"] == {"id": good}
        route = "query($id: ID!) { message(id: $id) { route { rank decision reason connector { id } } } }"
        assert (await gateway.gql(route, id=later["id"]))["message"]["route"] == [
            {"rank": 0, "decision": "CIRCUIT_OPEN", "reason": "It failed too often of late.", "connector": {"id": bad}},
            {"rank": 1, "decision": "CHOSEN", "reason": "Verified and enabled, priority 1.", "connector": {"id": good}},
        ]


async def test_its_state_holds_for_every_worker(tmp_path: Path) -> None:
    """One worker opens it; another one on the same database neither sends nor forgets to try and close it."""
    async with running(settings_for(tmp_path), worker=False) as gateway, lab.Twilio() as twilio:
        only = await lab.verified(gateway, "Only", twilio.config)
        twilio.answers = lambda body: lab.refusal(503) if body.startswith("f") else None
        failing = await lab.send_batch(gateway, [lab.sms(f"f{n}") for n in range(10)])
        async with lab.working(gateway, circuits=Circuits(open_seconds=1.0)):
            await in_state(gateway, only, OPEN)
        for n, state in enumerate((await lab.counts(gateway, failing)).items()):
            assert (n, state) == (0, ("QUEUED", 10))
        first = len(twilio.bodies)
        batch = await lab.send_batch(gateway, [lab.sms(f"g{n}", priority="HIGH") for n in range(20)])
        async with lab.working(gateway, circuits=Circuits(open_seconds=1.0)):
            await asyncio.sleep(0.2)
            assert len(twilio.bodies) == first
            await lab.drained(gateway, batch, {"SENT": 20})
            assert await state_of(gateway, only) == CLOSED


async def test_only_one_message_tries_it(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway, lab.Twilio(delay=0.4) as twilio:
        only = await lab.verified(gateway, "Only", twilio.config)
        async with gateway.application.database.write() as session:
            await Circuits(open_seconds=0).change(session, await session.get_one(Connector, only), OPEN)
        batch = await lab.send_batch(gateway, [lab.sms(f"m{n}") for n in range(20)])
        async with lab.working(gateway):
            await in_state(gateway, only, HALF_OPEN)
            await asyncio.sleep(0.2)
            assert len(twilio.bodies) == 1
            await lab.drained(gateway, batch, {"SENT": 20})
            assert await state_of(gateway, only) == CLOSED
    assert lab.twice(twilio.bodies) == []


async def test_a_message_is_accepted_and_waits_when_nobody_else_can_take_it(tmp_path: Path) -> None:
    async with running(settings_for(tmp_path), worker=False) as gateway:
        only = await lab.verified(gateway, "Only")
        await lab.circuit(gateway, only, OPEN)
        accepted = await make.message(gateway)
        assert accepted["status"] == "QUEUED" and accepted["connector"] == {"id": only}
        route = "query($id: ID!) { message(id: $id) { route { decision reason } } }"
        reason = "It failed too often of late, but there is no other: the message waits for it."
        assert (await gateway.gql(route, id=accepted["id"]))["message"]["route"] == [{"decision": "CHOSEN", "reason": reason}]
