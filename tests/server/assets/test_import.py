"""Imports: nothing is taken unless all is well, the same again changes nothing, an export imports unchanged."""

from __future__ import annotations

import csv
import io

import openpyxl
import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from server.assets.desk import AssetsWrong, Checked, check_file, export_file, take
from server.assets.sheets import SHEETS
from server.audit import CONSOLE, verify_audit
from server.models import Site, User
from server.models_assets import AssetSensor, Certificate, ColdRoom
from server.models_audit import AuditEntry
from server.problems import Problem
from server.regions import region_names
from tests.server.assets.conftest import HERE, THERE, Changing, user

IDENTITY = "11010519491231002X"


def book(**tables: list[list[str]]) -> bytes:
    made = openpyxl.Workbook()
    made.remove(made.worksheets[0])
    for name, rows in tables.items():
        sheet = made.create_sheet(name)
        for row in rows:
            sheet.append(row)
    out = io.BytesIO()
    made.save(out)
    return out.getvalue()


FULL = book(
    sites=[
        ["site", "region", "type", "address", "grade"],
        ["一小", HERE, "school", "文一路 1 号", "A"],
        ["三小", f"{HERE}/翠苑", "school", "", "B"],
    ],
    contacts=[["site", "role", "person", "phone"], ["三小", "chef", "王小明", "+86 571 8888"]],
    certificates=[
        ["site", "kind", "number", "holder", "identity", "issued_on", "expires_on"],
        ["三小", "licence", "JY3301", "三小", "", "2025-01-01", "2099-12-31"],
        ["三小", "health", "H-1", "王小明", IDENTITY, "", "2099-01-01"],
    ],
    cold_rooms=[["site", "name", "filing_number"], ["一小", "一号库", "'=备案"], ["三小", "一号库", ""]],
    sensors=[
        ["site", "serial", "cold_room", "box_id", "source_id", "calibration_due_on"],
        ["一小", "S-1", "一号库", "box-1", "cold-1", "2099-05-01"],
    ],
    cameras=[["site", "name", "zones"], ["三小", "专间", "备餐台；水池; 备餐台"]],
)


def looked_through(db: Session, data: bytes, who: str = "admin") -> Checked:
    return check_file(db, user(db, who), data)


def codes(checked: Checked) -> list[tuple[str, int, str, str]]:
    return [(error.sheet, error.row, error.column, error.code) for error in checked.plan.errors]


def taken(db: Session, data: bytes, who: User | None = None) -> None:
    checked = check_file(db, who, data)
    assert not checked.plan.errors, checked.say("en")["errors"]
    take(db, who, checked.rows, CONSOLE)


def test_a_dry_run_changes_nothing_and_what_it_told_is_what_is_done(changing: Changing) -> None:
    with changing() as db:
        before = verify_audit(db)[0]
        checked = looked_through(db, FULL)
        assert checked.plan.counts() == {"add": 8, "update": 1, "same": 0, "errors": 0}
        assert (verify_audit(db)[0], db.scalar(select(func.count()).select_from(ColdRoom))) == (before, 0)
        take(db, user(db, "admin"), checked.rows, CONSOLE, checked.plan.digest)
    with changing() as db:
        site = db.scalars(select(Site).where(Site.name == "三小")).one()
        assert site.region is not None
        assert region_names(db, site.region) == f"{HERE}/翠苑"
        kept = db.scalars(select(Certificate).where(Certificate.kind == "health")).one()
        assert IDENTITY not in kept.identity
        told = [entry.detail for entry in db.scalars(select(AuditEntry).where(AuditEntry.action == "asset.add"))]
        assert len(told) == 8
        assert "王小明" not in str(told)
        assert verify_audit(db)[1] == []


def test_the_same_file_a_second_time_changes_nothing(changing: Changing) -> None:
    with changing() as db:
        taken(db, FULL)
    with changing() as db:
        entries = verify_audit(db)[0]
        checked = looked_through(db, FULL)
        assert checked.plan.counts() == {"add": 0, "update": 0, "same": 9, "errors": 0}
        taken(db, FULL)
        assert verify_audit(db)[0] == entries


@pytest.mark.parametrize("language", ["zh-CN", "en"])
def test_an_export_imports_again_unchanged(changing: Changing, language: str) -> None:
    with changing() as db:
        taken(db, FULL)
    with changing() as db:
        whole = check_file(db, None, export_file(db, None, "", "xlsx", language))
        assert whole.plan.counts() == {"add": 0, "update": 0, "same": 11, "errors": 0}  # the two other sites as well
        for name in SHEETS:
            data = export_file(db, None, name, "csv", language)
            assert "'=备案" in data.decode("utf-8-sig") or name != "cold_rooms"
            part = check_file(db, None, data)
            assert part.plan.counts()["same"] == len(list(csv.reader(io.StringIO(data.decode())))) - 1, name
            assert not part.plan.changes
            assert not part.plan.errors


def test_an_export_makes_the_same_register_in_an_empty_one(changing: Changing) -> None:
    with changing() as db:
        taken(db, FULL)
        data = export_file(db, None, "", "xlsx", "zh-CN")
        for sheet in SHEETS.values():
            db.query(sheet.model).delete()
        taken(db, data)
        assert not check_file(db, None, data).plan.changes
        assert db.scalars(select(AssetSensor)).one().source_id == "cold-1"


def test_one_wrong_row_keeps_all_the_others_out(changing: Changing) -> None:
    data = book(cold_rooms=[["site", "name"], ["一小", "一号库"], ["九小", "一号库"]])
    with changing() as db:
        checked = looked_through(db, data)
        assert codes(checked) == [("cold_rooms", 3, "site", "site_unknown")]
        with pytest.raises(AssetsWrong):
            take(db, user(db, "admin"), checked.rows, CONSOLE)
        assert db.scalar(select(func.count()).select_from(ColdRoom)) == 0


def test_nobody_imports_beyond_their_reach(changing: Changing) -> None:
    rooms = book(cold_rooms=[["site", "name"], ["二小", "一号库"]])
    new = book(sites=[["site", "region"], ["四小", THERE]])
    nowhere = book(sites=[["site"], ["四小"]])
    moved = book(sites=[["site", "region"], ["一小", THERE]])
    beside = book(sites=[["site", "region"], ["四小", f"{HERE}湖"]])
    taken_name = book(sites=[["site"], ["二小"]])
    with changing() as db:
        assert codes(looked_through(db, rooms)) == [("cold_rooms", 2, "site", "site_unknown")]
        for data in (new, nowhere, moved, beside):
            assert codes(looked_through(db, data)) == [("sites", 2, "region", "region_reach")]
        assert codes(looked_through(db, taken_name)) == [("sites", 2, "site", "site_taken")]
        assert codes(looked_through(db, nowhere, "officer")) == [("sites", 2, "site", "site_unknown")]
        assert codes(looked_through(db, moved, "officer")) == [("sites", 2, "region", "region_reach")]
        assert not codes(looked_through(db, book(sites=[["site", "grade"], ["一小", "B"]]), "officer"))


def test_links_to_rooms_and_boxes_must_hold(changing: Changing) -> None:
    headings = ["site", "serial", "cold_room", "box_id", "source_id"]
    rows = [
        headings, ["一小", "S-1", "没有", "", ""], ["一小", "S-2", "", "box-1", ""], ["二小", "S-3", "", "box-1", "x"],
    ]  # fmt: skip
    with changing() as db:
        assert codes(check_file(db, None, book(sensors=rows))) == [
            ("sensors", 2, "cold_room", "room_unknown"), ("sensors", 3, "source_id", "link_half"),
            ("sensors", 4, "box_id", "box_unknown"),
        ]  # fmt: skip


def test_a_column_that_the_file_lacks_stays_and_an_empty_cell_empties(changing: Changing) -> None:
    with changing() as db:
        taken(db, FULL)
        taken(db, book(sensors=[["site", "serial", "name", "calibration_due_on"], ["一小", "S-1", "探头", ""]]))
        kept = db.scalars(select(AssetSensor)).one()
        assert (kept.name, kept.cold_room, kept.calibration_due_on) == ("探头", "一号库", None)


def test_what_changed_since_the_look_is_not_overwritten_unseen(changing: Changing) -> None:
    data = book(cold_rooms=[["site", "name", "filing_number"], ["一小", "一号库", "1"]])
    with changing() as db:
        checked = looked_through(db, data)
        taken(db, book(cold_rooms=[["site", "name", "filing_number"], ["一小", "一号库", "2"]]))
        with pytest.raises(Problem) as refused:
            take(db, user(db, "admin"), checked.rows, CONSOLE, checked.plan.digest)
        assert refused.value.code == "asset_changed"
