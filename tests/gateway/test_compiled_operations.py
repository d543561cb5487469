"""The API's own operations, compiled and not, over the same data: the answers are equal, the refusals too."""

from __future__ import annotations

import gc
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from typing import Any

import orjson
import pytest
from graphql import OperationType

from resolvers.viewer import Viewer
from schema.answers import Answer
from schema.documents import Documents, Operation, RefusedError, Request
from schema.engine import Engine
from schema.roots import build
from tests import make
from tests.gateway.test_examples import EXAMPLES
from tests.harness import Gateway, running, settings_for
from tests.lab import verified
from tests.operations import Operations

CHANGING = frozenset({"metrics", "connectorMetrics", "rateLimits"})  # what is so only at one moment
OURS = re.compile(
    r'"[a-z]{2,5}_[0-9A-Za-z_-]{8,}"|"[^"]*\d{4}-\d\d-\d\dT[^"]*"|[0-9a-f]{32}|"whsec_[^"]+"'
    r'|"(?:(?:duration|deliveryTime)Ms|remaining)":[\d.]+'
)


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Gateway]:
    """A gateway that sends nothing: what is stored stays as it is."""
    async with running(settings_for(tmp_path), worker=False) as started:
        yield started


class Engines:
    """One that compiles and one that does not, as one viewer of the demo workspace."""

    def __init__(self, gateway: Gateway) -> None:
        schema = build()
        self.compiling = Engine(schema, Documents(schema._schema))
        self.plain = Engine(schema, Documents(schema._schema, compiles=False))
        self.schema = schema._schema
        self._gateway = gateway
        self._viewer = Viewer("tester", gateway.demo.id, gateway.demo.organization_id, frozenset({"*"}))

    def context(self, operation: Operation | None = None) -> Any:
        return self._gateway.application.context(self._viewer, operation)

    async def answers(self, engine: Engine, request: Request, events: int = 3) -> list[Answer]:
        """One answer, or those to the first events."""
        prepared = engine.prepare(request)
        if prepared.kind is not OperationType.SUBSCRIPTION:
            read = prepared.operation if engine is self.compiling else None  # the other one has all columns
            return [await engine.execute(prepared, self.context(read))]
        found = []
        async with aclosing(engine.subscribe(prepared, self.context)) as source:
            async for answer in source:
                found.append(answer)
                if len(found) == events:
                    break
        return found

    def plans(self, request: Request) -> int:
        plans = self.compiling.documents.select(request).plans
        assert plans is not None
        return plans.compiled


async def furnished(gateway: Gateway) -> Mapping[str, list[str]]:
    """The ids of what a workspace might have."""
    connectors = [await verified(gateway, name) for name in ("One", "Two")]
    batch = await gateway.gql("""mutation { messageSendBatch(input: {messages: [
      {channel: SIMULATOR, to: "a", body: "x"}, {channel: SIMULATOR, to: "b", body: "y"}]}) { batch { id } } }""")
    sent = [(await make.message(gateway, f"to{i}", metadata={"n": i}))["id"] for i in range(3)]
    batch_id = batch["messageSendBatch"]["batch"]["id"]
    return {"connector": connectors, "message": sent, "batch": [batch_id], "any": [*connectors, *sent, batch_id, "nothing"]}


def values(known: Mapping[str, list[str]]) -> dict[str, Callable[[random.Random, str], Any]]:
    def an_id(r: random.Random, name: str) -> str:
        kind = next((kind for kind in known if kind in name.lower()), "any")
        return r.choice(known[kind if r.random() < 0.7 else "any"])

    return {
        "ID": an_id,
        "Int": lambda r, _name: r.choice([0, 1, 2, 5, 101, -1]),
        "Float": lambda r, _name: 1.5,
        "Boolean": lambda r, _name: r.random() < 0.5,
        "String": lambda r, name: "bad" if name in ("after", "before") else r.choice(["One", "email-smtp:1", "a"]),
        "DateTime": lambda r, _name: r.choice(["2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z"]),
        "JSON": lambda r, _name: {"a": 1},
    }


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
async def test_random_queries(gateway: Gateway) -> None:
    engines = Engines(gateway)
    operations = Operations(engines.schema, seed=3, values=values(await furnished(gateway)), leave_out=CHANGING)
    compiled = failed = 0
    for _ in range(200):
        written = operations.write(OperationType.QUERY)
        request = Request(written.text, written.variables)
        try:
            expected = await engines.answers(engines.plain, request)
        except RefusedError:
            continue
        await engines.answers(engines.compiling, request)
        found = await engines.answers(engines.compiling, request)
        assert [told(answer) for answer in found] == [told(answer) for answer in expected], written
        compiled += engines.plans(request)
        failed += bool(expected[0].errors)
    gc.collect()
    assert compiled > 100
    assert failed > 20


def told(answer: Answer) -> bytes:
    """Everything but its order of errors: those of fields that are read at the same time come as they come."""
    body = answer.body()
    if "errors" in body:
        body = {**body, "errors": sorted(body["errors"], key=orjson.dumps)}
    return orjson.dumps(body)


def example(path: Path, known: Mapping[str, list[str]]) -> Request:
    given = path.with_suffix(".json")
    text = given.read_text() if given.exists() else "{}"
    variables = orjson.loads(text.replace("con_…", known["connector"][0]).replace("msg_…", known["message"][0]))
    return Request(path.read_text(), variables)


HEARING = {"sender-5-watch", "opt-out-4-watch", "webhook-6-watch", "inbound-2-watch"}
"""Subscriptions that begin with nothing: they tell of what happens from then on."""


async def test_examples(gateway: Gateway) -> None:
    """Each again and again, for then it is compiled; ids and times are of their own each time."""
    known = await furnished(gateway)
    engines = Engines(gateway)
    for path in sorted(EXAMPLES.glob("*.graphql")):
        if path.stem in HEARING:
            continue
        request = example(path, known)
        answers = [
            await engines.answers(engine, request, 1) for engine in (engines.compiling, engines.compiling, engines.plain)
        ]
        assert engines.plans(request) == 1, path
        _first, found, expected = [[OURS.sub("…", answer.text) for answer in each] for each in answers]
        assert found == expected, path
