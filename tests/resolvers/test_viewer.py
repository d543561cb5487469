"""What a viewer may do is asked of one place."""

from __future__ import annotations

import pytest

from resolvers.problems import Problem, RequestErrorCode
from resolvers.viewer import CredentialKind, Viewer


def viewer(*scopes: str, admin: bool = False, credential: CredentialKind = CredentialKind.SESSION) -> Viewer:
    return Viewer("ada", "wsp_1", "org_1", frozenset(scopes), admin, credential)


@pytest.mark.parametrize("held", ["send:sms", "send:*", "*"])
def test_a_scope_is_held_by_itself_or_by_a_wider_one(held: str) -> None:
    viewer(held).require("send:sms")


@pytest.mark.parametrize("held", ["send:email", "read:*", "send", "*:sms"])
def test_another_scope_does_not_do(held: str) -> None:
    with pytest.raises(Problem) as caught:
        viewer(held).require("send:sms")
    assert (caught.value.code, caught.value.extra) == (RequestErrorCode.FORBIDDEN, {"requiredScope": "send:sms"})


def test_only_a_session_is_a_session() -> None:
    viewer().require_session()
    with pytest.raises(Problem) as caught:
        viewer("*", credential=CredentialKind.API_KEY).require_session()
    assert (caught.value.code, caught.value.http_status) == (RequestErrorCode.SESSION_REQUIRED, 403)


def test_every_scope_together_makes_no_administrator() -> None:
    viewer(admin=True).require_admin()
    with pytest.raises(Problem) as caught:
        viewer("*").require_admin()
    assert (caught.value.code, caught.value.extra) == (RequestErrorCode.FORBIDDEN, {"requiredScope": "admin:platform"})
    with pytest.raises(Problem) as caught:
        viewer("*", credential=CredentialKind.API_KEY).require_admin()
    assert caught.value.code is RequestErrorCode.SESSION_REQUIRED
