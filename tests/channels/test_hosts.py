"""Host names and IP addresses: one rule for all providers that have such a setting."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from socket import AF_INET6, socket

import pytest
from pydantic import ValidationError

from channels import PROVIDERS
from channels.exchange import Exchange
from channels.hosts import certified, host
from channels.smtp import Smtp
from channels.wire import Wire
from tests.channels.mailing import MAIL, connected
from tests.channels.mailing import trust as trust
from tests.channels.smpp_account import message, smpp
from tests.mail_server import MailServer
from tests.smsc import Smsc

RULE = "must be a host name or an IP address, without scheme, port, path or brackets"
LETTERS = "a name has letters, digits, hyphens and underscores between its dots"
HYPHEN = "a name does not begin with a hyphen"
NUMBERS = "four numbers are an IPv4 address, each from 0 to 255 and without a dot at the end"
LENGTHS = "a name has 1 to 63 characters between its dots, and 253 in all"
ZONE = "the zone of an IPv6 address is the name or the number of a network interface"
INTERNATIONAL = "an international name has an ASCII form (RFC 3490), and this has none"
PART = "x" * 63
LONGEST = f"{PART}.{PART}.{PART}.{'x' * 61}"

AS_GIVEN = """localhost a smtp.example.com Mail.Example.COM 3com.example 911.example mail_1.internal _smtp.example smsc-
  a.-b.example xn--bcher-kva.example 1.2.3.4.5 smsc.1 09 0x 1e3 example.com. smsc. cafe.de.
  127.0.0.1 255.255.255.255 :: ::1 2001:db8::1 fe80::1%eth0 fe80::1%eth0.100 fe80::1%br-3f2a1b fe80::1%2 ::1%1""".split()
REWRITTEN = [
    ("2001:DB8:0:0::0001", "2001:db8::1"),
    ("::ffff:10.0.0.1", "::ffff:a00:1"),
    ("FE80::1%Eth0", "fe80::1%Eth0"),
    (" smtp.example.com\n", "smtp.example.com"),
    ("7", "0.0.0.7"),
    ("127.1", "127.0.0.1"),
    ("2130706433", "127.0.0.1"),
    ("0x7f.1", "127.0.0.1"),
    ("010.0.0.1", "8.0.0.1"),
    ("bücher.example", "xn--bcher-kva.example"),
    ("bücher.example.", "xn--bcher-kva.example."),
    ("почта.рф", "xn--80a1acny.xn--p1ai"),
    ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
    ("straße.example", "strasse.example"),
    ("\uff11\uff12\uff17.0.0.1", "127.0.0.1"),
]
REFUSED = [
    ("", LETTERS),
    ("smtp example", LETTERS),
    ("smtp\r\nEHLO x", LETTERS),
    ("smtp.example.com/x", LETTERS),
    ("me@smtp.example.com", LETTERS),
    ("smtp*.example.com", LETTERS),
    ("bücher .example", LETTERS),
    ("-smtp.example.com", HYPHEN),
    ("256.1.1.1", NUMBERS),
    ("127.0.0.1.", NUMBERS),
    ("10.0.0.08", NUMBERS),
    (".", LENGTHS),
    ("..", LENGTHS),
    (".example.com", LENGTHS),
    ("smtp..example.com", LENGTHS),
    ("example.com..", LENGTHS),
    (f"{PART}x.example", LENGTHS),
    (f"{LONGEST}x", LENGTHS),
    (f"{LONGEST}x.", LENGTHS),
    ("".join(chr(0x4E00 + number) for number in range(10_000)), LENGTHS),
    ("ü..example", INTERNATIONAL),
    ("ü" * 60, INTERNATIONAL),
    ("http://smtp.example.com", None),
    ("smtp.example.com:25", None),
    ("10.0.0.1:2775", None),
    ("12:34", None),
    ("[::1]", None),
    ("::1::", None),
    ("fe80::1%", None),
    ("fe80::1%eth0%1", None),
    ("fe80::1%eth 0", ZONE),
    ("fe80::1%eth0\r\nX: y", ZONE),
    ("fe80::1%an-interface-of-16", ZONE),
]


def in_smtp(name: str) -> str:
    return Smtp.model_validate({"smtpHost": name, "fromAddress": "noreply@example.com"}).smtp_host


def in_smpp(name: str) -> str:
    return smpp(2775, host=name).host


EACH = pytest.mark.parametrize("kept", [in_smtp, in_smpp])


@EACH
@pytest.mark.parametrize("name", [*AS_GIVEN, PART, LONGEST, f"{LONGEST}."])
def test_a_host_is_kept_as_it_was_given(kept: Callable[[str], str], name: str) -> None:
    assert kept(name) == kept(kept(name)) == name


@EACH
@pytest.mark.parametrize(("name", "expected"), REWRITTEN)
def test_a_host_of_several_spellings_is_kept_in_one(kept: Callable[[str], str], name: str, expected: str) -> None:
    assert kept(name) == kept(expected) == expected


@EACH
@pytest.mark.parametrize(("name", "why"), REFUSED)
def test_what_is_no_host_is_refused_with_the_rule(kept: Callable[[str], str], name: str, why: str | None) -> None:
    with pytest.raises(ValidationError) as caught:
        kept(name)
    [error] = caught.value.errors()
    assert error["loc"] == ({in_smtp: "smtpHost", in_smpp: "host"}[kept],)
    assert error["msg"] == f"Value error, {RULE}; {why}" if why else f"Value error, {RULE}"


def test_every_setting_for_a_host_has_this_rule() -> None:
    settings = [field for provider in PROVIDERS for name, field in provider.model_fields.items() if "host" in name]
    assert len(settings) == 2
    assert all(any(getattr(item, "func", None) is host for item in field.metadata) for field in settings)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("smtp.example.com", "smtp.example.com"),
        ("smtp.example.com.", "smtp.example.com"),
        ("127.0.0.1", "127.0.0.1"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::1", "fe80::1"),
    ],
)
def test_a_certificate_names_neither_the_last_dot_nor_a_zone(name: str, expected: str) -> None:
    assert certified(name) == expected


@pytest.fixture
def ipv6() -> None:
    with closing(socket(AF_INET6)) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")


@pytest.mark.usefixtures("ipv6")
@pytest.mark.parametrize("name", ["::1", "0:0::1", "::1%1"])
async def test_an_ipv6_address_is_connected_to(wire: Wire, trust: Callable[[MailServer], None], name: str) -> None:
    """And its certificate trusted, with a zone or without."""
    async with MailServer("tls", host="::1") as server, connected(server, smtpHost=name) as provider:
        trust(server)
        await provider.send(wire, MAIL, Exchange())
        assert len(server.received) == 1
        async with Smsc(server.context, "::1") as smsc:
            channel = smpp(smsc.port, host=name, security="TLS")
            await channel.send(wire, message(), Exchange())
            await channel.close()
            assert len(smsc.submitted) == 1
