"""The second factor and one's own account: what is asked for, what counts once, and what nobody can read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pyotp
import pytest

from server import second_factor
from server.accounts import digest
from server.audit import CONSOLE, verify_audit
from server.cli import main
from server.instance_key import InstanceKey
from server.models import LoginSession, User
from server.models_access import TotpSecret
from telemetry.signing import KeyFileError
from tests.server.centre import PASSWORD
from tests.server.tenancy.district import District, Somebody, settled


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes]) -> Iterator[District]:
    """A centre that asks auditors for a second factor."""
    with settled(tmp_path_factory.mktemp("strict") / "data", jpeg, places=(), second_factor_roles={"auditor"}) as made:
        yield made


@pytest.fixture
def who(strict: District) -> Somebody:
    return strict.somebody("regulator", "")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Moves the time of the codes by so many seconds."""
    moved = [0.0]

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz or UTC) + timedelta(seconds=moved[0])

    monkeypatch.setattr(second_factor, "datetime", Clock)

    def move(by_s: float) -> None:
        moved[0] += by_s

    return move


def form(district: District, who: Somebody, path: str, **fields: str) -> httpx.Response:
    return district.ask(who, "POST", path, data={"csrf": who.csrf, **fields})


def enrol(district: District, who: Somebody) -> tuple[pyotp.TOTP, list[str]]:
    page = form(district, who, "/account/second-factor").text
    totp = pyotp.TOTP(page.split('<code id="secret">')[1].split("<")[0])
    assert "data:image/svg+xml" in page
    done = form(district, who, "/account/second-factor/confirm", code=totp.now())
    codes = done.text.split('<ul id="recovery">')[1].split("</ul>")[0]
    return totp, [part.split("<")[0] for part in codes.split("<code>")[1:]]


def log_in(district: District, who: Somebody, code: str = "", password: str = PASSWORD) -> httpx.Response:
    return district.client_.post("/api/v1/login", data={"username": who.name, "password": password, "code": code})


def test_a_log_in_asks_for_the_code_and_each_code_counts_once(
    strict: District, who: Somebody, clock: Callable[[float], None]
) -> None:
    totp, _ = enrol(strict, who)
    assert log_in(strict, who).json()["code"] == "second_factor"
    assert log_in(strict, who, "000000").json()["code"] == "wrong_login"
    with strict.database() as db:
        used = totp.generate_otp(db.get_one(TotpSecret, who.user_id).last_step)
    assert log_in(strict, who, used).status_code == 403  # the code of the enrolment
    clock(30)
    code = totp.at(datetime.now(UTC) + timedelta(seconds=30))
    assert log_in(strict, who, code).status_code == 200
    assert log_in(strict, who, code).status_code == 403
    with strict.database() as db:
        assert verify_audit(db)[1] == []


@pytest.mark.parametrize(("off_s", "taken"), [(-61, False), (-30, True), (30, True), (61, False)])
def test_a_code_of_a_step_before_or_after_is_taken(
    strict: District, who: Somebody, clock: Callable[[float], None], off_s: int, taken: bool
) -> None:
    totp, _ = enrol(strict, who)
    clock(600)
    middle = int(datetime.now(UTC).timestamp() + 600) // 30 * 30 + 15  # codes change at the half minute
    answer = log_in(strict, who, totp.at(middle + off_s))
    assert (answer.status_code == 200) is taken


def test_a_recovery_code_is_good_for_one_log_in(strict: District, who: Somebody) -> None:
    _, codes = enrol(strict, who)
    assert len(set(codes)) == second_factor.RECOVERY_CODES
    assert log_in(strict, who, codes[0]).status_code == 200
    assert log_in(strict, who, codes[0]).status_code == 403
    files = b"".join(path.read_bytes() for path in Path(strict.settings.data_dir).glob("record.sqlite*"))
    assert codes[1].encode() not in files


def test_wrong_codes_lock_the_account_though_the_password_is_right(strict: District, who: Somebody) -> None:
    _, codes = enrol(strict, who)
    for _ in range(5):
        assert log_in(strict, who, "000000").status_code == 403
    assert log_in(strict, who, codes[0]).status_code == 403
    assert form(strict, who, "/account/second-factor/remove", code=codes[0]).status_code == 422  # nor by a session
    assert form(strict, who, "/account/password", password=PASSWORD, new_password="x" * 12).status_code == 403
    with strict.database() as db:
        db.get_one(User, who.user_id).locked_until = None
    assert log_in(strict, who, codes[0]).status_code == 200


def test_a_wrong_password_is_never_asked_for_a_code(strict: District, who: Somebody) -> None:
    _, codes = enrol(strict, who)
    plain = strict.somebody("regulator", "")
    answers = [
        log_in(strict, who, codes[0], "wrong"),
        log_in(strict, who, "", "wrong"),
        log_in(strict, plain, "", "wrong"),
    ]
    assert len({answer.text for answer in answers}) == 1
    assert log_in(strict, who, codes[0]).status_code == 200


def test_the_page_asks_for_the_code_in_a_second_step(strict: District, who: Somebody) -> None:
    _, codes = enrol(strict, who)
    page = strict.client_.post("/login", data={"username": who.name, "password": PASSWORD})
    assert "set-cookie" not in page.headers
    ticket = page.text.split('name="ticket" value="')[1].split('"')[0]
    wrong = strict.client_.post("/login", data={"ticket": ticket, "code": "000000"})
    assert (wrong.status_code, ticket in wrong.text) == (403, True)
    forged = strict.client_.post("/login", data={"ticket": "00" * 40, "code": codes[0]})
    assert (forged.status_code, "set-cookie" in forged.headers) == (403, False)
    good = strict.client_.post("/login", data={"ticket": ticket, "code": codes[0]})
    assert (good.status_code, good.headers["location"]) == (303, "/")
    assert "bl_session=" in good.headers["set-cookie"]


def test_a_role_that_needs_it_does_nothing_before_it_is_set_up(strict: District) -> None:
    auditor = strict.somebody("auditor", "")
    refused = strict.ask(auditor, "GET", "/api/v1/alerts")
    assert (refused.status_code, refused.json()["code"]) == (403, "second_factor_missing")
    assert refused.json()["detail"].startswith("set a second factor up first")
    assert strict.ask(auditor, "GET", "/").headers["location"] == "/account"
    other = log_in(strict, auditor).headers["set-cookie"].split("=")[1].split(";")[0]
    enrol(strict, auditor)
    assert strict.ask(auditor, "GET", "/api/v1/alerts").status_code == 200
    told = strict.ask(auditor, "GET", "/account").text
    assert "Log in again" not in told
    with strict.database() as db:
        csrf = db.get_one(LoginSession, digest(other)).csrf_token
    beside = dataclasses.replace(auditor, cookie=other, csrf=csrf)  # a session that never showed it
    again = strict.ask(beside, "GET", "/api/v1/alerts").json()
    assert (again["code"], again["detail"]) == ("second_factor_missing", "log in again with your second factor")
    for method, path in (("GET", "/"), ("GET", "/me/notifications"), ("POST", "/account/second-factor/remove")):
        assert strict.ask(beside, method, path, data={}).headers["location"] == "/account", path
    told = strict.ask(beside, "GET", "/account").text
    assert "this log-in showed none. Log in again with your second factor." in told
    assert "set it up first" not in told
    assert form(strict, beside, "/logout").headers["location"] == "/login"


def test_without_it_such_a_role_may_only_set_it_up_or_leave(strict: District) -> None:
    auditor = strict.somebody("auditor", "")
    pages = [("GET", "/me/notifications"), ("POST", "/me/notifications"), ("POST", "/me/notifications/1/remove")]
    for method, path in [*pages, ("POST", "/account/password"), ("POST", "/account/second-factor/remove")]:
        answer = strict.ask(auditor, method, path, data={"csrf": auditor.csrf} if method == "POST" else None)
        assert (answer.status_code, answer.headers.get("location")) == (303, "/account"), path
    assert strict.ask(auditor, "GET", "/account").status_code == 200
    left = strict.somebody("auditor", "")
    assert form(strict, left, "/logout").headers["location"] == "/login"
    enrol(strict, auditor)
    assert strict.ask(auditor, "GET", "/me/notifications").status_code == 200


def test_the_secret_is_sealed_for_its_user_and_its_key(strict: District, who: Somebody, tmp_path: Path) -> None:
    totp, _ = enrol(strict, who)
    files = b"".join(path.read_bytes() for path in Path(strict.settings.data_dir).glob("record.sqlite*"))
    assert totp.secret.encode() not in files
    other = strict.somebody("regulator", "")
    with strict.database() as db:
        row = db.get_one(TotpSecret, who.user_id)
        db.add(TotpSecret(user_id=other.user_id, sealed=row.sealed, confirmed_at=row.confirmed_at))  # moved by hand
    with strict.database() as db:
        key, user = InstanceKey.load(strict.settings.data_dir), db.get_one(User, other.user_id)
        assert not second_factor.check_code(db, key, user, totp.now(), CONSOLE)
    foreign = InstanceKey.load(tmp_path)
    assert foreign.open(row.sealed, f"totp of user {who.user_id}") is None


def test_turning_it_off_takes_a_code_and_ends_the_sessions(strict: District, who: Somebody) -> None:
    _, codes = enrol(strict, who)
    assert form(strict, who, "/account/second-factor/remove", code="000000").status_code == 422
    fresh = form(strict, who, "/account/second-factor/renew", code=codes[0])
    assert "recovery" in fresh.text
    assert form(strict, who, "/account/second-factor/remove", code=codes[1]).status_code == 422  # replaced
    new = fresh.text.split('<ul id="recovery">')[1].split("<code>")[1].split("<")[0]
    assert form(strict, who, "/account/second-factor/remove", code=new).status_code == 303
    assert strict.ask(who, "GET", "/api/v1/alerts").status_code == 401
    assert log_in(strict, who).status_code == 200


def test_people_change_their_own_password_and_only_with_the_present_one(strict: District, who: Somebody) -> None:
    new = "another long password"
    wrong = form(strict, who, "/account/password", password="wrong", new_password=new)
    short = form(strict, who, "/account/password", password=PASSWORD, new_password="short")
    foreign = strict.ask(who, "POST", "/account/password", data={"password": PASSWORD, "new_password": new})
    assert [answer.status_code for answer in (wrong, short, foreign)] == [403, 422, 403]
    changed = form(strict, who, "/account/password", password=PASSWORD, new_password=new)
    assert changed.status_code == 303
    assert strict.ask(who, "GET", "/api/v1/alerts").status_code == 401  # the session of before
    fresh = dataclasses.replace(who, cookie=changed.headers["set-cookie"].split("=")[1].split(";")[0])
    assert strict.ask(fresh, "GET", "/api/v1/alerts").status_code == 200
    assert [log_in(strict, who, password=word).status_code for word in (PASSWORD, new)] == [403, 200]


def test_the_key_of_the_instance_is_its_owners_alone_and_stays(tmp_path: Path) -> None:
    first = InstanceKey.load(tmp_path)
    path = tmp_path / "instance.key"
    assert path.stat().st_mode & 0o777 == 0o600
    assert InstanceKey.load(tmp_path).open(first.seal(b"x", "a"), "a") == b"x"
    assert InstanceKey.load(tmp_path).open(first.seal(b"x", "a"), "b") is None
    assert first.open(b"short", "a") is None
    path.chmod(0o644)
    with pytest.raises(KeyFileError, match="others may read"):
        InstanceKey.load(tmp_path)
    path.chmod(0o600)
    path.write_text("bm8=")
    with pytest.raises(KeyFileError, match="32 bytes"):
        InstanceKey.load(tmp_path)


def test_the_operator_takes_a_lost_factor_away_at_the_console(
    strict: District, who: Somebody, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(strict, who)
    assert main(["user", "reset-factor", who.name, "--data", str(strict.settings.data_dir)]) == 0
    assert "no second factor" in capsys.readouterr().out
    assert strict.ask(who, "GET", "/api/v1/alerts").status_code == 401
    assert log_in(strict, who).status_code == 200
