"""Turns what the rules found into findings: the one place where a probe's numbers become a sentence."""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.coldchain.causes import Scene, hint
from telemetry.coldchain.contacts import ContactNews, Contacts
from telemetry.coldchain.excursion import Excursion, Move
from telemetry.coldchain.finding import Cause, Finding, FindingKind, Side
from telemetry.coldchain.watch import Warned, Watch
from telemetry.coldchain.wording import Clock, Phrase, english, phrase


@dataclass
class Teller:
    """Speaks for one probe."""

    sensor: str
    clock: Clock
    contacts: Contacts
    shift_s: float = 0.0  # see Probe.follow_calendar

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
        beyond = "above" if side == "high" else "below"
        if move == "opened_product":
            said = [phrase(f"product_{beyond}", product_c=product_c, limit_c=limit_c, air_c=value_c)]
        elif move in ("opened_air", "relapsed"):
            since_s = excursion.since_s
            assert since_s is not None
            lasting_s = at_s - since_s
            said = [phrase(f"air_{beyond}", limit_c=limit_c, since_at=since_s, lasting_s=lasting_s, air_c=value_c)]
        else:
            outside_s = excursion.outside_s(at_s)
            said = [phrase(f"air_{beyond}_in_all", limit_c=limit_c, lasting_s=outside_s, air_c=value_c)]
        forecast_at_s = None if crossing_s is None else at_s + crossing_s
        if forecast_at_s is not None:
            said.append(phrase("product_follows", cross_at=forecast_at_s))
        causes = hint(self._scene(at_s, value_c, watch, False)) if watch.warm else ()
        said += [cause.said for cause in causes[:1]]
        return Finding(
            "excursion_opened", move, at_s, self.sensor, side, value_c, limit_c, english(said, self.clock),
            severity=excursion.severity, product_c=product_c, forecast_at_s=forecast_at_s, causes=causes, said=(*said,),
        )  # fmt: skip

    def moved(
        self, move: Move, excursion: Excursion, at_s: float, value_c: float, product_c: float, limit_c: float | None
    ) -> Finding:
        """An excursion got worse or is over."""
        side: Side = "high" if excursion.sign > 0 else "low"
        product = phrase("product_at", product_c=product_c)
        if move == "worse":
            dose = phrase("dose_above" if side == "high" else "dose_below", dose_c_h=excursion.dose_c_h)
            return Finding(
                "excursion_updated", move, at_s, self.sensor, side, value_c, limit_c,
                english((dose, product), self.clock), severity=excursion.severity, product_c=product_c,
                said=(dose, product),
            )  # fmt: skip
        if limit_c is None:
            kept = phrase("limit_ended")
        elif move == "relapsed":
            kept = phrase("calm_before")
        else:
            kept = phrase("inside_for", lasting_s=excursion.holdoff.hold_s)
        said = (kept, phrase("now_at", air_c=value_c), product)
        return Finding(
            "excursion_closed", "closed", at_s, self.sensor, side, value_c, limit_c, english(said, self.clock),
            severity="info", product_c=product_c, said=said,
        )  # fmt: skip

    def warned(
        self, warned: Warned, watch: Watch, at_s: float, value_c: float, product_c: float, limit_c: float | None
    ) -> Finding:
        """The trend is bad."""
        rise = watch.rise
        assert rise.since_s is not None
        side: Side = "high" if watch.warm else "low"
        if warned.code == "unusual":
            usual_c = rise.level_c if watch.warm else -rise.level_c
            key = "unusually_warm" if watch.warm else "unusually_cold"
            said = [phrase(key, usual_c=usual_c, since_at=rise.since_s, air_c=value_c)]
        elif warned.rate_c_per_s > 0:
            key = "rising" if watch.warm else "falling"
            said = [phrase(key, rate_c_per_s=warned.rate_c_per_s, since_at=rise.since_s)]
        else:
            said = [phrase("staying", air_c=value_c, since_at=rise.since_s)]
        said += [*self._door(), phrase("no_defrost_due" if watch.warm else "no_turning_back")]
        forecast_at_s = None if warned.crossing_s is None else at_s + warned.crossing_s
        if forecast_at_s is not None:
            said.append(phrase("product_limit_at", cross_at=forecast_at_s))
        causes = hint(self._scene(at_s, value_c if watch.warm else -value_c, watch, False)) if watch.warm else ()
        return Finding(
            "warning", warned.code, at_s, self.sensor, side, value_c,
            limit_c, english(said, self.clock), product_c=product_c, forecast_at_s=forecast_at_s, causes=causes,
            said=(*said,),
        )  # fmt: skip

    def defrost(self, code: str, watch: Watch, at_s: float, value_c: float, product_c: float, why: Phrase) -> Finding:
        """A defrost was recognised (code ``defrost``) or is itself the trouble."""
        kind: FindingKind = "defrost" if code == "defrost" else "warning"
        causes = hint(self._scene(at_s, value_c, watch, True)) if code == "defrost_stuck" else ()
        return Finding(
            kind, code, at_s, self.sensor, "high", value_c, None, english((why,), self.clock),
            severity="info" if kind == "defrost" else "warning", product_c=product_c, causes=causes, said=(why,),
        )  # fmt: skip

    def fault(self, code: str, at_s: float, value_c: float, why: Phrase, side: Side = "high") -> Finding:
        """The probe cannot be believed."""
        cause = Cause.of("sensor_fault", why, self.clock)
        return Finding(
            "sensor_fault", code, at_s, self.sensor, side, value_c, None, cause.evidence, causes=(cause,), said=(why,)
        )  # fmt: skip

    def gap(self, at_s: float, last_s: float, last_c: float) -> Finding:
        """Readings are missing."""
        said = (phrase("no_reading", since_at=last_s, air_c=last_c),)
        reason = english(said, self.clock)
        return Finding("data_gap", "data_gap", at_s, self.sensor, "high", None, None, reason, said=said)

    def danger(self, at_s: float, value_c: float, product_c: float, spent_s: float) -> Finding:
        """Food has been in the danger zone too long."""
        said = (phrase("danger_zone", lasting_s=spent_s, product_c=product_c),)
        side: Side = "high" if product_c < 34 else "low"
        return Finding(
            "warning", "danger_zone", at_s, self.sensor, side, value_c, None, english(said, self.clock), "critical",
            product_c=product_c, said=said,
        )  # fmt: skip

    def contact(self, news: ContactNews, at_s: float, value_c: float | None) -> Finding:
        """A contact has something to say."""
        kind: FindingKind = "sensor_fault" if news == "battery_low" else "warning"
        said = (phrase(news),)
        reason = english(said, self.clock)
        return Finding(kind, news, at_s, self.sensor, "high", value_c, None, reason, said=said)

    def _door(self) -> list[Phrase]:
        if not self.contacts.door_known:
            return []
        since_s = self.contacts.door_since_s
        if since_s is None:
            return [phrase("door_closed")]
        return [phrase("door_opened", since_at=since_s + self.shift_s)]

    def _scene(self, at_s: float, value_c: float, watch: Watch, overlong: bool) -> Scene:
        return Scene(at_s, value_c, self.contacts, watch.rise, overlong, self.clock, self.shift_s)
