"""The accounts that an administrator manages: those of the sites and regions that they reach, and never their own."""

from __future__ import annotations

from sqlalchemy import ColumnElement, Select, or_, select, true
from sqlalchemy.orm import Session

from server.accounts import AccountError, check_binding
from server.models import Region, Site, User
from server.models_access import TotpSecret
from server.scope import WHOLE, reach_of, region_within, visible_sites

PAGE_ROWS = 50


def _managed(manager: User) -> ColumnElement[bool]:
    path = reach_of(manager).region_path
    if path == WHOLE:
        return true()
    regions = select(Region.id).where(region_within(path or "none"))
    return or_(User.site_id.in_(visible_sites(manager)), User.region_id.in_(regions))


def _visible(manager: User) -> Select[User]:
    return select(User).where(_managed(manager))


def list_users(db: Session, manager: User, after: str = "", rows: int = PAGE_ROWS) -> list[User]:
    """Accounts by their user names, from behind *after*."""
    return list(db.scalars(_visible(manager).where(User.username > after).order_by(User.username).limit(rows)))


def visible_user(db: Session, manager: User, user_id: int) -> User | None:
    return db.scalar(_visible(manager).where(User.id == user_id))


def other_user(db: Session, manager: User, user_id: int) -> User | None:
    """An account to change; None for one's own, so that nobody locks themselves out or raises themselves."""
    return visible_user(db, manager, user_id) if user_id != manager.id else None


def has_second_factor(db: Session, user: User) -> bool:
    row = db.get(TotpSecret, user.id)
    return row is not None and row.confirmed_at is not None


def binding_of(
    db: Session, manager: User, role: str, site_id: int | None, region_id: int | None
) -> tuple[Site | None, Region | None]:
    """The site and region for a role, both within the manager's reach; raises AccountError."""
    path = reach_of(manager).region_path
    site = db.scalar(select(Site).where(Site.id == site_id, Site.id.in_(visible_sites(manager)))) if site_id else None
    region = db.get(Region, region_id) if region_id else None
    if (site_id and site is None) or (region_id and region is None):
        raise AccountError("there is no such place for you")
    check_binding(role, site, region)
    inside = site is not None or path == WHOLE or (region is not None and region.path.startswith(path or "none"))
    if not inside:
        raise AccountError("the account would reach further than you do")
    return site, region
