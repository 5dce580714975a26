"""The provider of identities over HTTP: its discovery document, its keys, and whom a code stands for.

Nothing of it is asked before somebody signs in, and only through the guarded way out (`Egress`). Nothing here logs a
code, a token or the secret.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from joserfc.jwk import Key

from server.notification.egress import Egress, check_url
from server.notification.port import Undelivered
from server.oidc import id_token
from server.oidc.document import Document
from server.oidc.id_token import Expected, Identity
from server.oidc.refusal import OidcRefused
from server.oidc.settings import OidcSettings

_log = logging.getLogger(__name__)
BYTES_MAX = 256 * 1024
ASKED_AT_ONCE_MAX = 8  # more would take the threads that serve pages while the provider is slow
IN_HEADER, IN_FORM = "client_secret_basic", "client_secret_post"
_ERROR = re.compile(r"[a-z_]{1,40}")  # RFC 6749, 5.2: nothing else that it says comes into the log


class Provider:
    """One provider; thread-safe. *clock*: the time in UTC seconds; *ticks*: seconds that never go back."""

    def __init__(
        self,
        settings: OidcSettings,
        clock: Callable[[], float] = time.time,
        ticks: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self._clock = clock
        self._egress = Egress(settings.trusted_hosts, timeout_s=settings.timeout_s, ca_file=settings.ca_file)
        self._lock, self._trouble = threading.Lock(), ""
        self._places = threading.BoundedSemaphore(ASKED_AT_ONCE_MAX)
        self._discovery: Document[dict[str, Any]] = Document(self._discover, ticks)
        self._keys: Document[list[Key]] = Document(self._ask_keys, ticks)

    def authorization_url(self, state: str, nonce: str, challenge: str) -> str:
        """Where the browser goes to; raises OidcRefused."""
        try:
            address = self._endpoint("authorization_endpoint")
        except OidcRefused as refused:
            self._tell(refused)
            raise
        asked = {
            "response_type": "code", "scope": "openid", "client_id": self.settings.client_id,
            "redirect_uri": self.settings.callback_url, "state": state, "nonce": nonce,
            "code_challenge": challenge, "code_challenge_method": "S256",
        }  # fmt: skip
        return f"{address}{'&' if '?' in address else '?'}{urlencode(asked)}"

    def identify(self, code: str, verifier: str, nonce: str) -> Identity:
        """Whom a code stands for; raises OidcRefused."""
        said = {
            "grant_type": "authorization_code", "code": code, "redirect_uri": self.settings.callback_url,
            "code_verifier": verifier,
        }  # fmt: skip
        try:
            token = self._ask_token(said).get("id_token")
            if not isinstance(token, str):
                raise OidcRefused("oidc_refused", "the answer holds no id_token")
            identity = self.check(token, nonce)
        except OidcRefused as refused:
            self._tell(refused)
            raise
        self._tell(None)
        return identity

    def _tell(self, refused: OidcRefused | None) -> None:
        """Log what keeps people from the provider when it begins or changes, and when they pass again."""
        if refused is not None and refused.code != "oidc_unreachable":
            return
        reason = refused.reason if refused else ""
        with self._lock:
            changed, self._trouble = reason != self._trouble, reason
        if changed:
            _log.warning("sign-in through the provider %s", f"fails: {reason}" if reason else "works again")

    def check(self, token: str, nonce: str) -> Identity:
        """Whom an ID token names; raises OidcRefused unless all of it holds.

        A key that is not known yet is looked for once: the provider may have changed its keys.
        """
        signed = id_token.open_token(token)
        keys = self._keys.get(lambda known: bool(id_token.fitting(known, signed)))
        claims = id_token.verify(signed, keys)
        expected = Expected(self.settings.issuer, self.settings.client_id, nonce)
        trusts = self.settings.trusts_second_factor
        return id_token.check_claims(claims, expected, self._clock(), trusts_second_factor=trusts)

    def _ask_token(self, said: dict[str, str]) -> dict[str, Any]:
        """Ask with the secret as the provider takes it (RFC 6749, 2.3.1): in the header, unless it says that it takes
        it in the form alone (``token_endpoint_auth_methods_supported`` of the discovery document)."""
        address, headers = self._endpoint("token_endpoint"), {}
        secret = self.settings.client_secret.get_secret_value()
        taken = self._discovery.get().get("token_endpoint_auth_methods_supported")
        if isinstance(taken, list) and IN_FORM in taken and IN_HEADER not in taken:
            said = {**said, "client_id": self.settings.client_id, "client_secret": secret}
        else:
            pair = ":".join(quote(part, safe="") for part in (self.settings.client_id, secret))
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        return self._ask("POST", address, said, headers)

    def _discover(self) -> dict[str, Any]:
        """OpenID Connect Discovery 1.0, 4."""
        found = self._ask("GET", self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration")
        if found.get("issuer") != self.settings.issuer:
            raise OidcRefused("oidc_unreachable", "the discovery document is of another issuer")
        return found

    def _ask_keys(self) -> list[Key]:
        keys = id_token.read_keys(self._ask("GET", self._endpoint("jwks_uri")))
        if not keys:
            raise OidcRefused("oidc_unreachable", "the provider has no key that counts here")
        return keys

    def _endpoint(self, name: str) -> str:
        """An address of the discovery document; plain HTTP only where the issuer is plain HTTP itself."""
        address = self._discovery.get().get(name)
        try:
            parts = check_url(address if isinstance(address, str) else "", self.settings.trusted_hosts)
        except ValueError:
            parts = None
        if parts is None or (parts.scheme == "http" and self.settings.issuer.startswith("https:")):
            raise OidcRefused("oidc_unreachable", f"the discovery document has no allowed {name}")
        return str(address)

    def _ask(
        self, method: str, url: str, form: dict[str, str] | None = None, more: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The JSON object that it answers; raises OidcRefused."""
        if not self._places.acquire(blocking=False):
            raise OidcRefused("busy", "too many people wait for the provider at this moment")
        headers = {"accept": "application/json", **(more or {})}
        if form is not None:
            headers["content-type"] = "application/x-www-form-urlencoded"
        content = urlencode(form or {}).encode()
        try:
            answer = self._egress.fetch(method, url, content, headers, bytes_max=BYTES_MAX)
        except Undelivered as error:
            raise OidcRefused("oidc_unreachable", f"the provider does not answer ({error.reason})") from None
        finally:
            self._places.release()
        try:
            found = json.loads(answer.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict) or not 200 <= answer.status < 300:
            ours = form is not None and 400 <= answer.status < 500  # a code that is none, or settings that are wrong
            code = "oidc_refused" if ours else "oidc_unreachable"
            raise OidcRefused(code, f"the provider answers {answer.status}{error_words(found)}")
        return found


def error_words(answer: object) -> str:
    """The ``error`` in what the provider says, for the log."""
    error = answer.get("error") if isinstance(answer, Mapping) else None
    return f": {error}" if isinstance(error, str) and _ERROR.fullmatch(error) else ""
