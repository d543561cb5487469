"""From a request's text to an operation that may run: parsed, validated and measured once, remembered by its text."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    IntValueNode,
    NoSchemaIntrospectionCustomRule,
    OperationDefinitionNode,
    OperationType,
    TokenKind,
    parse,
    specified_rules,
    validate,
)
from strawberry.schema.validation_rules.maybe_null import MaybeNullValidationRule
from strawberry.schema.validation_rules.one_of import OneOfInputValidationRule

from schema.complexity import Limits, Scale, TooComplexError, size_of

PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"
TOO_COMPLEX = "QUERY_TOO_COMPLEX"
UNRESOLVED_OPERATION = "OPERATION_RESOLUTION_FAILURE"
UNKNOWN_PERSISTED_QUERY = "PERSISTED_QUERY_NOT_FOUND"
BAD_USER_INPUT = "BAD_USER_INPUT"

_RULES = (*specified_rules, MaybeNullValidationRule, OneOfInputValidationRule)
_REPORTED_ERRORS = 20
_LONGEST_MESSAGE = 500
_MEASURES_KEPT = 64


class RefusedError(Exception):
    """The request may not run. `errors` say why, each with `extensions.code`; no resolver was called."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends, over HTTP as over a socket."""

    query: str | None = None
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of a valid document. The same object for every request with the same text and name."""

    document: DocumentNode
    node: OperationDefinitionNode
    sized_by: tuple[str, ...]
    weighed: set[tuple[int | None, ...]] = field(default_factory=set)

    @property
    def kind(self) -> OperationType:
        return self.node.operation

    @property
    def name(self) -> str | None:
        return self.node.name.value if self.node.name else None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What is known of a text: its operations by name, or why it may not run."""

    operations: dict[str | None, Operation]
    errors: tuple[GraphQLError, ...] = ()
    tokens: int = 0


class Documents:
    """Every text the API was asked, as far as memory allows. Not for use from several threads."""

    def __init__(self, schema: GraphQLSchema, limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._schema = schema
        self._rules = _RULES if self.limits.introspection else (*_RULES, NoSchemaIntrospectionCustomRule)
        self._readings: OrderedDict[str, _Reading] = OrderedDict()
        self._tokens = 0
        self._persisted: OrderedDict[str, str] = OrderedDict()
        self.misses = 0

    def select(self, request: Request) -> Operation:
        """The operation the request asks for. Raise RefusedError when there is none, or it may not run."""
        reading = self._read(self._text(request))
        if reading.errors:
            raise RefusedError(*reading.errors)
        operation = _choose(reading.operations, request.operation_name)
        self._weigh(operation, request.variables or {})
        return operation

    def _text(self, request: Request) -> str:
        """The query, by itself or by the hash it was persisted under."""
        persisted = (request.extensions or {}).get("persistedQuery")
        if persisted is None:
            if request.query is None:
                raise RefusedError(coded("The request has no query.", BAD_USER_INPUT))
            return request.query
        digest = _digest(persisted)
        if request.query is None:
            return self._recall(digest)
        if hashlib.sha256(request.query.encode()).hexdigest() != digest:
            raise RefusedError(coded("The persisted query's sha256Hash is not the hash of the query.", BAD_USER_INPUT))
        self._persist(digest, request.query)
        return request.query

    def _recall(self, digest: str) -> str:
        if digest not in self._persisted:
            raise RefusedError(coded("PersistedQueryNotFound", UNKNOWN_PERSISTED_QUERY))
        self._persisted.move_to_end(digest)
        return self._persisted[digest]

    def _persist(self, digest: str, text: str) -> None:
        if self._read(text).errors:
            return
        self._persisted[digest] = text
        if len(self._persisted) > self.limits.remembered:
            self._persisted.popitem(last=False)

    def _read(self, text: str) -> _Reading:
        if known := self._readings.get(text):
            self._readings.move_to_end(text)
            return known
        self.misses += 1
        reading = self._examine(text)
        self._remember(text, reading)
        return reading

    def _remember(self, text: str, reading: _Reading) -> None:
        """Refused texts are forgotten: they would push out what clients use."""
        if reading.errors:
            return
        self._readings[text] = reading
        self._tokens += reading.tokens
        while len(self._readings) > self.limits.remembered or self._tokens > self.limits.remembered_tokens:
            self._tokens -= self._readings.popitem(last=False)[1].tokens

    def _examine(self, text: str) -> _Reading:
        try:
            document = self._parse(text)
            operations = self._operations(document)
        except GraphQLSyntaxError as error:
            return _Reading({}, (finished(error, PARSE_FAILED),))
        except TooComplexError as error:
            return _Reading({}, (coded(str(error), TOO_COMPLEX),))
        errors = validate(self._schema, document, self._rules, max_errors=_REPORTED_ERRORS, hide_suggestions=True)
        return _Reading(operations, tuple(finished(error, VALIDATION_FAILED) for error in errors), _count_tokens(document))

    def _parse(self, text: str) -> DocumentNode:
        if len(text) > self.limits.source:
            raise TooComplexError(f"The query is longer than {self.limits.source} characters.")
        return parse(text, max_lexical_tokens=self.limits.tokens, max_comments=self.limits.comments)

    def _operations(self, document: DocumentNode) -> dict[str | None, Operation]:
        """By name, each measured with the sizes its text gives."""
        nodes = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        fragments = sum(isinstance(node, FragmentDefinitionNode) for node in document.definitions)
        variables = max((len(node.variable_definitions or ()) for node in nodes), default=0)
        for name, count in ("operations", len(nodes)), ("fragments", fragments), ("variables", variables):
            if count > (most := getattr(self.limits, name)):
                raise TooComplexError(f"The query has {count} {name}, more than {most}.")
        return {node.name.value if node.name else None: self._operation(document, node) for node in nodes}

    def _operation(self, document: DocumentNode, node: OperationDefinitionNode) -> Operation:
        scale = Scale(self._schema, document, self.limits, {})
        scale.measure(node).check(self.limits)
        return Operation(document, node, tuple(sorted(scale.size_variables)))

    def _weigh(self, operation: Operation, variables: Mapping[str, Any]) -> None:
        """Measure again where variables say how long the lists are; once for each combination of lengths."""
        if not operation.sized_by:
            return
        values = {**_defaults(operation.node), **variables}
        sizes = tuple(size_of(values.get(name)) for name in operation.sized_by)
        if sizes in operation.weighed:
            return
        try:
            Scale(self._schema, operation.document, self.limits, values).measure(operation.node).check(self.limits)
        except TooComplexError as error:
            raise RefusedError(coded(str(error), TOO_COMPLEX)) from None
        if len(operation.weighed) < _MEASURES_KEPT:
            operation.weighed.add(sizes)


def coded(message: str, code: str) -> GraphQLError:
    return GraphQLError(message, extensions={"code": code})


def finished(error: GraphQLError, code: str) -> GraphQLError:
    """The same error with its code, cut to a length that cannot be used to mirror megabytes."""
    if len(error.message) > _LONGEST_MESSAGE:
        error.message = error.message[:_LONGEST_MESSAGE] + "…"
    error.extensions = {"code": code}
    return error


def _choose(operations: dict[str | None, Operation], name: str | None) -> Operation:
    if name:
        if name not in operations:
            raise RefusedError(coded("The document has no operation of that name.", UNRESOLVED_OPERATION))
        return operations[name]
    if len(operations) != 1:
        reason = "The document has several operations: give operationName." if operations else "The document has no operation."
        raise RefusedError(coded(reason, UNRESOLVED_OPERATION))
    return next(iter(operations.values()))


def _digest(persisted: object) -> str:
    if isinstance(persisted, dict) and persisted.get("version") == 1 and isinstance(digest := persisted.get("sha256Hash"), str):
        return digest
    raise RefusedError(coded("extensions.persistedQuery needs version 1 and a sha256Hash.", BAD_USER_INPUT))


def _defaults(node: OperationDefinitionNode) -> dict[str, int]:
    return {
        definition.variable.name.value: int(definition.default_value.value)
        for definition in node.variable_definitions or ()
        if isinstance(definition.default_value, IntValueNode) and len(definition.default_value.value) < 10
    }


def _count_tokens(document: DocumentNode) -> int:
    token = document.loc.start_token if document.loc else None
    count = 0
    while token is not None and token.kind is not TokenKind.EOF:
        count, token = count + 1, token.next
    return count
