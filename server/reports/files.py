"""All files of one edition. One at a time is made: a PDF costs a second of CPU and some tens of MB."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

from server.i18n import LANGUAGES
from server.reports.csv_file import write_csv
from server.reports.document import Document, canonical
from server.reports.fonts import Font

Format = Literal["pdf", "csv", "json"]
MEDIA_TYPES: dict[str, str] = {
    "pdf": "application/pdf",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
WAIT_S = 60.0
_one = threading.Lock()


class Busy(Exception):
    """Other reports are being made, and have been for a minute."""


def make_file(document: Document, format_: Format, language: str, font: Font | None) -> bytes:
    """The bytes of one file, a PDF set in *font*; raises Busy."""
    if format_ == "json":
        return canonical(document)
    if format_ == "csv":
        return write_csv(document)
    from server.reports.pdf_file import write_pdf

    return one_pdf(lambda: write_pdf(document, language, font))


def one_pdf(draw: Callable[[], bytes]) -> bytes:
    """Draw a PDF while nobody else does; raises Busy."""
    if not _one.acquire(timeout=WAIT_S):
        raise Busy
    try:
        return draw()
    finally:
        _one.release()


def make_files(document: Document, font: Font | None) -> dict[tuple[str, str], bytes]:
    """(format, language) → bytes: the PDF in both languages, CSV and JSON, which have none; raises Busy."""
    files = {(format_, ""): make_file(document, format_, "", font) for format_ in ("json", "csv")}
    return {**files, **{("pdf", language): make_file(document, "pdf", language, font) for language in LANGUAGES}}


def file_name(document: Document, format_: str, language: str) -> str:
    """A name for the downloaded file, plain ASCII."""
    tail = f"-{language}" if format_ == "pdf" else ""
    return f"brightline-{document.content.kind}-{document.number}-{document.edition}{tail}.{format_}"
