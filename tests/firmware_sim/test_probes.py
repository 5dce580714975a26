"""The probe pair: registers as README.md lists them, a scripted day, a device that is there when it is announced."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from firmware_sim.modbus_slave import crc16
from firmware_sim.probes import DEVICE_ID, ProbePair, pseudo_terminal, serve

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 20


class ScriptedClock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def celsius(pair: ProbePair, unit: int) -> float:
    answer = pair.slave(unit).answer(4, 0, 1)
    return int.from_bytes(answer[2:], "big", signed=True) / 10


def test_demo_opens_the_door_after_20_s_and_ends_the_trouble_after_75_s() -> None:
    clock = ScriptedClock()
    pair = ProbePair("demo", clock=clock)
    seen = {}
    for at_s in (0, 19, 21, 74, 76, 400):
        clock.now_s = 1000.0 + at_s
        pair.advance()
        seen[at_s] = (pair.room.door_open, pair.room.compressor_failed, celsius(pair, 1))
    assert [state[:2] for state in seen.values()] == [(False, False)] * 2 + [(True, True)] * 2 + [(False, False)] * 2
    assert seen[19][2] < 5
    assert seen[74][2] > 8, "the demo's excursion"
    assert seen[400][2] < 8


def test_room_is_as_warm_when_it_is_read_rarely() -> None:
    def air_c(times_s: list[int]) -> float:
        clock = ScriptedClock()
        pair = ProbePair("demo", clock=clock)
        for at_s in times_s:
            clock.now_s = 1000.0 + at_s
            pair.advance()
        return pair.room.air_c

    assert air_c([74]) == pytest.approx(air_c(list(range(75))), abs=0.5)
    assert air_c([90]) == pytest.approx(air_c(list(range(91))), abs=0.5)


def test_same_seed_and_times_give_the_same_registers() -> None:
    def trace(seed: int) -> list[float]:
        clock = ScriptedClock()
        pair = ProbePair("demo", seed=seed, clock=clock)
        values = []
        for _ in range(60):
            clock.now_s += 1
            values += [celsius(pair, 1), celsius(pair, 2)]
        return values

    assert trace(1) == trace(1)
    assert trace(1) != trace(2)


def test_registers_tell_door_compressor_identity_and_reads() -> None:
    clock = ScriptedClock()
    pair = ProbePair("demo", clock=clock)
    for unit in (1, 2):
        slave = pair.slave(unit)
        celsius(pair, unit)
        identity, reads = slave.answer(3, 0, 2)[2:4], slave.answer(3, 0, 2)[4:6]
        assert (int.from_bytes(identity, "big"), int.from_bytes(reads, "big")) == (DEVICE_ID + unit, 1)
        assert slave.answer(2, 0, 2) == bytes([2, 1, 0b10]), "door shut, compressor well"
        assert slave.answer(4, 1, 1) == bytes([4, 2]) + (720).to_bytes(2, "big")
    clock.now_s += 30
    pair.advance()
    assert pair.slave(1).answer(2, 0, 2) == bytes([2, 1, 0b01])
    assert pair.slave(1).answer(4, 1, 1) == bytes([4, 2]) + (850).to_bytes(2, "big")


def test_readme_lists_every_register() -> None:
    text = (ROOT / "firmware_sim/README.md").read_text("utf-8")
    listed = set(re.findall(r"^\| (input|discrete|holding) \| (\d+) \|", text, re.MULTILINE))
    slave = ProbePair("steady").slave(1)
    tables = {"input": slave.input_registers, "discrete": slave.discrete_inputs, "holding": slave.holding_registers}
    assert listed == {(name, str(address)) for name, table in tables.items() for address in table}


def ask(device: Path, request: bytes) -> bytes:
    """One request on a serial device; the answer, or nothing when none comes."""
    handle = os.open(device, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(handle, request + crc16(request))
        answer = b""
        while len(answer) < 7 and select.select([handle], [], [], DEADLINE_S)[0]:
            answer += os.read(handle, 256)
        return answer
    finally:
        os.close(handle)


def test_probes_answer_on_a_pseudo_terminal_and_leave_nothing_behind(tmp_path: Path) -> None:
    link, stop, ready = tmp_path / "deep/ttyProbes", threading.Event(), threading.Event()
    thread = threading.Thread(target=serve, args=(link, ProbePair("steady"), stop, ready.set))
    thread.start()
    try:
        assert ready.wait(DEADLINE_S)
        answer = ask(link, bytes([2, 4, 0, 0, 0, 1]))
        assert answer[:3] == bytes([2, 4, 2])
        assert 0 < int.from_bytes(answer[3:5], "big") < 60
        assert crc16(answer[:-2]) == answer[-2:]
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not link.is_symlink()


def test_stale_link_is_replaced_but_a_file_never(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    link.symlink_to("/dev/pts/gone")
    with pseudo_terminal(link):
        assert link.resolve().exists()
    link.write_text("mine")
    with pytest.raises(FileExistsError), pseudo_terminal(link):
        pass
    assert link.read_text() == "mine"


def test_console_announces_the_device_once_it_is_there_and_stops_on_sigterm(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    process = subprocess.Popen(
        [sys.executable, "-m", "firmware_sim.cli", "probes", "--link", str(link), "--scenario", "steady"],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["source"] == str(link)
        assert ask(link, bytes([1, 4, 0, 0, 0, 1]))[:3] == bytes([1, 4, 2])
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=DEADLINE_S)
        assert (process.returncode, json.loads(rest)) == (0, {"reads": {"1": 1, "2": 0}})
    finally:
        process.kill()
        process.communicate()
