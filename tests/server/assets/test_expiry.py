"""Papers that run out are told of 30 days ahead in the site's time, once for each last day, and ended by renewal."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import cast

import pytest
from sqlalchemy import Engine, delete, select, update
from sqlalchemy.orm import Session
from sqlalchemy.orm.session import make_transient

from server.accounts import ensure_site
from server.assets.editing import remove
from server.assets.expiry import KIND, settle, verify_warnings
from server.assets.sheets import SHEETS
from server.assets.watch import DUTY, ExpiryWatch
from server.audit import CONSOLE
from server.live import Broadcaster, Change
from server.models import Alert, AlertMove
from server.models_assets import AssetSensor, Certificate
from server.models_notification import AlertChange
from server.notification.outbox import fan_out, thread_of
from server.notification.rules import default_rules
from server.said import sentence
from server.service import Hand, make_move
from server.work import hold_duty, leave_duty
from tests.server.assets.conftest import Changing, session_of, user

LAST_DAY = date(2026, 3, 31)
WARNED_FROM = datetime(2026, 2, 28, 16, tzinfo=UTC)  # 1 March, 0:00 in Shanghai


def add_certificate(db: Session, site: str = "一小", kind: str = "health", number: str = "H-1") -> Certificate:
    made = Certificate(
        site_id=ensure_site(db, site).id, kind=kind, number=number, holder="王小明", identity="", expires_on=LAST_DAY
    )
    db.add(made)
    db.flush()
    return made


def alerts(db: Session) -> list[Alert]:
    return list(db.scalars(select(Alert).where(Alert.kind == KIND).order_by(Alert.id)))


@pytest.mark.parametrize(("site", "begins"), [("一小", WARNED_FROM), ("夏威夷", datetime(2026, 3, 1, 10, tzinfo=UTC))])
def test_the_warning_begins_thirty_days_ahead_as_the_day_begins_at_the_site(
    changing: Changing, site: str, begins: datetime
) -> None:
    with changing() as db:
        add_certificate(db, site)
        assert settle(db, begins - timedelta(seconds=1)) == []
        assert len(settle(db, begins)) == 1


def test_a_warning_tells_what_runs_out_and_names_nobody(changing: Changing) -> None:
    with changing() as db:
        add_certificate(db)
        alert = settle(db, WARNED_FROM)[0]
        assert sentence(alert.data, "zh-CN", UTC) == "王** 的健康证明有效期至 2026-03-31"
        assert sentence(alert.data, "en", UTC) == "the health certificate of 王** is valid until 2026-03-31"
        assert "小明" not in f"{alert.data}{alert.source_name}"
        assert (alert.box_id, alert.tier, alert.state) == (None, 2, "open")
        assert alert.deadline_at > WARNED_FROM + timedelta(days=1)
        assert [row.change for row in db.scalars(select(AlertChange))] == ["raise"]
        assert [row.move for row in db.scalars(select(AlertMove))] == ["raise"]


def test_each_last_day_is_told_of_once_also_after_a_long_silence(changing: Changing) -> None:
    with changing() as db:
        add_certificate(db)
        late = WARNED_FROM + timedelta(days=90)
        assert len(settle(db, late)) == 1
        assert settle(db, late) == []
        assert settle(db, late + timedelta(days=400)) == []
        assert len(alerts(db)) == 1


def test_replicas_side_by_side_tell_of_each_paper_once(engine: Engine) -> None:
    with session_of(engine) as db:
        for number in range(20):
            add_certificate(db, number=f"H-{number}")

    def look() -> None:
        with session_of(engine) as own:
            settle(own, WARNED_FROM)

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with session_of(engine) as db:
        assert len(alerts(db)) == 20
        assert verify_warnings(db) == []


def test_renewal_ends_the_warning_and_the_next_last_day_is_told_of_again(changing: Changing) -> None:
    with changing() as db:
        paper = add_certificate(db)
        first = settle(db, WARNED_FROM)[0]
        paper.expires_on = date(2027, 3, 31)
        renewed = WARNED_FROM + timedelta(days=3)
        assert settle(db, renewed) == [first]
        assert (first.ended_at, first.state) == (renewed, "open")  # a person closes it
        assert settle(db, renewed) == []
        second = settle(db, WARNED_FROM + timedelta(days=366))[0]
        assert second.id != first.id
        assert [row.change for row in db.scalars(select(AlertChange))] == ["raise", "end", "raise"]


def test_a_paper_taken_out_ends_its_warning_and_put_back_goes_on_with_it(changing: Changing) -> None:
    now = datetime.now(UTC)
    with changing() as db:
        paper = add_certificate(db)
        paper.expires_on = now.date()
        alert = settle(db, now)[0]
        remove(db, user(db, "officer"), SHEETS["certificates"], paper.site_id, paper.id, CONSOLE)
        assert alert.ended_at is not None
        make_transient(paper)
        db.add(paper)
        assert settle(db, now) == [alert]
        assert alert.ended_at is None


def test_calibrations_and_certificates_of_sensors_run_out_as_well(changing: Changing) -> None:
    with changing() as db:
        site = ensure_site(db, "一小")
        db.add(
            AssetSensor(
                site_id=site.id, serial="S-1", name="探头", calibration_due_on=LAST_DAY,
                certificate_expires_on=LAST_DAY + timedelta(days=1),
            )
        )  # fmt: skip
        db.flush()
        assert [alert.data["paper"] for alert in settle(db, WARNED_FROM)] == ["calibration"]
        later = settle(db, WARNED_FROM + timedelta(days=1))
        assert [alert.data["paper"] for alert in later] == ["sensor_certificate"]


def test_a_warning_is_seen_to_like_any_alert(changing: Changing) -> None:
    with changing() as db:
        add_certificate(db)
        alert = settle(db, WARNED_FROM)[0]
        assert make_move(db, Hand(user(db, "officer"), ""), alert.id, "acknowledge").state == "acknowledged"
        assert settle(db, WARNED_FROM) == []


@contextmanager
def one_warning(changing: Changing) -> Iterator[tuple[Session, Alert]]:
    with changing() as db:
        add_certificate(db)
        alert = settle(db, WARNED_FROM)[0]
        assert verify_warnings(db) == []
        yield db, alert


def test_verify_finds_a_warning_that_was_deleted_changed_or_slipped_in(changing: Changing) -> None:
    with one_warning(changing) as (db, alert):
        number = alert.id
        db.execute(update(Alert).values(kind="no_mask"))
        assert len(verify_warnings(db)) == 1
        db.execute(update(Alert).values(kind=KIND, incident_id="expiry-x"))
        assert len(verify_warnings(db)) == 1
        db.execute(delete(AlertChange))
        db.execute(delete(AlertMove))
        db.execute(delete(Alert))
        assert verify_warnings(db) == [f"alert {number}: the audit log tells of it, and it is gone"]


class Told:
    """Stands for the broadcaster."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def publish(self, changes: Iterable[Change]) -> None:
        self.changes += changes


def test_one_replica_at_a_time_looks_and_tells_the_open_pages(engine: Engine) -> None:
    told = Told()
    with session_of(engine) as db:
        add_certificate(db)
        assert hold_duty(db, DUTY, "another replica", 60.0)
    watch = ExpiryWatch(engine, cast(Broadcaster, told), lambda: WARNED_FROM)
    assert watch.look() == 0
    with session_of(engine) as db:
        assert alerts(db) == []
        leave_duty(db, DUTY, "another replica")
    assert watch.look() == 1
    assert [(change.state, change.region_path != "") for change in told.changes] == [("open", True)]
    assert watch.look() == 0


def test_people_hear_of_a_warning_as_of_any_alert(changing: Changing) -> None:
    with changing() as db:
        add_certificate(db)
        settle(db, WARNED_FROM)
        assert fan_out(db, default_rules(), WARNED_FROM) == 1
        thread = thread_of(db.scalars(select(AlertChange)).one())
        db.scalars(select(Certificate)).one().expires_on = LAST_DAY + timedelta(days=365)
        settle(db, WARNED_FROM + timedelta(days=365))
        changes = db.scalars(select(AlertChange).order_by(AlertChange.id)).all()
        assert [(item.change, thread_of(item)) for item in changes] == [
            ("raise", thread), ("raise", thread), ("end", thread),
        ]  # fmt: skip
