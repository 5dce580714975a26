"""The sentences of findings: each says what is seen, since when, and what was ruled out.

A finding says phrases: a key and the numbers it rests on. English is made here, for logs and replays; the centre makes
the reader's language from the same phrases. The end of an argument's name is its unit and says how it is written:
``_c`` °C, ``_s`` a length of time, ``_at`` a moment (seconds since 1970 UTC), ``_c_per_s`` a trend, ``_c_h`` °C·h.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

Clock = Callable[[float], str]
TEXTS: dict[str, str] = {
    "product_above": "the product is estimated at {product_c}, above the limit of {limit_c}; the air reads {air_c}",
    "product_below": "the product is estimated at {product_c}, below the limit of {limit_c}; the air reads {air_c}",
    "air_above": "air above the limit of {limit_c} since {since_at} ({lasting_s}), now {air_c}",
    "air_below": "air below the limit of {limit_c} since {since_at} ({lasting_s}), now {air_c}",
    "air_above_in_all": "air above the limit of {limit_c} for {lasting_s} within a day in all, now {air_c}",
    "air_below_in_all": "air below the limit of {limit_c} for {lasting_s} within a day in all, now {air_c}",
    "product_follows": "the product follows at about {cross_at}",
    "dose_above": "{dose_c_h} above the limit by now",
    "dose_below": "{dose_c_h} below the limit by now",
    "product_at": "product estimated at {product_c}",
    "limit_ended": "the limit is no longer in force",
    "calm_before": "hours of calm lie before this relapse, which is an excursion of its own",
    "inside_for": "inside for {lasting_s}",
    "now_at": "now {air_c}",
    "rising": "rising {rate_c_per_s} since {since_at}",
    "falling": "falling {rate_c_per_s} since {since_at}",
    "staying": "at {air_c} since {since_at}",
    "unusually_warm": "above its usual {usual_c} since {since_at}, now {air_c}",
    "unusually_cold": "below its usual {usual_c} since {since_at}, now {air_c}",
    "door_closed": "door closed",
    "door_opened": "door open since {since_at}",
    "no_defrost_due": "no defrost due",
    "no_turning_back": "without turning back",
    "product_limit_at": "product limit at about {cross_at}",
    "defrost_planned": "defrost, as planned",
    "defrost_known": "defrost, like the {seen} seen before, still within their time",
    "defrost_learnt": "defrost, {lasting_s}: a steady ramp and a full return",
    "defrost_no_end": "the defrost has lasted {lasting_s} and the air does not come back",
    "defrost_again": "{after_s} after the last: ice or a faulty timer",
    "defrost_away": "no defrost for {late_s}; usually one every {period_s}",
    "defrost_contact": "the defrost contact has been closed for {lasting_s}",
    "defrost_shape": "the rise began like this probe's defrosts and did not end like them",
    "jumped": "jumped to {air_c} faster than air can; three readings alike, so it is judged from here on",
    "impossible": "reads {value}, which the probe cannot measure: broken wire, short circuit or no answer",
    "stuck": "exactly {air_c} for {lasting_s}; this probe never rested longer than {longest_s}",
    "drifted": "its daily mean has moved by {moved_c} against the days before: drift or a new set point",
    "twins_apart": "{first} and {second} differ by {apart_c}, usually by {usual_c}: one of them drifts",
    "no_reading": "no reading since {since_at} (last {air_c})",
    "danger_zone": "food between 8 and 60 °C for {lasting_s} in all (product estimated at {product_c})",
    "door_open_long": "the door has been open for too long",
    "power_failed": "mains power is lost",
    "battery_low": "the sensor's battery is low",
    "defrost_stuck": "the defrost contact has stayed closed for too long: the heater may be stuck",
    "no_power": "no mains power since {since_at}",
    "door_open_since": "the door has been open since {since_at}",
    "ran_up": "the air ran up by {run_c} at once and levelled off",
    "steady_climb": "a steady climb of {rate_c_per_s} since {since_at} without any turn",
    "stays_up": "the air stays up while the machine works: warm goods or too little cooling power",
    "others_rise": "other probes rise at the same time: {probes}",
    "twin_calm": "its twin {twin} reads {air_c} and does not rise",
}
UNITS = {"minutes": "min", "hours": "h", "per_minute": "°C/min", "per_hour": "°C/h"}
Value = float | str


@dataclass(frozen=True)
class Phrase:
    """One thing that a finding says; ``args`` in the order of their names."""

    key: str
    args: tuple[tuple[str, Value], ...] = ()

    def moved(self, by_s: float) -> Phrase:
        """The same with its moments *by_s* later."""
        return Phrase(
            self.key,
            tuple((n, v + by_s if n.endswith("_at") and not isinstance(v, str) else v) for n, v in self.args),
        )

    def encoded(self) -> str:
        """As an event carries it: ``["key", {"name": value}]`` in JSON."""
        return json.dumps([self.key, dict(self.args)], ensure_ascii=False, separators=(",", ":"))


def phrase(key: str, **args: Value) -> Phrase:
    """A phrase of TEXTS; what comes from measurement is kept to a thousandth."""
    return Phrase(key, tuple((name, round(v, 6) if isinstance(v, float) else v) for name, v in sorted(args.items())))


def english(phrases: Iterable[Phrase], clock: Clock) -> str:
    """The phrases as one sentence."""
    return "; ".join(write(TEXTS[item.key], dict(item.args), clock, UNITS) for item in phrases)


def write(text: str, args: Mapping[str, Value], clock: Clock, units: Mapping[str, str]) -> str:
    """*text* with its arguments in the unit that reads best. Raises KeyError when one is missing."""
    return text.format_map({name: _written(name, value, clock, units) for name, value in args.items()})


def _written(name: str, value: Value, clock: Clock, units: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return value
    if name.endswith("_c_per_s"):
        per_min = abs(value) * 60
        return f"{per_min:.1f} {units['per_minute']}" if per_min >= 0.1 else f"{per_min * 60:.1f} {units['per_hour']}"
    if name.endswith("_s"):
        return f"{value / 60:.0f} {units['minutes']}" if value < 7_200 else f"{value / 3_600:.1f} {units['hours']}"
    if name.endswith("_at"):
        return clock(value)
    number = f"{value:+.1f}" if name.startswith("moved_") else f"{value:.1f}"
    unit = name.rpartition("_c_h")[1] or name.rpartition("_c")[1]
    return {"_c_h": f"{number} °C·h", "_c": f"{number} °C"}.get(unit, f"{value:g}")


def clock_in(zone: tzinfo = UTC) -> Clock:
    """How times are written in sentences: hours and minutes in *zone*."""

    def at(at_s: float) -> str:
        return datetime.fromtimestamp(at_s, zone).strftime("%H:%M")

    return at
