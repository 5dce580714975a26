"""Lines of Chinese and English: no word is torn, no closing mark begins a line, nothing is lost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.reports.folding import CLOSING, OPENING, fold_line, pieces


def measure(text: str) -> float:
    """Chinese characters are as wide as two letters."""
    return sum(2.0 if character > "\u2e80" else 1.0 for character in text)


def test_words_stay_whole_and_chinese_breaks_between_characters() -> None:
    assert fold_line("door open 送货时门开了", 12, measure) == ["door open 送", "货时门开了"]


def test_a_closing_mark_stays_with_what_it_closes() -> None:
    assert fold_line("冷藏库，检查", 6, measure) == ["冷藏", "库，检", "查"]


def test_a_word_wider_than_the_line_is_cut() -> None:
    assert fold_line("abcdefgh", 3, measure) == ["abc", "def", "gh"]


def test_an_empty_text_is_one_empty_line() -> None:
    assert fold_line("", 10, measure) == [""]


@given(st.text(alphabet="ab 冷藏库，。（）x1", max_size=60), st.integers(8, 30))
def test_nothing_is_lost_and_no_line_is_too_wide(text: str, width: int) -> None:
    lines = fold_line(text, width, measure)
    assert "".join("".join(lines).split()) == "".join(text.split())
    assert all(measure(line) <= width for line in lines)


@given(st.text(alphabet="ab 冷藏库，。（）x1", max_size=60))
def test_pieces_joined_are_the_text_and_none_begins_with_a_closing_mark(text: str) -> None:
    found = pieces(text)
    assert "".join(found) == text
    assert not any(piece[0] in CLOSING for piece in found[1:])
    assert not any(piece[-1] in OPENING for piece in found[:-1])
