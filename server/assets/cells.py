"""What may stand in one cell of a table of assets, read from text and written as text. Pure.

`read` of what `write` gave is the same value. Choices are read by their code and by their name in each language.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import date
from typing import Literal

from server.assets.masking import STAR, Secrecy, mask_identity
from server.i18n import LANGUAGES, translate

Kind = Literal["text", "date", "choice", "identity", "phone", "names", "zone"]
Value = str | date | None
ZONE_NAMES_MAX, ZONE_NAME_CHARACTERS_MAX = 10, 40
_DATE = re.compile(r"(\d{4})\s*[-/.年]\s*(\d{1,2})\s*[-/.月]\s*(\d{1,2})\s*日?(?:[ T]00:00(?::00)?)?")
_PHONE = re.compile(r"\+?[0-9][0-9 \-]{4,29}")
_IDENTITY_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
_IDENTITY_CHECKS = "10X98765432"


class CellRefused(Exception):
    """``code`` names what is wrong and what to do: texts ``asset_wrong_CODE`` and ``asset_remedy_CODE``."""

    def __init__(self, code: str, **args: str | int) -> None:
        super().__init__(code)
        self.code = code
        self.args_ = args


@dataclass(frozen=True)
class Column:
    """One column: ``masked`` says how it is masked for those who may not see it."""

    name: str
    kind: Kind = "text"
    required: bool = False
    characters_max: int = 80
    choices: tuple[str, ...] = ()
    masked: Secrecy | None = None

    def read(self, text: str) -> Value:
        """The value of a cell; an empty one is ``""``, or None of a date. Raises CellRefused."""
        text = unicodedata.normalize("NFC", text).strip()
        if not text:
            if self.required:
                raise CellRefused("missing")
            return None if self.kind == "date" else ""
        if any(unicodedata.category(character) in ("Cc", "Cs") for character in text):
            raise CellRefused("control")
        if len(text) > self.characters_max:
            raise CellRefused("too_long", max=self.characters_max)
        return self._read(text)

    def _read(self, text: str) -> Value:
        if self.kind == "date":
            return _read_date(text)
        if self.kind == "choice":
            return self._read_choice(text)
        if self.kind == "identity":
            return _read_identity(text)
        if self.masked and STAR in text:
            raise CellRefused("masked")
        if self.kind == "phone" and not _PHONE.fullmatch(text):
            raise CellRefused("phone")
        if self.kind == "names":
            return _read_names(text)
        return text

    def _read_choice(self, text: str) -> str:
        for code in self.choices:
            names = {code, *(translate(language, self.label(code)) for language in LANGUAGES)}
            if text.casefold() in {name.casefold() for name in names}:
                return code
        raise CellRefused("choice")

    def label(self, code: str) -> str:
        """The key of a choice's name."""
        return f"asset_{self.name}_{code}"

    def write(self, value: Value, language: str) -> str:
        """The text of a value, a choice in *language*."""
        if value is None or value == "":
            return ""
        if isinstance(value, date):
            return value.isoformat()
        return translate(language, self.label(value)) if self.kind == "choice" else value


def _read_date(text: str) -> date:
    found = _DATE.fullmatch(text)
    try:
        read = date(*(int(part) for part in found.groups())) if found else None
    except ValueError:
        read = None
    if read is None or not 1950 <= read.year <= 2150:
        raise CellRefused("date")
    return read


def _read_identity(text: str) -> str:
    """The mask of a resident identity number (GB 11643-1999, with its check digit), or of one that is masked already.

    The number itself goes no further than this function.
    """
    text = text.upper()
    if STAR in text:
        if not re.fullmatch(r"[0-9]\*{16}[0-9X]", text):
            raise CellRefused("identity")
        return text
    if not re.fullmatch(r"[0-9]{17}[0-9X]", text):
        raise CellRefused("identity")
    total = sum(int(digit) * weight for digit, weight in zip(text, _IDENTITY_WEIGHTS, strict=False))
    if _IDENTITY_CHECKS[total % 11] != text[-1]:
        raise CellRefused("identity")
    return mask_identity(text)


def _read_names(text: str) -> str:
    """Names between semicolons, in order, each once."""
    names = list(dict.fromkeys(name.strip() for name in re.split(r"[;；]", text) if name.strip()))
    if len(names) > ZONE_NAMES_MAX or any(len(name) > ZONE_NAME_CHARACTERS_MAX for name in names):
        raise CellRefused("names", max=ZONE_NAMES_MAX, characters=ZONE_NAME_CHARACTERS_MAX)
    return "; ".join(names)
