"""Signing in through the provider, as a browser does it: whose account opens, what is asked besides, what is told."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyotp
import pytest

from server.instance_key import InstanceKey
from server.limits import Limits
from server.models import User
from server.oidc.flow import Attempt
from tests.server.centre import PASSWORD
from tests.server.oidc.browser import Browser, actions, callback_of, newest
from tests.server.oidc.identity_provider import IdentityProvider, settings_of
from tests.server.tenancy.district import District, Somebody, settled

REFUSED = "did not pass the checks"


def test_who_linked_an_identity_signs_in_with_it(centre: District, who: Somebody, idp: IdentityProvider) -> None:
    done = Browser(centre, who).link()
    assert (done.status_code, done.headers["location"]) == (303, "/account?saved=1")
    browser = Browser(centre)
    assert "Sign in with City ID" in browser.open("/login").text
    back = browser.sign_in()
    assert (back.status_code, back.headers["location"]) == (303, "/")
    assert (browser.is_in(), list(browser.cookies)) == (True, ["bl_session"])
    assert actions(centre, who.user_id) == ["user.add", "login", "oidc.link", "login"]
    entry = newest(centre)
    assert (entry.action, entry.detail) == ("login", {"issuer": idp.issuer})


def test_an_identity_that_nobody_linked_opens_nothing_and_is_on_record(centre: District, who: Somebody) -> None:
    browser = Browser(centre)
    back = browser.sign_in()
    assert (back.status_code, "No account is linked to this identity" in back.text) == (403, True)
    assert browser.cookies == {}
    entry = newest(centre)
    assert (entry.action, entry.actor_kind, entry.object_id) == ("oidc.refused", "stranger", "")
    assert entry.detail == {"reason": "no account is linked to this identity", "subject": f"sub of {who.name}"}
    shown = Browser(centre, centre.somebody("administrator", "")).open("/audit").text
    assert "was refused at the sign-in through a provider" in shown
    assert f"identity: sub of {who.name}" in shown


def test_a_callback_counts_once(centre: District, who: Somebody) -> None:
    Browser(centre, who).link()
    browser = Browser(centre)
    callback = browser.leave()
    kept = dict(browser.cookies)
    assert browser.open(callback).status_code == 303
    browser.cookies = kept
    again = browser.open(callback)
    assert (again.status_code, "begin again" in again.text, "bl_session" in browser.cookies) == (403, True, False)
    assert newest(centre).detail["reason"] == "the state was used already"


def test_what_was_begun_in_one_browser_ends_in_no_other(centre: District, who: Somebody) -> None:
    Browser(centre, who).link()
    strangers = Browser(centre)
    callback = strangers.leave()
    victim, busy = Browser(centre), Browser(centre)
    busy.leave()
    for browser, reason in (
        (victim, "this browser began no sign-in"),
        (busy, "the state is not the one that was sent"),
    ):
        assert browser.open(callback).status_code == 403
        assert (newest(centre).action, newest(centre).detail["reason"]) == ("oidc.refused", reason)
        assert not browser.is_in()
    assert strangers.open(callback).status_code == 303


@pytest.mark.parametrize("sealed", ["", "zz", "00" * 60])
def test_a_cookie_that_the_centre_did_not_seal_is_none(centre: District, idp: IdentityProvider, sealed: str) -> None:
    browser = Browser(centre)
    browser.cookies["bl_oidc"] = sealed
    assert browser.open("/oidc/callback?code=x&state=").status_code == 403
    assert newest(centre).detail["reason"] == "this browser began no sign-in"
    assert idp.asked["/token"] == 0


def test_a_sign_in_that_took_too_long_is_begun_again(centre: District, idp: IdentityProvider) -> None:
    key, browser = InstanceKey.load(centre.settings.data_dir), Browser(centre)
    browser.cookies["bl_oidc"] = Attempt("s", "n", "v", until_s=1.0).sealed(key)
    assert browser.open("/oidc/callback?code=x&state=s").status_code == 403
    assert (newest(centre).detail["reason"], idp.asked["/token"]) == ("the sign-in took too long", 0)


@pytest.mark.parametrize(
    ("change", "status", "told", "reason"),
    [
        ({"refuse": "access_denied"}, 403, "did not let you in", "the provider sent no code: access_denied"),
        ({"refuse": "<b>&x"}, 403, "did not let you in", "the provider sent no code"),
        ({"claims": {"nonce": "another"}}, 403, REFUSED, "claims of the id_token do not hold: nonce"),
        ({"claims": {"aud": "x", "exp": 1}}, 403, REFUSED, "claims of the id_token do not hold: aud, exp"),
        ({"status": {"/token": 500}}, 503, "cannot be reached", "the provider answers 500"),
    ],
)
def test_a_refusal_is_told_recorded_and_logged_without_code_or_token(
    centre: District, who: Somebody, idp: IdentityProvider, caplog: pytest.LogCaptureFixture,
    change: dict[str, Any], status: int, told: str, reason: str,
) -> None:  # fmt: skip
    Browser(centre, who).link()
    for name, value in change.items():
        setattr(idp.answers, name, value)
    browser = Browser(centre)
    callback = browser.leave()
    with caplog.at_level(logging.DEBUG):
        back = browser.open(callback)
    assert (back.status_code, told in back.text) == (status, True)
    assert browser.cookies == {}
    assert (newest(centre).action, newest(centre).detail["reason"]) == ("oidc.refused", reason)
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("server.")]
    assert ours == [f"sign-in through the provider {'refused' if status == 403 else 'fails'}: {reason}"]
    code = parse_qs(urlsplit(callback).query).get("code", ["eyJ"])[0]
    logged = "".join(record.getMessage() for record in caplog.records)
    assert (code in logged, "eyJ" in logged, code in back.text) == (False, False, False)


def test_nothing_that_a_request_says_leads_the_browser_elsewhere(
    centre: District, who: Somebody, idp: IdentityProvider
) -> None:
    Browser(centre, who).link()
    browser = Browser(centre)
    elsewhere = "next=https://evil.example&redirect_uri=https://evil.example&iss=https://evil.example"
    left = browser.open(f"/oidc/login?{elsewhere}", host="evil.example", referer="https://evil.example/")
    to = urlsplit(left.headers["location"])
    assert f"{to.scheme}://{to.netloc}" == idp.issuer
    asked = parse_qs(to.query)
    assert asked["redirect_uri"] == ["https://centre.example/oidc/callback"]
    callback = callback_of(left)
    back = browser.open(f"{callback}&{elsewhere}", host="evil.example")
    assert (back.status_code, back.headers["location"]) == (303, "/")


@pytest.mark.parametrize("path", ["/oidc/login", "/oidc/callback?code=x&state=y"])
def test_no_page_of_another_site_calls_it_as_a_picture_or_frame(
    centre: District, who: Somebody, idp: IdentityProvider, path: str
) -> None:
    del who  # there is an audit log now
    before = newest(centre).seq
    for dest in ("image", "iframe", "empty"):
        assert Browser(centre).open(path, **{"sec-fetch-dest": dest}).json()["code"] == "no_page"
    assert (newest(centre).seq, idp.asked) == (before, {})
    assert Browser(centre).open("/oidc/callback", **{"sec-fetch-dest": "document"}).status_code == 403


@pytest.mark.parametrize("shut", ["disabled", "locked"])
def test_an_account_that_is_shut_stays_shut(centre: District, who: Somebody, shut: str) -> None:
    Browser(centre, who).link()
    with centre.database() as db:
        user = db.get_one(User, who.user_id)
        user.disabled = shut == "disabled"
        user.locked_until = datetime.now(UTC) + timedelta(minutes=1) if shut == "locked" else None
    browser = Browser(centre)
    back = browser.sign_in()
    assert (back.status_code, "or the code is not right" in back.text, browser.cookies) == (403, True, {})
    assert (newest(centre).action, newest(centre).object_id) == ("login.failed", str(who.user_id))


def enrol(browser: Browser) -> list[str]:
    """Set the second factor up; its recovery codes."""
    page = browser.send("/account/second-factor").text
    totp = pyotp.TOTP(page.split('<code id="secret">')[1].split("<")[0])
    codes = browser.send("/account/second-factor/confirm", code=totp.now()).text.split('<ul id="recovery">')[1]
    return [part.split("<")[0] for part in codes.split("</ul>")[0].split("<code>")[1:]]


def test_the_second_factor_is_asked_for_after_the_provider(centre: District, who: Somebody) -> None:
    mine = Browser(centre, who)
    codes = enrol(mine)
    mine.link()
    browser = Browser(centre)
    asked = browser.sign_in()
    assert (asked.status_code, browser.cookies) == (200, {})
    ticket = asked.text.split('name="ticket" value="')[1].split('"')[0]
    wrong = browser.send("/login", ticket=ticket, code="000000")
    assert (wrong.status_code, browser.cookies) == (403, {})
    assert browser.send("/login", ticket=ticket, code=codes[0]).headers["location"] == "/"
    assert browser.is_in()
    mine.send("/oidc/unlink", password=PASSWORD)
    late = browser.send("/login", ticket=ticket, code=codes[1])
    assert late.status_code == 403, "what was begun with the link ends with it"


def test_a_second_factor_that_the_provider_tells_of_is_enough(centre: District, idp: IdentityProvider) -> None:
    auditor = centre.somebody("auditor", "")
    administrator = Browser(centre, centre.somebody("administrator", ""))
    administrator.send(f"/users/{auditor.user_id}/link", subject=idp.answers.subject)
    missing = "Your role needs a second factor"
    weak = Browser(centre)
    assert weak.sign_in().status_code == 303
    assert weak.open("/").headers["location"] == "/account"
    assert missing in weak.open("/account").text
    idp.answers.claims = {"amr": ["pwd", "otp"]}
    strong = Browser(centre)
    assert strong.sign_in().status_code == 303
    assert strong.is_in()
    assert missing not in strong.open("/account").text


def test_only_callbacks_that_are_refused_spend_the_tries_of_their_address(
    served: IdentityProvider, idp: IdentityProvider, tmp_path: Path, jpeg: Callable[..., bytes]
) -> None:
    limits = Limits(failed_logins_per_minute=0.001, failed_logins_burst=2)
    with settled(tmp_path / "data", jpeg, places=(), limits=limits, oidc=settings_of(served)) as narrow:
        assert Browser(narrow, narrow.somebody("regulator", "")).link().status_code == 303
        assert [Browser(narrow).sign_in().status_code for _ in range(3)] == [303] * 3
        idp.answers.status["/token"] = 500
        assert [Browser(narrow).sign_in().status_code for _ in range(3)] == [503] * 3
        refused = [Browser(narrow).open("/oidc/callback?code=x&state=y").status_code for _ in range(3)]
        assert refused == [403, 403, 429]
        idp.answers.status.clear()
        asked = idp.asked["/token"]
        assert Browser(narrow).sign_in().status_code == 429
        assert idp.asked["/token"] == asked
