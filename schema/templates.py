"""The catalogue: what can be plugged in, and with which settings."""

from __future__ import annotations

from enum import Enum
from typing import Any, get_args

import strawberry
from pydantic.fields import FieldInfo
from strawberry.scalars import JSON

from channels import BY_REF, PROVIDERS
from channels.base import ChannelType, Provider, ReleaseStatus
from resolvers.configs import secret_names


@strawberry.type(description="What a message through a channel may hold, and what comes back.")
class ChannelCapabilities:
    text: bool = strawberry.field(description="Plain text.")
    subject: bool = strawberry.field(description="A subject line.")
    media: bool = strawberry.field(description="Files, by URL.")
    templates: bool = strawberry.field(description="Templates kept at the provider.")
    inbound: bool = strawberry.field(description="Messages from people come in.")
    delivery_receipts: bool = strawberry.field(description="The provider tells of delivery.")
    read_receipts: bool = strawberry.field(description="The provider tells of reading.")
    max_text_length: int | None = strawberry.field(description="Most characters of text; null where there is no fixed limit.")
    verifies_without_sending: bool = strawberry.field(description="Its settings can be checked without sending.")


@strawberry.type(description="One setting of a template.")
class TemplateField:
    name: str = strawberry.field(description="Its name in `arguments` and in the typed input.")
    type: str = strawberry.field(description="string, integer, number, boolean or enum.")
    title: str = strawberry.field(description="A label for people.")
    help: str | None = strawberry.field(description="What it means and where to find it.")
    is_required: bool = strawberry.field(description="It must be given.")
    is_secret: bool = strawberry.field(description="It is kept sealed and never shown again.")
    default: JSON | None = strawberry.field(description="What it is when it is not given.")
    example: str | None = strawberry.field(description="A value of the right form.")
    allowed_values: list[str] | None = strawberry.field(description="The values it may have, where they are few.")


@strawberry.type(description="A kind of connector: a provider and the channel it serves.")
class ConnectorTemplate:
    provider_class: strawberry.Private[type[Provider]]
    ref: str = strawberry.field(description="Its name with its version, such as `email-smtp:1`.")
    slug: str = strawberry.field(description="Its name.")
    version: int = strawberry.field(description="Its version; connectors of an older one keep working.")
    channel: ChannelType = strawberry.field(description="The medium it serves.")
    provider: str = strawberry.field(description="The vendor or protocol.")
    title: str = strawberry.field(description="A label for people.")
    documentation_url: str | None = strawberry.field(description="The vendor's own documentation.")
    release_status: ReleaseStatus = strawberry.field(description="How mature it is.")
    capabilities: ChannelCapabilities = strawberry.field(description="What it can carry.")

    @strawberry.field(description="Its settings, in the order a form would ask for them.")
    def fields(self) -> list[TemplateField]:
        return self.settings()

    @strawberry.field(graphql_type=JSON, description="Its settings as a JSON Schema.")
    def config_schema(self) -> dict[str, Any]:
        return self.provider_class.model_json_schema(by_alias=True)

    def settings(self) -> list[TemplateField]:
        secrets = secret_names(self.provider_class)
        return [_field(str(field.alias), field, secrets) for field in self.provider_class.model_fields.values()]


def _field(name: str, field: FieldInfo, secrets: frozenset[str]) -> TemplateField:
    kinds = [kind for kind in get_args(field.annotation) or (field.annotation,) if kind is not type(None)]
    kind = kinds[0]
    default = None if field.is_required() or name in secrets or field.default == "" else field.default
    is_enum = isinstance(kind, type) and issubclass(kind, Enum)
    return TemplateField(
        name=name,
        type=_type_name(kind),
        title=field.title or name,
        help=field.description,
        is_required=field.is_required(),
        is_secret=name in secrets,
        default=default.value if isinstance(default, Enum) else default,
        example=str(field.examples[0]) if field.examples else None,
        allowed_values=[str(member.value) for member in kind] if is_enum else None,
    )


def _type_name(kind: Any) -> str:
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "enum"
    return {int: "integer", float: "number", bool: "boolean"}.get(kind, "string")


def template(provider: type[Provider]) -> ConnectorTemplate:
    about = provider.about
    can = about.capabilities
    return ConnectorTemplate(
        provider_class=provider,
        ref=about.ref,
        slug=about.slug,
        version=about.version,
        channel=about.channel,
        provider=about.provider,
        title=about.title,
        documentation_url=about.documentation_url,
        release_status=about.release_status,
        capabilities=ChannelCapabilities(
            text=can.text,
            subject=can.subject,
            media=can.media,
            templates=can.templates,
            inbound=can.inbound,
            delivery_receipts=can.delivery_receipts,
            read_receipts=can.read_receipts,
            max_text_length=can.max_text_length,
            verifies_without_sending=can.verifies_without_sending,
        ),
    )


def catalogue(channel: ChannelType | None, include_internal: bool) -> list[ConnectorTemplate]:
    """What can be plugged in."""
    shown = [p for p in PROVIDERS if include_internal or p.about.release_status is not ReleaseStatus.INTERNAL]
    return [template(provider) for provider in shown if channel is None or provider.about.channel is channel]


def by_ref(ref: str) -> ConnectorTemplate | None:
    return template(BY_REF[ref]) if ref in BY_REF else None
