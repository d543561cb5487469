"""How large a message may be, whatever its channel. A channel's own limits are its provider's `check`."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Any, TypeGuard
from urllib.parse import urlsplit

import orjson

from models.base import now
from resolvers.names import reserved
from resolvers.problems import Problem, Problems, UserErrorCode

if TYPE_CHECKING:
    from resolvers.messages import Draft

LONGEST = {
    "to": 320,
    "subject": 998,
    "body": 100_000,
    "html": 500_000,
    "client_reference": 255,
    "idempotency_key": 255,
}
LARGEST_JSON = 16_384
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
MOST_MEDIA = 10
LONGEST_URL = 2_000
LONGEST_LABEL = 255
MOST_FALLBACKS = 5
LONGEST_WAIT = 86_400
LONGEST_VALIDITY = 7 * 86_400
FURTHEST_SCHEDULE = dt.timedelta(days=366)
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
API_NAMES = {"client_reference": "clientReference", "idempotency_key": "idempotencyKey"}


def check(draft: Draft) -> None:
    """Raise Problems with everything about a draft that no channel would take."""
    problems = [*_texts(draft), *_json("template", draft.template), *_json("metadata", draft.metadata)]
    problems += [*_media(draft), *_times(draft), *_fallbacks(draft)]
    if draft.connector_id is not None and draft.routing_key is not None:
        problems.append(_invalid("routingKey", "Give connectorId or routingKey, not both."))
    if problems:
        raise Problems(problems)


def _invalid(name: str, message: str, *path: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, ["input", name, *path])


def _texts(draft: Draft) -> list[Problem]:
    found = []
    for name, longest in LONGEST.items():
        value: str | None = getattr(draft, name)
        shown = API_NAMES.get(name, name)
        if value is None:
            continue
        if len(value) > longest:
            found.append(_invalid(shown, f"{shown} has at most {longest} characters."))
        elif not _is_storable(value):
            found.append(_invalid(shown, f"{shown} must not hold NUL or unpaired surrogates."))
    if not draft.to.strip():
        found.append(Problem(UserErrorCode.INVALID_DESTINATION, "A message needs a recipient.", ["input", "to"]))
    if draft.idempotency_key == "":
        found.append(_invalid("idempotencyKey", "An idempotency key has 1 to 255 characters."))
    return found


def is_key(key: str | None) -> TypeGuard[str]:
    """Something may be stored under this idempotency key."""
    return key is not None and 1 <= len(key) <= LONGEST["idempotency_key"] and _is_storable(key)


def _is_storable(text: str) -> bool:
    return UNSTORABLE.search(text) is None


def _json(name: str, value: Any) -> list[Problem]:
    if value is None:
        return []
    if not isinstance(value, dict):
        return [_invalid(name, f"{name} must be an object.")]
    try:
        written = orjson.dumps(value)
    except TypeError:
        written = None
    if written is None or _NUL.search(written):
        return [_invalid(name, f"{name} holds a number or a text that cannot be stored.")]
    if len(written) > LARGEST_JSON:
        return [_invalid(name, f"{name} has at most {LARGEST_JSON} bytes.")]
    return [_invalid(name, problem.message, *(problem.field or [])[2:]) for problem in reserved(value, ["input", name])]


def _media(draft: Draft) -> list[Problem]:
    if len(draft.media) > MOST_MEDIA:
        return [_invalid("media", f"A message has at most {MOST_MEDIA} media.")]
    found = []
    for i, item in enumerate(draft.media):
        if not _is_url(item.url):
            found.append(_invalid("media", "url must be an absolute http or https URL.", str(i), "url"))
        for name, text in (("contentType", item.content_type), ("filename", item.filename)):
            if text is not None and (len(text) > LONGEST_LABEL or not _is_storable(text)):
                rule = f"{name} has at most {LONGEST_LABEL} characters, without NUL and unpaired surrogates."
                found.append(_invalid("media", rule, str(i), name))
    return found


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        well_formed = parts.scheme in ("http", "https") and bool(parts.hostname)
        return well_formed and len(url) <= LONGEST_URL and _is_storable(url)
    except ValueError:
        return False


def _fallbacks(draft: Draft) -> list[Problem]:
    if len(draft.fallbacks) > MOST_FALLBACKS:
        return [_invalid("fallbackChannels", f"A message has at most {MOST_FALLBACKS} fallback channels.")]
    rule = f"afterSeconds must be from 1 to {LONGEST_WAIT}."
    return [
        _invalid("fallbackChannels", rule, str(i), "afterSeconds")
        for i, choice in enumerate(draft.fallbacks)
        if choice.after_seconds is not None and not 1 <= choice.after_seconds <= LONGEST_WAIT
    ]


def _times(draft: Draft) -> list[Problem]:
    found = []
    if draft.validity_seconds is not None and not 1 <= draft.validity_seconds <= LONGEST_VALIDITY:
        found.append(_invalid("validitySeconds", f"validitySeconds must be from 1 to {LONGEST_VALIDITY}."))
    if draft.scheduled_at is not None and draft.scheduled_at > now() + FURTHEST_SCHEDULE:
        found.append(_invalid("scheduledAt", f"scheduledAt lies at most {FURTHEST_SCHEDULE.days} days ahead."))
    return found
