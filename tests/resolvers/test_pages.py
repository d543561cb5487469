"""The arguments of a list."""

from __future__ import annotations

import os
from typing import Any

import pytest

from models.vault import Vault
from resolvers.cursors import Cursors
from resolvers.pages import PageArguments, cut
from resolvers.problems import Problem, RequestErrorCode

CURSORS = Cursors(Vault({"k": os.urandom(32)}, "k"))


@pytest.mark.parametrize(
    ("arguments", "field", "message"),
    [
        ({"first": 101}, "first", "first must be from 0 to 100."),
        ({"first": -1}, "first", "first must be from 0 to 100."),
        ({"last": 101}, "last", "last must be from 0 to 100."),
        ({"last": -1}, "last", "last must be from 0 to 100."),
        ({"first": 1, "last": 1}, "last", "Give first or last, not both."),
        ({"page": 0}, "page", "page must be from 1 to 1000000."),
        ({"page_size": 0}, "pageSize", "pageSize must be from 1 to 100."),
        ({"page_size": 101}, "pageSize", "pageSize must be from 1 to 100."),
        ({"page": 1, "first": 0}, "page", "Give page and pageSize, or first, after, last and before; not both."),
        ({"page_size": 5, "after": "x"}, "page", "Give page and pageSize, or first, after, last and before; not both."),
    ],
)
def test_arguments_out_of_range_are_refused_never_clamped(arguments: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        PageArguments(**arguments).window(CURSORS, "list")
    problem = caught.value
    assert (problem.code, problem.field, problem.message) == (RequestErrorCode.BAD_USER_INPUT, [field], message)


@pytest.mark.parametrize(
    ("arguments", "size", "offset", "backwards"),
    [
        ({}, 10, 0, False),
        ({"first": 0}, 0, 0, False),
        ({"first": 100}, 100, 0, False),
        ({"last": 3}, 3, 0, True),
        ({"page": 3}, 10, 20, False),
        ({"page": 2, "page_size": 100}, 100, 100, False),
        ({"page_size": 7}, 7, 0, False),
    ],
)
def test_a_window_is_what_was_asked_for(arguments: dict[str, Any], size: int, offset: int, backwards: bool) -> None:
    window = PageArguments(**arguments).window(CURSORS, "list")
    assert (window.size, window.offset, window.backwards) == (size, offset, backwards)


@pytest.mark.parametrize(
    ("arguments", "found", "rows", "has_next", "has_previous"),
    [
        ({"first": 2}, [1, 2, 3], [1, 2], True, False),
        ({"first": 2}, [1, 2], [1, 2], False, False),
        ({"first": 0}, [1], [], True, False),
        ({"first": 0}, [], [], False, False),
        ({"last": 2}, [1, 2, 3], [2, 3], False, True),
        ({"last": 2}, [1, 2], [1, 2], False, False),
        ({"last": 0}, [1], [], False, True),
        ({"page": 2, "page_size": 2}, [3, 4, 5], [3, 4], True, True),
    ],
)
def test_a_page_knows_what_lies_around_it(
    arguments: dict[str, Any], found: list[int], rows: list[int], has_next: bool, has_previous: bool
) -> None:
    asked = PageArguments(**arguments)
    page = cut(found, asked.window(CURSORS, "list"), asked, str, lambda: len(found))
    assert (page.rows, page.has_next, page.has_previous) == (rows, has_next, has_previous)
    assert [page.cursor(row) for row in page.rows] == [str(row) for row in rows]


def test_only_numbered_pages_have_a_number() -> None:
    plain, numbered = PageArguments(first=1), PageArguments(page_size=5)
    assert cut([], plain.window(CURSORS, "l"), plain, str, int).page is None
    page = cut([], numbered.window(CURSORS, "l"), numbered, str, int)
    assert (page.page, page.page_size) == (1, 5)
