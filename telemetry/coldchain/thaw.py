"""Whether a defrost explains the warm air just now: by schedule, by contact, or because it looks like those seen
before.

While it does, the goods are coupled to the air only weakly and nothing is told. When it does not end as it should,
the weak coupling is taken back (``undamped_c``) and the trouble is told.
"""

from __future__ import annotations

from typing import ClassVar

from telemetry.coldchain.contacts import AFTER_DEFROST_S, Contacts
from telemetry.coldchain.defrost import HEIGHT_C_MIN, RAMP_S_MIN, DefrostMemory
from telemetry.coldchain.finding import Finding
from telemetry.coldchain.settings import SensorSettings
from telemetry.coldchain.state import Remembering
from telemetry.coldchain.teller import Teller
from telemetry.coldchain.watch import Watch
from telemetry.coldchain.wording import Phrase, phrase


class Thaw(Remembering):
    """``active`` while a defrost is taken as the reason of warm air."""

    FIELDS: ClassVar[tuple[str, ...]] = (
        "active", "told", "stuck_told", "planned_until_s", "undamped_c", "heated_s",
    )  # fmt: skip
    LATER: ClassVar[frozenset[str]] = frozenset({"heated_s"})

    def __init__(self, settings: SensorSettings, memory: DefrostMemory, contacts: Contacts) -> None:
        self.settings, self.memory, self.contacts = settings, memory, contacts
        self.active = False
        self.told = False
        self.stuck_told = False
        self.planned_until_s: float | None = None
        self.heated_s: float | None = None  # since when the contact explains this rise
        self.undamped_c: float | None = None
        self.disproved = self.was_defrost = False  # what the reading judged last made of the rise
        self.ahead_s = self.shift_s = 0.0  # of the calendar and of the contacts, see Probe.follow_calendar

    def follow(self, product_c: float, air_c: float, keep: float) -> float:
        """The goods' temperature after a step during the defrost; the full coupling is followed beside it."""
        undamped_c = product_c if self.undamped_c is None else self.undamped_c
        self.undamped_c = air_c + (undamped_c - air_c) * keep
        return product_c + (air_c - product_c) * (1 - keep) * self.settings.defrost_coupling

    def judge(
        self, teller: Teller, warm: Watch, at_s: float, value_c: float, product_c: float, spread_c: float, ended: bool
    ) -> list[Finding]:
        """Follow one reading; *ended* says that the rise is over by it."""
        self.disproved = self.was_defrost = False
        rise = warm.rise
        if rise.since_s is None:
            self._rest()
            return []
        if ended:
            return self._ended(teller, warm, at_s, value_c, product_c, spread_c)
        planned = self._planned(at_s, rise.turned(value_c))
        if planned or (self.settings.learn_defrosts and self.memory.resembles(rise, at_s, value_c)):
            self.active = True
            return self._announce(teller, warm, at_s, value_c, product_c, planned)
        return self._give_up(teller, warm, at_s, value_c, product_c) if self.active else []

    def _announce(
        self, teller: Teller, warm: Watch, at_s: float, value_c: float, product_c: float, planned: bool
    ) -> list[Finding]:
        """Say once that this is a defrost, when it is more than the usual swing."""
        rise = warm.rise
        assert rise.since_s is not None
        if self.told or rise.height_c < HEIGHT_C_MIN or not (planned or at_s - rise.since_s >= RAMP_S_MIN):
            return []
        self.told = True
        why = phrase("defrost_planned") if planned else phrase("defrost_known", seen=float(len(self.memory.seen)))
        return [teller.defrost("defrost", warm, at_s, value_c, product_c, why)]

    def _give_up(self, teller: Teller, warm: Watch, at_s: float, value_c: float, product_c: float) -> list[Finding]:
        """It is no defrost after all, or one that does not end."""
        rise = warm.rise
        assert rise.since_s is not None
        self.active, self.disproved, self.undamped_c = False, True, None
        planned = self.planned_until_s is not None or self.heated_s is not None
        overlong = planned or self.memory.outlasts(rise, at_s, value_c)
        if not (self.told and overlong) or self.stuck_told or warm.told:
            return []
        self.stuck_told = True
        warm.tell(at_s)
        why = phrase("defrost_no_end", lasting_s=at_s - rise.since_s)
        return [teller.defrost("defrost_stuck", warm, at_s, value_c, product_c, why)]

    def _planned(self, at_s: float, turned: bool) -> bool:
        """Whether contact or schedule explain this rise. They do so for one defrost and not for the next, unless the
        air has turned between: a contact that goes with the compressor, or a window every other hour, would else
        explain for ever why a freezer thaws.
        """
        if self.contacts.defrosting(at_s - self.shift_s):
            if self.heated_s is None or (turned and at_s > self._heated_until_s(self.heated_s)):
                self.heated_s = at_s
            if at_s <= self._heated_until_s(self.heated_s):
                return True
        if self.planned_until_s is None or (turned and at_s > self.planned_until_s):
            until_s = self.settings.schedule.end_at(at_s - self.ahead_s) if self.settings.schedule else None
            if until_s is not None:
                self.planned_until_s = until_s + self.ahead_s + self.settings.defrost_grace_s
        return self.planned_until_s is not None and at_s <= self.planned_until_s

    def _heated_until_s(self, heated_s: float) -> float:
        return heated_s + self.contacts.defrost_s_max + AFTER_DEFROST_S

    def _ended(
        self, teller: Teller, warm: Watch, at_s: float, value_c: float, product_c: float, spread_c: float
    ) -> list[Finding]:
        rise = warm.rise
        assert rise.since_s is not None
        found = []
        self.was_defrost = self.active and self.told  # else it was a door's short gust
        if self.settings.learn_defrosts and self.memory.learn(rise, at_s, spread_c):
            self.was_defrost = True
            if not self.told:
                why = phrase("defrost_learnt", lasting_s=at_s - rise.since_s)
                found.append(teller.defrost("defrost", warm, at_s, value_c, product_c, why))
            if self.memory.too_often() and not self.settings.schedule:
                why = phrase("defrost_again", after_s=at_s - self.memory.seen[-2][0])
                found.append(teller.defrost("defrost_often", warm, at_s, value_c, product_c, why))
        elif self.was_defrost and not self.settings.schedule:
            self.memory.recur(rise.since_s)
        self._rest()
        return found

    def _rest(self) -> None:
        self.active = self.told = self.stuck_told = False
        self.planned_until_s = self.heated_s = self.undamped_c = None

    def overdue(self, at_s: float) -> Phrase | None:
        """The phrase when a regular defrost stays away."""
        if not self.settings.learn_defrosts or self.settings.schedule:
            return None
        late_s = self.memory.overdue_s(at_s)
        if late_s is None:
            return None
        return phrase("defrost_away", late_s=late_s, period_s=self.memory.period_s or 0.0)
