"""What an ID token proves: signed by a key of the provider, for us, now, for the sign-in that was begun here.

OpenID Connect Core 1.0, 3.1.3.7. The token says which algorithm it is of, so only signatures by a key pair count, and a
key only for the algorithm that it is made for: with HS256 the public key would be the secret.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joserfc import jws
from joserfc.errors import InvalidKeyCurveError, JoseError
from joserfc.jwa import EdDSAAlgorithm
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey, import_key
from joserfc.jws import CompactSignature, JWSRegistry
from joserfc.util import base64_to_int

from server.oidc.refusal import OidcRefused

KEYS_MAX = 50
RSA_BITS_MIN, RSA_BITS_MAX = 2048, 8192  # NIST SP 800-131A; the longest that anybody uses
CLOCK_OFF_S = 60.0
AGE_S_MAX = 600.0
SUBJECT_CHARACTERS_MAX = 255
STRONG = frozenset({"mfa", "otp", "hwk"})  # RFC 8176
_UNREADABLE = (JoseError, ValueError, TypeError, KeyError, RecursionError)


class _Ed25519(EdDSAAlgorithm):
    """``EdDSA`` (RFC 8037) with Ed25519 alone; RFC 9864 deprecates the name because it leaves the curve open."""

    security_warning = ""

    def check_key(self, key: OKPKey) -> None:
        super().check_key(key)
        if key.curve_name != "Ed25519":
            raise InvalidKeyCurveError


class _Registry(JWSRegistry):
    """The algorithms that count; no other is even known here, ``none`` least of all."""

    algorithms = {
        "RS256": JWSRegistry.algorithms["RS256"],
        "ES256": JWSRegistry.algorithms["ES256"],
        "EdDSA": _Ed25519(),
    }


ALGORITHMS = tuple(_Registry.algorithms)
_REGISTRY = _Registry(algorithms=ALGORITHMS, strict_check_header=False)  # unknown fields are ignored (RFC 7515, 4)


@dataclass(frozen=True)
class Identity:
    """Who it is at which provider, and whether a second factor was shown there that stands for ours."""

    issuer: str
    subject: str
    second_factor: bool = False


@dataclass(frozen=True)
class Expected:
    """What the claims must say."""

    issuer: str
    client_id: str
    nonce: str


def is_subject(value: object) -> bool:
    """Whether it may be a ``sub``: 1 to 255 characters of ASCII (OpenID Connect Core 1.0, 2), none of them hidden."""
    if not isinstance(value, str) or not 0 < len(value) <= SUBJECT_CHARACTERS_MAX:
        return False
    return value.isascii() and value.isprintable()


def read_keys(document: Mapping[str, Any]) -> list[Key]:
    """The keys of a JWK set (RFC 7517, 5) that may sign for us. One that cannot be read does not spoil the others."""
    listed = document.get("keys")
    keys = [_read_key(item) for item in listed[:KEYS_MAX]] if isinstance(listed, list) else []
    return [key for key in keys if key is not None]


def _read_key(item: Any) -> Key | None:
    try:
        if item["kty"] not in ("RSA", "EC", "OKP") or "d" in item:  # a private key that is published is nobody's
            return None
        if item["kty"] == "RSA" and not RSA_BITS_MIN <= base64_to_int(item["n"]).bit_length() <= RSA_BITS_MAX:
            return None
        return import_key(item)
    except _UNREADABLE:
        return None


def open_token(token: str) -> CompactSignature:
    """The parts of a token, none of them believed yet; raises OidcRefused unless its header is one that may count."""
    try:
        signed = jws.extract_compact(token.encode(), registry=_REGISTRY)
        header = signed.headers()
        if not isinstance(header, dict):
            raise TypeError
    except _UNREADABLE:
        raise OidcRefused("oidc_refused", "the id_token cannot be read") from None
    if header["alg"] not in ALGORITHMS:
        raise OidcRefused("oidc_refused", "the algorithm of the id_token is not allowed")
    if "crit" in header or "b64" in header:  # extensions of RFC 7515 and RFC 7797: we know none
        raise OidcRefused("oidc_refused", "the header of the id_token asks for what is unknown here")
    return signed


def fitting(keys: Sequence[Key], signed: CompactSignature) -> list[Key]:
    """The keys that the token may be signed with, by its ``kid`` and ``alg`` and by what the keys say of themselves."""
    header = signed.headers()
    return [key for key in keys if header.get("kid", key.kid) == key.kid and _made_for(key, header["alg"])]


def _made_for(key: Key, algorithm: str) -> bool:
    by_kind = {
        "RS256": isinstance(key, RSAKey),
        "ES256": isinstance(key, ECKey) and key.curve_name == "P-256",
        "EdDSA": isinstance(key, OKPKey) and key.curve_name == "Ed25519",
    }
    said = key.get("use", "sig") == "sig" and key.get("alg", algorithm) == algorithm
    return by_kind[algorithm] and said and "verify" in (key.get("key_ops") or ["verify"])


def verify(signed: CompactSignature, keys: Sequence[Key]) -> dict[str, Any]:
    """The claims, if the one key that fits signed them; raises OidcRefused. They are not checked yet."""
    fit = fitting(keys, signed)
    if len(fit) != 1:
        reason = "several keys of the provider fit the id_token" if fit else "no key of the provider fits the id_token"
        raise OidcRefused("oidc_refused", reason)
    try:
        holds = jws.validate_compact(signed, fit[0], registry=_REGISTRY)
        claims = json.loads(signed.payload) if holds else None
    except _UNREADABLE:
        claims = None
    if not isinstance(claims, dict):
        raise OidcRefused("oidc_refused", "the signature of the id_token does not hold")
    return claims


def check_claims(
    claims: Mapping[str, Any], expected: Expected, now_s: float, *, trusts_second_factor: bool
) -> Identity:
    """Whom verified claims name; raises OidcRefused, which names each claim that does not hold."""
    audience, client = claims.get("aud"), expected.client_id
    audiences = audience if isinstance(audience, list) else [audience]
    holds = {
        "iss": claims.get("iss") == expected.issuer,
        "aud": client in audiences and (len(audiences) == 1 or "azp" in claims),
        "azp": claims.get("azp", client) == client,
        "exp": _number(claims.get("exp"), 0) > now_s - CLOCK_OFF_S,
        "iat": now_s - AGE_S_MAX <= _number(claims.get("iat"), 0) <= now_s + CLOCK_OFF_S,
        "nbf": _number(claims.get("nbf", 0), float("inf")) <= now_s + CLOCK_OFF_S,
        "nonce": claims.get("nonce") == expected.nonce,
        "sub": is_subject(claims.get("sub")),
    }
    wrong = [name for name, good in holds.items() if not good]
    if wrong:
        raise OidcRefused("oidc_refused", f"claims of the id_token do not hold: {', '.join(wrong)}")
    ways = claims.get("amr")
    strong = isinstance(ways, list) and any(isinstance(way, str) and way in STRONG for way in ways)
    return Identity(expected.issuer, claims["sub"], strong and trusts_second_factor)


def _number(value: object, otherwise: float) -> float:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
