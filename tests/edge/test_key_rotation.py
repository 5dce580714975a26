"""The box changes its key against a real centre in this process, cut at every step and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest
import yaml

from edge import key_rotation
from edge.config import EdgeConfig, load
from edge.enrolment import key_file, load_identity
from edge.key_rotation import KeyService, RotationError, next_file, rotate_key
from telemetry.signing import KeyHistory, PublicKey, Signer, replaced_file
from tests.server.centre import Box, Centre
from tests.server.tenancy.district import District, settled
from tests.warm import WarmProcess, run_warm

WAIT_S = 30.0


class Killed(BaseException):
    """Stands for the end of the process: nothing may catch it."""


class Door:
    """A port before the centre. ``hold``: the answer is made and not given."""

    def __init__(self, district: District) -> None:
        self.answered = threading.Event()
        self.hold = False
        self.released = threading.Event()
        door = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                answer = district.client_.post(self.path, content=body, headers={"content-type": "application/json"})
                door.answered.set()
                if door.hold:
                    door.released.wait(WAIT_S)
                    return
                self.send_response(answer.status_code)
                self.send_header("content-length", str(len(answer.content)))
                self.end_headers()
                self.wfile.write(answer.content)

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"


@pytest.fixture(scope="module")
def district(tmp_path_factory: pytest.TempPathFactory) -> Iterator[District]:
    with settled(tmp_path_factory.mktemp("centre"), lambda *_: b"", places=()) as found:
        yield found


@pytest.fixture
def door(district: District) -> Iterator[Door]:
    made = Door(district)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.02,))
    thread.start()
    yield made
    made.released.set()
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def box(district: District) -> Box:
    """One that has spoken: the centre knows the epoch of its outbox."""
    made = Box(cast(Centre, district), "A")
    made.send_event()
    return made


@pytest.fixture
def file(box: Box, door: Door, tmp_path: Path) -> Path:
    """The configuration of the enrolled box."""
    folder = tmp_path / "box"
    folder.mkdir(mode=0o700)
    box.signer.save(key_file(folder))
    identity = {"box_id": box.box_id, "site": "A", "time_zone": "Asia/Shanghai"}
    (folder / "identity.json").write_text(json.dumps(identity), "utf-8")
    path = tmp_path / "box.yaml"
    path.write_text(yaml.safe_dump({"box": {"name": "b", "data_dir": "box"}, "server": {"url": door.url}}), "utf-8")
    return path


def speaks(box: Box, config: EdgeConfig) -> PublicKey:
    """The centre takes what the box signs with the key that it has; gives its public half."""
    _, box.signer = load_identity(config)
    box.send_event()
    return box.signer.public_key


def test_new_key_stands_in_place_of_the_old_one_which_still_proves(box: Box, file: Path, door: Door) -> None:
    config, old = load(file), box.signer
    waiting = box.seal("events", [box.event()])
    made = rotate_key(config)
    assert box.send(waiting).status_code == 200
    assert speaks(box, config).raw == made.raw != old.public_key.raw
    assert isinstance(box.signer.public_key, KeyHistory)
    assert box.signer.public_key.verify(old.sign(b"x"), b"x")
    assert not next_file(config.box.data_dir).exists()
    assert oct(key_file(config.box.data_dir).stat().st_mode)[-3:] == "600"
    rotate_key(config)
    assert replaced_file(key_file(config.box.data_dir)).read_text().split() == [made.b64, old.public_key_b64]
    speaks(box, config)


@pytest.mark.parametrize("step", ["_next_key", "_tell_centre", "_take_over", "write_whole", "sync_folder"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_box_that_dies_at_any_step_speaks_and_goes_on_with_the_same_key(
    step: str, when: str, box: Box, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = load(file)
    done: Callable[..., object] = getattr(key_rotation, step)

    def die(*args: object) -> object:
        if when == "after":
            done(*args)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(key_rotation, step, die)
        with pytest.raises(Killed):
            rotate_key(config)
    speaks(box, config)
    pending = next_file(config.box.data_dir)
    wanted = Signer.load(pending).public_key.raw if pending.exists() else None
    made = rotate_key(config)
    assert wanted in (None, made.raw)
    assert speaks(box, config).raw == made.raw


def test_sigkill_between_the_centres_commit_and_its_answer_leaves_a_box_that_ends_its_change(
    box: Box, file: Path, door: Door
) -> None:
    config = load(file)
    door.hold = True
    process = WarmProcess("edge.cli", "rotate-key", str(file))
    try:
        assert door.answered.wait(WAIT_S)
    finally:
        process.kill()
        process.wait()
    door.hold = False
    wanted = Signer.load(next_file(config.box.data_dir)).public_key.raw
    assert speaks(box, config).raw != wanted
    done = run_warm("edge.cli", "rotate-key", str(file))
    assert (done.returncode, "the box has a new key" in done.stdout) == (0, True), done.stderr
    assert speaks(box, config).raw == wanted


def test_half_a_key_that_a_killed_process_left_is_in_nobodys_way(box: Box, file: Path) -> None:
    config, old = load(file), box.signer
    pending = next_file(config.box.data_dir)
    pending.with_name(f"{pending.name}.{os.getpid()}.part").touch(0o600)  # in a container the next one has its number
    rotate_key(config)
    assert speaks(box, config).raw != old.public_key.raw


def test_centre_that_refuses_or_is_away_leaves_the_key(box: Box, file: Path, door: Door) -> None:
    config, old = load(file), box.signer
    away = config.model_copy(update={"server": config.server.model_copy(update={"url": "http://127.0.0.1:9"})})
    with pytest.raises(RotationError, match="cannot be reached"):
        rotate_key(away)
    identity = config.box.data_dir / "identity.json"
    identity.write_text(identity.read_text().replace(box.box_id, "box-nobody"), "utf-8")
    with pytest.raises(RotationError, match="refused the new key: HTTP 401"):
        rotate_key(config)
    assert Signer.load(key_file(config.box.data_dir)).public_key.raw == old.public_key.raw


@pytest.mark.parametrize("why", ["pending", "age", "command"])
def test_running_box_ends_a_change_replaces_an_old_key_and_starts_anew(
    why: str, box: Box, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, old = load(file), box.signer.public_key
    folder = config.box.data_dir
    uplink = config.uplink.model_copy(update={"key_max_age_days": 30})
    config = config.model_copy(update={"uplink": uplink})
    monkeypatch.setattr(key_rotation, "clock_synced", lambda: True)
    if why == "age":
        os.utime(key_file(folder), (0, 0))
    if why == "pending":
        Signer.generate().save(next_file(folder))

    async def scenario() -> None:
        restarted = asyncio.Event()
        service = asyncio.create_task(KeyService(config, old, restarted.set, look_s=0.01).run())
        if why == "command":
            await asyncio.to_thread(rotate_key, config)
        async with asyncio.timeout(WAIT_S):
            await restarted.wait()
        service.cancel()
        await asyncio.wait([service])

    asyncio.run(scenario())
    assert speaks(box, config).raw != old.raw


def test_box_that_runs_ends_a_change_that_was_cut_and_stops_in_order(box: Box, file: Path) -> None:
    config, old = load(file), box.signer.public_key
    Signer.generate().save(next_file(config.box.data_dir))
    process = WarmProcess("edge.cli", "run", str(file))
    try:
        assert process.wait(WAIT_S) == 0
    finally:
        process.kill()
        process.wait()
    assert speaks(box, config).raw != old.raw


def test_young_key_stays(box: Box, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = load(file)
    uplink = config.uplink.model_copy(update={"key_max_age_days": 30})
    looks = asyncio.Event()

    def look() -> bool:
        looks.set()
        return True

    monkeypatch.setattr(key_rotation, "clock_synced", look)

    async def scenario() -> None:
        young = config.model_copy(update={"uplink": uplink})
        service = asyncio.create_task(KeyService(young, box.signer.public_key, pytest.fail, look_s=0.01).run())
        async with asyncio.timeout(WAIT_S):
            await looks.wait()
        service.cancel()
        await asyncio.wait([service])

    asyncio.run(scenario())
    assert Signer.load(key_file(config.box.data_dir)).public_key.raw == box.signer.public_key.raw
