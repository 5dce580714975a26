"""Whom a rule means: the people of the site, or the regulators at the level that the tier is routed to."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from server.models import Site, User
from server.models_notification import NotificationChannel
from server.notification.rules import Level

WHOLE = "instance"  # above every region
UPWARDS = ("station", "district", "city", "province", WHOLE)


def recipients(db: Session, site: Site, roles: Sequence[str], level: Level | None = None) -> list[User]:
    """The people with these roles who answer for *site* and have a channel; with a *level*, its regulators there.

    Where nobody at that level can be reached, the nearest above it is told, and else the nearest below: an alert that
    no regulator hears of is worse than one that the wrong desk hears of.
    """
    reachable = exists().where(NotificationChannel.user_id == User.id, NotificationChannel.removed_at.is_(None))
    query = select(User).where(User.role.in_(roles), User.disabled.is_(False), reachable).order_by(User.id)
    if level is None:
        return list(db.scalars(query.where(User.site_id == site.id)))
    above = [int(part) for part in site.region.path.split("/") if part] if site.region else []
    found: dict[str, list[User]] = {}
    for user in db.scalars(query.where(User.region_id.is_(None) | User.region_id.in_(above))):
        found.setdefault(user.region.level if user.region else WHOLE, []).append(user)
    start = UPWARDS.index(level)
    order = (*UPWARDS[start:], *reversed(UPWARDS[:start]))
    return next((found[name] for name in order if name in found), [])
