"""The excursion of one probe on one side: outside, open, closed. This is the compliance judgement; warnings are not
its business.

Opens when the air was outside for ``delay_s``, when the estimated product is outside, or when the air was outside for
more than ``cumulative_s`` of a day. Closes when the limit has been kept for the time that Holdoff asks. Every timer
is the difference of two reading times, so a restart, a gap or a burst of readings changes none.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from telemetry.coldchain.finding import Severity
from telemetry.coldchain.holdoff import Holdoff
from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import Remembering

HOUR_S = 3_600.0
CRITICAL_DOSE_C_H = 10.0
WARNING_DOSE_C_H = 1.0
Move = Literal["opened_air", "opened_product", "opened_cumulative", "relapsed", "worse", "closed"]
RELAPSE_CALM_SHARE = 1 / 3  # of the calm that would end the incident, which grows with each relapse: 4 h at first
BREAK_S = 60.0  # noise on the limit, read each second, is no return; the air of a room needs minutes for one
RELAPSE_DEPTH_C = 3.0


class Excursion(Remembering):
    """``sign`` is +1 above the high limit, -1 below the low one. ``dose_c_h`` is depth × duration in °C·h."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "since_s", "last_s", "opened_s", "calm_since_s", "dose_c_h", "peak_c", "worst", "hours",
        "anew", "holdoff_state", "first_s", "break_s",
    )  # fmt: skip
    LATER: ClassVar[frozenset[str]] = frozenset({"break_s"})

    def __init__(self, sign: int, settings: SensorSettings) -> None:
        self.sign, self.settings = sign, settings
        self.holdoff = Holdoff(settings.close_after_s, settings.close_after_max_s, settings.relapse_s)
        self.since_s: float | None = None
        self.last_s: float | None = None
        self.break_s: float | None = None  # since when it is inside again, as far as a spell outside may go on
        self.first_s: float | None = None
        self.opened_s: float | None = None
        self.calm_since_s: float | None = None
        self.dose_c_h = 0.0
        self.peak_c: float | None = None
        self.worst = 0
        self.anew = False  # the spell now going on began after hours of calm
        self.hours: list[list[float]] = []  # [hour, seconds outside]

    @property
    def holdoff_state(self) -> dict[str, float | None]:
        return self.holdoff.state()

    @holdoff_state.setter
    def holdoff_state(self, state: dict[str, float | None]) -> None:
        self.holdoff.restore(state)

    @property
    def idle(self) -> bool:
        """Nothing open and nothing pending: a reading inside changes nothing."""
        return self.since_s is None and self.opened_s is None

    @property
    def severity(self) -> Severity:
        """By depth × duration; a product outside is critical at once (see ``feed``)."""
        return ("info", "warning", "critical")[self.worst]

    def feed(self, at_s: float, value_c: float, product_c: float, limit_c: float, deferred: bool) -> Move | None:
        """Judge one reading; *deferred* says that a defrost explains the air for now."""
        sign = self.sign
        product_outside = sign * (product_c - limit_c) > 0 and at_s - (self.first_s or at_s) >= self.settings.delay_s
        if sign * (value_c - limit_c) > 0:
            self._stay_outside(at_s, value_c, limit_c, deferred)
        else:
            self._come_inside(at_s, sign * (limit_c - value_c))
        self.last_s = at_s
        if self.opened_s is None:
            return self._open(at_s, product_outside, deferred)
        if product_outside:
            self.calm_since_s = None
        if self.anew and self._deep_again(at_s, value_c, limit_c, product_outside, deferred):
            return self._relapse(at_s)
        if self.calm_since_s is not None and self.since_s is None and at_s - self.calm_since_s >= self.holdoff.hold_s:
            return self._close(at_s)
        return self._worsen(product_outside)

    def withdraw(self, at_s: float) -> bool:
        """The limit is no longer in force; True when that ends an open excursion."""
        self._end_spell()
        return self.opened_s is not None and self._close(at_s) == "closed"

    def _come_inside(self, at_s: float, depth_c: float) -> None:
        if self.break_s is None:
            self.break_s = at_s
        if self.opened_s is not None:
            self.since_s = None
            if self.calm_since_s is None and depth_c >= self.settings.hysteresis_c:
                self.calm_since_s = at_s
        elif at_s - self.break_s >= BREAK_S:
            self._end_spell()

    def _end_spell(self) -> None:
        self.since_s = self.break_s = None
        if self.opened_s is None:
            self.dose_c_h, self.peak_c = 0.0, None

    def _stay_outside(self, at_s: float, value_c: float, limit_c: float, deferred: bool) -> None:
        if self.break_s is not None and at_s - self.break_s >= BREAK_S:
            self._end_spell()
        self.break_s = None
        if self.since_s is None:
            self.since_s = at_s
            calm_s = 0.0 if self.calm_since_s is None else at_s - self.calm_since_s
            self.anew = calm_s >= RELAPSE_CALM_SHARE * self.holdoff.hold_s
        elif self.last_s is not None and not deferred:  # the goods hardly see a defrost
            elapsed_s = at_s - self.last_s
            self.dose_c_h += self.sign * (value_c - limit_c) * elapsed_s / HOUR_S
            self._count(at_s, elapsed_s)
        if self.peak_c is None or self.sign * (value_c - self.peak_c) > 0:
            self.peak_c = value_c
        if not deferred:  # a freezer that defrosts more often than the calm must last would never come to its end
            self.calm_since_s = None

    def _count(self, at_s: float, elapsed_s: float) -> None:
        hour = at_s // HOUR_S
        if self.hours and self.hours[-1][0] == hour:
            self.hours[-1][1] += elapsed_s
            return
        self.hours.append([hour, elapsed_s])
        oldest = hour - self.settings.cumulative_window_s // HOUR_S
        while self.hours[0][0] <= oldest:
            del self.hours[0]

    def outside_s(self, at_s: float) -> float:
        """Seconds outside within the cumulative window."""
        oldest = at_s // HOUR_S - self.settings.cumulative_window_s // HOUR_S
        return sum(seconds for hour, seconds in self.hours if hour > oldest)

    def _open(self, at_s: float, product_outside: bool, deferred: bool) -> Move | None:
        move: Move
        if deferred:
            return None
        if product_outside:
            move = "opened_product"
        elif self.since_s is None or self.break_s is not None:
            return None
        elif at_s - self.since_s >= self.settings.delay_s:
            move = "opened_air"
        elif self.outside_s(at_s) >= self.settings.cumulative_s:
            move = "opened_cumulative"
        else:
            return None
        self.opened_s = at_s
        self.holdoff.begin(at_s)
        self.worst = 2 if product_outside else 1
        self.calm_since_s = None
        return move

    def _deep_again(self, at_s: float, value_c: float, limit_c: float, product_outside: bool, deferred: bool) -> bool:
        """Whether a spell after hours of calm is a trouble of its own: as lasting as an excursion, and deep."""
        if deferred or self.since_s is None or self.sign * (value_c - limit_c) < RELAPSE_DEPTH_C:
            return False
        return product_outside or at_s - self.since_s >= self.settings.delay_s

    def _relapse(self, at_s: float) -> Move:
        self.anew = False
        self.opened_s = at_s
        self.holdoff.end(at_s)
        self.holdoff.begin(at_s)
        return "relapsed"

    def _worsen(self, product_outside: bool) -> Move | None:
        rank = (
            2
            if product_outside or self.dose_c_h >= CRITICAL_DOSE_C_H
            else 1
            if self.dose_c_h >= WARNING_DOSE_C_H
            else 0
        )
        if rank <= self.worst:
            return None
        self.worst = rank
        return "worse"

    def _close(self, at_s: float) -> Move:
        self.opened_s = self.calm_since_s = self.peak_c = None
        self.worst, self.dose_c_h = 0, 0.0
        self.holdoff.end(at_s)
        return "closed"
