"""What follows from each way an attempt can end."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from channels.base import Accepted, DeliveryStatus
from channels.errors import FailureKind, SendError
from delivery import retry
from delivery.verdict import EXPIRED, RELEASED, WORKER_LOST, Verdict, decide
from models.messages import MessageStatus
from tests.delivery.rows import AT, finished

SECOND = dt.timedelta(seconds=1)
FLOWS = ("OTP", "STANDARD")


def error(kind: FailureKind, code: str = "X", **given: Any) -> SendError:
    return SendError(kind, code, "no", **given)


def gist(verdict: Verdict) -> dict[str, Any]:
    """All that decides what happens to message, job and connector."""
    return {
        "word": verdict.word,
        "status": verdict.status.value,
        "again": verdict.again_at is not None,
        "counts": verdict.counts,
        "elsewhere": verdict.elsewhere,
        "pauses": verdict.pause_until is not None,
        "blames": verdict.blames,
    }


def told(word: str, status: str, *flags: str) -> dict[str, Any]:
    return {"word": word, "status": status} | {
        name: name in flags for name in ("again", "counts", "elsewhere", "pauses", "blames")
    }


ENDS = told("FAILED", "FAILED")
KINDS = {
    FailureKind.RECIPIENT: ENDS,
    FailureKind.CONTENT: ENDS,
    FailureKind.CANCELED: ENDS,
    FailureKind.NO_ROUTE: ENDS,
    FailureKind.CONFIGURATION: told("FAILED", "FAILED", "elsewhere", "blames"),
    FailureKind.TRANSIENT: told("RETRY", "QUEUED", "again", "counts"),
    FailureKind.THROTTLED: told("THROTTLED", "QUEUED", "again", "pauses"),
    FailureKind.UNKNOWN_OUTCOME: told("UNKNOWN", "UNKNOWN"),
    FailureKind.EXPIRED: told("FAILED", "EXPIRED"),
}


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("kind", FailureKind)
def test_the_first_try_of_a_message_with_all_the_time(kind: FailureKind, flow: str) -> None:
    assert gist(decide(finished(error(kind), flow=flow), AT)) == KINDS[kind]


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("tries", range(12))
def test_a_transient_failure_moves_on_when_patience_ends_and_fails_after_the_last_try(flow: str, tries: int) -> None:
    policy = retry.POLICIES[flow]
    verdict = decide(finished(error(FailureKind.TRANSIENT), tries, flow=flow), AT)
    if tries + 1 == policy.tries:
        expected = told("FAILED", "FAILED", "elsewhere")
    else:
        expected = told("RETRY", "QUEUED", "again", "counts", *(["elsewhere"] if tries + 1 >= policy.patience else []))
    assert gist(verdict) == expected


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.THROTTLED])
def test_what_cannot_be_tried_again_in_time_goes_elsewhere_or_expires(kind: FailureKind, flow: str) -> None:
    verdict = decide(finished(error(kind, retry_after=60), flow=flow, expires_at=AT + SECOND / 10), AT)
    pauses = ["pauses"] if kind is FailureKind.THROTTLED else []
    assert gist(verdict) == told("FAILED", "EXPIRED", "elsewhere", *pauses)
    assert verdict.values["failure"]["code"] == "MESSAGE_EXPIRED"


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("kind", [FailureKind.TRANSIENT, FailureKind.THROTTLED])
def test_what_has_grown_too_old_goes_elsewhere_or_fails(kind: FailureKind, flow: str) -> None:
    late = AT + retry.POLICIES[flow].age
    verdict = decide(finished(error(kind), flow=flow), late)
    pauses = ["pauses"] if kind is FailureKind.THROTTLED else []
    assert gist(verdict) == told("FAILED", "FAILED", "elsewhere", *pauses)


@pytest.mark.parametrize("kind", [FailureKind.RECIPIENT, FailureKind.CONTENT, FailureKind.CONFIGURATION])
@pytest.mark.parametrize("tries", [0, 5, 11])
@pytest.mark.parametrize("expires", [None, AT - SECOND, AT + SECOND])
def test_permanent_failures_do_not_depend_on_tries_or_time(kind: FailureKind, tries: int, expires: dt.datetime | None) -> None:
    assert gist(decide(finished(error(kind), tries, expires_at=expires), AT)) == KINDS[kind]


@pytest.mark.parametrize(("asked", "waits"), [(None, 1.0), (0.0, 0.05), (7.0, 7.0), (9000.0, 3600.0)])
def test_a_pause_is_what_the_provider_asked_for_within_an_hour(asked: float | None, waits: float) -> None:
    verdict = decide(finished(error(FailureKind.THROTTLED, retry_after=asked), tries=11), AT)
    assert verdict.again_at == verdict.pause_until == AT + dt.timedelta(seconds=waits)
    assert gist(verdict) == told("THROTTLED", "QUEUED", "again", "pauses")


@pytest.mark.parametrize("code", sorted(RELEASED))
@pytest.mark.parametrize("tries", [0, 11])
def test_what_never_left_goes_back_as_it_was(code: str, tries: int) -> None:
    verdict = decide(finished(error(FailureKind.TRANSIENT, code), tries), AT)
    assert gist(verdict) == told("RELEASED", "QUEUED", "again")
    assert verdict.again_at == AT


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("tries", range(12))
@pytest.mark.parametrize("expires", [None, AT + dt.timedelta(days=2)])
def test_a_lost_answer_is_never_sent_again_blindly(flow: str, tries: int, expires: dt.datetime | None) -> None:
    for code in ("ANSWER_LOST", WORKER_LOST, "INTERNAL"):
        result = finished(error(FailureKind.UNKNOWN_OUTCOME, code), tries, flow=flow, expires_at=expires)
        assert gist(decide(result, AT, breakdowns=9)) == told("UNKNOWN", "UNKNOWN")


def test_a_provider_that_knows_a_message_again_is_asked_again_but_no_other() -> None:
    for tries in range(11):
        verdict = decide(finished(error(FailureKind.UNKNOWN_OUTCOME), tries), AT, deduplicates=True)
        assert gist(verdict) == told("RETRY", "QUEUED", "again", "counts")
    last = decide(finished(error(FailureKind.UNKNOWN_OUTCOME), 11), AT, deduplicates=True)
    assert gist(last) == told("FAILED", "FAILED")


@pytest.mark.parametrize(("breakdowns", "ends"), [(1, False), (2, False), (3, True), (4, True)])
def test_a_message_we_break_on_three_times_is_poison(breakdowns: int, ends: bool) -> None:
    verdict = decide(finished(error(FailureKind.UNKNOWN_OUTCOME, WORKER_LOST)), AT, True, breakdowns)
    assert gist(verdict) == (ENDS if ends else told("RETRY", "QUEUED", "again", "counts"))
    assert verdict.suspects is (breakdowns == 2)
    assert (verdict.values.get("failure") or {}).get("code") == ("POISON" if ends else None)


@pytest.mark.parametrize("status", [DeliveryStatus.SENT, DeliveryStatus.PROCESSING])
def test_acceptance_keeps_what_the_provider_said(status: DeliveryStatus) -> None:
    verdict = decide(finished(Accepted("p1", status, segments=2, detail="taken"), 5), AT)
    assert gist(verdict) == told("SENT", status.value)
    assert verdict.values == {"external_id": "p1", "sent_at": AT, "failure": None, "segments": 2}
    assert verdict.detail == "taken"


def test_the_failure_is_told_in_our_words_and_the_providers() -> None:
    result = error(FailureKind.CONFIGURATION, "AUTHENTICATION_FAILED", provider_code="20003", provider_message="Authenticate")
    assert decide(finished(result), AT).values["failure"] == {
        "code": "AUTHENTICATION_FAILED",
        "kind": "CONFIGURATION",
        "message": "no",
        "provider_code": "20003",
        "provider_message": "Authenticate",
        "is_retryable": False,
    }
    assert decide(finished(EXPIRED), AT).status is MessageStatus.EXPIRED
