"""The judge of one temperature probe: readings in, findings out. Pure: no clock, no I/O, and exact across a restart.

Most readings are where they usually are and need no more than a few comparisons; ``_judge`` runs for the others.
"""

from __future__ import annotations

from math import exp
from typing import Any

from telemetry.coldchain.contacts import Contacts
from telemetry.coldchain.defrost import DefrostMemory
from telemetry.coldchain.excursion import Excursion, Move
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.habit import Habit
from telemetry.coldchain.kinetic import DANGER_HIGH_C, DANGER_LOW_C, DangerClock
from telemetry.coldchain.probe_health import Plausibility, Silence, Stillness
from telemetry.coldchain.product import crossing_s
from telemetry.coldchain.rise import FAR_C, Usual
from telemetry.coldchain.settings import LimitSpan, SensorSettings
from telemetry.coldchain.state import StateError
from telemetry.coldchain.teller import Teller
from telemetry.coldchain.thaw import Thaw
from telemetry.coldchain.watch import Watch
from telemetry.coldchain.wording import Clock, phrase

QUIET: list[Finding] = []
SHIFT_C_MIN, SHIFT_SCATTERS = 1.0, 6.0
SHIFT_CALM_S = 604_800.0
SCALARS = ("first_s", "last_s", "last_c", "product_c", "shift_told_s")


class Probe:
    """Feed it one probe's readings in order of time (the engine sees to the order)."""

    def __init__(self, sensor: str, settings: SensorSettings, clock: Clock, contacts: Contacts | None = None) -> None:
        self.sensor, self.settings = sensor, settings
        self.contacts = contacts or Contacts(settings.door_open_s)
        self.ahead_s = 0.0
        self.teller = Teller(sensor, lambda at_s: clock(at_s - self.ahead_s), self.contacts)
        self.plausibility, self.stillness = Plausibility(settings), Stillness(settings)
        self.silence, self.habit = Silence(settings), Habit()
        self.warm, self.cold = Watch(settings, warm=True), Watch(settings, warm=False)
        self.high, self.low = Excursion(1, settings), Excursion(-1, settings)
        self.danger = DangerClock()
        self.thaw = Thaw(settings, DefrostMemory(), self.contacts)
        self.first_s: float | None = None
        self.last_s = self.last_c = self.product_c = 0.0
        self.shift_told_s: float | None = None
        self._span, self._span_until_s = LimitSpan(float("-inf")), float("-inf")
        self._lag_s = settings.lag_s(self._span)
        self._keep, self._keep_for_s = 1.0, 0.0
        self._idle = False
        self._quiet_high_c, self._quiet_low_c = float("-inf"), float("inf")
        self._usual_high = self._usual_low = Usual(FAR_C, FAR_C, 1.0)

    # -- memory ------------------------------------------------------------------------------------------------------

    def _parts(self) -> dict[str, Any]:
        return {
            "plausibility": self.plausibility, "stillness": self.stillness,
            "silence": self.silence, "habit": self.habit,
            "warm": self.warm, "cold": self.cold, "high": self.high, "low": self.low, "danger": self.danger,
            "thaw": self.thaw, "defrosts": self.thaw.memory,
        }  # fmt: skip

    def state(self) -> dict[str, Any]:
        """All that must survive a restart, as JSON values."""
        return {name: getattr(self, name) for name in SCALARS} | {
            name: part.state() for name, part in self._parts().items()
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on exactly where ``state`` was taken; StateError when it is not such a state."""
        parts = self._parts()
        if not isinstance(state, dict) or set(state) != {*SCALARS, *parts}:
            raise StateError(f"{self.sensor}: not a probe's state")
        for name in SCALARS:
            setattr(self, name, state[name])
        for name, part in parts.items():
            part.restore(state[name])
        if self.first_s is not None:
            self._enter_span(self.last_s)

    # -- readings ----------------------------------------------------------------------------------------------------

    def feed(self, at_s: float, value_c: float) -> list[Finding]:  # noqa: PLR0912 - the hot path stays in one piece
        """The findings that this reading gives rise to; do not change the list."""
        if self.first_s is None:
            return self._first(at_s, value_c)
        elapsed_s, step_c = at_s - self.last_s, value_c - self.last_c
        settings = self.settings
        before: list[Finding] = QUIET
        if (
            not -settings.jump_c <= step_c <= settings.jump_c
            or not settings.plausible_low_c <= value_c <= settings.plausible_high_c
        ):
            doubted = self._doubt(at_s, value_c, elapsed_s)
            if doubted is not None:
                return doubted
        elif self.plausibility.count:
            self.plausibility.clear()
        silence = self.silence
        if not 0.75 * silence.interval_s <= elapsed_s <= 1.25 * silence.interval_s:
            before = self._after_pause(at_s, elapsed_s)
        if step_c:
            self.stillness.moved(at_s, self.last_s, step_c)
        elif self.stillness.rested(at_s):
            before = [*before, self._stuck(at_s, value_c)]
        if at_s >= self._span_until_s:
            self._enter_span(at_s)
        if elapsed_s != self._keep_for_s:
            self._keep, self._keep_for_s = exp(-elapsed_s / self._lag_s), elapsed_s
        air_c = value_c - step_c / 2
        if self.thaw.active:
            self.product_c = self.thaw.follow(self.product_c, air_c, self._keep)
        else:
            self.product_c = air_c + (self.product_c - air_c) * self._keep
        if self.habit.feed(at_s, value_c):
            before = [*before, *self._hour(at_s, value_c)]
        if self._idle and self._quiet_low_c <= value_c <= self._quiet_high_c:
            self.last_s, self.last_c = at_s, value_c
            return before
        found = self._judge(at_s, value_c)
        self.last_s, self.last_c = at_s, value_c
        return [*before, *found] if before else found

    def tick(self, at_s: float) -> list[Finding]:
        """Time passes without a reading: a gap is found when it is due."""
        if self.first_s is None or not self.silence.missing(self.last_s, at_s):
            return QUIET
        return [self.teller.gap(self.last_s + self.silence.gap_s, self.last_s, self.last_c)]

    def _first(self, at_s: float, value_c: float) -> list[Finding]:
        if self.plausibility.impossible(value_c, 0.0):
            self.last_c = 0.0
            return self._verdict(at_s, value_c, True) or QUIET
        self.first_s = self.last_s = self.high.first_s = self.low.first_s = at_s
        self.last_c = self.product_c = value_c
        self.stillness.moved(at_s, at_s, 0.0)
        self.habit.feed(at_s, value_c)
        self._enter_span(at_s)
        return self._judge(at_s, value_c)

    def _doubt(self, at_s: float, value_c: float, elapsed_s: float) -> list[Finding] | None:
        """The findings when the reading is not to be judged, None when it is."""
        impossible = self.plausibility.impossible(value_c, self.last_c)
        if not impossible and not self.plausibility.jumped(value_c, self.last_c, elapsed_s):
            return None
        return self._verdict(at_s, value_c, impossible)

    def _verdict(self, at_s: float, value_c: float, impossible: bool) -> list[Finding]:
        verdict = self.plausibility.doubt(impossible)
        if verdict == "suspect":
            return QUIET
        if verdict == "fault_jump":  # it stays there: from now on it is judged, and the step is told
            self.last_c = value_c
            why = phrase("jumped", air_c=value_c)
        else:
            why = phrase("impossible", value=value_c)
            self.silence.told = True  # and not also as missing
        return [self.teller.fault(verdict, at_s, value_c, why)]

    def _after_pause(self, at_s: float, elapsed_s: float) -> list[Finding]:
        found = self.tick(at_s)
        self.silence.told = False
        self.silence.learn(elapsed_s)
        return found

    def _stuck(self, at_s: float, value_c: float) -> Finding:
        since_s = self.stillness.since_s or at_s
        why = phrase("stuck", air_c=value_c, lasting_s=at_s - since_s, longest_s=self.stillness.longest_s)
        return self.teller.fault("stuck", at_s, value_c, why)

    def follow_calendar(self, ahead_s: float, shift_s: float) -> None:
        """The probe's times are *shift_s* ahead of those of the contacts, which are *ahead_s* ahead of the calendar,
        by which limits are dated and defrosts planned.
        """
        self.ahead_s = self.thaw.ahead_s = ahead_s + shift_s
        self.thaw.shift_s = self.teller.shift_s = shift_s
        self._span_until_s = float("-inf")

    def _enter_span(self, at_s: float) -> None:
        self._span, until_s = self.settings.span_at(at_s - self.ahead_s)
        self._span_until_s = until_s + self.ahead_s
        lag_s = self.settings.lag_s(self._span)
        if lag_s != self._lag_s:
            self._lag_s, self._keep_for_s = lag_s, 0.0
        self._idle = False
        self._quieten()

    def _quieten(self) -> None:
        """Below these values nothing can begin."""
        habit, span = self.habit, self._span
        high_c, low_c = _or(span.high_c, FAR_C), _or(span.low_c, -FAR_C)
        if habit.high_c is None or habit.low_c is None:
            self._usual_high, self._usual_low = Usual(high_c, FAR_C, 1.0), Usual(-low_c, FAR_C, 1.0)
        else:
            self._usual_high = Usual(habit.high_c, habit.high_alert_c, habit.swing_up_c)
            self._usual_low = Usual(-habit.low_c, -habit.low_alert_c, habit.swing_down_c)
        self._quiet_high_c = min(high_c, self._usual_high.level_c)
        self._quiet_low_c = max(low_c, -self._usual_low.level_c)

    def _hour(self, at_s: float, value_c: float) -> list[Finding]:
        """Once an hour: the habit has changed a little; is the probe still where it was for two weeks, is a defrost
        overdue?
        """
        self._quieten()
        found = []
        why = self.thaw.overdue(at_s)
        if why is not None:
            found.append(self.teller.defrost("defrost_late", self.warm, at_s, value_c, self.product_c, why))
        shift = self.habit.day_shift_c() if self.habit.day_began else None
        if shift is not None and (self.shift_told_s is None or at_s - self.shift_told_s >= SHIFT_CALM_S):
            moved_c, scatter_c = shift
            watch, excursion = (self.warm, self.high) if moved_c > 0 else (self.cold, self.low)
            known = watch.told or excursion.opened_s is not None
            if not known and abs(moved_c) >= max(SHIFT_C_MIN, SHIFT_SCATTERS * scatter_c):
                self.shift_told_s = at_s
                why = phrase("drifted", moved_c=moved_c)
                found.append(self.teller.fault("drift", at_s, value_c, why, "high" if moved_c > 0 else "low"))
        return found

    # -- judgement ---------------------------------------------------------------------------------------------------

    def _judge(self, at_s: float, value_c: float) -> list[Finding]:
        found: list[Finding] = []
        span, warm, cold, thaw = self._span, self.warm, self.cold, self.thaw
        if not warm.idle or value_c > self._usual_high.level_c:
            found += self._follow_warm(at_s, value_c)
        cold_matters = not cold.idle or -value_c > self._usual_low.level_c
        if cold_matters and cold.track(at_s, at_s - self.last_s, -value_c, -self.last_c, self._usual_low):
            cold.finish(at_s)
        found += self._excursion(self.high, warm, span.high_c, at_s, value_c, thaw.active)
        found += self._excursion(self.low, cold, span.low_c, at_s, value_c, False)
        if warm.rise.since_s is not None and not thaw.active:
            found += self._warn(warm, span.high_c, 1, at_s, value_c)
        if cold.rise.since_s is not None:
            found += self._warn(cold, span.low_c, -1, at_s, value_c)
        endangered = DANGER_LOW_C < self.product_c < DANGER_HIGH_C or self.danger.spent_s > 0
        zoned = endangered and self.settings.in_danger_zone(span)
        if zoned and self.danger.feed(self.product_c, at_s - self.last_s):
            found.append(self.teller.danger(at_s, value_c, self.product_c, self.danger.spent_s))
        self._idle = (
            not endangered
            and warm.idle
            and cold.idle
            and self.high.idle
            and self.low.idle
            and not (span.high_c is not None and self.product_c > span.high_c)
            and not (span.low_c is not None and self.product_c < span.low_c)
        )
        return found

    def _follow_warm(self, at_s: float, value_c: float) -> list[Finding]:
        """The rise on the warm side, and whether a defrost explains it."""
        habit, warm, thaw = self.habit, self.warm, self.thaw
        ended = warm.track(at_s, at_s - self.last_s, value_c, self.last_c, self._usual_high)
        spread_c = habit.high_c - habit.middle_c if habit.high_c is not None and habit.middle_c is not None else 0.0
        undamped_c = thaw.undamped_c
        found = thaw.judge(self.teller, warm, at_s, value_c, self.product_c, spread_c, ended)
        if undamped_c is not None and thaw.disproved:
            self.product_c = undamped_c
        if ended:
            if thaw.was_defrost and warm.rise.since_s is not None:
                habit.set_aside(warm.rise.since_s, value_c)
                self._quieten()
                if warm.rise.since_s == self.first_s:  # the record began with it: its air said nothing of the goods
                    self.product_c = min(self.product_c, _or(self._span.high_c, self.product_c))
            warm.finish(at_s)
        return found

    def _excursion(
        self, excursion: Excursion, watch: Watch, limit_c: float | None, at_s: float, value_c: float, deferred: bool
    ) -> list[Finding]:
        if limit_c is None:
            if not excursion.idle and excursion.withdraw(at_s):
                return [self.teller.moved("closed", excursion, at_s, value_c, self.product_c, None)]
            return QUIET
        sign = excursion.sign
        inside = sign * (value_c - limit_c) <= 0 and sign * (self.product_c - limit_c) <= 0
        if inside and excursion.idle:
            return QUIET
        move = excursion.feed(at_s, value_c, self.product_c, limit_c, deferred)
        if move is None:
            return QUIET
        if move in ("worse", "closed"):
            return [self.teller.moved(move, excursion, at_s, value_c, self.product_c, limit_c)]
        return self._opened(move, excursion, watch, limit_c, at_s, value_c)

    def _opened(
        self, move: Move, excursion: Excursion, watch: Watch, limit_c: float, at_s: float, value_c: float
    ) -> list[Finding]:
        if watch.rise.since_s is not None:
            watch.tell(at_s)  # one trouble, one message: the open excursion says more than a warning
        sign, settings, ahead_s = excursion.sign, self.settings, None
        if sign * (self.product_c - limit_c) <= 0:
            rate = watch.rise.rate_c_per_s(at_s, sign * value_c) if watch.rise.points else 0.0
            ahead_s = crossing_s(
                sign * self.product_c, sign * value_c, rate, sign * limit_c, self._lag_s,
                settings.trend_memory_s, settings.forecast_horizon_s,
            )  # fmt: skip
        opened = self.teller.opened(move, excursion, at_s, value_c, self.product_c, limit_c, watch, ahead_s)
        if move == "relapsed":  # the incident before is over, this one is another
            return [self.teller.moved(move, excursion, at_s, value_c, self.product_c, limit_c), opened]
        return [opened]

    def _warn(self, watch: Watch, limit_c: float | None, sign: int, at_s: float, value_c: float) -> list[Finding]:
        limit_up_c = None if limit_c is None else sign * limit_c
        warned = watch.judge(at_s, sign * value_c, sign * self.product_c, limit_up_c, self._lag_s)
        if warned is None:
            return QUIET
        watch.tell(at_s)
        return [self.teller.warned(warned, watch, at_s, value_c, self.product_c, limit_c)]


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
