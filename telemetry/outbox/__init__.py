"""The box's durable queue; see `telemetry.outbox.outbox`."""

from telemetry.outbox.outbox import Outbox
from telemetry.outbox.status import LaneStatus, OutboxError, OutboxFull, OutboxStatus, Pending

__all__ = ["LaneStatus", "Outbox", "OutboxError", "OutboxFull", "OutboxStatus", "Pending"]
