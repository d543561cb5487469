"""What a webhook subscription may ask for, and who may ask for it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from delivery import webhook_signatures as signatures
from delivery.webhook_events import EVENTLESS, FILTERS, FilterKey, Service, select
from resolvers.call import Call
from resolvers.problems import Problem, Problems, UserErrorCode, collected

MOST_FILTERS = 20
LONGEST_VALUE = 255
_NAME = re.compile(r"[a-z0-9_]+([._][a-z0-9_]+)*(\.?\*)?|\*")
LONGEST_NAME = 60

Filters = Sequence[tuple[FilterKey, str]]


def event_name(service: Service, text: str) -> str:
    """The event a subscription asks for, dotted where that is one of ours. Raises VALIDATION_ERROR."""
    name = text.strip().lower()
    found = select(service, name)
    if len(found) == 1:
        return next(iter(found)).name if "*" not in name else name
    if found:
        return name
    if service in EVENTLESS and len(name) <= LONGEST_NAME and _NAME.fullmatch(name):
        return name
    message = f"{service} has no such event; webhookEventTypes lists them, and * or a name ending with .* stands for several."
    if service in EVENTLESS:
        message = f"An event is a dotted name of at most {LONGEST_NAME} lower-case letters, digits and _, or *."
    raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "event"])


def event_filters(service: Service, filters: Filters) -> list[dict[str, Any]]:
    """Filters as they are stored. Raises INVALID_EVENT_FILTER for each that the service's events cannot have."""
    problems: list[Problem] = []
    if len(filters) > MOST_FILTERS:
        raise _unfit(f"A subscription has at most {MOST_FILTERS} filters.")
    for i, (key, value) in enumerate(filters):
        with collected(problems):
            _check_filter(service, key, value, str(i))
    if problems:
        raise Problems(problems)
    return [{"key": key.value, "value": value} for key, value in filters]


def _check_filter(service: Service, key: FilterKey, value: str, place: str) -> None:
    rules = FILTERS[service]
    if key not in rules:
        known = ", ".join(rules)
        raise _unfit(f"Events of {service} have no {key}; they can be filtered by {known}.", place, "key")
    if not (1 <= len(value) <= LONGEST_VALUE and value.isprintable()):
        raise _unfit(f"A value has 1 to {LONGEST_VALUE} printable characters.", place, "value")
    refusal = rules[key].refusal(value)
    if refusal is not None:
        raise _unfit(f"{key} {refusal}.", place, "value")


def _unfit(message: str, *path: str) -> Problem:
    return Problem(UserErrorCode.INVALID_EVENT_FILTER, message, ["input", "eventFilters", *path])


def signing_key(given: str | None) -> str:
    """The key that was given, or a new one. Raises VALIDATION_ERROR without the key."""
    if given is None:
        return signatures.new_key()
    try:
        signatures.key_bytes(given)
    except ValueError as rule:
        message = f"A signing key {rule}; leave it out to have one made."
        raise Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", "signingKey"]) from None
    return given


async def check_url(call: Call, url: str) -> None:
    """Raises INVALID_WEBHOOK_URL."""
    try:
        await call.means.courier.receivers.check(url)
    except ValueError as rule:
        raise Problem(UserErrorCode.INVALID_WEBHOOK_URL, f"A webhook's URL {rule}.", ["input", "url"]) from None


def require_sight(call: Call, service: str, event: str) -> None:
    """Whoever has events sent somewhere must be allowed to see them. Raises FORBIDDEN."""
    for scope in sorted({known.scope for known in select(service, event)}):
        call.require(scope)
