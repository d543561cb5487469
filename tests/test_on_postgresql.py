"""What runs on PostgreSQL."""

from __future__ import annotations

from pathlib import Path

from tests.on_postgresql import CHOSEN, with_tests


def test_options_are_added_to_the_chosen_tests() -> None:
    assert with_tests([]) == CHOSEN
    assert with_tests(["-n", "2", "-k", "failover"]) == ["-n", "2", "-k", "failover", *CHOSEN]


def test_named_tests_run_instead() -> None:
    assert with_tests(["-x", "tests/gateway"]) == ["-x", "tests/gateway"]
    assert with_tests(["tests/test_house.py::test_one"]) == ["tests/test_house.py::test_one"]


def test_the_chosen_are_there() -> None:
    assert [path for path in CHOSEN if not Path(path).exists()] == []
