"""API tokens: a program's key that can do some of what its owner can do, for some time, and perhaps in one place only.

Whatever the token says is cut to what its owner may do at the moment of use: another role, a lock or a move of the
owner's reach counts at once. Only the digest of a token is kept; it is shown once.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import set_committed_value

from server.accounts import digest
from server.audit import note, person
from server.models import LoginSession, Region, Site, User
from server.models_access import ApiToken
from server.policy import PEOPLE_ONLY, PERMISSIONS, Cut, CutRole, Permission, may
from server.scope import reach_of, region_within, visible_sites

PREFIX = "blt_"
NAME_CHARACTERS_MAX = 64
LIFE_DAYS_MAX = 366
TOKENS_PER_USER_MAX = 50
USE_STEP = timedelta(minutes=1)


class TokenError(Exception):
    """What is wrong with a token that somebody wants to make: a code and a sentence."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def grantable(user: User) -> list[Permission]:
    """What a token of this person can hold, by name."""
    return [permission for permission in PERMISSIONS if permission not in PEOPLE_ONLY and may(user, permission)]


def make_token(
    db: Session,
    owner: User,
    name: str,
    permissions: Iterable[str],
    life_days: int,
    site_id: int | None = None,
    region_id: int | None = None,
    watched: bool = False,
    remote_addr: str = "",
) -> tuple[str, ApiToken]:
    """A new token and its secret; *watched*: the silence of what writes with it is an alert. Raises TokenError."""
    wanted = sorted(set(permissions))
    now = datetime.now(UTC)
    if not 0 < len(name.strip()) <= NAME_CHARACTERS_MAX:
        raise TokenError("token_name", f"a token has a name of 1 to {NAME_CHARACTERS_MAX} characters")
    if not wanted or not set(wanted) <= set(grantable(owner)):
        raise TokenError("token_permissions", "a token holds at least one permission, and only those of its owner")
    if not 1 <= life_days <= LIFE_DAYS_MAX:
        raise TokenError("token_life", f"a token lives 1 to {LIFE_DAYS_MAX} days")
    if "readings.write" in wanted and site_id is None:
        raise TokenError("token_site", "a token that writes readings is bound to one site")
    if watched and "readings.write" not in wanted:
        raise TokenError("token_watched", "only a token that writes readings can be watched")
    _check_bound(db, owner, site_id, region_id)
    if len([token for token in list_tokens(db, owner) if token.expires_at > now]) >= TOKENS_PER_USER_MAX:
        raise TokenError("token_count", f"a person has at most {TOKENS_PER_USER_MAX} tokens; revoke one")
    secret = PREFIX + secrets.token_urlsafe(32)
    token = ApiToken(
        token_sha256=digest(secret), name=name.strip(), user_id=owner.id, permissions=wanted, site_id=site_id,
        region_id=region_id, watched=watched, created_at=now, expires_at=now + timedelta(days=life_days),
    )  # fmt: skip
    db.add(token)
    db.flush()
    said = {"name": token.name, "permissions": " ".join(wanted), "days": life_days}
    said |= {"watched": True} if watched else {}
    note(db, person(owner, remote_addr), "token.add", ("token", token.id), said, site_id=site_id)
    return secret, token


def _check_bound(db: Session, owner: User, site_id: int | None, region_id: int | None) -> None:
    if site_id is not None and region_id is not None:
        raise TokenError("token_bound", "a token is bound to a site or to a region, not to both")
    if site_id is not None and db.scalar(visible_sites(owner).where(Site.id == site_id)) is None:
        raise TokenError("token_bound", "there is no such site for you")
    if region_id is not None:
        path = reach_of(owner).region_path
        region = db.get(Region, region_id)
        if path is None or region is None or not region.path.startswith(path):
            raise TokenError("token_bound", "there is no such region for you")


def list_tokens(db: Session, owner: User) -> list[ApiToken]:
    """The owner's tokens that were not revoked, newest first."""
    query = select(ApiToken).where(ApiToken.user_id == owner.id, ApiToken.revoked_at.is_(None))
    return list(db.scalars(query.order_by(ApiToken.id.desc())))


def bounds_of(db: Session, owner: User) -> tuple[list[Site], list[Region]]:
    """The sites and regions that a token of this person can be bound to, by name; at most 500 of each."""
    sites = db.scalars(select(Site).where(Site.id.in_(visible_sites(owner))).order_by(Site.name).limit(500))
    path = reach_of(owner).region_path
    if path is None:
        return list(sites), []
    regions = select(Region) if path == "/" else select(Region).where(region_within(path))
    return list(sites), list(db.scalars(regions.order_by(Region.path).limit(500)))


def revoke_token(db: Session, owner: User, token_id: int, remote_addr: str = "") -> bool:
    """End a token of this person; whether there was one. Again changes nothing."""
    token = db.get(ApiToken, token_id)
    if token is None or token.user_id != owner.id:
        return False
    if token.revoked_at is None:
        token.revoked_at = datetime.now(UTC)
        said = {"name": token.name}
        note(db, person(owner, remote_addr), "token.revoke", ("token", token.id), said, site_id=token.site_id)
    return True


def find_token(db: Session, secret: str) -> ApiToken | None:
    """The live token of a secret, whose owner still reaches the place that it is bound to."""
    token = db.scalar(select(ApiToken).where(ApiToken.token_sha256 == digest(secret)))
    if token is None or token.revoked_at is not None or token.expires_at <= datetime.now(UTC) or token.user.disabled:
        return None
    reach = reach_of(token.user)
    if token.site is not None:
        region = token.site.region.path if token.site.region else ""
        return token if reach.covers(token.site.id, region) else None
    if token.region is not None and not token.region.path.startswith(reach.region_path or "none"):
        return None
    return token


def session_of_token(db: Session, token: ApiToken) -> LoginSession:
    """A session that is kept nowhere, of the token's owner with the token's cut; *db* gives the owner away."""
    user = token.user
    cut = Cut(
        token.id, token.name, frozenset(token.permissions) - PEOPLE_ONLY, token.site_id,
        token.region.path if token.region else None,
    )  # fmt: skip
    db.expunge(user)
    set_committed_value(user, "role", CutRole(user.role, cut))  # no change that anything would write back
    return LoginSession(token_sha256="", user=user, csrf_token="", expires_at=token.expires_at, second_factor=True)


def needs_use_noted(token: ApiToken, now: datetime) -> bool:
    """Whether the last use on record is too old; it is kept to the minute, so that not every request writes."""
    return token.last_used_at is None or now - token.last_used_at > USE_STEP


def note_use(db: Session, token_id: int, now: datetime) -> None:
    """Keep the time of a use."""
    db.get_one(ApiToken, token_id).last_used_at = now
