"""Opens what keeps and carries the records of a box, as its configuration says."""

from __future__ import annotations

import logging

from edge.clock import STATE_KEY, BoxClock, boot_id
from edge.config import EdgeConfig
from edge.enrolment import Identity
from edge.remote_desk import RemoteDesk
from edge.remote_service import RemoteService
from telemetry.command_call import Parties
from telemetry.forwarder import Forwarder
from telemetry.outbox import Outbox
from telemetry.signing import PublicKey, Signer
from telemetry.spool import EvidenceSpool
from telemetry.uplink import UplinkSettings

logger = logging.getLogger(__name__)


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


def make_remote_service(
    config: EdgeConfig, identity: Identity, signer: Signer, desk: RemoteDesk
) -> RemoteService | None:
    """What asks the centre for commands; None when nothing is allowed, or the centre's key is not known."""
    remote, uplink = config.remote, config.uplink
    if not remote.allow:
        return None
    centre_key = remote.centre_key or identity.centre_key
    if not centre_key:
        logger.warning("no commands are taken: set remote.centre_key, this box was enrolled without one")
        return None
    settings = UplinkSettings(config.server.url, config.server.ca_file, uplink.pins, uplink.proxy)
    return RemoteService(settings, Parties(identity.box_id, signer, PublicKey.from_b64(centre_key)), desk)


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
