"""Writes what a camera sends to the disk, for days, so that a moment long past can still be shown.

The camera's own packets, never encoded again, in files of about a minute (`vision.segments`). A thread of its own
writes, so that a slow card holds up no picture: what it cannot take is left out up to the next keyframe. Each part of a
file is whole once it is written: a process that is killed loses the last seconds alone. Where there is no room nothing
is recorded, which is told, and the watch goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

from vision.packet_ring import KeptPacket, PacketRing, packet_of
from vision.segments import RecordedClip, RecordingUse, SegmentFolder

logger = logging.getLogger(__name__)
SEGMENT_S = 60.0
SEGMENT_BYTES_MAX = 32 * 1024 * 1024
PART_S = 2.0  # what is written at once, at least at each keyframe: so much is lost when the process is killed
CHECK_S = 2.0  # between two looks at the room on the disk
QUEUE_BYTES_MAX = 8 * 1024 * 1024
STOP_S = 2.0
MOVFLAGS = "frag_keyframe+empty_moov+default_base_moof"


@dataclass(frozen=True)
class RecordingChange:
    """It records no more, for a reason, or again."""

    on: bool
    reason: str


@dataclass(frozen=True)
class _Connection:
    """The parameters and the clock of the packets that follow; the holder keeps them alive."""

    holder: Any
    stream: Any
    time_base: Fraction


class Recording:
    """Of one camera; a context manager. `begin` and `add` are for its reader, `cut` for whoever watches."""

    def __init__(self, use: RecordingUse) -> None:
        self.changes: deque[RecordingChange] = deque(maxlen=16)
        self._folder = SegmentFolder(use)
        self._queue: deque[_Connection | KeptPacket] = deque()
        self._queued_bytes = 0
        self._behind = False  # the card is too slow: wait for a keyframe
        self._ready = threading.Condition()
        self._stopped = False
        self._writer = _Writer(self._folder, self.changes)
        self._thread = threading.Thread(target=self._run, name="recording", daemon=True)
        self._cutter = ThreadPoolExecutor(1, "recording-cut")  # reading a card must not hold up the judge

    def __enter__(self) -> Recording:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._ready:
            self._stopped = True
            self._ready.notify()
        self._thread.join(STOP_S)
        self._cutter.shutdown(wait=False, cancel_futures=True)

    def begin(self, holder: Any, stream: Any, time_base: Fraction) -> None:
        """A new connection."""
        with self._ready:
            self._queue.append(_Connection(holder, stream, time_base))
            self._ready.notify()

    def add(self, packet: KeptPacket) -> None:
        """Never waits."""
        with self._ready:
            if self._behind and not packet.keyframe:
                return
            was_behind = self._behind
            self._behind = self._queued_bytes + len(packet.data) > QUEUE_BYTES_MAX
            if self._behind != was_behind:
                logger.warning("the recording %s", "cannot keep up" if self._behind else "goes on")
            if not self._behind:
                self._queue.append(packet)
                self._queued_bytes += len(packet.data)
                self._ready.notify()

    def cut(self, at: datetime, before_s: float, after_s: float) -> Future[RecordedClip]:
        """The film of that moment, or `vision.segments.NotRecorded`; read in a thread of its own."""
        return self._cutter.submit(self._folder.cut, at, before_s, after_s)

    def _run(self) -> None:
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._queue or self._stopped, timeout=SEGMENT_S)
                if self._stopped and not self._queue:
                    break
                item = self._queue.popleft() if self._queue else None
                self._queued_bytes -= len(item.data) if isinstance(item, KeptPacket) else 0
            self._writer.take(item)
        self._writer.close()


class _Writer:
    """One file at a time; for the recording's thread."""

    def __init__(self, folder: SegmentFolder, changes: deque[RecordingChange]) -> None:
        self._folder = folder
        self._changes = changes
        self._connection: _Connection | None = None
        self._container: Any = None
        self._stream: Any = None
        self._path: Path | None = None
        self._begun: KeptPacket | None = None  # the first packet of the file
        self._bytes = 0
        self._looked_s = 0.0
        self._stopped_for = ""

    def take(self, item: _Connection | KeptPacket | None) -> None:
        """Write it; None: nothing came for a while. A disk that refuses ends the file, and it is tried anew."""
        import av

        try:
            if isinstance(item, _Connection):
                self.close()
                self._connection = item
            elif item is None:
                self._folder.make_room(datetime.now(UTC), self._path)
            elif self._connection is not None:
                self._write(item, self._connection)
        except (av.FFmpegError, OSError, ValueError) as error:
            self._stop(getattr(error, "strerror", None) or str(error))

    def _write(self, packet: KeptPacket, connection: _Connection) -> None:
        now_s = time.monotonic()
        if now_s - self._looked_s >= CHECK_S:
            self._looked_s = now_s
            if not self._folder.make_room(datetime.now(UTC), self._path):
                self._stop("there is no room for it")
                return
        elif self._stopped_for:
            return
        if packet.keyframe and self._is_due(packet):
            self.close()
            self._open(packet, connection)
        if self._container is not None and self._begun is not None:
            self._container.mux(packet_of(packet, self._begun.dts, self._stream, connection.time_base))
            self._bytes += len(packet.data)

    def _is_due(self, packet: KeptPacket) -> bool:
        return self._begun is None or packet.at_s - self._begun.at_s >= SEGMENT_S or self._bytes >= SEGMENT_BYTES_MAX

    def _open(self, packet: KeptPacket, connection: _Connection) -> None:
        import av

        start_at = datetime.now(UTC) - timedelta(seconds=time.monotonic() - packet.at_s)
        self._path = self._folder.new_path(start_at)
        options = {"movflags": MOVFLAGS, "frag_duration": str(round(PART_S * 1e6)), "flush_packets": "1"}
        self._container = av.open(str(self._path), "w", format="mp4", options=options)
        self._stream = self._container.add_stream_from_template(connection.stream)
        self._begun, self._bytes = packet, 0
        if self._stopped_for:
            self._stopped_for = ""
            self._changes.append(RecordingChange(True, ""))

    def close(self) -> None:
        """End the file, if there is one."""
        import av

        container, self._container, self._begun, self._path = self._container, None, None, None
        if container is not None:
            try:
                container.close()
            except (av.FFmpegError, OSError) as error:
                logger.warning("the end of a recorded file is missing: %s", error)

    def _stop(self, reason: str) -> None:
        self.close()
        if not self._stopped_for:
            self._changes.append(RecordingChange(False, reason))
        self._stopped_for = reason


class RecordedRing(PacketRing):
    """A ring whose packets are recorded as well."""

    def __init__(self, recording: Recording) -> None:
        super().__init__()
        self._recording = recording

    def begin(self, video: Any, clock: Fraction | None = None) -> None:
        super().begin(video, clock)
        self._recording.begin(self._holder, self._stream, self._time_base)

    def keep(self, packet: KeptPacket) -> None:
        super().keep(packet)
        self._recording.add(packet)
