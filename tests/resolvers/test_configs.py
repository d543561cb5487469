"""A configuration from what a client sent."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import pytest

from channels import PROVIDERS
from channels.simulator import Simulator
from channels.smtp import Smtp
from channels.twilio import Twilio
from delivery.providers import UnusableError, opened
from models.connectors import Connector
from models.vault import Vault
from resolvers import configs
from resolvers.configs import ConfigInput, Values
from resolvers.problems import Problem, Problems, UserErrorCode

Json = Any
VAULT = Vault({"k": os.urandom(32)}, "k")
SMTP = {"smtpHost": "mail.example.com", "fromAddress": "shop@example.com"}


def free(arguments: object, secrets: object = None, ref: str = "email-smtp:1") -> ConfigInput:
    """Free-form settings, as they were sent."""
    given = secrets is not None
    return ConfigInput(
        template_ref=ref, arguments=arguments, has_arguments=True, security_arguments=secrets, has_security_arguments=given
    )


def built(source: ConfigInput, stored: Json = None) -> Any:
    provider = configs.provider_of(source)
    return configs.build(provider, configs.values_of(source, provider), stored)


def paths(source: ConfigInput) -> list[tuple[str, str]]:
    with pytest.raises(Problems) as caught:
        built(source)
    return [(problem.code.value, ".".join(problem.field or [])) for problem in caught.value.problems]


def connector(**values: Json) -> Connector:
    return Connector(id="con_1", workspace_id="wsp_1", template_ref="email-smtp:1", config={}, secrets={}, **values)


def test_camel_snake_and_shouted_names_mean_the_same_setting() -> None:
    for arguments in (
        SMTP,
        {"smtp_host": "mail.example.com", "from_address": "shop@example.com"},
        {"SMTP_HOST": "mail.example.com", "FROM_ADDRESS": "shop@example.com"},
    ):
        assert dict(built(free(arguments))) == dict(built(free(SMTP)))


def test_a_wrong_setting_is_blamed_under_the_name_it_was_sent_by() -> None:
    arguments = {**SMTP, "smtp_port": 0, "FooBar": 1, "foo_bar": 2, "Smtp_Host": 3}
    assert paths(free(arguments, {"basic": {"Pass": "x"}})) == [
        ("VALIDATION_ERROR", "input.arguments.Smtp_Host"),
    ]
    assert paths(free({**SMTP, "smtp_port": 0, "FooBar": 1, "foo_bar": 2}, {"basic": {"Pass": "x"}})) == [
        ("VALIDATION_ERROR", "input.arguments.smtp_port"),
        ("VALIDATION_ERROR", "input.arguments.FooBar"),
        ("VALIDATION_ERROR", "input.arguments.foo_bar"),
        ("VALIDATION_ERROR", "input.securityArguments.basic.Pass"),
    ]


def test_secrets_may_be_grouped_by_scheme_one_level_deep() -> None:
    found = built(free(SMTP, {"basic": {"username": "me", "password": "one"}}))
    assert (found.username, found.password.get_secret_value()) == ("me", "one")
    assert paths(free(SMTP, {"a": {"b": {"password": "x"}}})) == [("VALIDATION_ERROR", "input.securityArguments.a.b")]
    assert paths(free(SMTP, {"password": {"password": "x"}, "username": "me"})) == [
        ("VALIDATION_ERROR", "input.securityArguments.password")
    ]
    assert paths(free({**SMTP, "password": "a", "username": "me"}, {"basic": {"password": "b"}})) == [
        ("VALIDATION_ERROR", "input.securityArguments.basic.password")
    ]


def test_no_message_repeats_a_secret_that_was_refused() -> None:
    long = "s3cret" * 2000
    for source in (
        free({**SMTP, "username": "me", "password": long}),
        free({**SMTP, "username": "me", "password": "s3cret\0"}),
        free({**SMTP, "username": "me", "password": ["s3cret"]}),
        free({"botToken": "s3cret"}, ref="telegram:1"),
        free({"accessToken": "s3cret s3cret", "phoneNumberId": "1", "businessAccountId": "1"}, ref="whatsapp:1"),
    ):
        with pytest.raises(Problems) as caught:
            built(source)
        assert "s3cret" not in str(caught.value) + repr([problem.__dict__ for problem in caught.value.problems])


def test_stars_stand_for_what_is_stored_and_only_in_secrets() -> None:
    stored = {**SMTP, "username": "me", "password": "one"}
    for stars in ("****", "****:****", "\t****\n"):
        found = built(free({**SMTP, "username": "me", "password": stars}), stored)
        assert found.password.get_secret_value() == "one"
    assert built(free({**SMTP, "fromName": "****"})).from_name == "****"
    almost = built(free({**SMTP, "username": "me", "password": "*****"}))
    assert almost.password.get_secret_value() == "*****"


def test_secrets_are_sealed_and_everything_else_is_open() -> None:
    provider = Smtp.model_validate({**SMTP, "username": "me", "password": "pa:ss"})
    config, secrets = configs.kept(provider, VAULT, connector())
    assert config == {**SMTP, "smtpPort": 587, "username": "me", "security": "STARTTLS"}
    assert set(secrets) == {"password"} and set(secrets["password"]) == {"sealed", "fingerprint", "has_colon", "updated_at"}
    assert secrets["password"]["has_colon"] is True and "pa:ss" not in repr(secrets)
    assert dt.datetime.fromisoformat(secrets["password"]["updated_at"]).tzinfo is not None
    row = connector()
    row.config, row.secrets = config, secrets
    assert opened(VAULT, row) == {**config, "password": "pa:ss"}
    assert configs.redacted(row) == {**config, "password": "****:****"}


def test_a_secret_that_did_not_change_stays_as_it_was_sealed() -> None:
    row = connector()
    provider = Twilio.model_validate({"apiKeySid": "SK1", "apiKeySecret": "one", "authToken": "t", "fromNumber": "Shop"})
    row.config, row.secrets = configs.kept(provider, VAULT, row)
    again = Twilio.model_validate({"apiKeySid": "SK1", "apiKeySecret": "one", "authToken": "u", "fromNumber": "Shop"})
    _, secrets = configs.kept(again, VAULT, row)
    assert secrets["apiKeySecret"] is row.secrets["apiKeySecret"]
    assert secrets["authToken"]["sealed"] != row.secrets["authToken"]["sealed"]


def test_a_secret_of_another_connector_does_not_open_here() -> None:
    row, other = connector(), connector()
    other.id = "con_2"
    row.config, row.secrets = configs.kept(Simulator.model_validate({"apiKey": "one"}), VAULT, row)
    other.config, other.secrets = row.config, row.secrets
    assert configs.stored_values(VAULT, row)["apiKey"] == "one"
    assert "apiKey" not in configs.stored_values(VAULT, other)


def test_a_typed_configuration_is_blamed_below_its_key() -> None:
    source = ConfigInput(key="smtp", typed={**SMTP, "smtpPort": 0})
    assert paths(source) == [("VALIDATION_ERROR", "input.config.smtp.smtpPort")]
    assert configs.values_of(source, Smtp) == Values(
        {**SMTP, "smtpPort": 0},
        {name: ["input", "config", "smtp", name] for name in (*SMTP, "smtpPort")},
        ["input", "config", "smtp"],
    )


def test_an_unknown_template_is_told_with_those_there_are() -> None:
    with pytest.raises(Problem) as caught:
        configs.provider_of(free({}, ref="fax:1"))
    assert caught.value.message.startswith("There is no such template; ") and "email-smtp:1" in caught.value.message
    assert (caught.value.code, caught.value.field) == (UserErrorCode.VALIDATION_ERROR, ["input", "templateRef"])


def test_secret_names_are_those_of_the_api() -> None:
    for provider in PROVIDERS:
        assert configs.secret_names(provider) <= {str(field.alias) for field in provider.model_fields.values()}


def test_an_unusable_configuration_says_what_to_do_and_nothing_else() -> None:
    assert str(UnusableError()) == "The connector's configuration cannot be used any more; save it again."
