"""Names people give, and keys nobody may."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

from resolvers.problems import Problem, UserErrorCode

LONGEST = 200
RESERVED = frozenset({"__proto__", "constructor", "prototype"})
DEEPEST = 16


def connector_name(given: str, path: Sequence[str] = ("input", "name")) -> str:
    """The name as it is stored: NFC, trimmed. Raises Problem when nothing is left, or when it is too long or reserved."""
    name = unicodedata.normalize("NFC", given).strip()
    if not _visible(name):
        raise Problem(UserErrorCode.MISSING_CONNECTOR_NAME, "A connector needs a name.", path)
    if is_reserved(name):
        raise Problem(UserErrorCode.RESERVED_CONNECTOR_NAME, "This name is reserved.", path)
    if len(name) > LONGEST:
        raise Problem(UserErrorCode.VALIDATION_ERROR, f"A name has at most {LONGEST} characters.", path)
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        raise Problem(UserErrorCode.VALIDATION_ERROR, "A name must not hold control characters or line breaks.", path)
    return name


def is_reserved(key: str) -> bool:
    """In any case, width and disguise: full-width letters, blanks around it, invisible characters within."""
    return _visible(unicodedata.normalize("NFKC", key)).casefold() in RESERVED


def _visible(text: str) -> str:
    """`text` without characters that take no space, and without blanks around it."""
    return "".join(character for character in text if unicodedata.category(character) != "Cf").strip()


def reserved(value: Any, path: Sequence[str], depth: int = 0) -> list[Problem]:
    """A problem for every reserved key in a JSON value, at any depth and in any case."""
    if depth > DEEPEST:
        return [Problem(UserErrorCode.VALIDATION_ERROR, f"Nested deeper than {DEEPEST} levels.", path)]
    found: list[Problem] = []
    if isinstance(value, dict):
        for key, item in value.items():
            here = [*path, str(key)]
            if is_reserved(str(key)):
                found.append(Problem(UserErrorCode.RESERVED_CONNECTOR_NAME, f"The key {key} is reserved.", here))
            found += reserved(item, here, depth + 1)
    elif isinstance(value, list):
        for i, item in enumerate(value):
            found += reserved(item, [*path, str(i)], depth + 1)
    return found
