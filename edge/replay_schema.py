"""The words of a replay configuration: one entry per column, dated limits, and other people's names for the same
things.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from telemetry.coldchain.settings import SensorSettings

Kind = Literal["temperature", "door", "defrost", "power", "battery_pct", "ignore"]
Degrees = Annotated[float, Field(ge=-200, le=400)]
Seconds = Annotated[float, Field(ge=0, le=31_536_000)]
PositiveS = Annotated[float, Field(gt=0, le=31_536_000)]
Reason = Annotated[str, Field(max_length=400)]
HIGH_NAMES = "high max_c max upper_c upper exceed_c upper_limit upper_limit_c high_limit high_limit_c max_temp_c"
LOW_NAMES = "low min_c min lower_c lower deficit_c lower_limit lower_limit_c low_limit low_limit_c min_temp_c"
OTHER_NAMES = {
    **dict.fromkeys(HIGH_NAMES.split(), "high_c"),
    **dict.fromkeys(LOW_NAMES.split(), "low_c"),
    **dict.fromkeys(("from", "valid_from", "effective_from", "start", "date", "at"), "since"),
    **dict.fromkeys(("to", "valid_until", "effective_until", "end"), "until"),
    "defrosts": "defrost_schedule",
    "defrost": "defrost_schedule",
}
SINCE_NAMES = frozenset({"since", *(name for name, ours in OTHER_NAMES.items() if ours == "since")})


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _our_names(cls, raw: Any) -> Any:
        if not isinstance(raw, dict):
            return raw
        renamed = {OTHER_NAMES.get(name, name): value for name, value in raw.items()}
        if len(renamed) != len(raw):
            raise ValueError("names the same limit twice")
        return renamed


class LimitEntry(_Entry):
    """Limits from a date on (from ever without one), until the next entry or ``until``."""

    since: Any = None
    until: Any = None
    high_c: Degrees | None = None
    low_c: Degrees | None = None
    limit_set: str | None = None
    loosen_reason: Reason | None = None


def _listed(raw: Any) -> Any:
    """A single entry needs no list."""
    return [raw] if isinstance(raw, dict) else raw


class SensorEntry(_Entry):
    """One column. What is not named here comes from ``defaults``, then from the built-in defaults (SensorSettings)."""

    kind: Kind = "temperature"
    high_c: Degrees | None = None
    low_c: Degrees | None = None
    limit_set: str | None = None
    loosen_reason: Reason | None = None
    limits: Annotated[list[LimitEntry], BeforeValidator(_listed)] | None = None
    defrost_schedule: Any = None
    twin: str | None = None
    delay_s: Seconds | None = None
    hysteresis_c: Annotated[float, Field(ge=0, le=20)] | None = None
    close_after_s: Seconds | None = None
    close_after_max_s: Seconds | None = None
    cumulative_s: PositiveS | None = None
    cumulative_window_s: PositiveS | None = None
    product_lag_s: PositiveS | None = None
    forecast_horizon_s: PositiveS | None = None
    warn_after_s: Seconds | None = None
    strange_h: Annotated[float, Field(gt=0, le=1_000)] | None = None
    interval_s: PositiveS | None = None
    gap_s: PositiveS | None = None
    stuck_min_s: PositiveS | None = None
    plausible_low_c: Degrees | None = None
    plausible_high_c: Degrees | None = None
    danger_zone: bool | None = None
    door_open_s: PositiveS | None = None
    learn_defrosts: bool | None = None
    defrost_grace_s: Seconds | None = None


PLAIN_FIELDS = (frozenset(SensorEntry.model_fields) & frozenset(SensorSettings.__dataclass_fields__)) - {"limits"}
SENSOR_NAMES = frozenset(SensorEntry.model_fields) | frozenset(OTHER_NAMES)
