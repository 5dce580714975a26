"""Who is whom at the provider. An identity opens only the account that its person or an administrator linked to it.

No account is ever made by signing in. A person has one identity at a provider, an identity one account.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.accounts import LoginRefused, end_sessions, is_locked
from server.audit import Actor, note, stranger
from server.models import User
from server.models_oidc import OidcLink
from server.oidc.id_token import Identity, is_subject
from server.oidc.refusal import OidcRefused


def link_of(db: Session, issuer: str, user_id: int) -> OidcLink | None:
    """The identity that opens an account."""
    return db.scalar(select(OidcLink).where(OidcLink.issuer == issuer, OidcLink.user_id == user_id))


def judge(db: Session, identity: Identity, remote_addr: str) -> User:
    """As `accounts.judge_login` for an identity; raises OidcRefused, or LoginRefused for an account that is shut."""
    link = db.get(OidcLink, (identity.issuer, identity.subject))
    if link is None:
        raise OidcRefused("oidc_unlinked", "no account is linked to this identity", identity.subject)
    user = link.user
    if user.disabled or is_locked(user):
        detail = {"issuer": identity.issuer}
        note(db, stranger(remote_addr), "login.failed", ("user", user.id), detail, site_id=user.site_id)
        raise LoginRefused("wrong_login")
    return user


def add_link(db: Session, identity: Identity, user: User, actor: Actor) -> None:
    """Link an identity to an account that has none there; raises OidcRefused."""
    if not is_subject(identity.subject):
        raise OidcRefused("oidc_bad_subject", "an identity has 1 to 255 characters of ASCII")
    if link_of(db, identity.issuer, user.id) is not None:
        raise OidcRefused("oidc_linked_already", "the account is linked already", identity.subject)
    if db.get(OidcLink, (identity.issuer, identity.subject)) is not None:
        raise OidcRefused("oidc_taken", "the identity is linked to another account", identity.subject)
    now = datetime.now(UTC)
    db.add(OidcLink(issuer=identity.issuer, subject=identity.subject, user_id=user.id, linked_at=now))
    _note(db, actor, "oidc.link", user, identity.issuer, identity.subject)


def remove_link(db: Session, issuer: str, user: User, actor: Actor) -> None:
    """Take the link away, if there is one; the person's sessions end, those that it opened among them."""
    link = link_of(db, issuer, user.id)
    if link is None:
        return
    db.delete(link)
    end_sessions(db, user)
    _note(db, actor, "oidc.unlink", user, issuer, link.subject)


def _note(db: Session, actor: Actor, action: str, user: User, issuer: str, subject: str) -> None:
    detail = {"username": user.username, "issuer": issuer, "subject": subject}
    note(db, actor, action, ("user", user.id), detail, site_id=user.site_id)
