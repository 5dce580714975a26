"""Turns of those who write: by haste, then by arrival, and never two at once."""

from __future__ import annotations

import threading

import pytest

from server.turns import Haste, Turns
from tests.waiting import wait_for


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
    with turns.taken():
        for number, thread in enumerate(threads, 1):
            thread.start()
            wait_for("the thread waits", lambda number=number: turns.waiting == number)  # type: ignore[misc]
    for thread in threads:
        thread.join()
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
