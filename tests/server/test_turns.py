"""Turns of those who write: by haste, then by arrival, and never two at once."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from server.turns import TOGETHER_BYTES_MAX, Errand, Haste, Turns
from tests.waiting import wait_for


def run_one_after_another(turns: Turns, threads: Sequence[threading.Thread]) -> None:
    """Start all in this order while nobody gets a turn, then let them go, and wait for their end."""
    with turns.taken():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for("the thread waits", lambda number=number: turns.waiting == number)  # type: ignore[misc]
    for thread in threads:
        thread.join()


def test_events_come_before_live_readings_and_those_before_history_each_in_order_of_arrival() -> None:
    turns, order = Turns(), list[str]()

    def write(name: str, haste: Haste) -> None:
        with turns.taken(haste):
            order.append(name)

    arrivals = [
        ("old 1", Haste.HISTORICAL), ("old 2", Haste.HISTORICAL), ("live 1", Haste.USUAL), ("event 1", Haste.EVENTS),
        ("live 2", Haste.USUAL), ("event 2", Haste.EVENTS),
    ]  # fmt: skip
    threads = [threading.Thread(target=write, args=arrival) for arrival in arrivals]
    run_one_after_another(turns, threads)
    assert order == ["event 1", "event 2", "live 1", "live 2", "old 1", "old 2"]


def test_a_turn_ends_with_its_block_also_when_it_fails() -> None:
    turns = Turns()
    with pytest.raises(RuntimeError, match="disk"), turns.taken():
        raise RuntimeError("disk")
    with turns.taken():
        assert turns.waiting == 0


def test_no_two_threads_ever_write_at_once() -> None:
    turns, inside, most = Turns(), list[int](), list[int]()

    def write(haste: Haste) -> None:
        for number in range(200):
            with turns.taken(haste):
                inside.append(number)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=write, args=(haste,)) for haste in (*Haste, *Haste)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 200 * len(threads)
    assert set(most) == {1}


def test_a_turn_takes_along_small_errands_of_its_haste_and_nobody_is_overtaken() -> None:
    turns, order = Turns(), list[str]()

    def write(name: str, haste: Haste, size_bytes: int) -> None:
        errand = Errand(lambda _: None, size_bytes)
        names[errand] = name
        with turns.shared(errand, haste) as errands:
            if errands:
                order.append(" ".join(names[one] for one in errands))

    def write_alone() -> None:
        with turns.taken():
            order.append("person")

    names: dict[Errand[None], str] = {}
    small, large = 10, TOGETHER_BYTES_MAX
    threads = [threading.Thread(target=write, args=arrival) for arrival in [
        ("1", Haste.USUAL, small), ("2", Haste.USUAL, small), ("3", Haste.USUAL, large), ("4", Haste.USUAL, small),
        ("event", Haste.EVENTS, small),
    ]]  # fmt: skip
    threads += [threading.Thread(target=write_alone), threading.Thread(target=write, args=("5", Haste.USUAL, small))]
    run_one_after_another(turns, threads)
    assert order == ["event", "1 2", "3", "4", "person", "5"]
