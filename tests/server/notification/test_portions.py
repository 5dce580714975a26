"""What becomes one message, and how a storm is summed up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from server.notification.portions import Portion, Wish, cut
from server.notification.rules import Cap

NOW = datetime(2026, 3, 2, 4, 0, tzinfo=UTC)
CAP = Cap(at_once=3, messages=4, window_s=3600, urgent_every_s=300)


def wishes(*threads: str, tier: int = 2, digest: bool = False, first: int = 0) -> list[Wish]:
    return [Wish(first + number, thread, tier, digest) for number, thread in enumerate(threads)]


def ago(*minutes: float) -> list[datetime]:
    return [NOW - timedelta(minutes=count) for count in minutes]


def kinds(portions: list[Portion]) -> list[str]:
    return [portion.kind for portion in portions]


def test_changes_of_one_fault_are_one_message() -> None:
    portions, again = cut(wishes("a", "b", "a"), [], NOW, CAP)
    assert again is None
    assert [[wish.id for wish in portion.wishes] for portion in portions] == [[0, 2], [1]]


def test_more_faults_at_once_than_the_cap_are_one_summary() -> None:
    assert kinds(cut(wishes("a", "b", "c"), [], NOW, CAP)[0]) == ["notice"] * 3
    assert kinds(cut(wishes("a", "b", "c", "d"), [], NOW, CAP)[0]) == ["summary"]


def test_digest_is_one_message_beside_what_is_told_now() -> None:
    both = wishes("a", "b", digest=True) + wishes("c", first=2)
    assert kinds(cut(both, [], NOW, CAP)[0]) == ["digest", "notice"]


def test_last_message_of_the_hour_sums_up_and_then_nothing_is_sent_until_one_is_old() -> None:
    assert kinds(cut(wishes("a", "b"), ago(50, 40, 30), NOW, CAP)[0]) == ["summary"]
    assert cut(wishes("a"), ago(50, 40, 30, 20), NOW, CAP) == ([], NOW + timedelta(minutes=10))
    assert kinds(cut(wishes("a"), ago(60, 40, 30, 20), NOW, CAP)[0]) == ["notice"]


def test_tier_one_gets_through_the_cap_as_a_summary_every_five_minutes() -> None:
    full = ago(50, 40, 30, 20)
    assert kinds(cut(wishes("a", tier=1) + wishes("b", first=1), full, NOW, CAP)[0]) == ["summary"]
    assert cut(wishes("a", tier=1), [*full, *ago(2)], NOW, CAP) == ([], NOW + timedelta(minutes=3))


@given(
    st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from([1, 2, 3]), st.booleans()), max_size=12),
    st.lists(st.integers(0, 7200), max_size=12),
)
def test_every_wish_is_told_once_or_all_wait(items: list[tuple[str, int, bool]], ages_s: list[int]) -> None:
    waiting = [Wish(number, *item) for number, item in enumerate(items)]
    sent = [NOW - timedelta(seconds=age_s) for age_s in ages_s]
    portions, again = cut(waiting, sent, NOW, CAP)
    told = sorted(wish.id for portion in portions for wish in portion.wishes)
    assert told == ([] if again else list(range(len(waiting))))
    assert again is None or again > NOW
    assert len(portions) <= CAP.at_once + 1
