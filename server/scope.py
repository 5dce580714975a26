"""Where somebody may look and act, decided here once: their site, the subtree of their region, or the whole instance.

Every query of rows that belong to a site goes through `within`; the event stream through `Reach.covers`.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, Select, and_, false, select, true
from sqlalchemy.orm import InstrumentedAttribute

from server.models import Region, Site, User
from server.policy import SITE_ROLES, cut_of

WHOLE = "/"


@dataclass(frozen=True)
class Reach:
    """One site, or all under a region's path; ``/`` is the whole instance, also the sites without a region."""

    site_id: int | None = None
    region_path: str | None = None

    def covers(self, site_id: int, region_path: str) -> bool:
        """Whether a site lies within; *region_path* is its region's, empty when it has none."""
        if self.region_path is None:
            return site_id == self.site_id
        return self.region_path == WHOLE or region_path.startswith(self.region_path)


def reach_of(user: User) -> Reach:
    """How far this person's role reaches. A role of a site without a site reaches nothing.

    A token's own bound counts instead: `server.tokens` took care that it lies within its owner's.
    """
    cut = cut_of(user.role)
    if cut is not None and (cut.site_id is not None or cut.region_path is not None):
        return Reach(cut.site_id, cut.region_path)
    if user.role in SITE_ROLES:
        return Reach(site_id=user.site_id)
    return Reach(region_path=user.region.path if user.region else WHOLE)


def region_within(path: str) -> ColumnElement[bool]:
    """The regions at and below *path*: a range of the index, as ``0`` follows ``/`` in ASCII."""
    return and_(Region.path >= path, Region.path < path[:-1] + chr(ord("/") + 1))


def visible_sites(user: User) -> Select[int]:
    """The ids of the sites that this person may see, for ``IN``."""
    reach = reach_of(user)
    query = select(Site.id)
    if reach.region_path is None:
        return query.where(Site.id == reach.site_id) if reach.site_id is not None else query.where(false())
    if reach.region_path == WHOLE:
        return query
    return query.join(Region, Region.id == Site.region_id).where(region_within(reach.region_path))


def within(user: User, site_id: InstrumentedAttribute[int] | InstrumentedAttribute[int | None]) -> ColumnElement[bool]:
    """The condition that a row's site is one that this person may see: ``query.where(within(user, Alert.site_id))``."""
    reach = reach_of(user)
    if reach.region_path == WHOLE:
        return true()
    if reach.region_path is None:
        return site_id == reach.site_id if reach.site_id is not None else false()
    return site_id.in_(visible_sites(user))
