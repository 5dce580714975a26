"""Asking the provider: seldom, never in a crowd, only where it may be, and with nothing secret in the log."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from server.oidc import document, provider
from server.oidc.flow import begin
from server.oidc.provider import Provider
from server.oidc.refusal import OidcRefused
from tests.server.oidc.browser import pass_provider
from tests.server.oidc.identity_provider import Answers, IdentityProvider, ec_key, rsa_key, settings_of
from tests.server.oidc.test_id_token import NONCE
from tests.telemetry.scripted_centre import write_certificate

WAIT_S = 30.0
DISCOVERY = "/.well-known/openid-configuration"
NEW = rsa_key("rsa-new")


class Asker:
    """A provider as the centre has it, and the seconds that it counts by."""

    def __init__(self, idp: IdentityProvider, **changes: Any) -> None:
        self.idp, self.now_s = idp, 1_000.0
        self.provider = Provider(settings_of(idp, **changes), ticks=lambda: self.now_s)

    def check(self) -> str:
        """Whom a token of now names, or why it is refused."""
        try:
            return self.provider.check(self.idp.token(NONCE), NONCE).subject
        except OidcRefused as refused:
            return refused.reason

    def leave(self) -> str:
        """Where the browser is sent, or why it is not."""
        try:
            return self.provider.authorization_url("state", NONCE, "challenge")
        except OidcRefused as refused:
            return f"{refused.code}: {refused.reason}"


@pytest.fixture
def asker(idp: IdentityProvider) -> Asker:
    return Asker(idp)


def test_nothing_is_asked_before_somebody_signs_in_and_then_once_an_hour(asker: Asker, idp: IdentityProvider) -> None:
    assert idp.asked == {}
    for _ in range(3):
        assert asker.check() == "person-1"
    assert idp.asked == {DISCOVERY: 1, "/keys": 1}
    asker.now_s += document.LIFE_S + 1
    assert asker.check() == "person-1"
    assert idp.asked == {DISCOVERY: 2, "/keys": 2}


def test_a_new_key_is_found_and_an_invented_one_is_looked_for_once_in_a_while(
    asker: Asker, idp: IdentityProvider
) -> None:
    assert asker.check() == "person-1"
    asker.now_s += document.ASKED_AGAIN_S + 1
    idp.answers = Answers(key=NEW, shown=[NEW.jwk])
    assert asker.check() == "person-1"
    assert idp.asked["/keys"] == 2
    idp.answers = Answers(key=rsa_key("invented"), shown=[NEW.jwk])
    for _ in range(3):
        assert asker.check() == "no key of the provider fits the id_token"
    assert idp.asked["/keys"] == 2, "not so soon after the last time"
    asker.now_s += document.ASKED_AGAIN_S + 1
    for _ in range(3):
        assert asker.check() == "no key of the provider fits the id_token"
    assert idp.asked["/keys"] == 3, "once, then not for a while"
    idp.answers.key = NEW
    assert asker.check() == "person-1", "the keys that are known still count"


def test_keys_that_are_gone_count_no_longer_than_an_hour(asker: Asker, idp: IdentityProvider) -> None:
    assert asker.check() == "person-1"
    idp.answers.status["/keys"] = 503
    asker.now_s += document.LIFE_S - 1
    assert asker.check() == "person-1"
    asker.now_s += 2
    assert asker.check() == "the provider answers 503"


@pytest.mark.parametrize("path", [DISCOVERY, "/keys"])
def test_a_provider_that_is_away_is_not_asked_again_at_once(asker: Asker, idp: IdentityProvider, path: str) -> None:
    idp.answers.status[path] = 503
    assert asker.check() == "the provider answers 503"
    for _ in range(3):
        assert asker.check() == "the provider answers 503"
    assert idp.asked[path] == 1
    idp.answers.status.clear()
    asker.now_s += document.ASKED_AGAIN_S + 1
    assert asker.check() == "person-1"


def test_a_provider_that_hangs_holds_one_thread_and_the_answer_serves_all(
    asker: Asker, idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived, go_on = threading.Event(), threading.Event()

    def hang(path: str) -> None:
        arrived.set()
        assert go_on.wait(WAIT_S)

    idp.before = hang
    said: list[str] = []
    first, second = (threading.Thread(target=lambda: said.append(asker.leave())) for _ in range(2))
    first.start()
    try:
        assert arrived.wait(WAIT_S)
        monkeypatch.setattr(document, "WAIT_S", 0.0)
        assert asker.leave() == "oidc_unreachable: the provider has not answered yet"
        monkeypatch.setattr(document, "WAIT_S", WAIT_S)
        second.start()
    finally:
        go_on.set()
        first.join(WAIT_S)
    second.join(WAIT_S)
    assert [url.partition("?")[0] for url in said] == [f"{idp.issuer}/authorize"] * 2
    assert idp.asked == {DISCOVERY: 1}


def test_only_some_wait_for_a_slow_provider_and_the_others_are_told(
    asker: Asker, idp: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider, "ASKED_AT_ONCE_MAX", 2)
    asker = Asker(idp)
    asker.leave()
    arrived, go_on = threading.Semaphore(0), threading.Event()

    def hang(path: str) -> None:
        arrived.release()
        assert go_on.wait(WAIT_S)

    idp.before = hang
    answers: list[str] = []

    def identify() -> None:
        with pytest.raises(OidcRefused) as refused:
            asker.provider.identify("no such code", "verifier", NONCE)
        answers.append(refused.value.reason)

    threads = [threading.Thread(target=identify) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        assert all(arrived.acquire(timeout=WAIT_S) for _ in threads)
        identify()
    finally:
        go_on.set()
        for thread in threads:
            thread.join(WAIT_S)
    assert answers[0] == "too many people wait for the provider at this moment"
    assert answers[1:] == ["the provider answers 400: invalid_grant"] * 2


@pytest.mark.parametrize(
    "taken",
    [["client_secret_post"], ["client_secret_post", "client_secret_basic"], ["private_key_jwt"], "client_secret_post"],
)
def test_the_secret_goes_into_the_form_only_where_the_provider_takes_it_nowhere_else(
    asker: Asker, idp: IdentityProvider, taken: Any
) -> None:
    idp.answers.discovery = {"token_endpoint_auth_methods_supported": taken}
    attempt = begin()
    back = pass_provider(asker.provider.authorization_url(attempt.state, attempt.nonce, attempt.challenge))
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert asker.provider.identify(code, attempt.verifier, attempt.nonce).subject == "person-1"


@pytest.mark.parametrize(
    ("raw", "said"),
    [(b"<html>", "answers 200"), (b"[]", "answers 200"), (b"[" * 100_000, "answers 200"),
     (b'{"a": "' + b"x" * provider.BYTES_MAX + b'"}', "does not answer (refused)"),
     (b'{"issuer": "https://another.example"}', "the discovery document is of another issuer")],
    ids=["html", "list", "deep", "large", "another"],
)  # fmt: skip
def test_a_document_that_cannot_be_one_is_refused(asker: Asker, idp: IdentityProvider, raw: bytes, said: str) -> None:
    idp.answers.raw[DISCOVERY] = raw
    told = asker.leave()
    assert told.startswith("oidc_unreachable: ")
    assert said in told


def test_a_set_without_a_key_that_counts_is_told(asker: Asker, idp: IdentityProvider) -> None:
    idp.answers.shown = [{**ec_key("x").jwk, "crv": "P-999"}]
    assert asker.check() == "the provider has no key that counts here"
    idp.answers.raw["/keys"] = b'{"keys": 7}'
    asker.now_s += document.ASKED_AGAIN_S + 1
    assert asker.check() == "the provider has no key that counts here"


@pytest.mark.parametrize(
    ("address", "said"),
    [(None, "has no allowed token_endpoint"), (7, "has no allowed token_endpoint"),
     ("http://127.0.0.1:1/token", "has no allowed token_endpoint"), ("file:///etc/passwd", "has no allowed"),
     ("https://127.0.0.1:1/token", "does not answer (forbidden_address)"),
     ("https://[::1]:1/token", "does not answer (forbidden_address)")],
)  # fmt: skip
def test_the_provider_leads_nowhere_inside(asker: Asker, idp: IdentityProvider, address: Any, said: str) -> None:
    idp.answers.discovery = {"token_endpoint": address}
    with pytest.raises(OidcRefused) as refused:
        asker.provider.identify("code", "verifier", NONCE)
    assert said in refused.value.reason


def test_an_issuer_with_tls_proves_itself_and_names_no_address_without(idp: IdentityProvider, tmp_path: Path) -> None:
    certificate = write_certificate(tmp_path)
    tls = IdentityProvider(certificate)
    try:
        asker = Asker(tls, ca_file=certificate, trusted_hosts=[tls.host, idp.host])
        assert asker.check() == "person-1"
        tls.answers.discovery = {"authorization_endpoint": f"{idp.issuer}/authorize"}
        asker.now_s += document.LIFE_S + 1
        assert asker.leave() == "oidc_unreachable: the discovery document has no allowed authorization_endpoint"
        assert Asker(tls).leave() == "oidc_unreachable: the provider does not answer (unreachable)"
    finally:
        tls.close()


def error(text: object) -> bytes:
    return json.dumps({"error": text, "error_description": "code-of-theirs"}).encode()


@pytest.mark.parametrize(
    ("changes", "change", "said"),
    [
        ({"client_secret": "wrong"}, lambda idp: None, "the provider answers 401: invalid_client"),
        ({}, lambda idp: None, "the provider answers 400: invalid_grant"),
        ({}, lambda idp: idp.answers.raw.update({"/token": error("code-of-theirs=1")}), "the provider answers 400"),
        ({}, lambda idp: idp.answers.raw.update({"/token": error(["x"])}), "the provider answers 400"),
        ({}, lambda idp: idp.answers.status.update({"/token": 302}), "the provider answers 302: invalid_grant"),
    ],
)
def test_the_reason_names_the_error_and_nothing_else_of_what_was_answered(
    idp: IdentityProvider, changes: dict[str, Any], change: Callable[[IdentityProvider], None], said: str
) -> None:
    change(idp)
    with pytest.raises(OidcRefused) as refused:
        Asker(idp, **changes).provider.identify("no such code", "verifier", NONCE)
    assert refused.value.reason == said
    assert refused.value.code == ("oidc_refused" if "answers 4" in said else "oidc_unreachable")


def test_an_answer_without_an_id_token_is_refused(asker: Asker, idp: IdentityProvider) -> None:
    idp.answers.raw["/token"], idp.answers.status["/token"] = b'{"access_token": "x"}', 200
    with pytest.raises(OidcRefused, match="the answer holds no id_token"):
        asker.provider.identify("code", "verifier", NONCE)


def test_what_keeps_people_from_the_provider_is_logged_at_its_begin_change_and_end(
    asker: Asker, idp: IdentityProvider, caplog: pytest.LogCaptureFixture
) -> None:
    def told() -> list[str]:
        found = [record.getMessage().removeprefix("sign-in through the provider ") for record in caplog.records]
        caplog.clear()
        return found

    def sign_in() -> None:
        attempt = begin()
        with suppress(OidcRefused):
            url = asker.provider.authorization_url(attempt.state, attempt.nonce, attempt.challenge)
            code = parse_qs(urlsplit(pass_provider(url)).query)["code"][0]
            asker.provider.identify(code, attempt.verifier, attempt.nonce)

    idp.answers.status[DISCOVERY] = 503
    sign_in(), sign_in()
    assert told() == ["fails: the provider answers 503"]
    idp.answers.status = {"/token": 500}
    asker.now_s += document.ASKED_AGAIN_S + 1
    sign_in(), sign_in()
    assert told() == ["fails: the provider answers 500"]
    idp.answers.status.clear()
    sign_in(), sign_in()
    assert told() == ["works again"]
