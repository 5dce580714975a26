"""One sign-in through the provider, from the browser's leaving to its return (authorization code, PKCE: RFC 7636).

What was begun is kept sealed in a cookie of the browser that began it, has an end, and counts once.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from sqlalchemy import delete
from sqlalchemy.orm import Session

from server.accounts import digest
from server.instance_key import InstanceKey
from server.models_oidc import UsedState
from server.oidc.refusal import OidcRefused

ATTEMPT_LIFE = timedelta(minutes=10)
_PURPOSE = "oidc attempt"


@dataclass(frozen=True)
class Attempt:
    """What was begun: ``session`` is the digest of the session whose person links their account, empty for a log-in."""

    state: str
    nonce: str
    verifier: str
    until_s: float
    session: str = ""

    @property
    def challenge(self) -> str:
        """Of the verifier, by S256 (RFC 7636, 4.2)."""
        return base64.urlsafe_b64encode(sha256(self.verifier.encode()).digest()).rstrip(b"=").decode()

    def sealed(self, key: InstanceKey) -> str:
        return key.seal(json.dumps(asdict(self)).encode(), _PURPOSE).hex()


def begin(session: str = "") -> Attempt:
    """A new one."""
    until = datetime.now(UTC) + ATTEMPT_LIFE
    state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
    return Attempt(state, nonce, verifier, until.timestamp(), session)


def reopen(key: InstanceKey, sealed: str, state: str) -> Attempt:
    """The attempt of this browser; raises OidcRefused unless *state* is its own and it has not ended."""
    try:
        plain = key.open(bytes.fromhex(sealed), _PURPOSE)
        attempt = Attempt(**json.loads(plain or b"{}"))
    except (ValueError, TypeError):
        raise OidcRefused("oidc_state", "this browser began no sign-in") from None
    if not hmac.compare_digest(attempt.state.encode(), state.encode()):
        raise OidcRefused("oidc_state", "the state is not the one that was sent")
    if attempt.until_s < datetime.now(UTC).timestamp():
        raise OidcRefused("oidc_state", "the sign-in took too long")
    return attempt


def use(db: Session, attempt: Attempt) -> None:
    """Let the attempt count; raises OidcRefused if it did already."""
    now = datetime.now(UTC)
    db.execute(delete(UsedState).where(UsedState.expires_at < now))
    if db.get(UsedState, digest(attempt.state)) is not None:
        raise OidcRefused("oidc_state", "the state was used already")
    db.add(UsedState(state_sha256=digest(attempt.state), expires_at=now + ATTEMPT_LIFE))
