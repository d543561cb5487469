"""The operator's list of operations, which clients name by id instead of sending their texts.

Two files are understood: a JSON object of ids and texts, as Relay's compiler writes it
(https://relay.dev/docs/guides/persisted-queries/), and Apollo's manifest
(https://www.apollographql.com/docs/graphos/platform/security/persisted-queries#manifest-format).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from gateway.settings import SettingsError, variable

_MANIFEST = "apollo-persisted-query-manifest"


def load(path: Path | None) -> dict[str, str]:
    """Texts by id; none without a path. Raises SettingsError for a file that cannot be read or is of neither kind."""
    if path is None:
        return {}
    try:
        content = orjson.loads(path.read_bytes())
    except OSError as error:
        raise _refusal(path, f"cannot be read ({error.strerror})") from None
    except orjson.JSONDecodeError as error:
        raise _refusal(path, f"is not JSON (line {error.lineno})") from None
    return _texts(path, _pairs(path, content))


def _pairs(path: Path, content: Any) -> Iterable[tuple[object, object]]:
    if not isinstance(content, dict):
        raise _refusal(path, "must hold an object")
    if "format" not in content:
        return content.items()
    operations = content.get("operations")
    if content["format"] != _MANIFEST or content.get("version") != 1 or not isinstance(operations, list):
        raise _refusal(path, f"must be of the format {_MANIFEST}, version 1, with a list of operations")
    if not all(isinstance(operation, dict) for operation in operations):
        raise _refusal(path, "has an operation that is no object")
    return [(operation.get("id"), operation.get("body")) for operation in operations]


def _texts(path: Path, pairs: Iterable[tuple[object, object]]) -> dict[str, str]:
    texts: dict[str, str] = {}
    for name, text in pairs:
        if not (isinstance(name, str) and name and isinstance(text, str) and text):
            raise _refusal(path, f"has an operation without id or text, after {len(texts)} others")
        if texts.setdefault(name, text) != text:
            raise _refusal(path, f"has two operations with the id {name[:100]}")
    return texts


def _refusal(path: Path, rule: str) -> SettingsError:
    return SettingsError(f"{variable('persisted_operations')}: {path} {rule}.")
