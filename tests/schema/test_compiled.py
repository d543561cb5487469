"""Compiled operations answer as graphql-core answers: whatever is asked, and whatever goes wrong."""

from __future__ import annotations

import asyncio
import gc
import json
from dataclasses import dataclass
from typing import Any

import pytest
from graphql import (
    DocumentNode,
    ExecutionResult,
    Executor,
    OperationType,
    create_source_event_stream,
    execute_subscription_event,
)

from schema.compiled import Compiling, Plans
from schema.documents import Documents, Operation, RefusedError, Request
from tests.operations import Operations, Written
from tests.schema.garden import SCHEMA, VALUES, World


@dataclass(frozen=True, slots=True)
class Told:
    """All that one execution shows: the order of keys and errors too, and what it did."""

    data: str
    errors: list[str]
    calls: list[str]


async def run(written: Written, document: DocumentNode, plans: Plans | None) -> list[Told]:
    """What is answered: once, or for each event."""
    world = World()
    executor = Compiling.build(
        SCHEMA, document, None, world, written.variables, max_coercion_errors=20, hide_suggestions=True, plans=plans
    )
    if not isinstance(executor, Executor):
        return [_told(ExecutionResult(None, executor), world)]
    if executor.operation.operation is not OperationType.SUBSCRIPTION:
        return [_told(await _awaited(executor.execute_operation()), world)]
    source = await _awaited(create_source_event_stream(executor))
    if isinstance(source, ExecutionResult):
        return [_told(source, world)]
    return [await _event(executor, event) async for event in source]


async def _event(executor: Executor[Any], event: Any) -> Told:
    each = executor.build_per_event_executor(event)
    each.context_value = World()
    return _told(await _awaited(execute_subscription_event(each)), each.context_value)


async def _awaited(answer: Any) -> Any:
    return await answer if asyncio.iscoroutine(answer) else answer


def _told(result: ExecutionResult, world: World) -> Told:
    return Told(json.dumps(result.data), [json.dumps(error.formatted) for error in result.errors or ()], world.calls)


async def both(operation: Operation, written: Written) -> tuple[list[Told], list[Told]]:
    """What graphql-core answers, and what is answered when the operation was asked before."""
    plans = operation.plans
    assert plans is not None
    await run(written, operation.document, plans)
    return await run(written, operation.document, None), await run(written, operation.document, plans)


async def answered(text: str, **variables: Any) -> Told:
    """The one answer of both."""
    written = Written(text, variables)
    (expected,), (found,) = await both(Documents(SCHEMA).select(Request(text, variables)), written)
    assert found == expected
    return found


@pytest.mark.filterwarnings("ignore:coroutine .* was never awaited", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [OperationType.QUERY, OperationType.MUTATION, OperationType.SUBSCRIPTION])
async def test_random_operations_are_answered_alike(kind: OperationType) -> None:
    """graphql-core leaves unawaited what the children of a field that became null would have answered: hence the filter."""
    documents, operations = Documents(SCHEMA), Operations(SCHEMA, seed=7, values=VALUES)
    compiled = failed = 0
    for _ in range(500):
        written = operations.write(kind)
        try:
            operation = documents.select(Request(written.text, written.variables))
        except RefusedError:
            continue
        expected, found = await both(operation, written)
        if kind is OperationType.QUERY:  # which fields are still asked when the answer is lost already is left open
            expected, found = _without_calls(expected), _without_calls(found)
        assert found == expected, written
        compiled += operation.plans is not None and operation.plans.compiled > 0
        failed += any(told.errors for told in found)
    gc.collect()
    assert compiled > 400
    assert failed > 180


def _without_calls(answers: list[Told]) -> list[Told]:
    return [Told(told.data, told.errors, []) for told in answers]


async def test_a_mutation_runs_once_whatever_becomes_of_its_answer() -> None:
    text = """mutation { a: bump(by: 1) { half } b: plant(which: 6) { many { number } } c: spoil { id } d: bump(by: 2) { id }
      e: uproot(which: 1) { __typename } f: bump(by: 3) { id } }"""
    told = await answered(text)
    assert told.calls == ["bump 1", "plant 6", "spoil", "bump 2", "uproot 1"]
    assert told.data == "null"


async def test_loaders_gather_what_a_list_needs() -> None:
    text = "{ good { leaf { later(by: 1) steps } child { leaf { steps } } slow { many { steps } } } }"
    operation = Documents(SCHEMA).select(Request(text))
    assert operation.plans is not None
    for _ in range(2):
        world = World()
        executor = Compiling.build(SCHEMA, operation.document, context_value=world, plans=operation.plans)
        assert isinstance(executor, Executor)
        await _awaited(executor.execute_operation())
    assert operation.plans.compiled == 1
    assert [len(numbers) for numbers in world.loads] == [2, 3]


async def test_each_combination_of_conditions_has_a_plan_of_its_own() -> None:
    text = "query($a: Boolean!, $b: Boolean!) { good { leaf { id @skip(if: $a) number @include(if: $b) } } }"
    operation = Documents(SCHEMA).select(Request(text))
    for a in False, True:
        for b in False, True:
            expected, found = await both(operation, Written(text, {"a": a, "b": b}))
            assert found == expected
    assert operation.plans is not None
    assert operation.plans.compiled == 4


async def test_what_is_asked_once_or_about_the_schema_is_not_compiled() -> None:
    documents = Documents(SCHEMA)
    for text, times in ("{ good { __typename } }", 1), ("{ __schema { queryType { name } } }", 3):
        operation = documents.select(Request(text))
        assert operation.plans is not None
        for _ in range(times):
            (told,) = await run(Written(text, {}), operation.document, operation.plans)
            assert told.errors == []
        assert operation.plans.compiled == 0
    assert Documents(SCHEMA, compiles=False).select(Request("{ good { __typename } }")).plans is None
