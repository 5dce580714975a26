"""Turns what the rules found into findings: the one place where a probe's numbers become a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.coldchain.causes import Scene, hint
from telemetry.coldchain.contacts import ContactNews, Contacts
from telemetry.coldchain.excursion import Excursion, Move
from telemetry.coldchain.finding import Cause, Finding, FindingKind, Side
from telemetry.coldchain.watch import Warned, Watch
from telemetry.coldchain.wording import Clock, beyond, degrees, duration, rate

CONTACT_WORDS: dict[ContactNews, str] = {
    "door_open_long": "the door has been open for too long",
    "power_failed": "mains power is lost",
    "battery_low": "the sensor's battery is low",
    "defrost_stuck": "the defrost contact has stayed closed for too long: the heater may be stuck",
}


@dataclass
class Teller:
    """Speaks for one probe."""

    sensor: str
    clock: Clock
    contacts: Contacts

    def opened(
        self,
        move: Move,
        excursion: Excursion,
        at_s: float,
        value_c: float,
        product_c: float,
        limit_c: float,
        watch: Watch,
        crossing_s: float | None,
    ) -> Finding:
        """An excursion opens; *crossing_s* from now the goods will be outside too."""
        side: Side = "high" if excursion.sign > 0 else "low"
        limit = f"{beyond(side)} the limit of {degrees(limit_c)}"
        if move == "opened_product":
            reason = f"the product is estimated at {degrees(product_c)}, {limit}; the air reads {degrees(value_c)}"
        elif move in ("opened_air", "relapsed"):
            assert excursion.since_s is not None
            since = self.clock(excursion.since_s)
            reason = f"air {limit} since {since} ({duration(at_s - excursion.since_s)}), now {degrees(value_c)}"
        else:
            outside = duration(excursion.outside_s(at_s))
            reason = f"air {limit} for {outside} within a day in all, now {degrees(value_c)}"
        forecast_at_s = None
        if crossing_s is not None:
            forecast_at_s = at_s + crossing_s
            reason += f"; the product follows at about {self.clock(forecast_at_s)}"
        causes = hint(self._scene(at_s, value_c, watch, False)) if watch.warm else ()
        if causes:
            reason += f"; {causes[0].evidence}"
        return Finding(
            "excursion_opened", move, at_s, self.sensor, side, value_c, limit_c, reason,
            severity=excursion.severity, product_c=product_c, forecast_at_s=forecast_at_s, causes=causes,
        )  # fmt: skip

    def moved(
        self, move: Move, excursion: Excursion, at_s: float, value_c: float, product_c: float, limit_c: float | None
    ) -> Finding:
        """An excursion got worse or is over."""
        side: Side = "high" if excursion.sign > 0 else "low"
        if move == "worse":
            dose = f"{excursion.dose_c_h:.1f} °C·h {beyond(side)} the limit by now"
            reason = f"{dose}; product estimated at {degrees(product_c)}"
            return Finding(
                "excursion_updated", move, at_s, self.sensor, side, value_c, limit_c, reason,
                severity=excursion.severity, product_c=product_c,
            )  # fmt: skip
        if limit_c is None:
            kept = "the limit is no longer in force"
        elif move == "relapsed":
            kept = "hours of calm lie before this relapse, which is an excursion of its own"
        else:
            kept = f"inside for {duration(excursion.holdoff.hold_s)}"
        return Finding(
            "excursion_closed", "closed", at_s, self.sensor, side, value_c, limit_c,
            f"{kept}, now {degrees(value_c)}, product estimated at {degrees(product_c)}",
            severity="info", product_c=product_c,
        )  # fmt: skip

    def warned(
        self, warned: Warned, watch: Watch, at_s: float, value_c: float, product_c: float, limit_c: float | None
    ) -> Finding:
        """The trend is bad."""
        rise = watch.rise
        assert rise.since_s is not None
        side: Side = "high" if watch.warm else "low"
        direction = "rising" if watch.warm else "falling"
        since = self.clock(rise.since_s)
        tail = f"{self._door()}no defrost due" if watch.warm else f"{self._door()}without turning back"
        forecast_at_s = None if warned.crossing_s is None else at_s + warned.crossing_s
        if warned.code == "unusual":
            usual = degrees(rise.level_c if watch.warm else -rise.level_c)
            reason = f"{beyond(side)} its usual {usual} since {since}, now {degrees(value_c)}, {tail}"
        else:
            trend = f"{direction} {rate(warned.rate_c_per_s)}" if warned.rate_c_per_s > 0 else f"at {degrees(value_c)}"
            reason = f"{trend} since {since}, {tail}"
        if forecast_at_s is not None:
            reason += f": product limit at about {self.clock(forecast_at_s)}"
        causes = hint(self._scene(at_s, value_c if watch.warm else -value_c, watch, False)) if watch.warm else ()
        return Finding(
            "warning", warned.code, at_s, self.sensor, side, value_c,
            limit_c, reason, product_c=product_c, forecast_at_s=forecast_at_s, causes=causes,
        )  # fmt: skip

    def defrost(self, code: str, watch: Watch, at_s: float, value_c: float, product_c: float, why: str) -> Finding:
        """A defrost was recognised (code ``defrost``) or is itself the trouble."""
        kind: FindingKind = "defrost" if code == "defrost" else "warning"
        causes = hint(self._scene(at_s, value_c, watch, True)) if code == "defrost_stuck" else ()
        return Finding(
            kind, code, at_s, self.sensor, "high", value_c, None, why,
            severity="info" if kind == "defrost" else "warning", product_c=product_c, causes=causes,
        )  # fmt: skip

    def fault(self, code: str, at_s: float, value_c: float, why: str, side: Side = "high") -> Finding:
        """The probe cannot be believed."""
        return Finding(
            "sensor_fault", code, at_s, self.sensor, side, value_c, None, why, causes=(Cause("sensor_fault", why),)
        )  # fmt: skip

    def gap(self, at_s: float, last_s: float, last_c: float) -> Finding:
        """Readings are missing."""
        why = f"no reading since {self.clock(last_s)} (last {degrees(last_c)})"
        return Finding("data_gap", "data_gap", at_s, self.sensor, "high", None, None, why)

    def danger(self, at_s: float, value_c: float, product_c: float, spent_s: float) -> Finding:
        """Food has been in the danger zone too long."""
        why = f"food between 8 and 60 °C for {duration(spent_s)} in all (product estimated at {degrees(product_c)})"
        side: Side = "high" if product_c < 34 else "low"
        return Finding(
            "warning", "danger_zone", at_s, self.sensor, side, value_c, None, why, "critical", product_c=product_c
        )  # fmt: skip

    def contact(self, news: ContactNews, at_s: float, value_c: float | None) -> Finding:
        """A contact has something to say."""
        kind: FindingKind = "sensor_fault" if news == "battery_low" else "warning"
        return Finding(kind, news, at_s, self.sensor, "high", value_c, None, CONTACT_WORDS[news])

    def _door(self) -> str:
        if not self.contacts.door_known:
            return ""
        since_s = self.contacts.door_since_s
        return "door closed, " if since_s is None else f"door open since {self.clock(since_s)}, "

    def _scene(self, at_s: float, value_c: float, watch: Watch, overlong: bool) -> Scene:
        return Scene(at_s, value_c, self.contacts, watch.rise, overlong, self.clock)
