"""Whom a rule means: the people of the site, or the regulators at the level that the tier is routed to."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.models import Site, User
from server.notification.rules import Level


def recipients(db: Session, site: Site, roles: Sequence[str], level: Level | None = None) -> list[User]:
    """The people with these roles who answer for *site*; with a *level*, its regulators there."""
    reach = User.site_id == site.id if level is None else User.site_id.is_(None)
    return list(db.scalars(select(User).where(User.role.in_(roles), reach).order_by(User.id)))
