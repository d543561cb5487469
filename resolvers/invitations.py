"""Who may plug in what is not generally available."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from channels.base import ReleaseStatus, Template
from resolvers.problems import Problem, UserErrorCode


def check(about: Template, invitations: Sequence[str], given: str | None) -> None:
    """Raise INVITATION_REQUIRED unless one of `invitations` is given: for an INTERNAL template, and where there are any, for a
    BETA one."""
    if about.release_status is ReleaseStatus.GA or (about.release_status is ReleaseStatus.BETA and not invitations):
        return
    if not any([_is_equal(known, given or "") for known in invitations]):
        message = f"{about.ref} is not generally available; give the invitation token you got for it."
        raise Problem(UserErrorCode.INVITATION_REQUIRED, message, ["input", "invitationToken"])


def _is_equal(known: str, given: str) -> bool:
    return hmac.compare_digest(known.encode(), given.encode("utf-8", "surrogatepass"))
