"""A key can be changed: what the old one sealed is sealed by the new one, and opens without the old."""

from __future__ import annotations

import base64
import sqlite3
from pathlib import Path

from gateway.settings import Settings
from models.rotation import rotate
from models.vault import Vault
from tests import make
from tests.commands import patchbay
from tests.harness import Gateway, database_of, process, settings_for
from tests.provider_server import ProviderServer, Reply

OLD, NEW = f"old:{base64.b64encode(b'o' * 32).decode()}", f"new:{base64.b64encode(b'n' * 32).decode()}"
LINE = """mutation($input: WhatsappCloudLineUpdateInput!) {
  whatsappCloudLineUpdate(input: $input) { userErrors { message } } }"""
FIELDS = "query($id: ID!) { connector(id: $id) { configFields { name isSecret fingerprint } } }"
HOOK = """mutation($input: WebhookSubscriptionCreateInput!) {
  webhookSubscriptionCreate(input: $input) { webhookSubscription { id } signingKey userErrors { message } } }"""


def with_keys(directory: Path, *keys: str) -> Settings:
    return settings_for(directory, secret_keys=",".join(keys), jwt_secret="j" * 32, webhook_http=True)


async def plug_in_everything(gateway: Gateway, url: str) -> str:
    """A secret in every place that keeps one; the id of the connector."""
    connector = await make.connector(gateway, "SMS", config=make.twilio(url, authToken="auth-token-1"))
    line = {"whatsappPhoneNumberId": "106540352242922", "whatsappAccessToken": "EAAB-line-token"}
    assert (await gateway.gql(LINE, input=line))["whatsappCloudLineUpdate"]["userErrors"] == []
    shared = await make.mutate(gateway, "connectorCreate", name="Line", templateRef="whatsapp-line:1", arguments={})
    assert shared["userErrors"] == []
    hook = {"service": "MESSAGES", "event": "sms.sent", "url": f"{url}/hook"}
    assert (await gateway.gql(HOOK, input=hook))["webhookSubscriptionCreate"]["userErrors"] == []
    return str(connector["id"])


def sealed_under(gateway: Gateway, key: str) -> int:
    """How many secrets in the database were sealed by a key."""
    file = gateway.application.settings.database_file
    assert file is not None
    with sqlite3.connect(file) as connection:
        return "\n".join(connection.iterdump()).count(f"v1.{key}.")


async def rotated(gateway: Gateway) -> tuple[int, int, list[str]]:
    keys = gateway.application.settings.secret_keys
    assert keys is not None
    done = await rotate(gateway.application.database, Vault.parse(keys.get_secret_value()))
    return done.rewrapped, done.current, done.unreadable


async def test_secrets_move_to_the_new_key_and_open_without_the_old(tmp_path: Path) -> None:
    async with ProviderServer(default=Reply(200, {"status": "active"})) as provider, database_of(with_keys(tmp_path, OLD)):
        async with process(with_keys(tmp_path, OLD)) as gateway:
            connector_id = await plug_in_everything(gateway, provider.url)
            count = sealed_under(gateway, "old")
        async with process(with_keys(tmp_path, NEW, OLD)) as gateway:
            assert await rotated(gateway) == (count, 0, [])
            assert (sealed_under(gateway, "old"), sealed_under(gateway, "new")) == (0, count)
            assert await rotated(gateway) == (0, count, [])
        async with process(with_keys(tmp_path, NEW)) as gateway:
            await make.settled(gateway, connector_id)
            provider.requests.clear()
            await make.mutate(gateway, "connectorVerify", id=connector_id)
            assert provider.requests[0].headers["authorization"].startswith("Basic ")
            found = (await gateway.gql(FIELDS, id=connector_id))["connector"]["configFields"]
            secret = {field["name"]: field["fingerprint"] for field in found if field["isSecret"]}
            assert set(secret) == {"apiKeySecret", "authToken"} and all(len(mark) == 8 for mark in secret.values())


async def test_what_no_key_opens_is_named_and_left(tmp_path: Path) -> None:
    async with ProviderServer(default=Reply(200, {"status": "active"})) as provider, database_of(with_keys(tmp_path, OLD)):
        async with process(with_keys(tmp_path, OLD)) as gateway:
            await plug_in_everything(gateway, provider.url)
            count = sealed_under(gateway, "old")
        async with process(with_keys(tmp_path, NEW)) as gateway:
            rewrapped, current, unreadable = await rotated(gateway)
            assert (rewrapped, current, sealed_under(gateway, "old")) == (0, 0, count)
            assert {name.partition("_")[0] for name in unreadable} >= {"con", "org"}


def test_the_command_says_what_it_did(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    assert patchbay(data_dir, "token").status == 0
    ended = patchbay(data_dir, "rotate-secrets")
    assert (ended.status, ended.last_line) == (0, "0 secrets were sealed anew, 0 were under the first key already.")
    checked = patchbay(data_dir, "verify-audit")
    assert (checked.status, checked.last_line) == (0, "The audit logs are as they were written.")
