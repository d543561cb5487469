"""README.md says what the code says."""

from __future__ import annotations

import re

import pytest
from graphql import build_schema

from channels import PROVIDERS
from gateway.settings import Settings, variable
from resolvers.viewer import SCOPES
from tests.proofs import proofs
from tests.readme import PART, README, ROOT, render

TEXT = README.read_text()
PLAIN = PART.sub("", TEXT)
SCHEMA = build_schema((ROOT / "schema" / "schema.graphql").read_text())
EXAMPLES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "examples").glob("*.graphql"))


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_its_tables_and_operations_are_current() -> None:
    assert render(TEXT) == TEXT, "run make readme"


def test_it_shows_every_operation_of_the_examples() -> None:
    shown = [found["name"] for found in PART.finditer(TEXT) if found["name"].endswith(".graphql")]
    linked = re.findall(r"\]\((examples/[^)]+\.graphql)\)", TEXT)
    assert sorted({*shown, *linked}) == EXAMPLES
    assert len(shown) >= 7


@pytest.mark.parametrize("provider", PROVIDERS, ids=lambda provider: provider.about.key)
def test_it_names_every_provider_with_its_settings(provider: type) -> None:
    (row,) = [line for line in section("Providers").splitlines() if f"`{provider.about.ref}`" in line]  # type: ignore[attr-defined]
    for field in provider.model_fields.values():  # type: ignore[attr-defined]
        assert f"`{field.alias}`" in row


def test_it_says_what_was_proven_against_what() -> None:
    by_key = {provider.about.key: proofs(provider) for provider in PROVIDERS}
    assert by_key["slack"] == ["`slack_web`", "yes", "yes", "yes", ""]
    assert by_key["vonage"] == ["`vonage_messages`, `vonage_sms`", "yes", "yes", "yes", ""]
    assert by_key["messenger"] == ["", "", "yes", "", ""]
    assert by_key["smtp"] == ["", "", "", "", "aiosmtpd"]
    assert by_key["instagram"] == by_key["simulator"] == [""] * 5


def test_it_names_every_setting_and_no_other() -> None:
    known = {variable(name) for name in Settings.model_fields}
    assert {row.split("`")[1] for row in section("Running it").splitlines() if row.startswith("| `")} == known
    assert set(re.findall(r"PATCHBAY_[A-Z_]+", TEXT)) <= known


def test_it_names_every_scope() -> None:
    assert [scope for scope in SCOPES if f"`{scope}`" not in section("Tokens and scopes")] == []


def test_it_names_every_make_target_that_people_call() -> None:
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    named = set(re.findall(r"make ([a-z]+)", TEXT))
    assert {"serve", "test", "demo", "check", "schema", "readme"} <= named <= {*targets, "sure"}


def test_what_is_not_there_yet_is_not_there() -> None:
    roots = [SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type]
    there = {name for root in roots if root is not None for name in root.fields}
    named = set(re.findall(r"`([a-zA-Z]+)`", section("Not yet")))
    assert named & there == set(), "README.md lists it under 'Not yet', and it is there now"


def test_operations_it_names_elsewhere_are_there() -> None:
    names = set(re.findall(r"`((?:connector|message|workspace)[A-Z][a-zA-Z]*)`", PLAIN.partition("## Not yet")[0]))
    roots = [SCHEMA.query_type, SCHEMA.mutation_type, SCHEMA.subscription_type]
    assert names <= {name for root in roots if root is not None for name in root.fields}
