"""How a verification asks a provider, and what its answer, or the want of one, says of the configuration."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from channels.answers import Answer, Document
from channels.base import Assertion, CheckStatus, Provider
from channels.errors import FailureKind, SendError
from channels.exchange import Exchange

_UNDECIDED = (FailureKind.TRANSIENT, FailureKind.THROTTLED, FailureKind.UNKNOWN_OUTCOME)

_Told = TypeVar("_Told", bound=Document)


async def asked(
    provider: Provider, call: Callable[[Exchange], Awaitable[Answer]], refusal: Callable[[Answer, Exchange], SendError]
) -> Answer:
    """The answer to a call that is recorded nowhere. Raises SendError where there is none, or it refuses."""
    exchange = Exchange(provider.hidden)
    answer = await call(exchange)
    if not answer.ok:
        raise refusal(answer, exchange)
    return answer


async def told(name: str, asking: Awaitable[Answer], kind: type[_Told], unread: str) -> _Told | Assertion:
    """What the answer says, or the assertion `name` that it is a refusal, did not come, or, in the words of `unread`, does not
    say it."""
    try:
        found = (await asking).read(kind)
    except SendError as error:
        return failed(name, error)
    return Assertion(name, CheckStatus.INDETERMINATE, unread) if found is None else found


def failed(name: str, error: SendError) -> Assertion:
    """An outage says nothing of the configuration; a refusal does."""
    status = CheckStatus.INDETERMINATE if error.kind in _UNDECIDED else CheckStatus.ERROR
    return Assertion(name, status, error.message)
