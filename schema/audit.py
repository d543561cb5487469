"""The audit log."""

from __future__ import annotations

import datetime as dt
from typing import Annotated

import strawberry
from strawberry.scalars import JSON

from models import audit as rows
from resolvers import audit as use_cases
from resolvers.pages import PageArguments
from schema.context import Info
from schema.pages import After, Before, Connection, First, Last

Row = strawberry.Parent[rows.AuditEntry]


@strawberry.type(description="A change that somebody made through the API.")
class AuditEntry:
    id: strawberry.ID = strawberry.field(description="Opaque.")
    actor: str = strawberry.field(description="Who: the subject of the token, or the API key.")
    action: str = strawberry.field(description="What they did, by the name of the mutation.")
    target_id: strawberry.ID | None = strawberry.field(description="To what.")
    changes: JSON = strawberry.field(
        description='By field, what it was and what it became, as {"name": {"from": …, "to": …}}. Secrets are "****" in both.'
    )
    ip: str | None = strawberry.field(description="The address they came from.")
    occurred_at: dt.datetime = strawberry.field(description="When.")


@strawberry.input(description="Which entries of the audit log; what is left out does not restrict.")
class AuditFilter:
    actor: str | None = strawberry.field(default=None, description="By this actor.")
    action: str | None = strawberry.field(default=None, description="Of this action, such as connectorUpdate.")
    target_id: strawberry.ID | None = strawberry.field(default=None, description="About this object.")
    after: dt.datetime | None = strawberry.field(default=None, description="Later than this.")

    def rows(self) -> rows.Filter:
        return rows.Filter(actor=self.actor, action=self.action, target_id=self.target_id, since=self.after)


@strawberry.type
class AuditQueries:
    @strawberry.field(
        description="Who changed what, newest first; needs the scope audit:read. Sending is not in it: a message has its own "
        "timeline."
    )
    async def audit_log(
        self,
        info: Info,
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: Annotated[AuditFilter | None, strawberry.argument(description="Which ones.")] = None,
    ) -> Connection[AuditEntry] | None:
        arguments = PageArguments(first=first, after=after, last=last, before=before)
        return Connection(
            content=await use_cases.page(info.context.call, arguments, filter.rows() if filter else rows.Filter())
        )
