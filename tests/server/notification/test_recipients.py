"""Tiers go to station, district and city; where nobody can be reached there, the nearest desk hears of it."""

from __future__ import annotations

import uuid

import pytest

from server.accounts import ensure_site
from server.models import Region, User
from server.models_notification import NotificationChannel
from server.notification.recipients import recipients
from server.notification.rules import Level
from server.regions import ensure_region
from tests.server.notification.desk import NOON, SITE, Desk


def regulator(desk: Desk, region_id: int | None, *, channel: bool = True, disabled: bool = False) -> int:
    with desk.db() as db:
        name = uuid.uuid4().hex
        user = User(username=name, display_name=name, password_hash="-", role="regulator", region_id=region_id)
        user.disabled = disabled
        db.add(user)
        db.flush()
        if channel:
            db.add(
                NotificationChannel(
                    user_id=user.id, kind="mail", address=name, label="-", language="en", tier_max=3, created_at=NOON
                )
            )
        return user.id


@pytest.fixture
def regions(desk: Desk) -> dict[str, int]:
    """One branch of the tree with the site at its end, and a station beside it."""
    with desk.db() as db:
        beside = ensure_region(db, "P/C/D/beside")
        region: Region | None = ensure_region(db, "P/C/D/S")
        ensure_site(db, SITE, region=region)
        found = {"beside": beside.id}
        while region is not None:
            found[region.level] = region.id
            region = db.get(Region, region.parent_id) if region.parent_id else None
        return found


def told(desk: Desk, level: Level) -> list[int]:
    with desk.db() as db:
        return [user.id for user in recipients(db, ensure_site(db, SITE), ["regulator"], level)]


def test_each_level_hears_of_its_tier_and_nobody_beside(desk: Desk, regions: dict[str, int]) -> None:
    people = {name: regulator(desk, region_id) for name, region_id in regions.items()}
    whole = regulator(desk, None)
    assert told(desk, "station") == [people["station"]]
    assert told(desk, "district") == [people["district"]]
    assert told(desk, "city") == [people["city"]]
    assert people["beside"] not in told(desk, "station")
    assert whole not in told(desk, "city")


def test_where_nobody_can_be_reached_the_nearest_above_is_told_and_else_below(
    desk: Desk, regions: dict[str, int]
) -> None:
    station = regulator(desk, regions["station"])
    regulator(desk, regions["district"], channel=False)
    regulator(desk, regions["city"], disabled=True)
    assert told(desk, "city") == [station]
    whole = regulator(desk, None)
    assert told(desk, "district") == [whole]
    assert told(desk, "station") == [station]


def test_site_without_a_region_is_the_business_of_those_who_see_all(desk: Desk) -> None:
    whole = regulator(desk, None)
    assert told(desk, "station") == [whole]
