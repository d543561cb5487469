"""One execution of an operation by the functions that were written for it, without an executor of graphql-core's: that one is
made only when these give up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import FragmentDefinitionNode, GraphQLResolveInfo, GraphQLSchema, OperationDefinitionNode, OperationType
from graphql.execution.values import VariableValues, get_argument_values
from strawberry.execution import optimized_is_awaitable
from strawberry.types import Info

from schema.coercion import Arguments
from schema.completion import Complete, Place, declared


@dataclass(frozen=True, slots=True)
class Root:
    """A root field: what asks for its value, and what completes it."""

    key: str
    resolve: Complete
    complete: Complete


@dataclass(frozen=True, slots=True)
class Plan:
    """What is the same whenever an operation is executed."""

    schema: GraphQLSchema
    operation: OperationDefinitionNode
    fragments: dict[str, FragmentDefinitionNode]
    roots: tuple[Root, ...]


class RawInfo(GraphQLResolveInfo[Any]):
    """What graphql-core tells a resolver, with the request's extensions, which Strawberry tells besides."""

    operation_extensions: Mapping[str, Any] | None


class Given(NamedTuple):
    """What one execution is given."""

    variables: VariableValues
    context: Any
    root: Any = None
    extensions: Mapping[str, Any] | None = None


class Running:
    """`resolved` is what root fields' resolvers have answered, errors too; of those in `awaited` one had to wait for it.
    `completed` are the root fields that are done."""

    def __init__(self, plan: Plan, given: Given) -> None:
        self._plan = plan
        self._given = given
        self.waiting: list[tuple[Awaitable[Any], dict[str, Any], str, Complete]] = []
        self.resolved: dict[str, Any] = {}
        self.awaited: set[str] = set()
        self.completed: dict[str, Any] = {}
        self._infos: dict[Place, Info[Any, Any]] = {}
        self._raw_infos: dict[Place, Any] = {}
        self._arguments: dict[Place, dict[str, Any]] = {}

    async def answer(self) -> dict[str, Any] | None:
        """The data; None where graphql-core has to go on."""
        serially = self._plan.operation.operation is OperationType.MUTATION
        try:
            return await (self._one_by_one() if serially else self._together())
        except Exception:  # whatever it is, graphql-core meets it again and reports it
            self._close()
            return None

    async def _one_by_one(self) -> dict[str, Any]:
        for root in self._plan.roots:
            answer = self._resolve(root)
            if answer is not None:
                await self._await([(root.key, answer)])
            data = {root.key: root.complete(self.resolved[root.key], self)}
            await self._fill()
            self.completed |= data
        return self.completed

    async def _together(self) -> dict[str, Any]:
        roots = self._plan.roots
        await self._await([(root.key, answer) for root in roots if (answer := self._resolve(root)) is not None])
        data = {root.key: root.complete(self.resolved[root.key], self) for root in roots}
        await self._fill()
        return data

    def _resolve(self, root: Root) -> Awaitable[Any] | None:
        """Call a root field's resolver; what must be waited for."""
        try:
            found = root.resolve(self._given.root, self)
        except Exception as error:
            found = error
        if optimized_is_awaitable(found):
            return found  # type: ignore[no-any-return]
        self.resolved[root.key] = found
        return None

    async def _await(self, answers: list[tuple[str, Awaitable[Any]]]) -> None:
        """Take the root fields' answers, errors too, and only then raise one."""
        found = await _all([answer for _, answer in answers])
        self.awaited |= {key for key, _ in answers}
        self.resolved |= {key: value for (key, _), value in zip(answers, found, strict=True)}
        for value in self.resolved.values():
            now(value)

    async def _fill(self) -> None:
        """Complete what had to be waited for, and what that has to wait for, until nothing is left. What waits at the same
        time is asked for together, which is what loaders gather."""
        while self.waiting:
            waiting, self.waiting = self.waiting, []
            found = await _all([answer for answer, *_ in waiting])
            for (_, data, key, complete), value in zip(waiting, found, strict=True):
                data[key] = complete(now(value), self)

    def _close(self) -> None:
        for answer, *_ in self.waiting:
            if asyncio.iscoroutine(answer):
                answer.close()

    def raw_info(self, place: Place) -> Any:
        """What graphql-core tells a resolver, the same for every object of a list: its path has no numbers. It cannot leave
        work to graphql-core, which is not there."""
        if place not in self._raw_infos:
            plan, given, nodes = self._plan, self._given, place.nodes
            info = self._raw_infos[place] = RawInfo(
                field_name=nodes[0].name.value,
                field_nodes=nodes,
                return_type=place.field.type,
                parent_type=place.parent,
                path=place.path,
                schema=plan.schema,
                fragments=plan.fragments,
                root_value=given.root,
                operation=plan.operation,
                variable_values=given.variables.coerced,  # type: ignore[arg-type]  # as Strawberry has it
                context=given.context,
                is_awaitable=optimized_is_awaitable,  # type: ignore[arg-type]
                abort_signal=None,
                async_helpers=None,  # type: ignore[arg-type]
            )
            info.operation_extensions = given.extensions
        return self._raw_infos[place]

    def info(self, place: Place) -> Info[Any, Any]:
        """What Strawberry tells a resolver, the same for every object of a list."""
        if place not in self._infos:
            self._infos[place] = Info(_raw_info=self.raw_info(place), _field=declared(place.field))  # type: ignore[arg-type]
        return self._infos[place]

    def arguments(self, place: Place) -> dict[str, Any]:
        """The field's arguments. Raises GraphQLError where they do not fit."""
        if place not in self._arguments:
            self._arguments[place] = get_argument_values(place.field, place.nodes[0], self._given.variables, None, True)
        return self._arguments[place]

    def given(self, place: Place, arguments: Arguments) -> dict[str, Any]:
        """The same as the field's own function takes them."""
        if place not in self._arguments:
            self._arguments[place] = arguments.given(self._given.variables, self.info(place))
        return self._arguments[place]


def now(answer: Any) -> Any:
    """What was answered, or raise it."""
    if isinstance(answer, BaseException):
        raise answer
    return answer


async def _all(answers: Sequence[Awaitable[Any]]) -> list[Any]:
    """What each comes to: a value, or the exception it raised."""
    if len(answers) != 1:
        return await asyncio.gather(*answers, return_exceptions=True)
    try:
        return [await answers[0]]
    except Exception as error:
        return [error]
