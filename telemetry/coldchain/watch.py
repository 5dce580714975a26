"""The operational warning of one probe on one side: the trend against the probe's own behaviour, apart from
compliance.

It speaks once per trouble, when the air is where it never is and does not turn back: with a forecast when the goods
will cross the limit, without one when it simply stays there. After a warning, calm must last (Holdoff) before the
next. Values are negated for the low side, so "up" is always "towards the limit".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from telemetry.coldchain.holdoff import Holdoff
from telemetry.coldchain.product import crossing_s
from telemetry.coldchain.rise import FAR_C, Rise, Usual
from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import Remembering

CALM_S, CALM_S_MAX = 7_200.0, 43_200.0  # at most half a day: the trouble of the next day is told again
AGAIN_S = 3_600.0  # a told trouble may be told as worse after this
READINGS_MIN = 2
SURE_H = 0.75  # a forecast needs this much strangeness (weighed hours), or one gust of warm air would be a trend
UNUSUAL_HORIZON_S = 86_400.0
RISE_S_MAX = 259_200.0  # after three days it is no rise any more but the new usual
NEAR_SHARE, FAR_FACTOR = 0.6, 4.0  # most of the way to the limit is still to go: be four times surer
HOT_C = 50.0  # a low limit this high is hot holding: there the cold side is the dangerous one
COLD_FACTOR = 4.0  # cold is the machine's doing and seldom a danger: told when it must be the probe or the set point
HOT_C = 50.0  # a low limit this high is hot holding: there the cold side is the dangerous one


@dataclass(frozen=True)
class Warned:
    """``crossing_s`` from now if the goods will be outside; ``unusual``: the change itself is the news."""

    code: Literal["trend", "unusual"]
    crossing_s: float | None
    rate_c_per_s: float


class Watch(Remembering):
    """``rise`` is public: the defrost memory judges its shape."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "told",
        "calm_since_s",
        "told_height_c",
        "told_excess_h",
        "told_s",
        "rise_state",
        "holdoff_state",
    )

    def __init__(self, settings: SensorSettings, *, warm: bool) -> None:
        self.settings, self.warm = settings, warm
        self.rise = Rise()
        self.holdoff = Holdoff(CALM_S, CALM_S_MAX, settings.relapse_s)
        self.told = False
        self.calm_since_s: float | None = None
        self.told_height_c = self.told_excess_h = 0.0
        self.told_s: float | None = None

    @property
    def rise_state(self) -> dict[str, object]:
        return self.rise.state()

    @rise_state.setter
    def rise_state(self, state: dict[str, object]) -> None:
        self.rise.restore(state)

    @property
    def holdoff_state(self) -> dict[str, object]:
        return self.holdoff.state()

    @holdoff_state.setter
    def holdoff_state(self, state: dict[str, object]) -> None:
        self.holdoff.restore(state)

    @property
    def idle(self) -> bool:
        """Nothing rises and nothing must calm down."""
        return self.rise.since_s is None and not self.told

    def track(self, at_s: float, elapsed_s: float, up_c: float, before_c: float, usual: Usual) -> bool:
        """Follow the air; True when a rise is over by this reading (its shape is still there until the next call)."""
        rise = self.rise
        if rise.since_s is None:
            if up_c > usual.level_c:
                rise.begin(at_s, up_c, usual, before_c)
                self.calm_since_s = None
        elif up_c > rise.level_c and at_s - rise.since_s <= RISE_S_MAX:
            rise.feed(at_s, elapsed_s, up_c, before_c)
        else:
            return True
        if rise.since_s is None and self.told:
            self._calm(at_s)
        return False

    def finish(self, at_s: float) -> None:
        """Forget the rise that is over."""
        self.rise.clear()
        self.told_excess_h = 0.0
        if self.told:
            self._calm(at_s)

    def tell(self, at_s: float) -> None:
        """This trouble has been told (by a warning or by an excursion)."""
        if not self.told:
            self.told = True
            self.holdoff.begin(at_s)
        self.calm_since_s = None
        self.told_s = at_s
        self.told_height_c, self.told_excess_h = self.rise.height_c, self.rise.excess_h

    def _calm(self, at_s: float) -> None:
        if self.calm_since_s is None:
            self.calm_since_s = at_s
        elif at_s - self.calm_since_s >= self.holdoff.hold_s:
            self.told, self.calm_since_s, self.told_height_c = False, None, 0.0
            self.holdoff.end(at_s)

    def judge(self, at_s: float, up_c: float, product_c: float, limit_c: float | None, lag_s: float) -> Warned | None:
        """Whether to warn now; *limit_c* None leaves only the change itself."""
        rise, settings = self.rise, self.settings
        if rise.since_s is None or rise.readings < READINGS_MIN or rise.turned(up_c):
            return None
        if at_s - rise.since_s < settings.warn_after_s or (self.told and not self._worse(at_s, up_c)):
            return None
        if rise.excess_h - self.told_excess_h >= self._enough_h(up_c, limit_c):
            ahead_s = self._crossing_s(at_s, up_c, product_c, limit_c, lag_s, UNUSUAL_HORIZON_S)
            return Warned("unusual", ahead_s, rise.rate_c_per_s(at_s, up_c))
        sure = rise.excess_h >= SURE_H if rise.alert_c < FAR_C else up_c > rise.level_c
        if self.told or not sure:
            return None
        after_s = self._crossing_s(at_s, up_c, product_c, limit_c, lag_s, settings.forecast_horizon_s)
        return None if after_s is None else Warned("trend", after_s, rise.rate_c_per_s(at_s, up_c))

    def _crossing_s(
        self, at_s: float, up_c: float, product_c: float, limit_c: float | None, lag_s: float, horizon_s: float
    ) -> float | None:
        if limit_c is None or product_c > limit_c:
            return None
        rate = self.rise.rate_c_per_s(at_s, up_c)
        return crossing_s(product_c, up_c, rate, limit_c, lag_s, self.settings.trend_memory_s, horizon_s)

    def _enough_h(self, up_c: float, limit_c: float | None) -> float:
        """How much strangeness makes a warning: little when the limit is near, more when only the habit is left."""
        dreaded = self.warm or (limit_c is not None and limit_c <= -HOT_C)
        enough_h = self.settings.strange_h * (1.0 if dreaded else COLD_FACTOR)
        if limit_c is not None and limit_c - up_c > NEAR_SHARE * (limit_c - self.rise.level_c):
            enough_h *= FAR_FACTOR
        return enough_h

    def _worse(self, at_s: float, up_c: float) -> bool:
        """Whether a trouble that has been told is another one by now: twice as far out."""
        return (
            self.told_s is not None
            and at_s - self.told_s >= AGAIN_S
            and up_c - self.rise.level_c >= 2 * max(self.told_height_c, 2 * self.rise.unit_c)
        )
