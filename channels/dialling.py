"""Making a connection to one of a host's addresses, each of them checked by the egress policy."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from channels.wire import Wire


async def resolved(host: str, port: int) -> list[Any]:
    """What `getaddrinfo` says of a host. Raises OSError."""
    return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)


async def dialled(wire: Wire, infos: list[Any]) -> socket.socket:
    """A socket connected to the first address that answers. Raises OSError."""
    trouble = OSError("The name has no address")
    for info in infos:
        try:
            return await _connected(wire.egress.make_socket(info), info[4], wire.connect_timeout)
        except OSError as error:
            trouble = error
    raise trouble


def bare(name: Any) -> str:
    """The address of a socket name, without port and zone."""
    return str(name[0]).split("%", 1)[0]


async def _connected(sock: socket.socket, address: Any, seconds: float) -> socket.socket:
    try:
        async with asyncio.timeout(seconds):
            await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
