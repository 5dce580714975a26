"""The font of the PDF: the chosen or the first installed one with Chinese characters; its subset is in every file.

Without one the PDF is set in Helvetica, in English, and every character that it lacks is written as its Unicode escape
(``\\u9633``): nothing is lost and the first page says so. CSV and JSON need no font.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationInfo, model_validator

from server.settings_file import FilePath


class Font(BaseModel):
    """Two font files and the number of the face in each, where a file is a collection."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    regular: FilePath
    bold: FilePath
    face: NonNegativeInt = 0

    @model_validator(mode="after")
    def _chosen(self, info: ValidationInfo) -> Font:
        """One out of a settings file is looked into; raises ValueError unless reports can be set in it."""
        if info.context is not None:
            _check_font(self)
        return self


def _check_font(font: Font) -> None:
    from fontTools.ttLib import TTFont, TTLibError

    for path in (font.regular, font.bold):
        try:
            with path.open("rb") as raw, TTFont(raw, fontNumber=font.face, lazy=True) as file:
                known = file.getBestCmap() or {}
        except (OSError, TTLibError) as error:
            raise ValueError(f"{path} is no TrueType or OpenType font, or lacks face {font.face}") from error
        if not {ord("温"), ord("A")} <= set(known):
            raise ValueError(f"{path} lacks Chinese or Latin characters; Noto Sans CJK has both")


def _noto(folder: str) -> Font:
    files = {name: Path(folder) / f"NotoSansCJK-{name.capitalize()}.ttc" for name in ("regular", "bold")}
    return Font(**files, face=2)  # the simplified characters


def _single(path: str) -> Font:
    return Font(regular=Path(path), bold=Path(path))


SIGNS = {"—": "-", "–": "-", "…": "...", "→": "->", "Δ": "d", "≤": "<=", "≥": ">="}
# where Debian, Fedora, Arch and Alpine put them
FONTS: tuple[Font, ...] = (
    _noto("/usr/share/fonts/opentype/noto"),
    _noto("/usr/share/fonts/google-noto-sans-cjk-fonts"),
    _noto("/usr/share/fonts/noto-cjk"),
    _noto("/usr/share/fonts/noto"),
    _single("/usr/share/fonts/truetype/wqy/wqy-zenhei.ttc"),
    _single("/usr/share/fonts/truetype/wqy/wqy-microhei.ttc"),
    _single("/usr/share/fonts/truetype/droid/DroidSansFallbackFull.ttf"),
)


def find_font(fonts: Sequence[Font] = FONTS) -> Font | None:
    """The first font that is installed, or None."""
    return next((font for font in fonts if font.regular.is_file() and font.bold.is_file()), None)


def escape(text: str) -> str:
    """*text* in Latin-1, what does not fit as Unicode escapes."""
    plain = text
    for sign, word in SIGNS.items():
        plain = plain.replace(sign, word)
    return "".join(
        sign if sign == "\n" or (sign.isprintable() and ord(sign) < 256) else code_of(sign) for sign in plain
    )


def code_of(sign: str) -> str:
    """A character's Unicode escape; white space becomes a blank."""
    if sign.isspace():
        return " "
    return f"\\U{ord(sign):08x}" if ord(sign) > 0xFFFF else f"\\u{ord(sign):04x}"
