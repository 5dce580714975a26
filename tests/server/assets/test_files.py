"""Files from outside: what is read comes back the same, what is wrong is told, and no file costs more than it may."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable
from contextlib import suppress
from datetime import date, datetime

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from server.assets import table_file
from server.assets.masking import MASKS, mask_identity, mask_name
from server.assets.rows import Rows, read_rows
from server.assets.sheets import SHEETS
from server.assets.table_file import FileRefused, escape, read_tables, restore
from server.assets.table_writing import TextTable, write_csv, write_xlsx

IDENTITY = "11010519491231002X"  # the example of GB 11643-1999
DAY = datetime.fromisoformat("2027-01-02")  # as a spreadsheet has it: without a zone
CERTIFICATES = "单位名称,类别,证号,持证人,身份证号,有效期至\n"


def rows_of(text: str, encoding: str = "utf-8") -> Rows:
    return read_rows(read_tables(text.encode(encoding)))


def said(found: Rows) -> set[tuple[int, str, str]]:
    return {(error.row, error.column, error.code) for error in found.errors}


def workbook(cells: list[list[object]], title: str = "certificates") -> bytes:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    sheet.title = title
    for row in cells:
        sheet.append(row)
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
def test_a_csv_file_is_read_in_each_encoding_that_spreadsheets_write(encoding: str) -> None:
    found = rows_of(f"{CERTIFICATES}一小,健康证明,J-1,王小明,{IDENTITY},2026年9月3日\n", encoding)
    assert not found.errors
    values = found.rows[0].values
    assert (values["kind"], values["holder"], values["expires_on"]) == ("health", "王小明", date(2026, 9, 3))


def test_an_identity_number_is_masked_before_it_goes_anywhere_and_its_mask_stays_the_same() -> None:
    once = rows_of(f"{CERTIFICATES}一小,health,J-1,王小明,{IDENTITY},2026-09-03\n").rows[0].values["identity"]
    again = rows_of(f"{CERTIFICATES}一小,health,J-1,王小明,{once},2026-09-03\n").rows[0].values["identity"]
    assert once == again == "1" + "*" * 16 + "X"


def test_every_wrong_cell_is_told_with_its_row_and_column() -> None:
    text = (
        f"{CERTIFICATES}"
        "一小,健康证,J-1,王小明,,2026-09-03\n"
        ",健康证明,J-2,王小明,,2026-02-30\n"
        "\n"
        "一小,健康证明,J-3,王**,11010519491231002,\n"
        "一小,健康证明,J-4,李四,,2026-09-03,多余\n"
        "一小,健康证明,J-5,李四,,2026-09-03\n"
        "一小,健康证明,J-5,李四,,2027-09-03\n"
    )
    assert said(rows_of(text)) == {
        (2, "kind", "choice"), (3, "site", "missing"), (3, "expires_on", "date"), (5, "holder", "masked"),
        (5, "identity", "identity"), (5, "expires_on", "missing"), (6, "", "too_many_cells"), (8, "number", "twice"),
    }  # fmt: skip


def test_an_error_says_what_is_wrong_and_what_to_do_in_both_languages() -> None:
    error = rows_of(f"{CERTIFICATES}一小,健康证,J-1,王小明,,2026-09-03\n").errors[0]
    assert "食品经营许可证, 健康证明" in error.say("zh-CN")["remedy"]
    assert error.say("en")["remedy"] == "Give one of: Food business licence, Health certificate."
    assert error.say("zh-CN")["column"] == "类别"


def test_headings_that_are_unknown_missing_or_there_twice_are_told() -> None:
    assert said(
        rows_of(
            "单位名称,名称,名称,颜色,类别\n",
        )
    ) == {(1, "名称", "column_twice"), (1, "颜色", "column_unknown")}
    assert said(read_rows(read_tables(workbook([["site", "kind"], ["一小", "health"]])))) == {
        (1, "number", "column_missing"), (1, "holder", "column_missing"), (1, "expires_on", "column_missing"),
    }  # fmt: skip


def test_a_workbook_gives_days_and_numbers_as_text_and_refuses_what_is_computed_or_rounded() -> None:
    headings = ["site", "kind", "number", "holder", "expires_on", "identity"]
    found = read_rows(
        read_tables(
            workbook(
                [
                    headings,
                    ["一小", "licence", 33010001, "一小", DAY, None],
                    ["一小", "licence", '=HYPERLINK("x")', "一小", "2027-01-02", 110105194912310020],
                ]
            )
        )
    )
    assert (found.rows[0].values["number"], found.rows[0].values["expires_on"]) == ("33010001", date(2027, 1, 2))
    assert said(found) == {(3, "number", "formula"), (3, "identity", "rounded")}


@given(st.text(max_size=20))
def test_no_text_is_a_formula_once_it_is_escaped_and_every_text_comes_back(text: str) -> None:
    assert restore(escape(text)) == text
    assert not escape(text).startswith(table_file.FORMULA)


@pytest.mark.parametrize("write", [write_csv, lambda table: write_xlsx([table])])
def test_what_would_be_computed_is_written_as_text_and_read_back(write: Callable[[TextTable], bytes]) -> None:
    texts = ["=1+1", "+86 571", "-1", "@SUM(A1)", "'=1", "plain", ""]
    data = write(TextTable("cold_rooms", ["名称"], [[text] for text in texts]))
    table = read_tables(data)[0]
    assert [row[1][0].text for row in table.rows] == texts[:-1]
    if data.startswith(b"PK"):
        sheet = openpyxl.load_workbook(io.BytesIO(data)).worksheets[0]
        assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value} == {"s"}
    else:
        cells = [row[0] for row in csv.reader(io.StringIO(data.decode("utf-8-sig"))) if row]
        assert not [cell for cell in cells if cell.startswith(table_file.FORMULA)]


def refusal(data: bytes) -> str:
    with pytest.raises(FileRefused) as error:
        read_tables(data)
    return error.value.code


def test_files_that_are_too_large_or_no_tables_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert refusal(b"a" * (table_file.FILE_BYTES_MAX + 1)) == "file_size"
    assert refusal(b" \n") == "file_empty"
    assert refusal(b"\xff\xfe\x00a") == "file_encoding"
    assert refusal(b'site,name\n"a,b\n') == "file_csv"
    assert refusal(b"," * 40) == "file_columns"
    assert refusal(b"PK\x03\x04 no zip") == "file_xlsx"
    monkeypatch.setattr(table_file, "ROWS_MAX", 3)
    assert refusal(b"site,name\n" + b"a,b\n" * 4) == "file_rows"
    assert len(read_tables(b"site,name\n" + b"a,b\n" * 3)[0].rows) == 3


def test_a_zip_bomb_is_refused_by_its_directory_and_a_package_that_lies_is_no_workbook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_file, "UNPACKED_BYTES_MAX", 100_000)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("xl/workbook.xml", b"0" * 100_001)
    assert len(out.getvalue()) < 1_000
    assert refusal(out.getvalue()) == "file_unpacked"
    lying = out.getvalue().replace((100_001).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    assert refusal(lying) == "file_xlsx"
    many = io.BytesIO()
    with zipfile.ZipFile(many, "w") as package:
        for number in range(table_file.PARTS_MAX + 1):
            package.writestr(str(number), b"")
    assert refusal(many.getvalue()) == "file_unpacked"


def test_a_sheet_that_claims_a_million_rows_is_read_to_its_last_real_one() -> None:
    data = workbook([["site", "name"], ["一小", "一号库"]], "cold_rooms")
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for part in old.infolist():
            text = old.read(part)
            if part.filename.startswith("xl/worksheets/"):
                text = text.replace(b"A1:B2", b"A1:XFD1048576")
                text = text.replace(
                    b"</sheetData>", b'<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData>'
                )
            new.writestr(part, text)
    assert len(read_tables(out.getvalue())[0].rows) == 1


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing(noise: bytes, package: bool) -> None:
    with suppress(FileRefused):
        for error in read_rows(read_tables(b"PK\x03\x04" + noise if package else noise)).errors:
            assert error.say("en")["remedy"]


@pytest.mark.parametrize("name", MASKS)
@given(text=st.text(max_size=20))
def test_a_mask_hides_the_middle_and_a_mask_of_a_mask_is_the_same_length(name: str, text: str) -> None:
    masked = MASKS[name](text)  # type: ignore[index]
    assert bool(masked) == bool(text)
    assert len(text) < 2 or "*" in masked


def test_masks_show_neither_birthday_nor_length() -> None:
    assert mask_name("欧阳娜娜小明") == "欧***"
    assert "1949" not in mask_identity(IDENTITY)


def test_every_choice_and_heading_is_told_apart_in_each_language() -> None:
    for sheet in SHEETS.values():
        titles = [title for column in sheet.all_columns for title in sheet.titles(column)]
        assert len(titles) == len(set(titles)), sheet.name
