"""Runs operations: graphql-core's executor over a strawberry schema, without the parts of strawberry's own `execute` that
parse, validate and build extensions again for every request."""

from __future__ import annotations

import inspect
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Hashable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext
from dataclasses import dataclass
from typing import Any, TypeGuard, cast

import orjson
import strawberry
from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    OperationType,
    create_source_event_stream,
    execute_root_selection_set,
    execute_subscription_event,
)
from strawberry.execution import optimized_is_awaitable

from schema.answers import Answer, present, present_exception, refusal
from schema.documents import BAD_USER_INPUT, Documents, Operation, Request, finished
from schema.sharing import Execution, Shares

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


class Engine:
    """Answers requests. Never raises on the way to an answer: whatever a resolver raises is presented in it."""

    def __init__(self, schema: strawberry.Schema, documents: Documents) -> None:
        self.documents = documents
        self._schema = schema._schema
        self._executor = schema.execution_context_class
        self.shares = Shares()

    def prepare(self, request: Request) -> Prepared:
        """Parse, validate and measure, or find that this was done before. Raise RefusedError if it may not run."""
        return Prepared(self.documents.select(request), request.variables or {}, request.extensions or {})

    async def execute(self, prepared: Prepared, context: object) -> Answer:
        """Run a query or a mutation."""
        try:
            executor = self._build(prepared, context)
            if not isinstance(executor, Executor):
                return _uncoercible(executor, prepared.name)
            result = execute_root_selection_set(executor)
            return _answer(await result if inspect.isawaitable(result) else result, prepared.name)
        except Exception as error:
            return Answer(errors=present_exception(error, prepared.name))

    async def subscribe(
        self, prepared: Prepared, new_context: Callable[[], object], audience: Hashable = None
    ) -> AsyncGenerator[Answer]:
        """Run a subscription: an answer for each event, each resolved in a context of its own.

        An answer that was not `executed` is the last one: the subscription was refused, or its source broke.
        An event with a `share_key` is resolved once for all who subscribed alike and belong to the same `audience`:
        whoever may see the same things. None shares with nobody.
        """
        try:
            executor = self._build(prepared, new_context())
            if not isinstance(executor, Executor):
                yield _uncoercible(executor, prepared.name)
                return
            opened = create_source_event_stream(executor)
            source = await opened if inspect.isawaitable(opened) else opened
            if isinstance(source, ExecutionResult):
                yield refusal(source.errors or (), prepared.name)
                return
            subscription = _Subscription(executor, prepared, new_context, audience, self.shares)
            async with _closing(source) as events:
                async for event in events:
                    yield await subscription.answer(event)
        except Exception as error:
            yield Answer(errors=present_exception(error, prepared.name), executed=False)

    def _build(self, prepared: Prepared, context: object) -> list[GraphQLError] | Executor[Any]:
        return self._executor.build(
            self._schema,
            prepared.operation.document,
            context_value=context,
            raw_variable_values=dict(prepared.variables),
            operation_name=prepared.name,
            max_coercion_errors=_COERCION_ERRORS,
            is_awaitable=_is_awaitable,
            hide_suggestions=True,
            operation_extensions=prepared.extensions,
        )


class _Subscription:
    """How the events of one subscription are answered."""

    def __init__(
        self,
        executor: Executor[Any],
        prepared: Prepared,
        new_context: Callable[[], object],
        audience: Hashable,
        shares: Shares,
    ) -> None:
        self._executor = executor
        self._name = prepared.name
        self._new_context = new_context
        self._shares = shares
        self._likeness = None if audience is None else (audience, prepared.operation, _frozen(prepared.variables))

    async def answer(self, event: Any) -> Answer:
        key = getattr(event, "share_key", None)
        if key is not None and self._likeness is not None:
            return await self._shares.answer((self._likeness, key), lambda: self._execute(event))
        execution = self._execute(event)
        return execution if isinstance(execution, Answer) else await execution

    def _execute(self, event: Any) -> Execution:
        executor = self._executor.build_per_event_executor(event)
        executor.context_value = self._new_context()
        result = execute_subscription_event(executor)
        return self._finish(result) if inspect.isawaitable(result) else _answer(result, self._name)

    async def _finish(self, result: Awaitable[ExecutionResult]) -> Answer:
        return _answer(await result, self._name)


def _closing(source: AsyncIterable[Any]) -> AbstractAsyncContextManager[AsyncIterable[Any]]:
    """Ends the source with the subscription, where it can be ended."""
    return aclosing(source) if isinstance(source, AsyncGenerator) else nullcontext(source)


def _frozen(variables: Mapping[str, Any]) -> bytes:
    return orjson.dumps(variables, option=orjson.OPT_SORT_KEYS)


def _answer(result: ExecutionResult, operation: str | None) -> Answer:
    return Answer(result.data, present(result.errors, operation) if result.errors else ())


def _uncoercible(errors: Sequence[GraphQLError], operation: str | None) -> Answer:
    """Variables that do not fit their types. What a scalar's parser says of a bad value is for the client; its crash is not."""
    said = (type(None), GraphQLError, ValueError, TypeError)
    told = [finished(error, BAD_USER_INPUT) if isinstance(error.original_error, said) else error for error in errors]
    return refusal(told, operation)
