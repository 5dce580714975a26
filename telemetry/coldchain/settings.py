"""Everything that can be set for one probe, with the physical reason for each default. None is fitted to a data set.

A ``LimitSpan`` holds from ``from_s`` until the next one; ``None`` means no limit on that side.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field

from telemetry.coldchain.schedule import DefrostSchedule

CHILLED_LAG_S = 5_400.0
FROZEN_LAG_S = 21_600.0
FROZEN_BELOW_C = -5.0


@dataclass(frozen=True)
class LimitSpan:
    """The limits in force from ``from_s`` (seconds since 1970) on, in °C."""

    from_s: float
    high_c: float | None = None
    low_c: float | None = None


@dataclass(frozen=True)
class SensorSettings:
    """Times in seconds, temperatures in °C.

    delay_s: air this long outside opens an excursion. 45 min is the working alarm of professional warehouse systems:
      longer than a defrost's peak or a delivery, far shorter than the lag of packed goods.
    hysteresis_c: the readings' usual scatter; closing starts to count only this far inside.
    close_after_s .. close_after_max_s: an incident is over when the limit has been kept for half a day: a night and the
      morning's delivery, or a defrost, have passed. The time doubles with each relapse within ``relapse_s``: a store
      that lives at its limit has one incident and not thirty.
    cumulative_s in cumulative_window_s: more than half of a day outside means that the mean is outside, and the goods
      follow the mean.
    product_lag_s: first-order lag of the goods behind the air. None: 1.5 h for chilled goods (a crate of milk), 6 h for
      frozen (cartons; the melting part of the ice multiplies the heat capacity above -15 °C).
    defrost_coupling: during a defrost the fans stand still and the probe sits in the warm air of the coil; the goods
      see about a tenth of it.
    forecast_horizon_s: two hours are enough to act; a crossing further away is a guess.
    trend_memory_s: a trend fades with this time constant, because nothing rises linearly for ever.
    warn_after_s: a door that is closed again lets the air turn back within minutes; 15 min without a turn are a trend.
    strange_h: hours above everything the probe did in its last week, each weighed by its depth in units of the probe's
      own swing, that make a change, whatever the limit.
    gap_s: None: three missed readings, at least 30 min.
    stuck_min_s: identical readings; a probe with 0.1 °C resolution in a cycling room moves within minutes. Twice the
      probe's own longest rest counts where that is more.
    jump_c, jump_c_per_min: air cannot change faster, not even at an open door.
    defrost_grace_s: a planned defrost may take so much longer before it is a finding.
    """

    limits: tuple[LimitSpan, ...] = ()
    delay_s: float = 2_700.0
    hysteresis_c: float = 0.5
    close_after_s: float = 43_200.0
    close_after_max_s: float = 172_800.0
    relapse_s: float = 345_600.0
    cumulative_s: float = 43_200.0
    cumulative_window_s: float = 86_400.0
    product_lag_s: float | None = None
    defrost_coupling: float = 0.1
    forecast_horizon_s: float = 7_200.0
    trend_memory_s: float = 3_600.0
    warn_after_s: float = 900.0
    strange_h: float = 4.0
    interval_s: float | None = None
    gap_s: float | None = None
    stuck_min_s: float = 7_200.0
    plausible_low_c: float = -90.0
    plausible_high_c: float = 150.0
    jump_c: float = 25.0
    jump_c_per_min: float = 2.5
    danger_zone: bool | None = None
    door_open_s: float = 600.0
    learn_defrosts: bool = True
    defrost_grace_s: float = 1_800.0
    schedule: DefrostSchedule = field(default_factory=DefrostSchedule)

    def span_at(self, at_s: float) -> tuple[LimitSpan, float]:
        """The limits in force at *at_s* and the time of their next change (infinity if none)."""
        index = bisect_right([span.from_s for span in self.limits], at_s)
        until = self.limits[index].from_s if index < len(self.limits) else float("inf")
        return (self.limits[index - 1] if index else LimitSpan(float("-inf"))), until

    def lag_s(self, span: LimitSpan) -> float:
        """The goods' lag: as set, or by the kind of goods that the limits speak of."""
        if self.product_lag_s is not None:
            return self.product_lag_s
        limit = span.high_c if span.high_c is not None else span.low_c
        return FROZEN_LAG_S if limit is not None and limit < FROZEN_BELOW_C else CHILLED_LAG_S

    def in_danger_zone(self, span: LimitSpan) -> bool:
        """Whether the danger-zone clock runs: as set, or for chilled and hot food (not for frozen)."""
        if self.danger_zone is not None:
            return self.danger_zone
        chilled = span.high_c is not None and FROZEN_BELOW_C <= span.high_c <= 8.0
        return chilled or (span.low_c is not None and span.low_c >= 50.0)
