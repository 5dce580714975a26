"""How the box keeps and sends its records: caps of the outbox, pace and trust of the uplink, the metrics port."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from telemetry.pinning import check_pin

MIB = 1024 * 1024


def _proxy(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("must be an address such as http://proxy.example:3128")
    return url


class UplinkSection(BaseModel):
    """``pins``: SHA-256 of the centre's public key in base64, besides its certificate. ``proxy``: may hold a password,
    so give it as a secret reference. ``metrics_port``: Prometheus metrics on 127.0.0.1; none without it.
    ``key_max_age_days``: then the box takes a new key and starts anew; never by itself without it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    readings_bytes_max: Annotated[int, Field(ge=MIB, le=1024 * 1024 * MIB)] = 1024 * MIB
    delivered_bytes_max: Annotated[int, Field(ge=0, le=1024 * MIB)] = 16 * MIB
    reserve_bytes: Annotated[int, Field(ge=MIB, le=1024 * MIB)] = 8 * MIB
    commit_delay_s: Annotated[float, Field(ge=0, le=1)] = 0.05
    bandwidth_bytes_per_s: Annotated[int, Field(ge=1_000)] | None = None
    backfill_share: Annotated[float, Field(ge=0.05, le=1)] = 0.8
    pins: Annotated[tuple[Annotated[str, AfterValidator(check_pin)], ...], Field(max_length=16)] = ()
    proxy: Annotated[str, AfterValidator(_proxy)] | None = None
    metrics_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    key_max_age_days: Annotated[float, Field(ge=1, le=3650)] | None = None
