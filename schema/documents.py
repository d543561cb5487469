"""From a request's text to an operation that may run: parsed, validated and measured once, remembered by its text."""

from __future__ import annotations

import hashlib
import sys
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

from schema import places
from schema.compiled import Plans
from schema.complexity import Complexity, Limits, Scale, TooComplexError, size_of
from schema.reads import Reads

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
_BYTES_OF_A_TOKEN = 400  # of memory, about
_LARGEST_REGISTERED = 32_768  # bytes of memory; a longer text is sent each time
_NUMBERS = (TokenKind.INT, TokenKind.FLOAT)
_LONGEST_NUMBER = 400  # digits; the longest float has 309 before its point


class RefusedError(Exception):
    """The request may not run. `errors` say why, each with `extensions.code`; no resolver was called."""

    def __init__(self, *errors: GraphQLError) -> None:
        super().__init__("; ".join(error.message for error in errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sends, over HTTP as over a socket. The text has a `document_id` in its place where that is known here."""

    query: str | None = None
    variables: Mapping[str, Any] | None = None
    operation_name: str | None = None
    extensions: Mapping[str, Any] | None = None
    document_id: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """One operation of a valid document. The same object for every request with the same text and name."""

    document: DocumentNode
    node: OperationDefinitionNode
    sized_by: tuple[str, ...]
    placed_by: frozenset[str]
    chosen_by: frozenset[str]
    root_fields: int
    reads: Reads
    weighed: set[tuple[int | None, ...]] = field(default_factory=set)
    plans: Plans | None = None

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
    weight: int = 0


class Documents:
    """Every text the API was asked, as far as memory allows. Not for use from several threads.

    `listed` are texts known by id from the beginning; `listed_only` runs nothing else. Operations that are asked
    again are compiled, unless told not to be.
    """

    def __init__(
        self,
        schema: GraphQLSchema,
        limits: Limits | None = None,
        listed: Mapping[str, str] | None = None,
        listed_only: bool = False,
        *,
        compiles: bool = True,
    ) -> None:
        self.limits = limits or Limits()
        self._listed = dict(listed or {})
        self._only = frozenset(self._listed.values()) if listed_only else None
        self._schema = schema
        self._compiles = compiles
        self._rules = _RULES if self.limits.introspection else (*_RULES, NoSchemaIntrospectionCustomRule)
        self._readings: OrderedDict[str, _Reading] = OrderedDict()
        self._weight = 0
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

    def measure(self, operation: Operation, variables: Mapping[str, Any]) -> Complexity:
        """How much work the operation asks for with these variables."""
        values = {**_defaults(operation.node), **variables}
        return Scale(self._schema, operation.document, self.limits, values).measure(operation.node)

    def unusable(self) -> dict[str, str]:
        """The listed operations that may not run, each with the first reason; the others are ready from now on."""
        readings = {name: self._read(text) for name, text in self._listed.items()}
        return {name: reading.errors[0].message for name, reading in readings.items() if reading.errors}

    def _text(self, request: Request) -> str:
        """The query, by itself or by an id."""
        text = self._named_text(request)
        if self._only is not None and text not in self._only:
            raise RefusedError(coded("This server runs the operations of its list only.", UNKNOWN_PERSISTED_QUERY))
        return text

    def _named_text(self, request: Request) -> str:
        persisted = (request.extensions or {}).get("persistedQuery")
        if request.document_id is not None:
            if request.query is not None:
                raise RefusedError(coded("The request has both a query and a documentId.", BAD_USER_INPUT))
            return self._recall(request.document_id)
        if persisted is None:
            if request.query is None:
                raise RefusedError(coded("The request has no query.", BAD_USER_INPUT))
            return request.query
        digest = _digest(persisted)
        if request.query is None:
            return self._recall(digest)
        if self._listed.get(digest) != request.query:
            self._register(digest, request.query)
        return request.query

    def _register(self, digest: str, text: str) -> None:
        if hashlib.sha256(text.encode()).hexdigest() != digest:
            raise RefusedError(coded("The persisted query's sha256Hash is not the hash of the query.", BAD_USER_INPUT))
        if self._only is None:
            self._persist(digest, text)

    def _recall(self, name: str) -> str:
        """The text of an id: a listed one, or the hash of a registered one, which may say so by its prefix."""
        digest = name.removeprefix("sha256:")
        for known in name, digest:
            if known in self._listed:
                return self._listed[known]
        if digest not in self._persisted:
            raise RefusedError(coded("PersistedQueryNotFound", UNKNOWN_PERSISTED_QUERY))
        self._persisted.move_to_end(digest)
        return self._persisted[digest]

    def _persist(self, digest: str, text: str) -> None:
        if self._read(text).errors or sys.getsizeof(text) > _LARGEST_REGISTERED:
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
        self._weight += reading.weight
        while len(self._readings) > self.limits.remembered or self._weight > self.limits.remembered_tokens:
            self._weight -= self._readings.popitem(last=False)[1].weight

    def _examine(self, text: str) -> _Reading:
        try:
            document = self._parse(text)
            weight = _count_tokens(document) + sys.getsizeof(text) // _BYTES_OF_A_TOKEN
            operations = self._operations(document)
        except GraphQLSyntaxError as error:
            return _Reading({}, (finished(error, PARSE_FAILED),))
        except TooComplexError as error:
            return _Reading({}, (coded(str(error), TOO_COMPLEX),))
        errors = validate(self._schema, document, self._rules, max_errors=_REPORTED_ERRORS, hide_suggestions=True)
        return _Reading(operations, tuple(finished(error, VALIDATION_FAILED) for error in errors), weight)

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
        reads = Reads(self._schema, document)
        return {node.name.value if node.name else None: self._operation(document, node, reads) for node in nodes}

    def _operation(self, document: DocumentNode, node: OperationDefinitionNode, reads: Reads) -> Operation:
        scale = Scale(self._schema, document, self.limits, {})
        measured = scale.measure(node)
        measured.check(self.limits)
        plans = Plans() if self._compiles else None
        sized_by = tuple(sorted(scale.size_variables))
        placed_by, chosen_by = places.choosing(document, node, places.BEGINNING), places.choosing(document, node)
        return Operation(document, node, sized_by, placed_by, chosen_by, measured.root_fields, reads, plans=plans)

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
    """Raise TooComplexError for a number with so many digits that Python would refuse to read it."""
    token = document.loc.start_token if document.loc else None
    count = 0
    while token is not None and token.kind is not TokenKind.EOF:
        if token.kind in _NUMBERS and len((token.value or "").lstrip("-")) > _LONGEST_NUMBER:
            raise TooComplexError(f"The query has a number of more than {_LONGEST_NUMBER} digits.")
        count, token = count + 1, token.next
    return count
