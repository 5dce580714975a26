"""What a box costs while nothing happens: 20 sensors every 10 s, no cameras, the centre reachable."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from firmware_sim.numbered_publisher import NumberedPublisher
from firmware_sim.programs import Programs
from tests.chaos.chain import running_chain
from tests.load.processes import cpu_s, memory_mb

SENSORS, INTERVAL_S = 20, 10
WARM_UP_S = 20.0


def measure_footprint(folder: Path, seconds: float) -> dict[str, Any]:
    """CPU share of one core and resident memory of the box over *seconds*, after 20 s to settle."""
    with running_chain(folder, sensors=SENSORS, timed=True, programs=Programs) as chain:
        publisher = NumberedPublisher(
            chain.broker.port, sensors=SENSORS, timed=True, rate_per_s=SENSORS / INTERVAL_S, window=50
        )
        thread = threading.Thread(target=publisher.run)
        thread.start()
        try:
            time.sleep(WARM_UP_S)
            box = chain.pid("box")
            began_s, used_s = time.monotonic(), cpu_s(box)
            time.sleep(seconds)
            took_s, used_s = time.monotonic() - began_s, cpu_s(box) - used_s
            rss_mb, peak_mb = memory_mb(box), memory_mb(box, "VmHWM")
        finally:
            publisher.stop()
            thread.join(30)
        return {
            "readings_per_s": SENSORS / INTERVAL_S,
            "measured_s": round(took_s, 1),
            "cpu_pct": round(100 * used_s / took_s, 2),
            "rss_mb": round(rss_mb, 1),
            "rss_mb_max": round(peak_mb, 1),
        }
