"""Clips are the camera's own packets: same bytes, same pictures, within bounds of time and memory."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path

import av
import pytest

from firmware_sim.camera import Schedule, write_file
from tests.vision.test_pipeline import SETTINGS, head
from vision.detector import ScriptedDetector
from vision.happenings import ClipReady, ViolationOpened
from vision.packet_ring import Clip, PacketRing
from vision.pipeline import Watch
from vision.watch_settings import Watched
from vision.watchroom import watch_cameras

FPS = 10  # and a keyframe every second


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    write_file(Schedule("no_mask:9"), path, 6, fps=FPS, width=160, height=96)
    return path


def fill(ring: PacketRing, film: Path, begin: int = 0, start_s: float = 0.0) -> list[bytes]:
    """Put the film's packets from number *begin* on into *ring*, ten a second; gives their bytes."""
    data = []
    with av.open(str(film)) as container:
        video = container.streams.video[0]
        ring.begin(video)
        for index, packet in enumerate(container.demux(video)):
            if index >= begin:
                data.append(bytes(packet))
                ring.add(packet, start_s + index / FPS)
    return [item for item in data if item]


def opened(clip: Clip | None) -> tuple[list[bytes], int]:
    """Packets of a clip, and how many pictures can be decoded."""
    assert clip is not None
    return unpacked(clip.mp4)


def unpacked(clip: bytes) -> tuple[list[bytes], int]:
    with av.open(io.BytesIO(clip)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    with av.open(io.BytesIO(clip)) as container:
        return packets, sum(1 for _ in container.decode(video=0))


def test_a_clip_is_cut_from_the_keyframe_before_and_holds_the_camera_s_own_bytes(film: Path) -> None:
    ring = PacketRing()
    sent = fill(ring, film)
    packets, pictures = opened(ring.clip(2.35, 4.0))
    assert packets == sent[20:41]
    assert pictures == 21


def test_a_clip_of_more_than_there_is_has_what_there_is(film: Path) -> None:
    ring = PacketRing()
    sent = fill(ring, film)
    assert opened(ring.clip(-100, 100))[0] == sent


def test_nothing_in_the_ring_is_no_clip(film: Path) -> None:
    ring = PacketRing()
    assert ring.clip(0, 1) is None
    fill(ring, film)
    assert ring.clip(-5, -1) is None


def test_the_ring_keeps_its_seconds_in_whole_groups_of_pictures(film: Path) -> None:
    ring = PacketRing(seconds=2.5)
    sent = fill(ring, film)
    packets, pictures = opened(ring.clip(-100, 100))
    assert packets == sent[30:]  # the last is of 5.9 s; from 3.4 s on is needed, and so from the keyframe at 3.0 s
    assert pictures == 30


def test_the_ring_never_holds_more_than_its_bytes(film: Path) -> None:
    ring = PacketRing(bytes_max=8_000)
    fill(ring, film)
    assert 0 <= ring._size_bytes <= 8_000
    assert ring._size_bytes == sum(len(item.data) for item in ring._kept)
    assert not ring._kept or ring._kept[0].keyframe


def test_a_connection_that_begins_between_keyframes_waits_for_one(film: Path) -> None:
    ring = PacketRing()
    sent = fill(ring, film, begin=3)
    assert opened(ring.clip(-100, 100))[0] == sent[7:]


def test_a_new_connection_forgets_the_packets_of_the_old_clock(film: Path) -> None:
    ring = PacketRing()
    fill(ring, film)
    sent = fill(ring, film, start_s=50)
    assert opened(ring.clip(-100, 100))[0] == sent


def incident(film: Path) -> list[object]:
    quick = Watched("no_mask", changes={"dwell_s": 1.5})
    settings = replace(
        SETTINGS,
        source=str(film),
        loop=False,
        rate_fps=10,
        violations=(quick,),
        clip_before_s=1,
        clip_after_s=1,
    )
    watch = Watch(settings, [ScriptedDetector({0: "mask", 1: "no_mask"}, [head(1)])])
    return list(watch_cameras([watch], threading.Event()))


def test_an_incident_gets_its_film_a_little_later(film: Path) -> None:
    items = incident(film)
    (confirmed,) = [item for item in items if isinstance(item, ViolationOpened)]
    (ready,) = [item for item in items if isinstance(item, ClipReady)]
    assert (ready.incident_id, ready.kind) == (confirmed.incident_id, "no_mask")
    _, pictures = unpacked(ready.clip_mp4)
    assert 20 <= pictures <= 40  # about 1.5 s until it was confirmed, and a second after it
