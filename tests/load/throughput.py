"""Readings per second from the sensor's PUBLISH to the series store, and what ThingsBoard Gateway does with the same.

Both are measured the same way, one after the other: the publisher sends more than can be carried (its window is 2,000
unacknowledged messages), the consumer and what stands behind it share one core, broker and publisher have another.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from firmware_sim.numbered_publisher import NumberedPublisher
from firmware_sim.programs import Programs
from tests.chaos.chain import running_chain
from tests.chaos.oracle import judge
from tests.edge.drivers.mosquitto import mosquitto
from tests.load import thingsboard
from tests.load.processes import cores, cpu_s, memory_mb, pinned

SENSORS = 200
WINDOW = 2_000
PATIENCE_S = 240.0
POLL_S = 0.1
SAVE_EACH_CHANGE = "autosave_on_changes true"  # what the shipped settings do not do, and what that would cost
JOURNAL = "SELECT coalesce(sum(count), 0) FROM batch WHERE lane = 'readings'"


class Course:
    """How a count grew, from its first growth to its goal, with the CPU seconds of *pids* over that time."""

    def __init__(self, count: Callable[[], int], goal: int, pids: dict[str, int]) -> None:
        began_s = time.monotonic()
        while count() == 0 and time.monotonic() - began_s < PATIENCE_S:
            time.sleep(POLL_S)
        first, first_s = count(), time.monotonic()
        used = {name: cpu_s(pid) for name, pid in pids.items()}
        last, last_s = first, first_s
        while last < goal and time.monotonic() - last_s < 10.0:
            time.sleep(POLL_S)
            now = count()
            if now > last:
                last, last_s = now, time.monotonic()
        self.reached = last
        self.grown = last - first
        self.took_s = last_s - first_s
        self.cpu_s = {name: cpu_s(pid) - used[name] for name, pid in pids.items()}

    def report(self, consumers: tuple[str, ...]) -> dict[str, Any]:
        """Rates; ``per_core`` is readings a CPU second of all *consumers* together."""
        used_s = sum(self.cpu_s[name] for name in consumers)
        return {
            "readings": self.grown,
            "took_s": round(self.took_s, 2),
            "readings_per_s": round(self.grown / max(self.took_s, 1e-9)),
            "readings_per_s_per_core": round(self.grown / max(used_s, 1e-9)),
            "cpu_s": {name: round(value, 2) for name, value in self.cpu_s.items()},
        }


@contextmanager
def flood(port: int, readings: int, core: int, *, timed: bool) -> Iterator[NumberedPublisher]:
    """A publisher that sends *readings* numbers as fast as the broker takes them, in a thread of this process."""
    publisher = NumberedPublisher(port, sensors=SENSORS, timed=timed, window=WINDOW)
    given_up = threading.Event()
    with pinned([core]):
        thread = threading.Thread(target=publisher.run, args=(readings, given_up.is_set))
        thread.start()
    try:
        yield publisher
    finally:
        given_up.set()
        thread.join()


def move(pid: int, core: int) -> None:
    """Move a running program with all its threads to *core*."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        os.sched_setaffinity(int(task.name), {core})


def measure_ours(folder: Path, readings: int, *, broker_more: str = "") -> dict[str, Any]:
    """Box and centre on one core; every number is accounted for at the end."""
    work, other = cores()
    options = {"sensors": SENSORS, "timed": True, "broker_more": broker_more, "programs": Programs}
    with pinned([work]), running_chain(folder, **options) as chain:
        pids = {"box": chain.pid("box"), "centre": chain.pid("centre"), "broker": chain.pid("broker")}
        move(pids["broker"], other)
        with flood(chain.broker.port, readings, other, timed=True) as publisher:
            course = Course(lambda: int(str(chain.rows(JOURNAL)[0][0])), readings, pids)
            verdict = judge(publisher.acknowledged(), range(1, readings + 1), chain.stored_values(), SENSORS)
        return course.report(("box", "centre")) | {
            "lost": len(verdict.lost),
            "stored_twice": len(verdict.doubled),
            "rss_mb": {name: round(memory_mb(pids[name], "VmHWM"), 1) for name in ("box", "centre")},
        }


def measure_thingsboard(folder: Path, command: Path, readings: int, storage: str) -> dict[str, Any]:
    """ThingsBoard Gateway on the same core with the same broker settings and payloads; it stops at its platform."""
    work, other = cores()
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    (folder / "acl").write_text(thingsboard.ACL)
    more = f"acl_file {folder / 'acl'}"
    topic = "sensors/+/reading"
    with pinned([other]), mosquitto(folder / "broker", more) as broker, pinned([work]):
        with thingsboard.running_gateway(command, folder, broker.port, topic, storage) as (pid, platform):
            settle(pid)
            with flood(broker.port, readings, other, timed=True):
                course = Course(lambda: platform.values, readings, {"gateway": pid})
        return course.report(("gateway",)) | {"storage": storage, "not_delivered": readings - course.reached}


def settle(pid: int, quiet_share: float = 0.3, deadline_s: float = 30.0) -> None:
    """Wait until a program has started up: it uses less than *quiet_share* of a core over a second."""
    ends_s = time.monotonic() + deadline_s
    while time.monotonic() < ends_s:
        before = cpu_s(pid)
        time.sleep(1.0)
        if cpu_s(pid) - before < quiet_share:
            return
