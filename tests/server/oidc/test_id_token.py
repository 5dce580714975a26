"""What an ID token proves, asked of a provider over HTTP: one thing that does not hold is enough to refuse it."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from server.oidc.id_token import Identity
from server.oidc.provider import Provider
from server.oidc.refusal import OidcRefused
from tests.server.oidc.identity_provider import (
    CLIENT,
    Answers,
    IdentityProvider,
    base64url,
    ec_key,
    ed25519_key,
    rsa_key,
    settings_of,
    token_of,
)

NONCE = "n-0S6_WzA2Mj"
RSA, EC, ED = rsa_key("rsa-1"), ec_key("ec-1"), ed25519_key("ed-1")


def check(idp: IdentityProvider, **changes: Any) -> Identity:
    """What the centre makes of a token that the provider gives now."""
    return Provider(settings_of(idp, **changes)).check(idp.token(NONCE), NONCE)


@pytest.mark.parametrize("key", [RSA, EC, ED], ids=lambda key: key.algorithm)
def test_a_token_of_each_allowed_algorithm_names_its_person(idp: IdentityProvider, key: Any) -> None:
    idp.answers = Answers(key=key, shown=[RSA.jwk, EC.jwk, ED.jwk], header={"x-of-theirs": 1})
    assert check(idp) == Identity(idp.issuer, "person-1")


@pytest.mark.parametrize(
    ("claims", "named"),
    [
        ({"nonce": "another"}, "nonce"),
        ({"nonce": None}, "nonce"),
        ({"aud": "another"}, "aud"),
        ({"aud": [CLIENT, "another"]}, "aud"),
        ({"aud": None}, "aud"),
        ({"azp": "another"}, "azp"),
        ({"iss": "https://another.example"}, "iss"),
        ({"exp": time.time() - 120}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": None}, "exp"),
        ({"iat": time.time() + 86_400}, "iat"),
        ({"iat": time.time() - 3600}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"nbf": time.time() + 86_400}, "nbf"),
        ({"sub": None}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"sub": "a\u0000"}, "sub"),
        ({"sub": 7}, "sub"),
    ],
)
def test_a_claim_that_does_not_hold_refuses_the_token(idp: IdentityProvider, claims: Any, named: str) -> None:
    idp.answers.claims = claims
    with pytest.raises(OidcRefused) as refused:
        check(idp)
    assert (refused.value.code, refused.value.reason) == (
        "oidc_refused", f"claims of the id_token do not hold: {named}",
    )  # fmt: skip


def test_a_token_for_several_is_taken_if_it_was_made_for_us(idp: IdentityProvider) -> None:
    idp.answers.claims = {"aud": ["another", CLIENT], "azp": CLIENT}
    assert check(idp).subject == "person-1"


def none(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return token_of({**header, "alg": "none"}, claims, lambda data: b"")


def public_key_as_secret(header: dict[str, Any], claims: dict[str, Any]) -> str:
    secret = json.dumps(RSA.jwk).encode()
    return token_of({**header, "alg": "HS256"}, claims, lambda data: hmac.digest(secret, data, "sha256"))


def modulus_as_secret(header: dict[str, Any], claims: dict[str, Any]) -> str:
    secret = base64.urlsafe_b64decode(RSA.jwk["n"] + "==")
    return token_of({**header, "alg": "HS256"}, claims, lambda data: hmac.digest(secret, data, "sha256"))


def of_another_key(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return token_of(header, claims, rsa_key("stranger").sign)


def changed_after(header: dict[str, Any], claims: dict[str, Any]) -> str:
    first, second = (token_of(header, {**claims, **more}, RSA.sign) for more in ({}, {"sub": "another"}))
    return ".".join([first.split(".")[0], second.split(".")[1], first.split(".")[2]])


def own_key_in_header(header: dict[str, Any], claims: dict[str, Any]) -> str:
    stranger = rsa_key("stranger")
    return token_of({**header, "jwk": stranger.jwk}, claims, stranger.sign)


def cut_short(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return token_of(header, claims, RSA.sign).rpartition(".")[0]


def unencoded(header: dict[str, Any], claims: dict[str, Any]) -> str:
    head = base64url(json.dumps({**header, "b64": False, "crit": ["b64"]}).encode())
    payload = json.dumps(claims).replace(".", "")
    return f"{head}.{payload}.{base64url(RSA.sign(f'{head}.{payload}'.encode()))}"


def critical(header: dict[str, Any], claims: dict[str, Any]) -> str:
    return token_of({**header, "crit": ["exp"], "exp": 1}, claims, RSA.sign)


def header_of(value: Any) -> Callable[[dict[str, Any], dict[str, Any]], str]:
    return lambda header, claims: token_of(value, claims, RSA.sign)


def deep(header: dict[str, Any], claims: dict[str, Any]) -> str:
    del claims
    said = f"{base64url(json.dumps(header).encode())}.{base64url(b'[' * 80_000)}"
    return f"{said}.{base64url(RSA.sign(said.encode()))}"


@pytest.mark.parametrize(
    "make",
    [none, public_key_as_secret, modulus_as_secret, of_another_key, changed_after, own_key_in_header, cut_short,
     unencoded, critical, deep, header_of(["alg"]), header_of("alg"), header_of({"alg": ["RS256"]}),
     header_of({"alg": "RS256", "kid": 1}), header_of({"kid": "rsa-1"})],
)  # fmt: skip
def test_a_token_that_the_provider_did_not_sign_so_is_refused(
    idp: IdentityProvider, make: Callable[[dict[str, Any], dict[str, Any]], str]
) -> None:
    assert check(idp).subject == "person-1"
    idp.answers.make_token = make
    with pytest.raises(OidcRefused) as refused:
        check(idp)
    assert refused.value.code == "oidc_refused"


def test_without_a_key_id_the_one_key_that_fits_is_used_and_of_several_none(idp: IdentityProvider) -> None:
    others = [EC.jwk, {**rsa_key("rsa-2").jwk, "use": "enc"}, {**rsa_key("rsa-3").jwk, "alg": "RS512"}]
    idp.answers.header = {"kid": None}
    idp.answers.shown = [*others, RSA.jwk]
    assert check(idp).subject == "person-1"
    idp.answers.shown = [RSA.jwk, rsa_key("rsa-2").jwk]
    for _ in range(8):  # a key chosen by chance would be right now and then
        with pytest.raises(OidcRefused, match="several keys"):
            check(idp)


@pytest.mark.parametrize(
    "jwk",
    [{**RSA.jwk, "use": "enc"}, {**RSA.jwk, "alg": "RS512"}, {**RSA.jwk, "key_ops": ["encrypt"], "use": None},
     {**EC.jwk, "kid": "rsa-1"}, {**RSA.jwk, "d": "AQAB"}],
)  # fmt: skip
def test_a_key_that_is_made_for_something_else_does_not_count(idp: IdentityProvider, jwk: dict[str, Any]) -> None:
    idp.answers.shown = [{name: value for name, value in jwk.items() if value is not None}, ED.jwk]
    with pytest.raises(OidcRefused, match="no key of the provider fits"):
        check(idp)


def test_a_short_rsa_key_does_not_count(idp: IdentityProvider) -> None:
    short = rsa_key("short", 1024)
    idp.answers = Answers(key=short, shown=[short.jwk, RSA.jwk])
    with pytest.raises(OidcRefused, match="no key of the provider fits"):
        check(idp)


def test_keys_that_cannot_be_read_do_not_spoil_the_others(idp: IdentityProvider) -> None:
    broken = [
        None, 7, "key", [], {}, {"kty": ["RSA"]}, {"kty": "RSA"}, {"kty": "RSA", "n": 1, "e": 2},
        {"kty": "RSA", "n": "", "e": "AQAB"}, {**EC.jwk, "x": EC.jwk["y"]}, {**EC.jwk, "crv": "P-999"},
        {**ED.jwk, "x": "AA"}, {"kty": "oct", "k": "AAAA", "kid": "rsa-1"}, {"kty": "AKP", "alg": "ML-DSA-44"},
    ]  # fmt: skip
    idp.answers.shown = [*broken, RSA.jwk]
    assert check(idp).subject == "person-1"


@pytest.mark.parametrize(
    ("amr", "trusts", "shown"),
    [(["pwd", "otp"], True, True), (["mfa"], True, True), (["hwk"], True, True), (["mfa"], False, False),
     (["pwd"], True, False), ("mfa", True, False), ([["mfa"]], True, False), (None, True, False)],
)  # fmt: skip
def test_a_second_factor_at_the_provider_counts_if_it_is_told_and_trusted(
    idp: IdentityProvider, amr: Any, trusts: bool, shown: bool
) -> None:
    idp.answers.claims = {"amr": amr}
    assert check(idp, trusts_second_factor=trusts).second_factor is shown
