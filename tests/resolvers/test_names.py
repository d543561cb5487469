"""Names people give, and keys nobody may."""

from __future__ import annotations

import pytest

from resolvers.names import connector_name, is_reserved, reserved
from resolvers.problems import Problem, UserErrorCode

PROTO = "__proto__"


@pytest.mark.parametrize(
    ("given", "stored"),
    [
        ("  Mail  ", "Mail"),
        ("\u2003Mail\u3000", "Mail"),
        ("🚀 rocket/100% & more", "🚀 rocket/100% & more"),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("Cafe\u0301", "Caf\u00e9"),
        ("a" * 200, "a" * 200),
        ("é" * 200, "é" * 200),
        ("e\u0301" * 200, "é" * 200),
        ("constructors", "constructors"),
        ("my prototype", "my prototype"),
        ("proto type", "proto type"),
    ],
)
def test_a_name_is_kept_as_people_wrote_it(given: str, stored: str) -> None:
    assert connector_name(given) == stored


@pytest.mark.parametrize(
    ("given", "code", "message"),
    [
        ("", UserErrorCode.MISSING_CONNECTOR_NAME, "A connector needs a name."),
        (" \t\n\u2003\u00a0", UserErrorCode.MISSING_CONNECTOR_NAME, "A connector needs a name."),
        ("\u200b\u200d\ufeff", UserErrorCode.MISSING_CONNECTOR_NAME, "A connector needs a name."),
        ("a" * 201, UserErrorCode.VALIDATION_ERROR, "A name has at most 200 characters."),
        ("a\x00b", UserErrorCode.VALIDATION_ERROR, "A name must not hold control characters or line breaks."),
        ("a\nb", UserErrorCode.VALIDATION_ERROR, "A name must not hold control characters or line breaks."),
        ("a\u2028b", UserErrorCode.VALIDATION_ERROR, "A name must not hold control characters or line breaks."),
        ("a\ud800", UserErrorCode.VALIDATION_ERROR, "A name must not hold control characters or line breaks."),
        (PROTO, UserErrorCode.RESERVED_CONNECTOR_NAME, "This name is reserved."),
    ],
)
def test_a_name_that_is_none_is_refused(given: str, code: UserErrorCode, message: str) -> None:
    with pytest.raises(Problem) as caught:
        connector_name(given)
    assert (caught.value.code, caught.value.message, caught.value.field) == (code, message, ["input", "name"])


@pytest.mark.parametrize(
    "disguise",
    [
        PROTO,
        "__PROTO__",
        " constructor ",
        "Constructor",
        "PROTOTYPE\u3000",
        "\uff43\uff4f\uff4e\uff53\uff54\uff52\uff55\uff43\uff54\uff4f\uff52",
        "\uff3f\uff3fproto\uff3f\uff3f",
        "__pro\u200bto__",
        "\ufeff__proto__",
        "con\u00adstructor",
        "prototype\u200d ",
    ],
)
def test_reserved_words_are_known_in_any_disguise(disguise: str) -> None:
    assert is_reserved(disguise)


def test_reserved_keys_are_found_at_any_depth_each_with_its_path() -> None:
    value = {"a": [{"b": {"__PROTO__": 1}}, {"Constructor": {"prototype": 2}}]}
    found = [(p.code.value, p.field) for p in reserved(value, ["input", "arguments"])]
    assert found == [
        ("RESERVED_CONNECTOR_NAME", ["input", "arguments", "a", "0", "b", "__PROTO__"]),
        ("RESERVED_CONNECTOR_NAME", ["input", "arguments", "a", "1", "Constructor"]),
        ("RESERVED_CONNECTOR_NAME", ["input", "arguments", "a", "1", "Constructor", "prototype"]),
    ]


def test_a_value_nested_without_end_is_refused_once() -> None:
    value: object = {}
    for _ in range(500):
        value = {"a": value}
    (problem,) = reserved(value, ["x"])
    assert (problem.message, problem.field) == ("Nested deeper than 16 levels.", ["x", *["a"] * 17])
