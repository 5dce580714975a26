"""Where a line of mixed Chinese and English may break: between words, and between Chinese characters. Pure.

A closing mark stays with what it closes and an opening one with what it opens (the least of GB/T 15834's line rules).
"""

from __future__ import annotations

import re
from collections.abc import Callable

CLOSING = "，。、；：？！）》」』】〉”’,.;:?!)]}"
OPENING = "（《「『【〈“‘([{"
_PIECE = re.compile(r"[\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]|[^\s\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]+|\s+")


def pieces(text: str) -> list[str]:
    """*text* cut where a line may break; joined they are *text* again."""
    found: list[str] = []
    for piece in _PIECE.findall(text):
        if found and (piece[0] in CLOSING or found[-1][-1] in OPENING):
            found[-1] += piece
        else:
            found.append(piece)
    return found


def fold_line(text: str, width: float, measure: Callable[[str], float]) -> list[str]:
    """*text* in lines no wider than *width* by *measure*; a piece that is wider by itself is cut anywhere."""
    lines, line = [], ""
    for piece in pieces(text):
        if measure((line + piece).rstrip()) <= width:
            line += piece
            continue
        if line.strip():
            lines.append(line.rstrip())
        line = piece.lstrip()
        while measure(line.rstrip()) > width:
            cut = _fitting(line, width, measure)
            lines.append(line[:cut])
            line = line[cut:]
    return [*lines, line.rstrip()] if line.strip() or not lines else lines


def _fitting(text: str, width: float, measure: Callable[[str], float]) -> int:
    """How many characters fit, at least one."""
    count = 1
    while count < len(text) and measure(text[: count + 1]) <= width:
        count += 1
    return count
