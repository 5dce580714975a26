"""What the rules let go is purged with a signed tombstone; what is held, shared, signed or unfinished stays."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.audit import CONSOLE
from server.blob_references import referenced_blobs
from server.blobs import FolderBlobStore
from server.cli import main
from server.database import make_engine
from server.merkle.log import append_pending
from server.models import Alert, AlertMove, SeriesPoint, StoredBatch
from server.models_audit import AuditEntry
from server.reports.models import SignedReport
from server.retention.holds import HoldRefused, place_hold, release_hold
from server.retention.models import Tombstone
from server.retention.purge import find_purges, purge_portion
from server.retention.purged import recall_blobs
from server.retention.rules import default_retention, load_retention
from server.rollout.models import Release
from telemetry.batch import sha256_hex
from tests.server.merkle.small_record import AT, SmallRecord

RULES = default_retention()
LATER = datetime.now(UTC) + timedelta(days=1100)


def purge(record: SmallRecord, now: datetime, blobs: FolderBlobStore | None = None) -> Counter[str]:
    engine, done = make_engine(record.settings), Counter[str]()
    while portion := purge_portion(engine, blobs or record.blobs, record.signer, RULES, now):
        done += portion
    engine.dispose()
    return done


def wanted(record: SmallRecord, now: datetime) -> set[str]:
    engine = make_engine(record.settings)
    with Session(engine) as db:
        found = {purge.kind for purge in find_purges(db, RULES, now)}
    engine.dispose()
    return found


def test_nothing_goes_before_its_time(record: SmallRecord) -> None:
    assert purge(record, datetime.now(UTC) + timedelta(days=1090)) == {}


def test_what_is_old_goes_and_verify_tells_it_from_a_loss(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    assert purge(record, LATER) == {"confirmed-pictures": 2, "readings": 2}
    for seed in (1, 2):
        with pytest.raises(KeyError):
            record.blobs.get(sha256_hex(jpeg(seed)))
    with record.changing() as db:
        assert db.scalar(select(func.count()).select_from(SeriesPoint)) == 0
        raws = dict(
            db.execute(
                select(StoredBatch.lane, func.max(func.length(StoredBatch.raw))).group_by(StoredBatch.lane)
            ).all()
        )
        assert (raws["readings"], raws["events"] > 0) == (0, True)
        entry = db.scalars(select(AuditEntry).order_by(AuditEntry.seq.desc()).limit(1)).one()
        assert (entry.action, entry.actor_kind) == ("retention.purge", "system")
    record.grow()
    found = record.verify()
    assert (found.problems, found.gaps, found.purged, found.readings) == ([], [], 4, 0)
    assert purge(record, LATER) == {}


def test_a_loss_is_not_excused_by_a_tombstone_that_nobody_signed(
    record: SmallRecord, jpeg: Callable[..., bytes]
) -> None:
    digest = sha256_hex(jpeg(1))
    record.blobs.delete(digest)
    assert record.verify().problems == [f"picture {digest}: its bytes are missing"]
    with record.changing() as db:
        key = "brightline/0"
        stone = Tombstone(kind="picture", ref=digest, rule="x", size_bytes=1, at=AT, key=key, signature=b"0" * 64)
        db.add(stone)
        db.flush()
        append_pending(db)
    assert record.verify().problems == [
        f"tombstone 1 of picture {digest}: no known key signed it", f"picture {digest}: its bytes are missing",
    ]  # fmt: skip


def test_a_hold_keeps_everything_until_it_is_released_or_over(record: SmallRecord) -> None:
    with record.changing() as db:
        hold = place_hold(db, CONSOLE, "court case 12", LATER - timedelta(days=1), alert_id=1)
        hold_id = hold.id
    assert wanted(record, LATER) == set()
    assert purge(record, LATER) == {}
    with record.changing() as db:
        release_hold(db, CONSOLE, hold_id, "closed", LATER)
        site_id = db.scalars(select(Alert.site_id)).one()
        place_hold(db, CONSOLE, "inspection", LATER, site_id=site_id, until=LATER + timedelta(days=5))
    assert wanted(record, LATER) == set()
    assert wanted(record, LATER + timedelta(days=6)) == {"picture", "readings"}


def test_a_hold_that_says_too_little_is_refused(record: SmallRecord) -> None:
    refused: list[tuple[dict[str, object], str]] = [
        ({"reason": " ", "alert_id": 1}, "needs a reason"),
        ({"reason": "x", "alert_id": 9}, "no alert 9"),
        ({"reason": "x"}, "on an alert or a site"),
        ({"reason": "x", "alert_id": 1, "until": AT}, "in the future"),
    ]
    with record.changing() as db:
        for said, why in refused:
            with pytest.raises(HoldRefused, match=why):
                place_hold(db, CONSOLE, str(said.pop("reason")), AT, **said)  # type: ignore[arg-type]
        with pytest.raises(HoldRefused, match="no hold 1"):
            release_hold(db, CONSOLE, 1, "x", AT)


def test_an_unfinished_alert_keeps_its_pictures_and_those_it_shares(
    record: SmallRecord, jpeg: Callable[..., bytes]
) -> None:
    with record.changing() as db:
        alert_id = record.raise_alert(db, "inc-2")
        record.repair(db, alert_id, jpeg(2))
        db.get_one(Alert, alert_id).state = "rejected"
        db.add(AlertMove(alert_id=alert_id, at=AT, move="reject", old_state="closed", new_state="rejected"))
    assert purge(record, LATER)["confirmed-pictures"] == 1
    assert record.blobs.get(sha256_hex(jpeg(2))) == jpeg(2)


def test_a_picture_that_two_alerts_have_goes_with_the_last_and_comes_again_with_a_third(
    record: SmallRecord, jpeg: Callable[..., bytes]
) -> None:
    black = jpeg(1)
    with record.changing() as db:
        second = record.raise_alert(db, "inc-2")
        record.send_picture(db, black, "inc-2")
        record.send_picture(db, black, "inc-untold")  # its event waits at the box still
    assert sha256_hex(black) not in purged_pictures(record)
    with record.changing() as db:
        untold = record.raise_alert(db, "inc-untold")
        record.repair(db, untold, jpeg(4))
    assert sha256_hex(black) not in purged_pictures(record)
    with record.changing() as db:
        record.repair(db, second, jpeg(5))
    assert sha256_hex(black) in purged_pictures(record)
    with pytest.raises(KeyError):
        record.blobs.get(sha256_hex(black))
    with record.changing() as db:
        third = record.raise_alert(db, "inc-3")
        record.send_picture(db, black, "inc-3")
        assert recall_blobs(db, [sha256_hex(black)], LATER)
        assert not recall_blobs(db, [sha256_hex(black)], LATER)
        assert sha256_hex(black) in set(referenced_blobs(db))
    assert sha256_hex(black) not in purged_pictures(record)
    record.grow()
    assert record.verify().problems == []
    record.blobs.delete(sha256_hex(black))  # the withdrawn tombstone excuses nothing
    assert record.verify().problems == [f"picture {sha256_hex(black)}: its bytes are missing"]
    record.blobs.put(black)
    with record.changing() as db:
        record.repair(db, third, jpeg(6))
    assert sha256_hex(black) in purged_pictures(record)
    record.grow()
    assert record.verify().problems == []


def purged_pictures(record: SmallRecord) -> set[str]:
    """Purge; the pictures whose tombstone counts."""
    purge(record, LATER)
    with record.changing() as db:
        counting = (Tombstone.kind == "picture", Tombstone.withdrawn_at.is_(None))
        return set(db.scalars(select(Tombstone.ref).where(*counting, Tombstone.done_at.is_not(None))))


def test_withdrawal_of_a_tombstone_cannot_be_taken_back(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    black = sha256_hex(jpeg(1))
    assert black in purged_pictures(record)
    with record.changing() as db:
        recall_blobs(db, [black], LATER)
    record.grow()
    record.tamper("UPDATE tombstone SET withdrawn_at = NULL WHERE withdrawn_at IS NOT NULL")
    assert [problem for problem in record.verify().problems if "tombstone_end" in problem] != []


def test_a_picture_with_the_bytes_of_a_release_takes_nothing_with_it(record: SmallRecord) -> None:
    release = b"cameras: []"
    with record.changing() as db:
        alert_id = record.raise_alert(db, "inc-2")
        digest = record.send_picture(db, release, "inc-2")
        said = {"sha256": digest, "size_bytes": len(release), "region_path": "/", "made_by": "x", "made_at": AT}
        db.add(Release(name="x", **said))
        record.repair(db, alert_id, release + b"\n")
    assert digest not in purged_pictures(record)
    assert record.blobs.get(digest) == release


def test_a_false_alarm_loses_its_pictures_early(record: SmallRecord) -> None:
    with record.changing() as db:
        alert = db.scalars(select(Alert)).one()
        db.add(AlertMove(alert_id=alert.id, at=AT, move="dismiss", old_state="closed", new_state="dismissed"))
        alert.state = "dismissed"
    assert purge(record, datetime.now(UTC) + timedelta(days=31)) == {"dismissed-pictures": 2}


def test_readings_that_a_signed_report_rests_on_stay(record: SmallRecord) -> None:
    with record.changing() as db:
        site_id = db.scalars(select(Alert.site_id)).one()
        db.add(
            SignedReport(
                number="1", kind="temperature", site_id=site_id, title="x", start=AT, end=AT + timedelta(seconds=3),
                content_sha256="0" * 64, batches_sha256="0" * 64,
            )
        )  # fmt: skip
    assert purge(record, LATER)["readings"] == 1


class FailingOnce(FolderBlobStore):
    """Like a disk that is gone for a moment, after the tombstone is committed."""

    failed = False

    def delete(self, sha256: str) -> None:
        if not self.failed:
            self.failed = True
            raise OSError("no such disk")
        super().delete(sha256)


def test_a_purge_that_was_cut_short_is_finished_by_the_next(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    blobs = FailingOnce(record.settings.blob_dir)
    with pytest.raises(OSError, match="no such disk"):
        purge(record, LATER, blobs)
    assert record.verify().problems == []
    assert purge(record, LATER, blobs) == {}
    with pytest.raises(KeyError):
        blobs.get(sha256_hex(jpeg(1)))
    assert record.verify().problems == []


class HeldMeanwhile(FolderBlobStore):
    """Like a disk that is gone just before a hold comes."""

    def delete(self, sha256: str) -> None:
        raise OSError("no such disk")


def test_a_hold_that_comes_between_tombstone_and_deletion_wins(record: SmallRecord, jpeg: Callable[..., bytes]) -> None:
    with pytest.raises(OSError, match="no such disk"):
        purge(record, LATER, HeldMeanwhile(record.settings.blob_dir))
    gone = sha256_hex(jpeg(2))
    record.blobs.delete(gone)  # of the two, one was deleted when the power went
    with record.changing() as db:
        site_id = db.scalars(select(Alert.site_id)).one()
        hold_id = place_hold(db, CONSOLE, "court", LATER, site_id=site_id).id
    assert purge(record, LATER) == {}
    assert record.blobs.get(sha256_hex(jpeg(1))) == jpeg(1)
    with record.changing() as db:
        assert {row.ref for row in db.scalars(select(Tombstone)) if row.done_at} == {gone}
        assert db.scalar(select(func.min(func.length(StoredBatch.raw)))) > 0
        assert sha256_hex(jpeg(1)) in set(referenced_blobs(db))
        kept = select(func.count()).select_from(AuditEntry).where(AuditEntry.action == "retention.keep")
        assert db.scalar(kept) == 3  # a picture and two batches
    record.grow()
    assert (record.verify().problems, record.verify().readings) == ([], 10)
    with record.changing() as db:
        release_hold(db, CONSOLE, hold_id, "over", LATER)
    assert purge(record, LATER) == {"confirmed-pictures": 1, "readings": 2}
    record.grow()
    assert record.verify().problems == []


def test_rules_keep_to_the_law_and_are_told_by_their_place(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    good = "rules: [{name: a, what: readings, keep_days: 800, basis: x}]"
    for text, why in (
        (good.replace("800", "700"), "at least 731"),
        (good.replace("readings", "pictures"), "states are named for pictures"),
        (good.replace("readings", "audit"), "rules.0.what"),
        (good.replace("}]", "}, {name: a, what: readings, keep_days: 800, basis: x}]"), "the same name"),
        (good.replace("basis: x", "basis: ''"), "rules.0.basis"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=why):
            load_retention(path)
    path.write_text(good)
    assert load_retention(path).rules[0].keep_days == 800


def test_the_commands_hold_list_release_and_purge(record: SmallRecord, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", str(record.data)]
    assert main(["hold", "add", "--alert", "1", "--reason", "court", "--until", "2099-01-01", *data]) == 0
    assert capsys.readouterr().out == "1\n"
    assert main(["hold", "list", *data]) == 0
    assert "alert 1 of Canteen A: court (by console" in capsys.readouterr().out
    assert main(["hold", "release", "1", "--reason", "over", *data]) == 0
    assert main(["hold", "release", "1", "--reason", "over", *data]) == 2
    assert main(["retention", "--dry-run", *data]) == 0
    assert main(["retention", "--apply", *data]) == 0
    assert "would purge: nothing\npurged: nothing\n" in capsys.readouterr().out
