"""A provider of identities on a free port: its own reading of OpenID Connect, by nothing but the primitives.

What it answers may be changed by a test: the claims, the header, the keys that it shows, its documents.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.oidc.settings import OidcSettings

CLIENT, SECRET = "brightline centre", "s3cret of a good length: ü"
Jwk = dict[str, Any]


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def number(value: int, size: int = 0) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8))


@dataclass(frozen=True)
class SigningKey:
    """A key pair; ``jwk`` is the public half (RFC 7517), ``sign`` makes the signature of a JWS (RFC 7518, 8037)."""

    algorithm: str
    jwk: Jwk
    sign: Callable[[bytes], bytes]


@cache
def rsa_key(kid: str, bits: int = 2048) -> SigningKey:
    key = rsa.generate_private_key(65537, bits)
    public = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "kid": kid, "use": "sig", "n": number(public.n), "e": number(public.e)}
    return SigningKey("RS256", jwk, lambda data: key.sign(data, padding.PKCS1v15(), hashes.SHA256()))


@cache
def ec_key(kid: str) -> SigningKey:
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_numbers()
    jwk = {"kty": "EC", "crv": "P-256", "kid": kid, "x": number(public.x, 32), "y": number(public.y, 32)}

    def sign(data: bytes) -> bytes:
        r, s = decode_dss_signature(key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32) + s.to_bytes(32)

    return SigningKey("ES256", jwk, sign)


@cache
def ed25519_key(kid: str) -> SigningKey:
    key = ed25519.Ed25519PrivateKey.generate()
    raw = key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return SigningKey("EdDSA", {"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": base64url(raw)}, key.sign)


def token_of(header: dict[str, Any], claims: Any, sign: Callable[[bytes], bytes]) -> str:
    """A JWS in compact form (RFC 7515, 7.1)."""
    said = ".".join(base64url(json.dumps(part).encode()) for part in (header, claims))
    return f"{said}.{base64url(sign(said.encode()))}"


@dataclass
class Answers:
    """What it says; a fresh one is right in everything."""

    key: SigningKey = field(default_factory=lambda: rsa_key("rsa-1"))
    shown: list[Any] = field(default_factory=lambda: [rsa_key("rsa-1").jwk, ec_key("ec-1").jwk])
    subject: str = "person-1"
    header: dict[str, Any] = field(default_factory=dict)
    claims: dict[str, Any] = field(default_factory=dict)
    discovery: dict[str, Any] = field(default_factory=dict)
    make_token: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    status: dict[str, int] = field(default_factory=dict)  # by path, instead of 200
    raw: dict[str, bytes] = field(default_factory=dict)  # by path, instead of what belongs there
    refuse: str = ""  # an error instead of a code


class IdentityProvider:
    """Serves until `close`; ``asked`` counts the requests by path, ``before`` runs before each answer.

    With a *certificate* (PEM, its key in the same file) over TLS.
    """

    def __init__(self, certificate: Path | None = None) -> None:
        self.reset()
        self._codes: dict[str, dict[str, str]] = {}
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider._serve(self, b"")

            def do_POST(self) -> None:
                provider._serve(self, self.rfile.read(int(self.headers["content-length"])))

            def log_message(self, *args: Any) -> None:
                del args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.issuer = f"http://{self.host}"
        if certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.issuer = f"https://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def reset(self) -> None:
        """Be right in everything again."""
        self.answers, self.asked = Answers(), Counter[str]()
        self.before: Callable[[str], None] = lambda path: None

    def _serve(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        url = urlsplit(request.path)
        self.asked[url.path] += 1
        self.before(url.path)
        headers = {}
        if url.path == "/authorize":
            status, answer = 302, b""
            headers["location"] = self._authorize({name: found[0] for name, found in parse_qs(url.query).items()})
        elif url.path == "/token":
            status, said = self._exchange(request.headers.get("authorization", ""), parse_qs(body.decode()))
            answer = json.dumps(said).encode()
        else:
            status, answer = 200, json.dumps(self._document(url.path)).encode()
        answer = self.answers.raw.get(url.path, answer)
        request.send_response(self.answers.status.get(url.path, status))
        for name, value in {**headers, "content-length": str(len(answer))}.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(answer)

    def _document(self, path: str) -> dict[str, Any]:
        if path == "/keys":
            return {"keys": self.answers.shown}
        assert path == "/.well-known/openid-configuration"
        places = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        known = {name: f"{self.issuer}/{place}" for name, place in places.items()}
        return {"issuer": self.issuer, **known, **self.answers.discovery}

    def _authorize(self, asked: dict[str, str]) -> str:
        """Where the browser is sent back to (OpenID Connect Core 1.0, 3.1.2.5)."""
        wanted = {"response_type": "code", "scope": "openid", "client_id": CLIENT, "code_challenge_method": "S256"}
        assert {name: asked[name] for name in wanted} == wanted
        code = secrets.token_urlsafe(16)
        self._codes[code] = asked
        said = {"error": self.answers.refuse} if self.answers.refuse else {"code": code}
        return f"{asked['redirect_uri']}?{urlencode({**said, 'state': asked['state']})}"

    def _exchange(self, login: str, said: dict[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """The token endpoint: a code counts once, for this client and whoever knows the verifier (RFC 7636, 4.6)."""
        if self.answers.discovery.get("token_endpoint_auth_methods_supported") == ["client_secret_post"]:
            given = [*said.get("client_id", ()), *said.get("client_secret", ()), *([login] if login else [])]
        else:
            assert "client_secret" not in said
            given = [unquote(part) for part in base64.b64decode(login.removeprefix("Basic ")).decode().split(":")]
        if given != [CLIENT, SECRET]:
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(said["code"][0], None)
        challenge = base64url(hashlib.sha256(said["code_verifier"][0].encode()).digest())
        fits = asked and (asked["code_challenge"], asked["redirect_uri"]) == (challenge, said["redirect_uri"][0])
        if asked is None or not fits or said["grant_type"] != ["authorization_code"]:
            return 400, {"error": "invalid_grant"}
        return 200, {"access_token": "x", "token_type": "Bearer", "id_token": self.token(asked["nonce"])}

    def token(self, nonce: str) -> str:
        """An ID token as the answers want it."""
        now, answers = int(time.time()), self.answers
        claims = {
            "iss": self.issuer, "sub": answers.subject, "aud": CLIENT, "iat": now, "exp": now + 300, "nonce": nonce,
            **answers.claims,
        }  # fmt: skip
        header = {"alg": answers.key.algorithm, "kid": answers.key.jwk["kid"], **answers.header}
        header = {name: value for name, value in header.items() if value is not None}
        claims = {name: value for name, value in claims.items() if value is not None}
        make = answers.make_token or (lambda header, claims: token_of(header, claims, answers.key.sign))
        return make(header, claims)


def settings_of(idp: IdentityProvider, **changes: Any) -> OidcSettings:
    """How a centre reaches it."""
    said = {
        "issuer": idp.issuer, "client_id": CLIENT, "client_secret": SECRET, "name": "City ID",
        "public_url": "https://centre.example", "trusted_hosts": [idp.host],
    }  # fmt: skip
    return OidcSettings.model_validate({**said, **changes})
