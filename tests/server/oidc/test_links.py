"""Which identity opens which account: by the person in one session, or by an administrator, and always on record."""

from __future__ import annotations

import dataclasses

from server.accounts import finish_login
from tests.server.centre import PASSWORD
from tests.server.oidc.browser import Browser, actions, newest
from tests.server.oidc.identity_provider import IdentityProvider
from tests.server.tenancy.district import District, Somebody

ACCOUNT = 'action="/account/password"'


def again(centre: District, who: Somebody) -> Somebody:
    """The same person in another session."""
    with centre.database() as db:
        token, session = finish_login(db, who.name, fits=True)
        return dataclasses.replace(who, cookie=token, csrf=session.csrf_token)


def test_linking_takes_the_password_and_the_form(centre: District, who: Somebody, idp: IdentityProvider) -> None:
    browser = Browser(centre, who)
    wrong = browser.send("/oidc/link", password="wrong")
    assert (wrong.status_code, ACCOUNT in wrong.text, "bl_oidc" in browser.cookies) == (403, True, False)
    assert centre.ask(who, "POST", "/oidc/link", data={"password": PASSWORD}).status_code == 403
    assert idp.asked["/authorize"] == 0
    assert actions(centre, who.user_id)[-1] == "login.failed"
    assert browser.link().status_code == 303
    assert f"sub of {who.name}" in browser.open("/account").text


def test_linking_ends_in_the_session_that_began_it(centre: District, who: Somebody) -> None:
    browser = Browser(centre, who)
    callback = browser.leave_to_link()
    browser.cookies["bl_session"] = again(centre, who).cookie
    back = browser.open(callback)
    assert (back.status_code, ACCOUNT in back.text, "begin again" in back.text) == (403, True, True)
    assert newest(centre).detail["reason"] == "the session that began to link is over"
    gone = Browser(centre, again(centre, who))
    callback = gone.leave_to_link()
    assert gone.open(callback, cookie=f"bl_oidc={gone.cookies['bl_oidc']}").status_code == 403
    assert "oidc.link" not in actions(centre, who.user_id)


def test_an_identity_has_one_account_and_an_account_one_identity(
    centre: District, who: Somebody, idp: IdentityProvider
) -> None:
    browser = Browser(centre, who)
    assert browser.link().status_code == 303
    idp.answers.subject = "another"
    twice = browser.link()
    assert (twice.status_code, ACCOUNT in twice.text, "unlink it first" in twice.text) == (403, True, True)
    other = centre.somebody("regulator", "")
    idp.answers.subject = f"sub of {who.name}"
    taken = Browser(centre, other).link()
    assert (taken.status_code, "linked to another account" in taken.text) == (403, True)
    entry = newest(centre)
    assert (entry.action, entry.actor_name, entry.object_id) == ("oidc.refused", other.name, str(other.user_id))
    assert Browser(centre).sign_in().status_code == 303
    assert newest(centre).object_id == str(who.user_id)


def test_unlinking_takes_the_password_and_ends_what_the_link_opened(centre: District, who: Somebody) -> None:
    browser, opened = Browser(centre, who), Browser(centre)
    browser.link()
    opened.sign_in()
    wrong = browser.send("/oidc/unlink", password="wrong")
    assert (wrong.status_code, opened.is_in()) == (403, True)
    assert centre.ask(who, "POST", "/oidc/unlink", data={"password": PASSWORD}).status_code == 403
    assert browser.send("/oidc/unlink", password=PASSWORD).headers["location"] == "/login"
    assert (opened.is_in(), browser.is_in()) == (False, False)
    assert "No account is linked" in Browser(centre).sign_in().text
    assert "oidc.unlink" in actions(centre, who.user_id)


def test_an_administrator_links_and_unlinks_within_their_reach(
    centre: District, idp: IdentityProvider, who: Somebody
) -> None:
    centre.enrol_code("A")  # a site in its region
    administrator, staff = centre.somebody("administrator", "A"), centre.somebody("staff", "A")
    browser, path = Browser(centre, administrator), f"/users/{staff.user_id}"
    assert 'name="subject"' in browser.open(path).text
    bad = browser.send(f"{path}/link", subject="名")
    assert (bad.status_code, "1 to 255 characters of ASCII" in bad.text) == (422, True)
    Browser(centre, who).link()
    taken = browser.send(f"{path}/link", subject=f"sub of {who.name}")
    assert (taken.status_code, "linked to another account" in taken.text) == (422, True)
    idp.answers.subject = f"sub of {staff.name}"
    assert browser.send(f"{path}/link", subject=f" {idp.answers.subject} ").status_code == 303
    assert f"<code>{idp.answers.subject}</code>" in browser.open(path).text
    opened = Browser(centre)
    opened.sign_in()
    assert opened.is_in()
    assert browser.send(f"{path}/unlink").status_code == 303
    assert not opened.is_in()
    assert [name for name in actions(centre, staff.user_id) if "oidc" in name] == ["oidc.link", "oidc.unlink"]
    for user_id in (who.user_id, administrator.user_id):  # beyond their reach, and their own
        assert browser.send(f"/users/{user_id}/link", subject="x").status_code == 404
        assert browser.send(f"/users/{user_id}/unlink").status_code == 404
