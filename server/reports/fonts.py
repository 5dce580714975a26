"""The font of the PDF: the first installed one with Chinese characters; a subset of it is embedded in every file.

Without one the PDF is set in Helvetica, in English, and every character that it lacks is written as its Unicode escape
(``\\u9633``): nothing is lost and the first page says so. CSV and JSON need no font.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Font:
    """Two font files and the number of the face in each, where a file is a collection."""

    regular: Path
    bold: Path
    face: int = 0


def _noto(folder: str) -> Font:
    return Font(Path(folder) / "NotoSansCJK-Regular.ttc", Path(folder) / "NotoSansCJK-Bold.ttc", 2)  # 2: SC


def _single(path: str) -> Font:
    return Font(Path(path), Path(path))


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
