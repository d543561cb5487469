"""What an operation asks for, what may be asked for, and how much of it the viewer has left; told to whom asks."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from resolvers.problems import Problem
from resolvers.rates import RateLimit
from schema.complexity import Complexity, Limits
from schema.context import Context

_ASKED = "cost"


def is_asked(extensions: Mapping[str, Any]) -> bool:
    """Whether a request's `extensions` have `cost: true`."""
    return extensions.get(_ASKED) is True


async def told(measured: Complexity, limits: Limits, context: object) -> dict[str, Any]:
    """The `extensions` of an answer. Without `rateLimits` where they cannot be read now."""
    used = {_camel(name): value for name, value in measured._asdict().items()}
    most = {_camel(name): getattr(limits, name) for name in Complexity._fields}
    answer: dict[str, Any] = {_ASKED: {"used": used, "limits": most}}
    if isinstance(context, Context):
        with suppress(Problem):
            answer["rateLimits"] = [_shown(rate) for rate in await context.call.rates()]
    return answer


def _shown(rate: RateLimit) -> dict[str, Any]:
    return {
        "name": rate.name,
        "limit": rate.limit,
        "window": rate.window_seconds,
        "remaining": rate.remaining,
        "resetAt": rate.reset_at.isoformat().replace("+00:00", "Z"),
    }


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
