"""What everybody may know of today's samples: by meal, in numbers, blamed only where a meal is served."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from server.accounts import add_user, ensure_site
from server.database import make_engine, writing
from server.models import Site, User
from server.models_self_control import RetainedSample, SampleRemoval, SelfControlRecord
from server.self_control.meals import MealKept, meals_today
from server.settings import Settings
from tests.ready_record import lay_ready_record
from tests.server.centre import PASSWORD

NOON = datetime(2026, 1, 14, 4, tzinfo=UTC)  # a Wednesday in Shanghai
EVENING = NOON + timedelta(hours=10)


@pytest.fixture
def db(tmp_path: Path) -> Iterator[Session]:
    settings = Settings(data_dir=tmp_path)
    lay_ready_record(tmp_path)
    engine = make_engine(settings)
    with Session(writing(engine)) as session:
        add_user(session, "li", "Li", PASSWORD, "staff", ensure_site(session, "一小"))
        yield session
    engine.dispose()


def site(db: Session) -> Site:
    return ensure_site(db, "一小")


def keep(
    db: Session, meal: str, at: datetime, grams: float = 130, ended: tuple[str, float] | None = None, dishes: int = 1
) -> None:
    """Samples of a meal; *ended*: how, and after how many hours."""
    user = db.query(User).one()
    for _ in range(dishes):
        sample = RetainedSample(
            site_id=site(db).id, meal=meal, dish="粥", weight_g=grams, taken_at=at, taken_by="李", sensor_id="",
            entered_at=at, entered_by_id=user.id,
        )  # fmt: skip
        db.add(sample)
        db.flush()
        if ended:
            gone = at + timedelta(hours=ended[1])
            db.add(
                SampleRemoval(sample_id=sample.id, how=ended[0], at=gone, reason="", user_id=user.id, entered_at=gone)
            )
    db.flush()


def told(db: Session, now: datetime) -> list[tuple[str, str, int]]:
    return [(item.meal, item.state, item.dishes) for item in meals_today(db, site(db), now)]


def test_a_meal_is_kept_when_every_dish_is_as_the_rule_asks(db: Session) -> None:
    assert meals_today(db, site(db), NOON) == ()
    keep(db, "breakfast", NOON - timedelta(hours=5), dishes=2)
    keep(db, "lunch", NOON - timedelta(minutes=5), grams=90)
    keep(db, "lunch", NOON - timedelta(minutes=5))
    keep(db, "dinner", NOON, ended=("void", 0.1))
    assert meals_today(db, site(db), NOON) == (MealKept("breakfast", "kept", 2), MealKept("lunch", "short", 2))


def test_a_sample_that_went_before_its_time_is_told(db: Session) -> None:
    keep(db, "lunch", NOON - timedelta(hours=1), ended=("removed", 0.5))
    assert told(db, NOON) == [("lunch", "short", 1)]


def test_a_meal_is_missing_only_on_a_weekday_on_which_it_is_served_and_once_its_time_is_over(db: Session) -> None:
    week_ago = NOON - timedelta(days=7)
    for meal in ("breakfast", "lunch", "dinner"):
        keep(db, meal, week_ago)
    assert told(db, NOON) == [("breakfast", "missing", 0), ("lunch", "open", 0), ("dinner", "open", 0)]
    assert [state for _, state, _ in told(db, EVENING)] == ["missing"] * 3
    assert told(db, NOON + timedelta(days=3)) == [], "nobody kept anything on a Saturday"
    assert told(db, NOON + timedelta(days=14)) == [], "too long ago"


def test_a_day_without_service_owes_none_and_yesterday_evening_is_not_today(db: Session) -> None:
    keep(db, "lunch", NOON - timedelta(days=7))
    keep(db, "dinner", datetime(2026, 1, 13, 15, 59, tzinfo=UTC))  # a minute before midnight in Shanghai
    db.add(
        SelfControlRecord(
            site_id=site(db).id, kind="daily", first_day=date(2026, 1, 14), opened_at=NOON, seen={},
            opened_by_id=db.query(User).one().id, form={"operating": False},
        )
    )  # fmt: skip
    db.flush()
    assert told(db, EVENING) == [("lunch", "closed", 0)]
