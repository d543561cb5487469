"""Requests written as templates: `{{to}}` stands for a value, which is always encoded for the place where it stands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson

PLACEHOLDER = re.compile(r"\{\{\s*([A-Za-z][A-Za-z0-9_.-]{0,100})\s*\}\}")
NAMES = ("id", "to", "from", "subject", "body", "html", "media", "flow", "attempt")
METADATA = "metadata."


def unknown(template: str) -> str | None:
    """The first placeholder that stands for nothing."""
    found = (match[1] for match in PLACEHOLDER.finditer(template))
    return next((name for name in found if name not in NAMES and not name.startswith(METADATA)), None)


def url_of(template: str, values: Mapping[str, Any]) -> str:
    """`template` with every value percent-encoded, so that none ends its path segment or parameter."""
    return PLACEHOLDER.sub(lambda match: quote(_text(_value(values, match[1])), safe=""), template)


def document_of(template: str, values: Mapping[str, Any]) -> Any:
    """A JSON template with its placeholders filled: one alone in a string becomes the value itself, others become text."""
    return _filled(orjson.loads(template), values)


def at_path(document: Any, path: str) -> Any:
    """What lies under a dotted path (`data.items.0.id`); None when nothing does."""
    for step in path.split("."):
        if isinstance(document, dict):
            document = document.get(step)
        elif isinstance(document, list) and step.isdecimal() and len(step) < 6 and int(step) < len(document):
            document = document[int(step)]
        else:
            return None
    return document


def _filled(part: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(part, dict):
        return {name: _filled(value, values) for name, value in part.items()}
    if isinstance(part, list):
        return [_filled(value, values) for value in part]
    if not isinstance(part, str):
        return part
    alone = PLACEHOLDER.fullmatch(part)
    if alone is not None:
        return _value(values, alone[1])
    return PLACEHOLDER.sub(lambda match: _text(_value(values, match[1])), part)


def _value(values: Mapping[str, Any], name: str) -> Any:
    return at_path(values["metadata"], name.removeprefix(METADATA)) if name.startswith(METADATA) else values.get(name)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
