"""An operation of a socket: it runs in a task of its own, or waits as a member of a group, which takes no task."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Protocol

from gateway.frames import wire_frame
from schema.answers import Answer
from schema.groups import Group
from schema.subscriptions import Subscription


class Line(Protocol):
    """The socket, as its operations see it."""

    def resume(self, operation: Operation, answers: AsyncGenerator[Answer]) -> None:
        """Pass these answers on, in a task."""

    def finish(self, operation: Operation, last: Answer | None) -> None:
        """Tell the client that it is over, and why if there is a reason."""


class Operation:
    """`name` is what the client calls it. While it is in a `group` it has no `task`.

    `write`, where there is one, puts finished frames on the wire at once, or says that they must be sent and waited for.
    """

    __slots__ = ("_line", "_write", "group", "name", "task")

    def __init__(self, name: str, line: Line, write: Callable[[bytes], bool] | None) -> None:
        self.name = name
        self.task: asyncio.Task[None] | None = None
        self.group: Group | None = None
        self._line = line
        self._write = write

    def join(self, group: Group) -> None:
        self.group, self.task = group, None

    def take(self, answers: Sequence[Answer]) -> bool:
        write, name = self._write, self.name
        return write is not None and write(b"".join([wire_frame(name, answer.tail) for answer in answers]))

    def fall_behind(self, subscription: Subscription, seq: int) -> None:
        """The client is slower than the group: go on at its pace."""
        self.group = None
        self._line.resume(self, subscription.answers(self, seq))

    def end(self, last: Answer | None) -> None:
        self.group = None
        self._line.finish(self, last)

    def stop(self) -> None:
        """The client asks for no more."""
        if self.task is not None:
            self.task.cancel()
        if self.group is not None:
            group, self.group = self.group, None
            group.leave(self)
