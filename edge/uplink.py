"""Opens what keeps and carries the records of a box, as its configuration says."""

from __future__ import annotations

from edge.clock import STATE_KEY, BoxClock, boot_id
from edge.config import EdgeConfig
from telemetry.forwarder import Forwarder
from telemetry.outbox import Outbox
from telemetry.signing import Signer
from telemetry.spool import EvidenceSpool


def open_outbox(config: EdgeConfig, box_id: str, signer: Signer) -> Outbox:
    """The outbox of a box; raises OutboxError."""
    uplink = config.uplink
    return Outbox.open(
        config.box.data_dir / "outbox.sqlite",
        box_id,
        signer,
        boot_id=boot_id(),
        readings_bytes_max=uplink.readings_bytes_max,
        delivered_bytes_max=uplink.delivered_bytes_max,
        reserve_bytes=uplink.reserve_bytes,
    )


def start_clock(outbox: Outbox) -> BoxClock:
    """The clock of this boot; where it counts from is on disk before any reading is. The outbox keeps its time too."""
    clock = BoxClock(outbox.load_state(STATE_KEY).get(STATE_KEY))
    outbox.use_clock(clock.stamp)
    outbox.commit([], [], {STATE_KEY: clock.dump()})
    return clock


def make_forwarder(config: EdgeConfig, outbox: Outbox, spool: EvidenceSpool) -> Forwarder:
    uplink = config.uplink
    return Forwarder(
        outbox,
        spool,
        config.server.url,
        ca_file=config.server.ca_file,
        pins=uplink.pins,
        proxy=uplink.proxy,
        bandwidth_bytes_per_s=uplink.bandwidth_bytes_per_s,
        backfill_share=uplink.backfill_share,
    )
