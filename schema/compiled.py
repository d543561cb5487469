"""Runs operations that are asked again and again by functions written for them; the rest, and every error, is graphql-core's.

`completion` says what is compiled. A root field's resolver always runs as it would otherwise, with its arguments and all that
stands around it, and runs once: when a function gives up, graphql-core goes on with the values the resolvers have answered.
Resolvers below the root only read, and may then be asked a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from graphql import (
    DirectiveNode,
    ExecutionResult,
    GraphQLError,
    GraphQLObjectType,
    MiddlewareManager,
    VariableNode,
    Visitor,
    visit,
)
from graphql.execution.collect_fields import FieldDetailsList, collect_fields
from graphql.execution.values import VariableValues
from graphql.pyutils import Path
from strawberry.schema.schema import StrawberryGraphQLCoreExecutionContext

from schema.coercion import GiveUpError, Variables
from schema.completion import Place, Writer
from schema.running import Given, Plan, Root, Running, now

_PLANS_KEPT = 8


class Plans:
    """What was compiled of one operation: a plan for each combination of what its @skip and @include depend on."""

    def __init__(self) -> None:
        self._conditions: tuple[str, ...] | None = None
        self._known: dict[tuple[Any, ...], Plan | None] = {}
        self._variables: Variables | None = None

    @property
    def compiled(self) -> int:
        """How many plans there are."""
        return sum(plan is not None for plan in self._known.values())

    def find(self, executor: Compiling) -> Plan | None:
        """The plan for these variables; None at the first time of asking, for most texts are never asked again."""
        if self._conditions is None:
            self._conditions = _conditions(executor)
            self._variables = _variables(executor)
            return None
        case = self._case(executor.variable_values)
        if case not in self._known:
            self._known[case] = _compile(executor) if len(self._known) < _PLANS_KEPT else None
        return self._known[case]

    def begin(self, variables: Mapping[str, Any], context: object, extensions: Mapping[str, Any] | None) -> Running | None:
        """An execution by a plan there is; None where graphql-core has to begin."""
        if self._variables is None:
            return None
        try:
            values = self._variables.coerce(variables)
        except Exception:  # whatever it is, graphql-core meets it again and reports it
            return None
        plan = self._known.get(self._case(values))
        return None if plan is None else Running(plan, Given(values, context, None, extensions))

    def _case(self, values: VariableValues) -> tuple[Any, ...]:
        return tuple(values.coerced.get(name) for name in self._conditions or ())


class Compiling(StrawberryGraphQLCoreExecutionContext):
    """An executor that knows what was compiled of its operation. Without `plans` it is Strawberry's."""

    def __init__(self, *args: Any, plans: Plans | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._plans = plans
        self._completed: Mapping[str, Any] = {}

    def execute_operation(self, serially: bool | None = None) -> Any:
        self._completed = {}
        plan = self._plans.find(self) if self._plans is not None else None
        return super().execute_operation(serially) if plan is None else self._run(plan)

    async def _run(self, plan: Plan) -> ExecutionResult:
        given = Given(self.variable_values, self.context_value, self.root_value, self.operation_extensions)
        running = Running(plan, given)
        data = await running.answer()
        return await self.go_on(running) if data is None else ExecutionResult(data, None)

    async def go_on(self, running: Running) -> ExecutionResult:
        """Execute with what has been answered and completed."""
        self._completed = running.completed
        self.middleware_manager = MiddlewareManager(_Replay(running.resolved, running.awaited))
        result: Any = super().execute_operation()
        found: ExecutionResult = await result if self.is_awaitable(result) else result
        return found

    def execute_field(
        self,
        parent_type: GraphQLObjectType,
        source: Any,
        field_details_list: FieldDetailsList,
        path: Path,
        position_context: Any,
    ) -> Any:
        """As graphql-core does, but for what had been completed."""
        if path.prev is None and path.key in self._completed:
            return self._completed[str(path.key)]
        return super().execute_field(parent_type, source, field_details_list, path, position_context)


class _Replay:
    """A resolver that has answered already answers the same again, in the same way."""

    def __init__(self, answers: Mapping[str, Any], awaited: Collection[str]) -> None:
        self._answers = answers
        self._awaited = awaited

    def resolve(self, resolver: Callable[..., Any], source: Any, info: Any, **arguments: Any) -> Any:
        """graphql-core's hook around every resolver."""
        key = info.path.key
        if info.path.prev is not None or key not in self._answers:
            return resolver(source, info, **arguments)
        return _later(self._answers[key]) if key in self._awaited else now(self._answers[key])


def _compile(executor: Compiling) -> Plan | None:
    """A plan for the operation; None where it is for graphql-core."""
    operation = executor.operation
    parent = executor.schema.get_root_type(operation.operation)
    if parent is None:
        return None
    try:
        asked = collect_fields(executor.schema, executor.fragments, executor.variable_values, parent, operation, True)
        places = [_place(parent, key, details) for key, details in asked.grouped_field_set.items()]
        writer = Writer(executor)
        names = [(writer.resolver(place), writer.completer(place.field.type, place)) for place in places]
    except (GiveUpError, GraphQLError):
        return None
    functions = writer.functions()
    keys = asked.grouped_field_set
    roots = [Root(key, functions[asks], functions[ends]) for key, (asks, ends) in zip(keys, names, strict=True)]
    return Plan(executor.schema, operation, executor.fragment_definitions, tuple(roots))


def _place(parent: GraphQLObjectType, key: str, details: FieldDetailsList) -> Place:
    field = parent.fields.get(details[0].node.name.value)
    if field is None or field.resolve is None:  # __schema, __type or __typename
        raise GiveUpError
    return Place(parent, field, details, Path(None, key, parent.name))


def _variables(executor: Compiling) -> Variables | None:
    try:
        return Variables(executor.schema, executor.operation)
    except GiveUpError:
        return None


def _conditions(executor: Compiling) -> tuple[str, ...]:
    """The variables that @skip and @include look at."""
    found: set[str] = set()

    class Conditions(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
            found.update(a.value.name.value for a in node.arguments or () if isinstance(a.value, VariableNode))

    for node in (executor.operation, *executor.fragment_definitions.values()):
        visit(node, Conditions())
    return tuple(sorted(found))


async def _later(answer: Any) -> Any:
    return now(answer)
