"""A table on paper. Imported when one is drawn: the libraries behind it cost a centre's start half a second."""

from __future__ import annotations

from datetime import UTC, datetime

from server.i18n import translate
from server.reports.fonts import Font
from server.reports.pdf_sheet import INK, Sheet
from server.statistics.files import name_of, reasons, shown
from server.statistics.tables import By, Overview

PDF_FIGURES = (
    "confirmed",
    "closed",
    "rectified",
    "rectified_on_time",
    "overdue",
    "median_h",
    "false_alarm_rate",
    "repeat_rate",
)
PDF_ROWS_MAX = 500
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


def write_pdf(overview: Overview, by: By, language: str, title: str, period: str, font: Font | None) -> bytes:
    """One table on paper; without a font with Chinese characters in English."""
    spoken = language if font else "en"
    sheet = Sheet(font, title, EPOCH, f"{title} · {period}", translate(spoken, "report_page"))
    sheet.add_page()
    sheet.heading(translate(spoken, "app"), title, period, translate(spoken, f"st_by_{by}"), INK)
    columns = [
        (translate(spoken, f"st_by_{by}"), 0.28),
        *((translate(spoken, f"st_{name}"), 0.09) for name in PDF_FIGURES),
    ]
    lines = [overview.total, *overview.tables[by][:PDF_ROWS_MAX]]
    names = [translate(spoken, "st_total"), *(f"{'  ' * line.depth}{name_of(line, by, spoken)}" for line in lines[1:])]
    cells = [
        (name, *(shown(line, figure_name) for figure_name in PDF_FIGURES))
        for name, line in zip(names, lines, strict=True)
    ]
    sheet.grid(columns, cells, 7)
    if by == "site":
        sheet.section(translate(spoken, "st_risk"))
        sheet.grid(
            [
                (translate(spoken, "st_by_site"), 0.3),
                (translate(spoken, "st_risk"), 0.1),
                (translate(spoken, "st_reasons"), 0.6),
            ],
            [(line.name, f"{line.risk.score:g}", reasons(line, spoken)) for line in lines[1:] if line.risk],
            7,
        )
    sheet.note(translate(spoken, "st_definitions"), 7)
    return bytes(sheet.output())
