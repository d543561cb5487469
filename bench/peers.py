"""The same hand-over done by others, as commands: the tuned loop without a database, which is the limit, and Apprise.

`python -m bench.peers http URL NUMBER IN_FLIGHT`, `… smtp PORT NUMBER IN_FLIGHT`, and with Apprise's own interpreter
`python bench/peers.py apprise TARGET NUMBER IN_FLIGHT`. Each prints messages per second. No imports of ours: Apprise's
interpreter has none of them.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

Send = Callable[[int], Awaitable[None]]


def rate(command: Sequence[str]) -> float:
    """Run a peer; messages per second."""
    ended = subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    return float(ended.stdout.split()[-1])


def limit(kind: str, target: str, number: int, in_flight: int) -> float:
    return rate([sys.executable, "-m", "bench.peers", kind, target, str(number), str(in_flight)])


def apprise(python: str, target: str, number: int, in_flight: int) -> float:
    return rate([python, str(Path(__file__).resolve()), "apprise", target, str(number), str(in_flight)])


async def _timed(send: Send, number: int, in_flight: int) -> float:
    numbers = iter(range(number))

    async def work() -> None:
        for i in numbers:
            await send(i)

    started = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(in_flight)))
    return number / (time.perf_counter() - started)


async def _http(url: str, number: int, in_flight: int) -> float:
    """aiohttp with its connections kept, nothing traced, headers made once."""
    import aiohttp
    import orjson

    headers = {"Authorization": "Basic YmVuY2g6YmVuY2g=", "Content-Type": "application/x-www-form-urlencoded"}
    path = f"{url}/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"
    connector = aiohttp.TCPConnector(limit=in_flight)
    async with aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar(), headers=headers) as http:

        async def send(i: int) -> None:
            body = f"To=%2B1415555{i % 10_000:04}&From=%2B15005550006&Body=Your+parcel+{i}+is+on+its+way.".encode()
            async with http.post(path, data=body) as response:
                assert response.status == 201 and orjson.loads(await response.read())["sid"]

        return await _timed(send, number, in_flight)


async def _smtp(port: str, number: int, in_flight: int) -> float:
    """aiosmtplib over kept connections, each mail made with the standard library."""
    from email.message import EmailMessage

    import aiosmtplib

    clients = [aiosmtplib.SMTP(hostname="127.0.0.1", port=int(port), start_tls=False) for _ in range(in_flight)]
    for client in clients:
        await client.connect()

    async def send(i: int) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "shop@example.com", f"customer{i}@example.org", f"Your parcel {i}"
        mail.set_content(f"Hello,\nyour parcel {i} is on its way.\nBye")
        mail.add_alternative(f"<p>Hello,</p><p>your parcel <b>{i}</b> is on its way.</p>", subtype="html")
        client = clients.pop()
        await client.sendmail("shop@example.com", f"customer{i}@example.org", mail.as_bytes())
        clients.append(client)

    reached = await _timed(send, number, in_flight)
    for client in clients:
        await client.quit()
    return reached


async def _apprise(target: str, number: int, in_flight: int) -> float:
    """One Apprise object, its asynchronous call, as many at once; its own pauses between mails are switched off."""
    from apprise import Apprise, NotifyFormat  # type: ignore[import-not-found,unused-ignore]

    logging.disable(logging.CRITICAL)
    sender = Apprise()
    assert sender.add(target)
    for plugin in sender:
        plugin.request_rate_per_sec = 0

    async def send(i: int) -> None:
        taken = await sender.async_notify(
            title=f"Your parcel {i}", body=f"<p>your parcel <b>{i}</b> is on its way.</p>", body_format=NotifyFormat.HTML
        )
        assert taken

    return await _timed(send, number, in_flight)


PEERS = {"http": _http, "smtp": _smtp, "apprise": _apprise}

if __name__ == "__main__":
    peer, address, count, slots = sys.argv[1:]
    if peer == "apprise":
        run = asyncio.run
    else:
        import uvloop

        run = uvloop.run
    print(run(PEERS[peer](address, int(count), int(slots))))
