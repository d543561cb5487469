"""What the tools of others say of the schema as it is committed."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

from schema.documents import Documents
from schema.roots import build
from tests.node_tools import ROOT, run, workshop

SCHEMA = ROOT / "schema" / "schema.graphql"
EXAMPLES = sorted((ROOT / "examples").glob("*.graphql"))


async def test_graphql_eslint_has_nothing_to_complain_of(tmp_path: Path) -> None:
    there = await workshop(tmp_path)
    shutil.copyfile(SCHEMA, there / "schema.graphql")
    (there / "bad.graphql").write_text('"""All."""\ntype Query { a: Int  connector(id: ID!): String! }\n')
    ours, bad = await asyncio.gather(*(run(there, "schema_lint.js", name) for name in ("schema.graphql", "bad.graphql")))
    assert ours == ""
    rules = {json.loads(line)["ruleId"].removeprefix("@graphql-eslint/") for line in bad.splitlines()}
    assert rules == {"relay-page-info", "require-description", "require-nullable-result-in-root"}


async def test_relay_compiles_operations_against_it(tmp_path: Path) -> None:
    there = await workshop(tmp_path) / "relay"
    shutil.copyfile(SCHEMA, there / "schema.graphql")
    (there / "generated").mkdir()
    (there / "operations.json").write_text("{}")
    await run(there, "../node_modules/relay-compiler/cli.js", "relay.config.json")
    made = {path.name.removesuffix(".graphql.js") for path in (there / "generated").iterdir()}
    assert {"ConnectorsPageQuery", "ConnectorsRowQuery", "MessagesPageQuery", "Connectors_row"} <= made
    texts = json.loads((there / "operations.json").read_text())
    assert any("subscription MessagesEventsSubscription" in text for text in texts.values())
    assert Documents(build()._schema, listed=texts, listed_only=True).unusable() == {}


async def test_codegen_types_the_examples(tmp_path: Path) -> None:
    there = await workshop(tmp_path)
    output = await run(there, "codegen.js", str(SCHEMA), *map(str, EXAMPLES))
    files = {file["name"]: file["text"] for file in map(json.loads, output.splitlines())}
    typed = files["generated/graphql.ts"]
    for name in "WhoAmI", "PlugIn", "WatchChannel", "Send", "ReadBack", "PlugInEmail":
        assert f"export const {name}Document" in typed
    assert len(files["generated/gql.ts"]) > 1_000
