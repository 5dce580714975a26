"""The long film of a camera on the disk: files of about a minute, found by their time, the oldest first to go.

A file is a fragmented MP4 of the camera's own packets: whatever was written when the power or the process goes can be
played. Its name has a number, which orders the files whatever the clock does, and the time (UTC) of its first picture;
its end is the time of its last change. Sizes and age are bounded, and so much of the disk stays free.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

from vision.packet_ring import RING_BYTES_MAX, KeptPacket, hold_stream, mux_mp4
from vision.violation import GAP_S_MAX

NAME = re.compile(r"^(\d{9})-(\d{8}T\d{12})Z\.mp4$")
TIME_FORMAT = "%Y%m%dT%H%M%S%f"
CLOCK_HZ = 90_000  # of a film that is cut
KEYFRAME_S_MAX = 20.0  # how far before the asked moment its keyframe is looked for


class NotRecorded(Exception):
    """The film of that moment cannot be given; the message says why and what is kept."""


@dataclass(frozen=True)
class RecordingUse:
    """Where a camera is recorded, for how many ``hours`` and bytes, and what of the disk it leaves free.

    By age nothing goes while the clock is not known to be right: a clock that jumps ahead would take all with it.
    """

    folder: Path
    hours: float
    bytes_max: int
    free_bytes_min: int
    clock_right: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Segment:
    """One file."""

    path: Path
    number: int
    start_at: datetime
    end_at: datetime
    size_bytes: int


@dataclass(frozen=True)
class RecordedClip:
    """A film cut from the recording: MP4, the times of its first and last picture, and how many there are."""

    mp4: bytes
    first_at: datetime
    last_at: datetime
    frames: int


class SegmentFolder:
    """See the module's docstring. One writer; whoever cuts may do so at any time."""

    def __init__(self, use: RecordingUse) -> None:
        self._use = use

    def segments(self) -> list[Segment]:
        """What is kept, oldest first."""
        found = []
        for path in self._use.folder.glob("*.mp4"):
            if match := NAME.match(path.name):
                try:
                    stat = path.stat()
                except FileNotFoundError:
                    continue
                start_at = datetime.strptime(match[2], TIME_FORMAT).replace(tzinfo=UTC)
                end_at = datetime.fromtimestamp(stat.st_mtime, UTC)
                found.append(Segment(path, int(match[1]), start_at, end_at, stat.st_size))
        return sorted(found, key=lambda item: item.number)

    def new_path(self, start_at: datetime) -> Path:
        """Of the next file, whose first picture is of *start_at*. Raises OSError."""
        self._use.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = self.segments()
        number = kept[-1].number + 1 if kept else 1
        return self._use.folder / f"{number:09d}-{start_at.astimezone(UTC):{TIME_FORMAT}}Z.mp4"

    def make_room(self, now: datetime, writing: Path | None = None) -> bool:
        """Remove what is too old, and the oldest while all is too much or the disk too full, never what is *writing*.

        False when that is not enough. Raises OSError.
        """
        kept = self.segments()
        total_bytes, too_old = sum(item.size_bytes for item in kept), timedelta(hours=self._use.hours)
        dated = self._use.clock_right()
        fits = self._fits(total_bytes)
        for item in kept:
            if item.path != writing and (not fits or (dated and now - item.end_at > too_old)):
                item.path.unlink(missing_ok=True)
                total_bytes -= item.size_bytes
                fits = self._fits(total_bytes)
        return fits

    def _fits(self, total_bytes: int) -> bool:
        folder = next(path for path in (self._use.folder, *self._use.folder.parents) if path.exists())
        return total_bytes <= self._use.bytes_max and shutil.disk_usage(folder).free >= self._use.free_bytes_min

    def cut(self, at: datetime, before_s: float, after_s: float) -> RecordedClip:
        """The film from the keyframe *before_s* before *at* to *after_s* after it; raises NotRecorded."""
        from_at, to_at = at - timedelta(seconds=before_s), at + timedelta(seconds=after_s)
        early_at = from_at - timedelta(seconds=KEYFRAME_S_MAX)
        kept = self.segments()
        chosen = [item for item in kept if item.start_at <= to_at and item.end_at >= early_at]
        cutting = _Cutting(from_at, at, to_at)
        for item in sorted(chosen, key=lambda item: item.start_at):
            if not cutting.take(item):
                break
        clip = cutting.finish()
        if clip is None:
            raise NotRecorded(f"not recorded, kept is: {_told(kept)}")
        return clip


class _Cutting:
    """Gathers the packets of one film from files in the order of time."""

    def __init__(self, from_at: datetime, at: datetime, to_at: datetime) -> None:
        self._from_at, self._at, self._to_at = from_at, at, to_at
        self._packets: list[KeptPacket] = []
        self._begin_at = from_at
        self._held: Any = None  # the container and the stream of the first file
        self._sort: tuple[Any, ...] = ()

    def take(self, segment: Segment) -> bool:
        """Go on with that file; whether another may follow. One that cannot be read any more is left out."""
        import av

        try:
            with av.open(str(segment.path)) as container:
                video = container.streams.video[0]
                if not self._fits(video):
                    return False
                for packet in _packets(container, video, segment.start_at, self._begin_at):
                    self._add(packet)
        except (av.FFmpegError, OSError, IndexError):
            pass
        return True

    def _fits(self, video: Any) -> bool:
        """After a change of the camera's settings the film is of the side on which the moment is."""
        context = video.codec_context
        sort = (context.name, context.width, context.height, bytes(context.extradata or b""))
        if self._packets and sort != self._sort:
            if self._time(self._packets[-1]) >= self._at - timedelta(seconds=GAP_S_MAX):
                return False
            self._packets.clear()
        if not self._packets:
            self._held, self._sort = hold_stream(video), sort
        return True

    def _add(self, packet: KeptPacket) -> None:
        moment = self._time(packet)
        if moment > self._to_at:
            return
        if packet.keyframe and moment <= self._from_at:
            self._packets.clear()  # a film begins at the last keyframe before it is asked for
        if self._packets or packet.keyframe:
            self._packets.append(packet)

    def _time(self, packet: KeptPacket) -> datetime:
        return self._begin_at + timedelta(seconds=packet.at_s)

    def finish(self) -> RecordedClip | None:
        """None when the moment is not in it; raises NotRecorded for what is too large."""
        near = (abs((self._time(packet) - self._at).total_seconds()) for packet in self._packets)
        if min(near, default=GAP_S_MAX + 1) > GAP_S_MAX:
            return None
        if sum(len(packet.data) for packet in self._packets) > RING_BYTES_MAX:
            raise NotRecorded(f"that film has more than {RING_BYTES_MAX} bytes: ask for fewer seconds")
        _, stream, _ = self._held
        mp4 = mux_mp4(_forward(self._packets), stream, Fraction(1, CLOCK_HZ))
        first, last = (self._time(self._packets[number]) for number in (0, -1))
        return RecordedClip(mp4, first, last, len(self._packets)) if mp4 else None


def _packets(container: Any, video: Any, start_at: datetime, begin_at: datetime) -> Iterator[KeptPacket]:
    """Those of one file, on the clock of the film; ``at_s`` is of the picture, from *begin_at* on."""
    first_pts: int | None = None
    offset_s = (start_at - begin_at).total_seconds()
    for packet in container.demux(video):
        if not packet.size or packet.pts is None or packet.dts is None:
            continue
        first_pts = packet.pts if first_pts is None else first_pts
        at_s, decoded_s = (
            offset_s + float((stamp - first_pts) * packet.time_base) for stamp in (packet.pts, packet.dts)
        )
        yield KeptPacket(
            bytes(packet), round(at_s * CLOCK_HZ), round(decoded_s * CLOCK_HZ),
            round(float((packet.duration or 0) * packet.time_base) * CLOCK_HZ), bool(packet.is_keyframe), at_s,
        )  # fmt: skip


def _forward(packets: list[KeptPacket]) -> list[KeptPacket]:
    """With decoding times that only grow: the clock may have been put right between two files."""
    found: list[KeptPacket] = []
    for packet in packets:
        dts = max(packet.dts, found[-1].dts + 1) if found else packet.dts
        found.append(replace(packet, dts=dts, pts=max(packet.pts, dts)))
    return found


def _told(kept: list[Segment]) -> str:
    """From when to when, for people; holes of minutes in between are not told."""
    if not kept:
        return "nothing"
    first_at, last_at = min(item.start_at for item in kept), max(item.end_at for item in kept)
    return f"{first_at:%Y-%m-%d %H:%M:%S} to {last_at:%Y-%m-%d %H:%M:%S} UTC"
