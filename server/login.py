"""A log-in from the password to the session: limits per address, the password, then the second factor.

Whatever is refused is refused in the same words and after the same work, so that nobody learns which names exist,
which are locked, or whether the password was right before the code was wrong.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from sqlalchemy.orm import Session

from server import second_factor
from server.accounts import (
    LoginRefused,
    count_failure,
    is_locked,
    judge_login,
    open_session,
    password_fits,
    start_login,
)
from server.audit import stranger
from server.deps import AppState, look_up, transaction
from server.models import LoginSession, User
from server.oidc import links
from server.oidc.id_token import Identity
from server.problems import Problem

TICKET_LIFE = timedelta(minutes=5)
_PURPOSE = "log-in ticket 2"  # the second form of what is sealed


class SecondFactorNeeded(Problem):
    """The password was right; ``ticket`` stands for it for some minutes while the code is asked for."""

    def __init__(self, ticket: str) -> None:
        super().__init__(403, "second_factor", "send the code of the second factor too, in the field code")
        self.ticket = ticket


def log_in(state: AppState, username: str, password: str, code: str, remote: str) -> tuple[str, LoginSession]:
    """The secret of a new session and the session; raises Problem, or SecondFactorNeeded where there is no code."""
    limit_logins(state, remote)
    try:
        fits = password_fits(look_up(state, lambda db: start_login(db, username)), password)
    except LoginRefused as error:
        raise _refused(error) from error
    return _enter(state, lambda db: judge_login(db, username, fits, remote), code, remote)


def log_in_with_ticket(state: AppState, ticket: str, code: str, remote: str) -> tuple[str, LoginSession]:
    """The second step of `log_in`; raises Problem."""
    limit_logins(state, remote)
    user_id, password_hash, identity = _open_ticket(state, ticket)

    def judge(db: Session) -> User:
        user = db.get(User, user_id)
        if user is None or user.disabled or is_locked(user) or user.password_hash != password_hash:
            raise LoginRefused("wrong_login")
        link = links.link_of(db, identity.issuer, user.id) if identity is not None else None
        if identity is not None and (link is None or link.subject != identity.subject):
            raise LoginRefused("wrong_login")
        return user

    return _enter(state, judge, code or "-", remote, identity)


def log_in_with_identity(state: AppState, identity: Identity, remote: str) -> tuple[str, LoginSession]:
    """As `log_in`, where a provider says who it is; raises OidcRefused besides.

    The caller has spent a try of the address (`limit_logins`).
    """
    return _enter(state, lambda db: links.judge(db, identity, remote), "", remote, identity)


def _enter(
    state: AppState, judge: Callable[[Session], User], code: str, remote: str, identity: Identity | None = None
) -> tuple[str, LoginSession]:
    """Judge, ask for the code where one is enrolled, and open the session; failures are counted in any case."""
    vouched = identity is not None and identity.second_factor
    refused: Exception
    with transaction(state) as db:
        try:
            user = judge(db)
            shown = vouched or second_factor.is_enrolled(db, user)
            if shown and not code and not vouched:
                raise SecondFactorNeeded(_ticket(state, user, identity))
            if shown and not vouched and not second_factor.check_code(db, state.key, user, code, stranger(remote)):
                count_failure(db, user, remote)
                raise LoginRefused("wrong_login")
            issuer = identity.issuer if identity is not None else ""
            opened = open_session(db, user, remote, second_factor=shown, issuer=issuer)
        except (LoginRefused, SecondFactorNeeded) as error:
            refused = error  # the count of failures is committed first
        else:
            state.failed_logins.refund(remote)
            return opened
    if isinstance(refused, SecondFactorNeeded):
        state.failed_logins.refund(remote)
        raise refused
    assert isinstance(refused, LoginRefused)
    raise _refused(refused) from refused


def limit_logins(state: AppState, remote: str) -> None:
    """Count a try of this address; raises Problem 429."""
    verdict = state.failed_logins.spend(remote)
    if not verdict.allowed:
        problem = Problem(429, "too_many_logins", "too many failed log-ins from this address; wait")
        problem.headers = {"retry-after": str(verdict.wait_s)}
        raise problem


def _refused(error: LoginRefused) -> Problem:
    if error.code == "busy":
        return Problem(503, "busy", "too many people log in at this moment; try again in some seconds")
    return Problem(403, "wrong_login", "wrong name, password or code, or too many tries; then wait 15 minutes")


def _ticket(state: AppState, user: User, identity: Identity | None) -> str:
    until_s = (datetime.now(UTC) + TICKET_LIFE).timestamp()
    said = [user.id, user.password_hash, until_s, [identity.issuer, identity.subject] if identity is not None else None]
    return state.key.seal(json.dumps(said).encode(), _PURPOSE).hex()


def _open_ticket(state: AppState, ticket: str) -> tuple[int, str, Identity | None]:
    try:
        plain = state.key.open(bytes.fromhex(ticket), _PURPOSE)
    except ValueError:
        plain = None
    user_id, password_hash, until_s, identity = json.loads(plain) if plain else (0, "", 0.0, None)
    if until_s < datetime.now(UTC).timestamp():
        raise Problem(403, "ticket", "the log-in took too long; begin again")
    return user_id, password_hash, Identity(*identity) if identity else None
