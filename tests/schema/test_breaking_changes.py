"""What clients compiled against goes on to work, or CHANGELOG.md says that it does not.

`schema/baseline.graphql` is the schema of the last release; it is replaced at a release and at no other time.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from graphql import GraphQLSchema, build_schema, find_breaking_changes

from schema.roots import sdl

ROOT = Path(__file__).resolve().parents[2]


def unannounced(before: GraphQLSchema, after: GraphQLSchema, changelog: str) -> list[str]:
    """The breaking changes that the newest section of the changelog does not name, in graphql-core's words."""
    newest = " ".join(changelog.partition("\n## ")[2].partition("\n## ")[0].split())
    told = [change.description for change in find_breaking_changes(before, after)]
    return [description for description in told if f"Breaking: {description}" not in newest]


def test_no_change_breaks_a_client_unannounced() -> None:
    baseline = build_schema((ROOT / "schema" / "baseline.graphql").read_text())
    assert unannounced(baseline, build_schema(sdl()), (ROOT / "CHANGELOG.md").read_text()) == []


@pytest.mark.parametrize(
    ("after", "description"),
    [
        ("type Query { b(y: Int): Int } enum E { X Y }", "Field Query.a was removed."),
        ("type Query { a: E b: Int } enum E { X Y }", "Argument Query.b(y:) was removed."),
        ("type Query { a: E! b(y: Int!): Int } enum E { X Y }", "Argument Query.b(y:) has changed type from Int to Int!."),
        ("type Query { a: E b(y: Int): Int } enum E { X }", "Enum value E.Y was removed."),
        ("type Query { a: E b(y: Int): Int } enum E { X Y Z } type New { x: Int }", None),
    ],
)
def test_a_breaking_change_has_to_be_named(after: str, description: str | None) -> None:
    before = build_schema("type Query { a: E b(y: Int): Int } enum E { X Y }")
    changed, expected = build_schema(after), [description] if description else []
    assert unannounced(before, changed, "# Changelog\n\n## 0.2\n\n- More.\n\n## 0.1\n\n") == expected
    old = f"# Changelog\n\n## 0.2\n\n- More.\n\n## 0.1\n\n- Breaking: {description}\n"
    assert unannounced(before, changed, old) == expected
    assert unannounced(before, changed, f"# Changelog\n\n## 0.2\n\n- Breaking: {description}\n\n## 0.1\n\n") == []
