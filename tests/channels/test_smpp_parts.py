"""Messages in parts from an SMSC that is not ours, through a whole gateway."""

from __future__ import annotations

import pytest

from tests import make
from tests.channels import node_smpp
from tests.harness import Gateway, eventually

INBOUND = "{ inboundMessages(first: 10) { nodes { body from to } } }"


@pytest.mark.verifier
async def test_parts_that_node_smpp_makes_are_joined(gateway: Gateway) -> None:
    """It sends one when it has the answer to the one before: none may wait for its message to be whole."""
    async with node_smpp.smsc(node_smpp.PARTS) as judge:
        account = {"security": "NONE", "systemId": "gateway", "password": "s3cret", "fromNumber": "12345"}
        await make.working(gateway, "SMSC", config={"smpp": {"host": "127.0.0.1", "port": judge.port, **account}})

        async def is_done() -> bool:
            return (await judge.log())[-1]["ev"] == "done"

        await eventually(is_done)
        assert [one["status"] for one in await judge.log() if one["ev"] == "deliver_sm_resp"] == [0] * 7
    newest_first = (await gateway.gql(INBOUND))["inboundMessages"]["nodes"]
    assert [(message["from"], message["to"]) for message in newest_first] == [("+447700900123", "12345")] * 3
    assert [message["body"] for message in newest_first] == ["one {@}, two €, three", "Привет 🎉", "tagged segments"]
