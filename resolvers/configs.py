"""A connector's configuration from what a client sent: named, checked, merged with what is stored, and sealed.

Everything wrong is reported at once, each with its path. Keys are the provider's own field names in camelCase; snake_case is
taken too. A secret sent as "****" means the one that is stored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import SecretStr, ValidationError
from pydantic.alias_generators import to_camel

from channels import BY_KEY, BY_REF
from channels.base import Provider
from channels.exchange import MASK
from models import sealing
from models.base import now
from models.connectors import Connector
from models.vault import SecretError, Vault
from resolvers.names import reserved
from resolvers.problems import Problem, Problems, UserErrorCode

LONGEST_VALUE = 10_000
MASKS = (MASK, f"{MASK}:{MASK}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigInput:
    """What the client sent: typed under a provider's `key`, or free-form with a template; `has_` tells null from absent.
    `is_null` says that the typed one was sent as null."""

    key: str | None = None
    typed: Mapping[str, Any] | None = None
    template_ref: str | None = None
    arguments: object = None
    has_arguments: bool = False
    security_arguments: object = None
    has_security_arguments: bool = False
    is_null: bool = False

    @property
    def given(self) -> bool:
        return self.typed is not None or self.has_arguments or self.has_security_arguments or self.is_null


@dataclass(frozen=True, slots=True)
class Values:
    """Configuration values by field, each with the path to blame when it is wrong."""

    by_name: Mapping[str, Any]
    paths: Mapping[str, Sequence[str]]
    base: Sequence[str]


def provider_of(source: ConfigInput) -> type[Provider]:
    """The provider a client means, in the newest version where it does not say which. Raises Problem when it names none or one
    we do not have."""
    if source.key is not None:
        if source.template_ref is None:
            return BY_KEY[source.key]
        named = BY_REF.get(source.template_ref)
        if named is None or named.about.key != source.key:
            raise _invalid(["input", "templateRef"], f"templateRef does not fit config.{source.key}; leave it out.")
        return named
    if source.template_ref is None:
        path = ["input", "templateRef" if source.has_arguments or source.has_security_arguments else "config"]
        raise Problem(UserErrorCode.MISSING_CONNECTOR_CONFIG, "Give config, or templateRef with arguments.", path)
    provider = BY_REF.get(source.template_ref)
    if provider is None:
        message = f"There is no such template; the templates are {', '.join(sorted(BY_REF))}."
        raise _invalid(["input", "templateRef"], message)
    return provider


def versions(template_ref: str) -> list[str]:
    """A template and the versions there are of it."""
    slug = template_ref.rpartition(":")[0]
    return [template_ref, *(ref for ref, other in BY_REF.items() if other.about.slug == slug and ref != template_ref)]


def content(source: ConfigInput, template_ref: str) -> dict[str, Any]:
    """What was asked of this version of a template, to be recognised by. A typed setting that is as the version has it anyway
    counts as not given: the schema fills defaults in, and which ones depends on the versions there are."""
    provider = BY_REF.get(template_ref)
    if source.typed is None or provider is None:
        return asdict(source)
    usual = {to_camel(name): getattr(field.default, "value", field.default) for name, field in provider.model_fields.items()}
    chosen = {name: value for name, value in source.typed.items() if name not in usual or value != usual[name]}
    return {**asdict(source), "typed": chosen, "version": template_ref}


def values_of(source: ConfigInput, provider: type[Provider]) -> Values:
    """What was sent, by field name. Raises Problems for reserved keys, wrong shapes and fields given twice."""
    if source.typed is not None:
        if source.has_arguments or source.has_security_arguments:
            raise _invalid(["input", "config"], "Give config, or arguments and securityArguments; not both.")
        base = ["input", "config", provider.about.key]
        return Values(source.typed, {name: [*base, name] for name in source.typed}, base)
    if not (source.has_arguments or source.has_security_arguments):
        path = ["input", "arguments" if source.template_ref is not None else "config"]
        raise Problem(UserErrorCode.MISSING_CONNECTOR_CONFIG, "Give config, or arguments.", path)
    by_name: dict[str, Any] = {}
    paths: dict[str, Sequence[str]] = {}
    problems: list[Problem] = []
    for part, sent in (("arguments", source.arguments), ("securityArguments", source.security_arguments)):
        if not (source.has_arguments if part == "arguments" else source.has_security_arguments):
            continue
        if not isinstance(sent, dict):
            message = f"{part} must be an object."
            problems.append(Problem(UserErrorCode.MISSING_CONNECTOR_CONFIG, message, ["input", part]))
            continue
        problems += reserved(sent, ["input", part])
        for path, name, value in _fields(sent, ["input", part], provider):
            if name in by_name:
                problems.append(_invalid(path, f"{name} is given twice."))
            by_name[name], paths[name] = value, path
    if problems:
        raise Problems(problems)
    return Values(by_name, paths, ["input", "arguments"])


def _fields(sent: dict[str, Any], base: list[str], provider: type[Provider]) -> list[tuple[list[str], str, Any]]:
    """Fields by canonical name. Security arguments may be grouped by scheme: a group holds the fields of one scheme."""
    known = {to_camel(name) for name in provider.model_fields}
    found: list[tuple[list[str], str, Any]] = []
    for key, value in sent.items():
        name = to_camel(key) if "_" in key else key
        if name not in known and base[-1] == "securityArguments" and isinstance(value, dict):
            found += _fields(value, [*base, key], provider)
        else:
            found.append(([*base, key], name, value))
    return found


def build(provider: type[Provider], values: Values, stored: Mapping[str, Any] | None) -> Provider:
    """The provider these values configure; `stored` supplies what "****" stands for. Raises Problems with every mistake."""
    merged: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, value in values.by_name.items():
        if _is_mask(provider, name, value):
            if stored is not None and name in stored:
                merged[name] = stored[name]
            else:
                problems.append(_invalid(values.paths[name], f'{name} has no stored value that "{MASK}" could stand for.'))
        elif isinstance(value, str) and (trouble := _unstorable(value)):
            problems.append(_invalid(values.paths.get(name, values.base), f"{name}: {trouble}"))
        elif value is not None:
            merged[name] = value
    told = {tuple(problem.field or ()) for problem in problems}
    try:
        built = provider.model_validate(merged)
    except ValidationError as error:
        problems += [p for p in _problems(error, values, provider) if tuple(p.field or ()) not in told]
    if problems:
        raise Problems(problems)
    return built


def _is_mask(provider: type[Provider], name: str, value: Any) -> bool:
    return isinstance(value, str) and value.strip() in MASKS and name in secret_names(provider)


def _unstorable(text: str) -> str | None:
    if len(text) > LONGEST_VALUE:
        return f"must have at most {LONGEST_VALUE} characters"
    if any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text):
        return "must not hold NUL or unpaired surrogates"
    return None


def _problems(error: ValidationError, values: Values, provider: type[Provider]) -> list[Problem]:
    words = {"missing": "is required", "extra_forbidden": f"is not a setting of {provider.about.ref}"}
    found = []
    for item in error.errors(include_url=False, include_input=False, include_context=False):
        name = _field_name(str(item["loc"][0]), values) if item["loc"] else None
        message = words.get(item["type"], item["msg"].removeprefix("Value error, "))
        if name is None:
            found.append(Problem(UserErrorCode.INVALID_CONNECTOR_DATA, message, values.base))
        else:
            path = [*values.paths.get(name, [*values.base, name]), *(str(part) for part in item["loc"][1:])]
            found.append(Problem(UserErrorCode.VALIDATION_ERROR, f"{name}: {message}", path))
    return found


def _field_name(location: str, values: Values) -> str:
    """A known field goes by its camelCase name, an unknown one by the name it was sent under."""
    return location if location in values.paths else to_camel(location)


def _invalid(path: Sequence[str], message: str) -> Problem:
    return Problem(UserErrorCode.VALIDATION_ERROR, message, path)


def secret_names(provider: type[Provider]) -> frozenset[str]:
    """The fields of a provider that are secrets, as clients name them."""
    return frozenset(to_camel(name) for name, field in provider.model_fields.items() if _is_secret(field.annotation))


def _is_secret(annotation: Any) -> bool:
    return annotation is SecretStr or SecretStr in getattr(annotation, "__args__", ())


def kept(provider: Provider, vault: Vault, connector: Connector) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is stored of a configuration: the open fields, and the secrets sealed to this connector. A secret that has not
    changed stays as it was sealed."""
    secret = secret_names(type(provider))
    dumped = provider.model_dump(mode="json", by_alias=True, exclude_none=True)
    config = {name: value for name, value in dumped.items() if name not in secret}
    known = stored_values(vault, connector)
    clear = {to_camel(name): value.get_secret_value() for name, value in provider if isinstance(value, SecretStr)}
    secrets = {
        name: connector.secrets[name] if known.get(name) == value else _sealed(vault, connector, name, value)
        for name, value in clear.items()
        if value
    }
    return config, secrets


def _sealed(vault: Vault, connector: Connector, name: str, clear: str) -> dict[str, Any]:
    context = sealing.of_connector(connector.workspace_id, connector.id, name)
    return {
        "sealed": vault.seal(clear, *context),
        "fingerprint": vault.fingerprint(clear, *context),
        "has_colon": ":" in clear,
        "updated_at": now().isoformat(),
    }


def stored_values(vault: Vault, connector: Connector) -> dict[str, Any]:
    """A connector's configuration with its secrets in the clear, to merge a change into. A secret that does not open any
    more is left out, so that it can be given anew."""
    clear = {}
    for name, secret in connector.secrets.items():
        with suppress(SecretError):
            clear[name] = vault.open(secret["sealed"], *sealing.of_connector(connector.workspace_id, connector.id, name))
    return {**connector.config, **clear}


def redacted(connector: Connector) -> dict[str, Any]:
    """A configuration anybody may see: a secret is "****", one with a colon "****:****"."""
    masks = {name: MASKS[1] if kept["has_colon"] else MASK for name, kept in connector.secrets.items()}
    return {**connector.config, **masks}
