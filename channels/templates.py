"""Messages made from a template a provider has approved; the shapes are Meta's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from channels.contents import refusal


class Parameter(BaseModel):
    """A value for a placeholder; what it holds beside its type depends on the type."""

    model_config = ConfigDict(extra="allow")

    type: str


class Component(BaseModel):
    model_config = ConfigDict(extra="allow")

    type: Literal["header", "body", "button", "carousel", "limited_time_offer"]
    parameters: list[Parameter] = []


class Button(Component):
    type: Literal["button"]
    sub_type: str
    index: Annotated[int, Field(ge=0, le=9)]
    parameters: Annotated[list[Parameter], Field(min_length=1)]


class Language(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(pattern=r"^[A-Za-z_]{2,16}$")]
    policy: Literal["deterministic"] | None = None


class TemplateContent(BaseModel):
    """An approved template by name, and the values for its placeholders."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,512}$")]
    language: Language
    components: list[Button | Component] = []

    @field_validator("components")
    @classmethod
    def _buttons_are_whole(cls, value: list[Button | Component]) -> list[Button | Component]:
        if any(item.type == "button" and not isinstance(item, Button) for item in value):
            raise ValueError("a button has sub_type, index (0 to 9) and parameters")
        return value


def check_template(template: Mapping[str, Any], shape: type[BaseModel] = TemplateContent) -> None:
    """Raise SendError(CONTENT) unless `template` is whole: of this shape, which is Meta's unless said otherwise."""
    try:
        shape.model_validate(template)
    except ValidationError as error:
        raise refusal("INVALID_TEMPLATE", f"The template is not whole: {_first(error)}.") from None


def _first(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in found["loc"]) or "template"
    return f"{where}: {found['msg']}"[:200]
