"""Signatures as other people's libraries verify them, and the vectors of the specification."""

from __future__ import annotations

import datetime as dt
import json
import re
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError
from svix.webhooks import Webhook as SvixWebhook
from svix.webhooks import WebhookVerificationError as SvixVerificationError

from delivery.webhook_signatures import key_bytes, new_key, signed

KEY = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, AT, BODY = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_vector_of_the_specification() -> None:
    assert signed([KEY], ID, AT, BODY) == {
        "webhook-id": ID,
        "webhook-timestamp": str(AT),
        "webhook-signature": SIGNATURE,
    }


def test_other_libraries_sign_alike() -> None:
    at = dt.datetime.fromtimestamp(AT, dt.UTC)
    assert Webhook(KEY).sign(ID, at, BODY.decode()) == SIGNATURE
    assert SvixWebhook(KEY).sign(ID, at, BODY.decode()) == SIGNATURE


def test_the_vector_of_the_readme() -> None:
    text = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    (block,) = [found for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL) if "webhook-signature" in found]
    vector = json.loads(block)
    at = dt.datetime.fromtimestamp(int(vector["webhook-timestamp"]), dt.UTC)
    for library in (Webhook, SvixWebhook):
        assert library(vector["key"]).sign(vector["webhook-id"], at, vector["body"]) == vector["webhook-signature"]


@pytest.mark.parametrize("library", [Webhook, SvixWebhook])
def test_other_libraries_verify_either_key_and_nothing_else(library: type[Webhook]) -> None:
    new, old, other = new_key(), new_key(), new_key()
    body = '{"type":"sms.sent","data":{"to":"ü"}}'.encode()
    headers = signed([new, old], "evt_1", int(time.time()), body)
    for key in (new, old):
        library(key).verify(body, headers)
    refusals = (WebhookVerificationError, SvixVerificationError)
    with pytest.raises(refusals):
        library(other).verify(body, headers)
    with pytest.raises(refusals):
        library(new).verify(body + b" ", headers)
    with pytest.raises(refusals):
        library(new).verify(body, {**headers, "webhook-id": "evt_2"})
    stale = signed([new], "evt_1", int(time.time()) - 301, body)
    with pytest.raises(refusals):
        library(new).verify(body, stale)


@pytest.mark.parametrize("key", ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!!!" + "A" * 32])
def test_weak_or_malformed_keys_are_refused_without_being_repeated(key: str) -> None:
    with pytest.raises(ValueError, match="must be whsec_ and the base64 of 24 to 64 random bytes") as refusal:
        key_bytes(key)
    assert len(key) < 8 or key not in str(refusal.value)


def test_new_keys_differ_and_have_32_bytes() -> None:
    keys = {new_key() for _ in range(100)}
    assert len(keys) == 100 and {len(key_bytes(key)) for key in keys} == {32}
