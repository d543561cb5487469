"""README.md of channels/, followed to the letter in a copy of the checkout."""

from __future__ import annotations

import re
from pathlib import Path

from tests.guide import FIRST, SECOND, STEP, Checkout

MOST_FILES = 3

JUDGES = ("tests/channels/test_toy.py", "tests/channels/test_contract.py", "tests/test_house.py")
JUDGE = f"""
import sys, pytest
from channels import BY_REF
from schema.roots import sdl
from schema.templates import catalogue
assert "toy: ToyConfigInput" in sdl() and "input ToyConfigInput" in sdl()
assert "sms-toy:1" in [template.ref for template in catalogue(None, False)]
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "toy or speaks_http or imports_another", *{JUDGES}]))
"""
SETTINGS = {
    "region": ("String", "Where Toy keeps what it sends. Only sms-toy:2."),
    "apiKey": ("String!", "A key of your account."),
    "webhookSecret": ("String", "With it, receipts are taken. Only sms-toy:2."),
    "baseUrl": ("String", "Toy's API."),
    "signingKey": ("String", "With it, receipts are taken. Only sms-toy:1."),
}
JUDGED_AGAIN = (
    "tests/channels/test_toy.py",
    "tests/channels/test_toy_2.py",
    "tests/channels/test_contract.py",
    "tests/schema/test_connector_schema.py",
)
JUDGE_AGAIN = f"""
import sys, pytest
from graphql import build_schema
from schema.roots import sdl
from schema.templates import catalogue
found = [(t.ref, t.version, t.release_status.value) for t in catalogue(None, False) if t.slug == "sms-toy"]
assert found == [("sms-toy:2", 2, "GA"), ("sms-toy:1", 1, "GA")]
members = build_schema(sdl()).get_type("ToyConfigInput").fields
shown = {{name: (str(member.type), member.description) for name, member in members.items()}}
assert sdl().count("toy: ToyConfigInput") == 1 and shown == {SETTINGS!r}, shown
sys.exit(pytest.main(["-q", "-p", "no:cacheprovider", "-k", "toy or speaks_http or versions", *{JUDGED_AGAIN}]))
"""


def judged(checkout: Checkout, files: list[str], judge: str) -> int:
    """How many tests have passed, of which none failed."""
    checkout.run("-m", "ruff", "check", "--no-cache", *files)
    checkout.run("-m", "ruff", "format", "--no-cache", "--check", *files)
    passed = re.search(r"\b(\d+) passed", checkout.run("-c", judge))
    assert passed is not None
    return int(passed[1])


def test_a_provider_added_by_the_guide_works_and_takes_three_files(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    files = checkout.follow(FIRST)
    assert files == STEP.findall(FIRST)
    assert sorted(checkout.touched()) == sorted(files) and len(files) <= MOST_FILES
    assert 30 <= judged(checkout, files, JUDGE) < 40


def test_a_second_version_by_the_guide_stands_beside_the_first(tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    first, second = checkout.follow(FIRST), checkout.follow(SECOND)
    assert sorted(second) == ["channels/__init__.py", "channels/toy_2.py", "tests/channels/test_toy_2.py"]
    assert 60 <= judged(checkout, second, JUDGE_AGAIN) < 80
    assert sorted(checkout.touched()) == sorted({*first, *second})
