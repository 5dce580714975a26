"""`brightline-server verify` finds a changed byte in a report, in its row or in a batch that it rests on."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from server.reports.document import Document, canonical, digest_points
from tests.server.centre import Centre, Person, run_cli, run_here
from tests.server.reports.kitchen import furnish

FORMATS = [("json", ""), ("csv", ""), ("pdf", "zh-CN"), ("pdf", "en")]


@dataclass(frozen=True)
class Signed:
    """A record that nobody serves any more, with a report of two editions and its newest files."""

    data: Path
    number: str
    files: dict[tuple[str, str], bytes]
    first_pdf: bytes
    draft: bytes


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, jpeg: Callable[..., bytes], font_settings: str) -> Signed:
    centre = Centre(tmp_path_factory.mktemp("signed") / "data", font_settings)
    try:
        kitchen = furnish(centre, jpeg)
        draft = kitchen.draft("pdf", end="2026-01-02T06:00:00Z").content
        number = kitchen.signed()
        assert kitchen.post(kitchen.regulator, number, "review").status_code == 200
        files = {key: kitchen.file(number, 2, *key) for key in FORMATS}
        first = kitchen.file(number, 1, "pdf")
    finally:
        assert centre.stop() == 0
    return Signed(centre.data, number, files, first, draft)


@pytest.fixture
def record(signed: Signed, data: Path) -> Path:
    """A copy to tamper with."""
    shutil.copytree(signed.data, data)
    return data


def verify(data: Path, report: Path | None = None) -> tuple[int, str]:
    extra = ("--report", str(report)) if report else ()
    done = run_here("verify", "--data", str(data), *extra)
    return done.returncode, done.stdout + done.stderr


def tamper(data: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(data / "record.sqlite") as db:
        assert db.execute(sql, values).rowcount > 0
    db.close()


def blob_of(data: Path, format_: str, language: str, edition: int = 2) -> Path:
    with sqlite3.connect(data / "record.sqlite") as db:
        query = "SELECT sha256 FROM report_file WHERE format = ? AND language = ? AND edition = ?"
        digest = str(db.execute(query, (format_, language, edition)).fetchone()[0])
    db.close()
    return data / "blobs" / digest[:2] / digest


def flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


def test_a_healthy_report_is_accepted_whole_and_by_each_of_its_files(signed: Signed, tmp_path: Path) -> None:
    status, text = verify(signed.data)
    assert status == 0, text
    assert re.search(r" 1 reports, .*: 0 wrong", text), text
    for (format_, language), data in signed.files.items():
        file = tmp_path / f"held{language}.{format_}"
        file.write_bytes(data)
        status, text = verify(signed.data, file)
        assert status == 0, text
        assert f"report {signed.number} edition 2 of 2 {format_}" in text


@pytest.mark.parametrize(("format_", "language"), FORMATS)
def test_one_changed_byte_in_a_held_file_is_found(signed: Signed, tmp_path: Path, format_: str, language: str) -> None:
    data = signed.files[format_, language]
    for number, place in enumerate((0, len(data) // 2, len(data) - 1)):
        file = tmp_path / f"held{number}.{format_}"
        file.write_bytes(flip(data, place))
        status, text = verify(signed.data, file)
        assert status == 1
        assert "none that was signed here" in text


def test_a_draft_is_not_taken_for_a_signed_report(signed: Signed, tmp_path: Path) -> None:
    (tmp_path / "draft.pdf").write_bytes(signed.draft)
    status, text = verify(signed.data, tmp_path / "draft.pdf")
    assert (status, "it is a draft" in text) == (1, True)


def test_an_older_edition_is_accepted_and_called_older(signed: Signed, tmp_path: Path) -> None:
    (tmp_path / "old.pdf").write_bytes(signed.first_pdf)
    status, text = verify(signed.data, tmp_path / "old.pdf")
    assert (status, "edition 2 is newer than this one" in text) == (0, True), text


@pytest.mark.parametrize(("format_", "language"), FORMATS)
def test_one_changed_byte_in_a_stored_file_is_found(record: Path, format_: str, language: str) -> None:
    blob = blob_of(record, format_, language)
    data = blob.read_bytes()
    blob.write_bytes(flip(data, len(data) // 2))
    status, text = verify(record)
    assert status == 1
    assert f"edition 2 {format_}" in text
    assert "its bytes were changed" in text


def test_a_missing_file_is_found(record: Path) -> None:
    blob_of(record, "pdf", "en", 1).unlink()
    status, text = verify(record)
    assert (status, "edition 1 pdf en: its bytes are missing" in text) == (1, True), text


def test_one_changed_byte_in_a_batch_fails_the_report_in_hand(signed: Signed, record: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.pdf"
    held.write_bytes(signed.files["pdf", "zh-CN"])
    tamper(
        record,
        "UPDATE batch SET raw = CAST(substr(raw, 1, 300) || x'00' || substr(raw, 302) AS BLOB) "
        "WHERE lane = 'readings' AND seq = 3",
    )
    status, text = verify(record, held)
    assert status == 1
    assert f"WRONG report {signed.number}: batch" in text
    assert "readings/3: signature" in text
    assert verify(record)[0] == 1


@pytest.mark.parametrize(
    ("sql", "named"),
    [
        ("DELETE FROM batch WHERE lane = 'events' AND seq = 1", "events/1: is gone"),
        ("UPDATE report SET content_sha256 = replace(content_sha256, 'a', 'b')", "its content was changed"),
        ("UPDATE report SET batches_sha256 = replace(batches_sha256, 'a', 'b')", "its list of batches was changed"),
        ("DELETE FROM report_entry WHERE edition = 1", "its editions have a hole"),
        ("UPDATE report_entry SET move = 'corrected' WHERE edition = 2", "its last act is not the one on record"),
        ("UPDATE report_entry SET user_id = 1 WHERE edition = 2 AND user_id <> 1", "its last act is not the one"),
        ("DELETE FROM report_file WHERE format = 'csv' AND edition = 2", "edition 2 lacks a file"),
        ("UPDATE report_file SET sha256 = replace(sha256, 'a', 'b') WHERE format = 'pdf'", "its bytes are missing"),
    ],
)
def test_a_changed_row_is_found_and_named(record: Path, sql: str, named: str) -> None:
    tamper(record, sql)
    status, text = verify(record)
    assert status == 1
    assert any(named in line for line in text.splitlines() if line.startswith("WRONG report")), text


def test_a_forged_value_with_all_digests_made_anew_is_found_by_the_batches(record: Path) -> None:
    """Somebody with the database in hand lowers the peak and recomputes every digest but the box's signature."""
    blob = blob_of(record, "json", "")
    document = Document.model_validate_json(blob.read_bytes())
    asset = document.content.assets[0]
    points = [(at_ms, 5.0 if value == 12.3 else value, quality) for at_ms, value, quality in asset.points]
    forged = asset.model_copy(update={"points": points, "points_sha256": digest_points(points)})
    content = document.content.model_copy(update={"assets": [forged]})
    content_sha256 = sha256(canonical(content)).hexdigest()
    data = canonical(document.model_copy(update={"content": content, "content_sha256": content_sha256}))
    digest = sha256(data).hexdigest()
    target = record / "blobs" / digest[:2] / digest
    target.parent.mkdir(exist_ok=True)
    target.write_bytes(data)
    tamper(record, "UPDATE report_file SET sha256 = ? WHERE sha256 = ?", digest, blob.name)
    tamper(record, "UPDATE report SET content_sha256 = ?", content_sha256)
    status, text = verify(record)
    assert status == 1
    assert "its readings are not those of its batches" in text


def test_a_series_that_is_not_what_the_batches_say_cannot_be_signed(record: Path) -> None:
    tamper(record, "UPDATE series_point SET value = 5 WHERE value = 12.3")
    with sqlite3.connect(record / "record.sqlite") as db:
        name = str(db.execute("SELECT username FROM \"user\" WHERE role = 'staff' ORDER BY id").fetchone()[0])
        box_id = str(db.execute("SELECT id FROM box").fetchone()[0])
    db.close()
    centre = Centre(record)
    try:
        wang = Person(centre, name)
        query = {"box": box_id, "sensor": "cold-1", "start": "2026-01-02T03:00:00Z", "end": "2026-01-02T08:30:00Z"}
        draft = wang.get("/api/v1/reports/drafts/temperature/json", params=query).json()
        form = {"content_sha256": draft["content_sha256"]}
        answer = wang.post("/api/v1/reports/drafts/temperature/sign", params=query, data=form, headers=wang.csrf)
        assert (answer.status_code, answer.json()["code"]) == (409, "report_unproved")
    finally:
        assert centre.stop() == 0


def test_json_output_names_the_report(signed: Signed, tmp_path: Path) -> None:
    (tmp_path / "held.csv").write_bytes(signed.files["csv", ""])
    done = run_cli("verify", "--json", "--data", str(signed.data), "--report", str(tmp_path / "held.csv"))
    assert json.loads(done.stdout) == {
        "reports": 1, "report": f"report {signed.number} edition 2 of 2 csv", "problems": [], "gaps": [],
    }  # fmt: skip


def test_a_file_that_cannot_be_read_is_one_line_and_status_1(signed: Signed, tmp_path: Path) -> None:
    status, text = verify(signed.data, tmp_path / "nothing.pdf")
    assert status == 1
    assert text.count("\n") == 1
