"""What a port's driver counts while it runs; the numbers outlive the driver, which is made anew after each loss.

What always holds: every count only grows. A fault is counted where it is seen, so one read may count twice: a frame
with a wrong checksum is a ``frame_error``, and the answer that never came is a ``timeout``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import monotonic

from telemetry.messages import Quality, Reading


@dataclass
class PortCounts:
    """``timeouts``: answers that did not come, silences; ``frame_errors``: checksums and frames that are wrong;
    ``late_frames``: answers that belong to no request any more; ``decode_errors``: whole messages without a usable
    value; ``refusals``: requests answered with an error; ``reconnects``: the port or its broker came back.
    """

    timeouts: int = 0
    frame_errors: int = 0
    late_frames: int = 0
    decode_errors: int = 0
    refusals: int = 0
    reconnects: int = 0
    readings: dict[Quality, int] = field(default_factory=lambda: {"good": 0, "suspect": 0, "bad": 0})
    started_s: float = field(default_factory=monotonic)
    last_good_s: dict[str, float] = field(default_factory=dict)

    def take(self, readings: Iterable[Reading]) -> None:
        """Count what came of the port's sensors."""
        now_s = monotonic()
        for reading in readings:
            self.readings[reading.quality] += 1
            if reading.quality == "good":
                self.last_good_s[reading.sensor_id] = now_s

    def since_good_s(self, sensor_id: str) -> float:
        """Seconds since the sensor's last good reading, or since the start when there was none."""
        return monotonic() - self.last_good_s.get(sensor_id, self.started_s)
