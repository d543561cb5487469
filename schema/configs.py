"""Inputs made from the providers' own configuration classes: a provider that is added to `channels` has one at once."""

from __future__ import annotations

from enum import Enum
from types import NoneType
from typing import Any, get_args

import strawberry
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from channels import PROVIDERS
from channels.base import Provider
from resolvers.configs import ConfigInput


def _plain(annotation: Any) -> Any:
    """The type without None; a secret is a string to whoever sends it."""
    kinds = [kind for kind in get_args(annotation) or (annotation,) if kind is not NoneType]
    return str if kinds[0] is SecretStr else kinds[0]


def _field(field: FieldInfo) -> tuple[Any, Any]:
    """The GraphQL type of a configuration field, and its default."""
    kind = _plain(field.annotation)
    described = field.description or field.title
    if field.is_required():
        return kind, strawberry.field(description=described)
    if isinstance(field.default, (int, Enum)):
        return kind, strawberry.field(default=field.default, description=described)
    return kind | None, strawberry.field(default=strawberry.UNSET, description=described)


def _input(provider: type[Provider]) -> type[Any]:
    """`SmtpConfigInput` and its like. Required fields come first, as dataclasses want it."""
    about = provider.about
    fields = {name: _field(field) for name, field in provider.model_fields.items()}
    ordered = sorted(fields, key=lambda name: not provider.model_fields[name].is_required())
    body = {name: fields[name][1] for name in ordered}
    body["__annotations__"] = {name: fields[name][0] for name in ordered}
    name = f"{about.key[0].upper()}{about.key[1:]}ConfigInput"
    made: type[Any] = strawberry.input(type(name, (), body), name=name, description=f"Settings of {about.title}.")
    return made


INPUTS = {provider.about.key: _input(provider) for provider in PROVIDERS}


def _maybe(kind: Any) -> Any:
    return strawberry.Maybe[kind]  # type: ignore[misc]  # the class is made at run time


def _one_of() -> type[Any]:
    body: dict[str, Any] = {"__annotations__": {}}
    for provider in PROVIDERS:
        key = provider.about.key
        attribute = "".join(f"_{c.lower()}" if c.isupper() else c for c in key)
        body["__annotations__"][attribute] = _maybe(INPUTS[key])
        body[attribute] = strawberry.field(description=provider.about.title, default=None)
    text = 'A provider\'s settings; exactly one is given. A secret sent as "****" means the one that is stored.'
    made: type[Any] = strawberry.input(
        type("ConnectorConfigInput", (), body), name="ConnectorConfigInput", description=text, one_of=True
    )
    return made


ConnectorConfigInput: Any = _one_of()


def typed(config: Any) -> ConfigInput:
    """What was given under one member, by the names the provider's fields have in the API."""
    for provider in PROVIDERS:
        key = provider.about.key
        given = getattr(config, "".join(f"_{c.lower()}" if c.isupper() else c for c in key))
        if given is not None:
            return ConfigInput(key=key, typed=_values(provider, given.value))
    raise ValueError("a @oneOf input without a member")


def _values(provider: type[Provider], given: Any) -> dict[str, Any]:
    values = {name: getattr(given, name) for name in provider.model_fields}
    return {
        str(provider.model_fields[name].alias or name): value.value if isinstance(value, Enum) else value
        for name, value in values.items()
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
