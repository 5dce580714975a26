"""What a box says of a command that it did not do, in the reader's language."""

from __future__ import annotations

import pytest

from server.boxes.wording import reason_text

KEPT = "2026-01-02 03:04:05 to 2026-01-03 03:04:05 UTC"


@pytest.mark.parametrize(("language", "said"), [("zh-CN", "该时刻没有录像"), ("en", "that moment was not recorded")])
def test_what_is_recorded_instead_of_the_asked_moment_stays_in_the_words(language: str, said: str) -> None:
    text = reason_text(f"not recorded, kept is: {KEPT}", language)
    assert text.startswith(said)
    assert text.endswith(f"({KEPT})")


def test_a_reason_that_is_not_known_stays_as_the_box_said_it() -> None:
    assert reason_text("the moon is full", "zh-CN") == "the moon is full"
    assert reason_text(None, "en") == ""
    assert reason_text("that film has more than 12 bytes: ask for fewer seconds", "zh-CN") == "片段太大，请缩短前后秒数"
