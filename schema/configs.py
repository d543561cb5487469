"""Inputs made from the providers' own configuration classes: a provider that is added to `channels` has one at once.

The versions of a template share one input, which has the settings of all: it grows and never loses what clients send. Which
version is meant, and whether it has the settings that were given, is decided in `resolvers.configs`.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import MISSING
from enum import Enum
from functools import cache
from types import NoneType
from typing import Any, get_args

import strawberry
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from channels import BY_KEY, PROVIDERS
from channels.base import Provider
from channels.choices import Choice
from resolvers.configs import ConfigInput


def _plain(annotation: Any) -> Any:
    """The type without None; a secret is a string to whoever sends it."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    kind = str if kinds[0] is SecretStr else kinds[0]
    return _chosen(kind) if isinstance(kind, type) and issubclass(kind, Choice) else kind


@cache
def _chosen(choice: type[Choice]) -> type[Choice]:
    """The GraphQL enum of a provider's own choice, described by itself."""
    exposed = strawberry.enum(choice, name=choice.__name__, description=inspect.getdoc(choice))
    for value in exposed.__strawberry_definition__.values:  # type: ignore[attr-defined]
        value.description = choice[value.name].description
    return exposed


def _field(field: FieldInfo) -> tuple[Any, Any]:
    """The GraphQL type of a configuration field, and its default."""
    kind = _plain(field.annotation)
    described = field.description or field.title
    if field.is_required():
        return kind, strawberry.field(description=described)
    if isinstance(field.default, (int, Enum)):
        return kind, strawberry.field(default=field.default, description=described)
    return kind | None, strawberry.field(default=strawberry.UNSET, description=described)


def _shared(name: str, versions: Sequence[type[Provider]]) -> tuple[Any, Any]:
    """A field of several versions. Where they do not all have it, or treat it alike, no version is given what it did not ask
    for. Raises TypeError for one whose type has changed."""
    having = {version.about.ref: version.model_fields[name] for version in versions if name in version.model_fields}
    field, *others = having.values()
    if any(_plain(other.annotation) != _plain(field.annotation) for other in others):
        raise TypeError(f"{name} is not of one type in {', '.join(having)}: what has another type needs another name")
    kind, asked = _field(field)
    if len(having) == len(versions) and all(other.default == field.default for other in others):
        return kind, asked
    only = "" if len(having) == len(versions) else f" Only {', '.join(having)}."
    optional = strawberry.field(default=strawberry.UNSET, description=f"{asked.description}{only}")
    return _plain(field.annotation) | None, optional


def _input(versions: Sequence[type[Provider]]) -> type[Any]:
    """`SmtpConfigInput` and its like, of all versions, the newest first. Required fields come first, as dataclasses want it."""
    about = versions[0].about
    fields = {name: _shared(name, versions) for version in versions for name in version.model_fields}
    ordered = sorted(fields, key=lambda name: fields[name][1].default is not MISSING)
    body = {name: fields[name][1] for name in ordered}
    body["__annotations__"] = {name: fields[name][0] for name in ordered}
    name = f"{about.key[0].upper()}{about.key[1:]}ConfigInput"
    made: type[Any] = strawberry.input(type(name, (), body), name=name, description=f"Settings of {about.title}.")
    return made


def _versions(key: str) -> list[type[Provider]]:
    """The newest first."""
    found = [provider for provider in PROVIDERS if provider.about.key == key]
    return sorted(found, key=lambda provider: -provider.about.version)


INPUTS = {key: _input(_versions(key)) for key in BY_KEY}


def _attribute(key: str) -> str:
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in key)


def _maybe(kind: Any) -> Any:
    return strawberry.Maybe[kind]  # type: ignore[misc]  # the class is made at run time


def _one_of() -> type[Any]:
    body: dict[str, Any] = {"__annotations__": {}}
    for key, provider in BY_KEY.items():
        attribute = _attribute(key)
        body["__annotations__"][attribute] = _maybe(INPUTS[key])
        body[attribute] = strawberry.field(description=provider.about.title, default=None)
    text = (
        'A provider\'s settings; exactly one is given. A secret sent as "****" means the one that is stored. They are '
        "those of the connector's version of the template; a new one has the newest, unless `templateRef` names another."
    )
    made: type[Any] = strawberry.input(
        type("ConnectorConfigInput", (), body), name="ConnectorConfigInput", description=text, one_of=True
    )
    return made


ConnectorConfigInput: Any = _one_of()


def typed(config: Any) -> ConfigInput:
    """What was given under one member, by the names the provider's fields have in the API."""
    for key in BY_KEY:
        given = getattr(config, _attribute(key))
        if given is not None:
            return ConfigInput(key=key, typed=_values(key, given.value))
    raise ValueError("a @oneOf input without a member")


def _values(key: str, given: Any) -> dict[str, Any]:
    fields = {name: str(field.alias or name) for version in _versions(key) for name, field in version.model_fields.items()}
    values = {alias: getattr(given, name) for name, alias in fields.items()}
    return {
        alias: value.value if isinstance(value, Enum) else value
        for alias, value in values.items()
        if value is not strawberry.UNSET
    }


def config_input(config: Any, template_ref: str | None, arguments: Any, security_arguments: Any) -> ConfigInput:
    """A configuration however it was sent; UNSET parts were not."""
    if config is not None and config is not strawberry.UNSET:
        made = typed(config)
        return ConfigInput(
            key=made.key,
            typed=made.typed,
            template_ref=template_ref,
            has_arguments=_given(arguments),
            has_security_arguments=_given(security_arguments),
        )
    return ConfigInput(
        template_ref=template_ref,
        arguments=arguments if _given(arguments) else None,
        has_arguments=_given(arguments),
        security_arguments=security_arguments if _given(security_arguments) else None,
        has_security_arguments=_given(security_arguments),
        is_null=config is None,
    )


def _given(value: Any) -> bool:
    return value is not strawberry.UNSET
