"""Keeps the packets of a camera's main stream for films while its sub stream is what is looked at.

Nothing is decoded. Its loss costs films, never sight, so it is told in the log only.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any

from vision.address import OPEN_TIMEOUT_S, READ_TIMEOUT_S
from vision.frame import Frame
from vision.packet_ring import PacketRing
from vision.reader import Reader


class PacketTap(Reader):
    """A context manager: fills *ring* from *url* until it is left."""

    def __init__(self, url: str, ring: PacketRing, *, loop: bool) -> None:
        """Raises ValueError for an address that cannot work."""
        super().__init__(url, interval_s=1.0, loop=loop, publish=_refuse, ring=ring, drops=Counter())
        self._thread = threading.Thread(target=self.read_for_ever, name="camera-tap", daemon=True)

    def __enter__(self) -> PacketTap:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop.set()
        self._thread.join(OPEN_TIMEOUT_S + READ_TIMEOUT_S + 1)

    def _take_all(self, container: Any, video: Any) -> None:
        start_s, first_s = time.monotonic(), None
        for packet in self._packets(container, video):
            if self.stop.is_set():
                return
            if self.plays_file and packet.pts is not None:  # a file plays in real time
                at_s = float(packet.pts * packet.time_base)
                first_s = at_s if first_s is None else first_s
                self.stop.wait(max(0.0, start_s + at_s - first_s - time.monotonic()))
            self._came()


def _refuse(frame: Frame) -> None:
    raise AssertionError(f"a tap decodes nothing, but gave picture {frame.index}")
