"""What the three formats say, asked through the door and read with other people's programs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from server.reports.document import Document
from server.reports.fonts import Font, find_font
from server.reports.pdf_file import write_pdf
from tests.server.centre import AT, reading
from tests.server.reports.kitchen import BAD, LOST, MINUTES, PEAK_C, SILENT, Kitchen, value_at
from tests.services import missing, require


@pytest.fixture(scope="module")
def document(kitchen: Kitchen) -> dict[str, Any]:
    answer = kitchen.draft("json")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.fixture(scope="module")
def asset(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["content"]["assets"][0]
    return found


def read_pdf(data: bytes, folder: Path) -> str:
    """The text of a PDF, by poppler."""
    (folder / "report.pdf").write_bytes(data)
    done = subprocess.run(
        [require("pdftotext"), "-layout", "report.pdf", "-"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def needs_font() -> None:
    if find_font() is None:
        missing("no font with Chinese characters is installed (fonts-noto-cjk)")


def test_the_series_is_exactly_what_was_measured(asset: dict[str, Any]) -> None:
    sent = [minute for minute in range(MINUTES) if minute not in SILENT and minute not in LOST]
    expected = [
        [round((AT + timedelta(minutes=minute)).timestamp() * 1000), value_at(minute)] for minute in sent
    ]  # fmt: skip
    assert [point[:2] for point in asset["points"]] == expected


def test_every_gap_is_listed_with_its_length_and_reason(asset: dict[str, Any]) -> None:
    found = {gap["code"]: (gap["length_s"] / 60, gap["detail"]) for gap in asset["gaps"]}
    assert found["unknown"][0] >= 4  # the edges of the period
    assert found["missing_batches"] == (11, "1: 17-17")
    assert found["bad_readings"] == (11, "no answer within 0.5 s")
    lengths = sorted(gap["length_s"] / 60 for gap in asset["gaps"])
    assert lengths[-1] == len(SILENT) + 1
    assert len(asset["gaps"]) == 5


def test_the_figures_are_those_of_the_readings(asset: dict[str, Any]) -> None:
    stats = asset["statistics"]
    values = [value for point in asset["points"] if (value := point[1]) is not None]
    assert (stats["min_c"], stats["max_c"]) == (4.0, PEAK_C)
    assert stats["mean_c"] == pytest.approx(sum(values) / len(values), abs=0.001)
    assert stats["mean_c"] < stats["mkt_c"] < stats["max_c"]
    assert stats["above_s"] == 30 * 60
    assert stats["without_value"] == len(BAD)


def test_an_excursion_tells_its_cause_and_who_did_what(kitchen: Kitchen, asset: dict[str, Any]) -> None:
    [excursion] = asset["excursions"]
    assert excursion["causes"] == ["door open since 12:04"]
    assert (excursion["peak_c"], excursion["limit_c"], excursion["side"]) == (PEAK_C, 8.0, "high")
    told = [(action["move"], action["by"], action["note"]) for action in excursion["actions"]]
    assert told == [
        ("acknowledge", kitchen.wang.name, ""),
        ("submit", kitchen.wang.name, "关门，食品中心 5.2 °C"),
        ("accept", kitchen.regulator.name, "照片与现场一致"),
    ]
    assert len(excursion["actions"][1]["photo_sha256"]) == 64


def test_the_sensor_is_named_with_serial_and_calibration(asset: dict[str, Any]) -> None:
    sensor = asset["sensor"]
    assert (sensor["serial"], sensor["calibrated_on"], sensor["offset_c"]) == ("SN-40213", "2025-11-20", -0.15)


def test_the_digest_of_the_batches_can_be_recomputed_from_the_list(kitchen: Kitchen, document: dict[str, Any]) -> None:
    content = document["content"]
    lines = [
        f"{lane['box_id']} {lane['epoch']} {lane['lane']} {seq} {digest}\n"
        for lane in content["lanes"]
        for seq, digest in lane["batches"]
    ]
    assert sha256("".join(lines).encode()).hexdigest() == content["batches_sha256"]
    stored = {(row[2], row[3], row[4], row[5]) for row in map(_batch, kitchen.centre.dump()["batch"])}
    named = {(lane["epoch"], lane["lane"], seq, sha) for lane in content["lanes"] for seq, sha in lane["batches"]}
    assert named == stored


def _batch(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """id, box, epoch, lane, seq, sha256"""
    return (row[0], row[1], row[2], row[3], row[4], row[5])


def test_the_content_digest_is_that_of_the_content(document: dict[str, Any]) -> None:
    text = json.dumps(document["content"], ensure_ascii=False, sort_keys=True, separators=(",", ":")) + "\n"
    assert sha256(text.encode()).hexdigest() == document["content_sha256"]


@pytest.mark.parametrize("format_", ["json", "csv", "pdf"])
def test_the_same_record_gives_the_same_bytes(kitchen: Kitchen, format_: str) -> None:
    first, second = kitchen.draft(format_), kitchen.draft(format_)
    assert first.status_code == 200
    assert first.content == second.content


def test_the_csv_holds_every_reading_gap_action_and_batch(kitchen: Kitchen, document: dict[str, Any]) -> None:
    answer = kitchen.draft("csv")
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))
    asset = document["content"]["assets"][0]
    count = {name: sum(row["row"] == name for row in rows) for name in ("reading", "gap", "excursion", "action")}
    assert count == {"reading": len(asset["points"]), "gap": 5, "excursion": 1, "action": 3}
    assert sum(row["row"] == "batch" for row in rows) == document["content"]["batches"]
    peak = next(row for row in rows if row["row"] == "reading" and row["value_c"] == str(PEAK_C))
    assert peak["from_utc"] == "2026-01-02T04:19:05.000Z"


def test_a_text_that_a_spreadsheet_would_run_is_defused(kitchen: Kitchen) -> None:
    assert kitchen.box.send(kitchen.box.seal("readings", [reading(4.0, 60, "cold-2")])).is_success
    card = {"valid_from": "2025-12-02", "name": '=HYPERLINK("x")', "high_c": -18.5}
    path = f"/api/v1/reports/sensors/{kitchen.box.box_id}/cold-2/cards"
    assert kitchen.zhao.post(path, json=card, headers=kitchen.zhao.csrf).status_code == 201
    rows = list(csv.DictReader(io.StringIO(kitchen.draft("csv", sensor="cold-2").content.decode("utf-8-sig"))))
    assert next(row for row in rows if row["row"] == "sensor" and row["name"] == "name")["text"].startswith("'=")
    assert next(row for row in rows if row["row"] == "limit")["high_c"] == "-18.5"  # a number stays a number


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("zh-CN", ["温度记录报告", "阳光小学 食堂", "冷藏库 1", "批次未送达中心", "传感器读数无效", "关门，食品中心"]),
        ("en", ["Temperature report", "阳光小学 食堂", "batches that never reached", "Operator signed", "(open)"]),
    ],
)
def test_the_pdf_says_it_in_both_languages_with_an_embedded_font(
    kitchen: Kitchen, tmp_path: Path, language: str, words: list[str]
) -> None:
    needs_font()
    answer = kitchen.draft("pdf", language=language)
    text = read_pdf(answer.content, tmp_path)
    for word in [*words, "SN-40213", "12.3 °C", "door open", kitchen.wang.name]:
        assert word in text, word
    fonts = subprocess.run(
        [require("pdffonts"), "report.pdf"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert all(line.split()[-5:-2] == ["yes", "yes", "yes"] for line in fonts.stdout.splitlines()[2:]), fonts.stdout


def test_the_pdf_carries_the_list_of_batches_whose_sha256_it_states(
    kitchen: Kitchen, document: dict[str, Any], tmp_path: Path
) -> None:
    data = kitchen.draft("pdf").content
    digest = json.loads(kitchen.draft("json").content)["content"]["batches_sha256"]
    assert digest in read_pdf(data, tmp_path)
    subprocess.run([require("pdfdetach"), "-saveall", "report.pdf"], cwd=tmp_path, capture_output=True, check=True)
    assert sha256((tmp_path / "batches.txt").read_bytes()).hexdigest() == digest


def test_the_chart_is_drawn_with_curve_limit_and_excursion(kitchen: Kitchen, tmp_path: Path) -> None:
    from PIL import Image

    (tmp_path / "report.pdf").write_bytes(kitchen.draft("pdf").content)
    command = [require("pdftoppm"), "-r", "60", "-png", "-f", "1", "-l", "1", "report.pdf", "page"]
    subprocess.run(command, cwd=tmp_path, check=True)
    with Image.open(next(tmp_path.glob("page*.png"))) as page:
        colours = page.convert("RGB").getcolors(1 << 20)
    assert colours is not None

    def pixels_like(wanted: tuple[int, int, int]) -> int:
        return sum(n for n, seen in colours if max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) < 12)

    assert pixels_like((250, 226, 222)) > 100, "the ground of the excursion"
    assert pixels_like((232, 236, 234)) > 100, "the ground of the gaps"
    assert pixels_like((11, 122, 92)) > 100, "the curve"


def test_without_a_chinese_font_the_pdf_is_english_and_loses_no_character(
    document: dict[str, Any], tmp_path: Path
) -> None:
    read = Document.model_validate(document)
    text = read_pdf(write_pdf(read, "zh-CN", None), tmp_path)
    assert "Temperature report" in text
    assert "no font with Chinese characters" in text
    assert "阳光小学".encode("ascii", "backslashreplace").decode() in text


def test_what_the_font_lacks_is_escaped_and_never_lost(document: dict[str, Any], tmp_path: Path) -> None:
    needs_font()
    read = Document.model_validate(document)
    content = read.content.model_copy(update={"site": "冷库\U0001f9ca\x07一号"})
    text = read_pdf(write_pdf(read.model_copy(update={"content": content}), "zh-CN", find_font()), tmp_path)
    assert "冷库\\U0001f9ca\\u0007一号" in text


def test_the_first_installed_font_is_taken_and_none_is_no_error(tmp_path: Path) -> None:
    absent = Font(regular=tmp_path / "a.ttf", bold=tmp_path / "a.ttf")
    present = Font(regular=tmp_path / "b.ttf", bold=tmp_path / "b.ttf")
    present.regular.touch()
    assert find_font([absent, present]) is present
    assert find_font([absent]) is None


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"start": "2025-12-01T00:00:00Z", "end": "2026-01-02T09:00:00Z"}, 422, "report_period"),
        ({"start": "2026-01-03T00:00:00Z", "end": "2026-01-02T00:00:00Z"}, 422, "report_period"),
        ({"start": "1960-01-03T00:00:00Z", "end": "1960-01-04T00:00:00Z"}, 422, "report_period"),
        ({"end": "9999-12-31T23:59:59Z"}, 422, "report_period"),
        ({"start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"}, 422, "report_no_data"),
        ({"sensor": "nothing"}, 404, "report_unknown"),
        ({"box": "box-nothing"}, 404, "report_unknown"),
        ({"sensor": ""}, 404, "report_unknown"),
        ({"start": "yesterday"}, 422, "invalid"),
        ({"start": "2026-01-02T03:00:00"}, 422, "invalid"),
    ],
)
def test_what_cannot_be_reported_is_refused_with_a_reason(
    kitchen: Kitchen, changes: dict[str, str], status: int, code: str
) -> None:
    answer = kitchen.draft("json", **changes)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_period_that_is_not_over_is_refused(kitchen: Kitchen) -> None:
    from datetime import UTC, datetime

    now = datetime.now(UTC)
    query = {"start": (now - timedelta(days=1)).isoformat(), "end": (now + timedelta(hours=1)).isoformat()}
    assert kitchen.draft("json", **query).json()["code"] == "report_future"
