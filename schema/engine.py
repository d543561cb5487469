"""Runs operations: graphql-core's executor over a strawberry schema, without the parts of strawberry's own `execute` that
parse, validate and build extensions again for every request."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Hashable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeGuard, cast

import orjson
import strawberry
from graphql import (
    ExecutionResult,
    GraphQLError,
    OperationType,
    create_source_event_stream,
    execute_root_selection_set,
)
from strawberry.execution import optimized_is_awaitable

from schema import costs
from schema.answers import Answer, present, present_exception, refusal
from schema.compiled import Compiling
from schema.documents import BAD_USER_INPUT, Documents, Operation, Request, finished
from schema.groups import Groups, Member
from schema.sharing import Shares
from schema.subscriptions import Subscription

_COERCION_ERRORS = 20
_is_awaitable = cast("Callable[[Any], TypeGuard[Awaitable[Any]]]", optimized_is_awaitable)


@dataclass(frozen=True, slots=True)
class Prepared:
    """An operation with what this request gives it."""

    operation: Operation
    variables: Mapping[str, Any]
    extensions: Mapping[str, Any]

    @property
    def kind(self) -> OperationType:
        return self.operation.kind

    @property
    def name(self) -> str | None:
        return self.operation.name

    @property
    def root_fields(self) -> int:
        """How many root fields it asks for, aliases and fragments included."""
        return self.operation.root_fields


class Engine:
    """Answers requests. Never raises on the way to an answer: whatever a resolver raises is presented in it."""

    def __init__(self, schema: strawberry.Schema, documents: Documents) -> None:
        self.documents = documents
        self._schema = schema._schema
        self.shares = Shares()
        self.groups = Groups()

    def prepare(self, request: Request) -> Prepared:
        """Parse, validate and measure, or find that this was done before. Raise RefusedError if it may not run."""
        return Prepared(self.documents.select(request), request.variables or {}, request.extensions or {})

    async def answer(self, prepared: Prepared, context: object) -> Answer:
        """Run a query or a mutation, and tell what it cost if the request asks for that."""
        answer = await self.execute(prepared, context)
        if not costs.is_asked(prepared.extensions):
            return answer
        measured = self.documents.measure(prepared.operation, prepared.variables)
        return replace(answer, extensions=await costs.told(measured, self.documents.limits, context))

    async def execute(self, prepared: Prepared, context: object) -> Answer:
        """Run a query or a mutation."""
        try:
            plans = prepared.operation.plans
            running = plans.begin(prepared.variables, context, prepared.extensions) if plans is not None else None
            if running is not None and (data := await running.answer()) is not None:
                return Answer(data)
            executor = self._build(prepared, context)
            if not isinstance(executor, Compiling):
                return _uncoercible(executor, prepared.name)
            result = execute_root_selection_set(executor) if running is None else executor.go_on(running)
            return _answer(await result if inspect.isawaitable(result) else result, prepared.name)
        except Exception as error:
            return Answer(errors=present_exception(error, prepared.name))

    async def subscribe(
        self,
        prepared: Prepared,
        new_context: Callable[[], object],
        audience: Hashable = None,
        member: Member | None = None,
    ) -> AsyncGenerator[Answer]:
        """Run a subscription: an answer for each event, each resolved in a context of its own.

        An answer that was not `executed` is the last one: the subscription was refused, or its source broke.
        Whoever subscribed alike and belongs to the same `audience` may see the same things; None shares with nobody. A
        `member` is told the rest by a group, where there can be one, once the answers end.
        """
        try:
            opened = await self._open(prepared, new_context, audience)
        except Exception as error:
            opened = Answer(errors=present_exception(error, prepared.name), executed=False)
        if isinstance(opened, Answer):
            yield opened
            return
        async with aclosing(opened.answers(member)) as answers:
            async for answer in answers:
                yield answer

    async def _open(self, prepared: Prepared, new_context: Callable[[], object], audience: Hashable) -> Subscription | Answer:
        executor = self._build(prepared, new_context())
        if not isinstance(executor, Compiling):
            return _uncoercible(executor, prepared.name)
        found = create_source_event_stream(executor)
        source = await found if inspect.isawaitable(found) else found
        if isinstance(source, ExecutionResult):
            return refusal(source.errors or (), prepared.name)
        same, alike = _frozen(prepared, prepared.operation.chosen_by), _frozen(prepared, prepared.operation.placed_by)
        told = None if audience is None else (audience, prepared.operation, same)
        return Subscription(executor, source, told, (told, alike), new_context, self.shares, self.groups)

    def _build(self, prepared: Prepared, context: object) -> list[GraphQLError] | Compiling:
        built = Compiling.build(
            self._schema,
            prepared.operation.document,
            context_value=context,
            raw_variable_values=dict(prepared.variables),
            operation_name=prepared.name,
            max_coercion_errors=_COERCION_ERRORS,
            is_awaitable=_is_awaitable,
            hide_suggestions=True,
            operation_extensions=prepared.extensions,
            plans=prepared.operation.plans,
        )
        return cast("list[GraphQLError] | Compiling", built)


def _frozen(prepared: Prepared, apart_from: Collection[str]) -> bytes:
    given = {name: value for name, value in prepared.variables.items() if name not in apart_from}
    return orjson.dumps(given, option=orjson.OPT_SORT_KEYS)


def _answer(result: ExecutionResult, operation: str | None) -> Answer:
    return Answer(result.data, present(result.errors, operation) if result.errors else ())


def _uncoercible(errors: Sequence[GraphQLError], operation: str | None) -> Answer:
    """Variables that do not fit their types. What a scalar's parser says of a bad value is for the client; its crash is not."""
    said = (type(None), GraphQLError, ValueError, TypeError)
    told = [finished(error, BAD_USER_INPUT) if isinstance(error.original_error, said) else error for error in errors]
    return refusal(told, operation)
