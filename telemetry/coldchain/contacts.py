"""What the asset's contacts say: door, defrost, mains power, battery. Times come with the calls, timers survive in
the state.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from telemetry.coldchain.state import Remembering

ContactKind = Literal["door", "defrost", "power", "battery_pct"]
BATTERY_LOW_PCT = 15.0
BATTERY_WELL_PCT = 25.0
AFTER_DEFROST_S = 2_700.0
POWER_CALM_S = 60.0  # mains that flicker, or a worn contact, are one failure
ContactNews = Literal["door_open_long", "power_failed", "battery_low", "defrost_stuck"]


class Contacts(Remembering):
    """``door`` and ``defrost`` are 1 while open or heating, ``power`` is 1 while there is mains, ``battery_pct`` is
    0-100.
    """

    FIELDS: ClassVar[tuple[str, ...]] = (
        "door_since_s", "door_told", "defrost_since_s", "defrost_until_s", "defrost_told", "power_lost_s",
        "battery_told", "door_known", "power_back_s",
    )  # fmt: skip
    LATER: ClassVar[frozenset[str]] = frozenset({"power_back_s"})

    def __init__(self, door_open_s: float = 600.0, defrost_s_max: float = 3_600.0) -> None:
        self.door_open_s, self.defrost_s_max = door_open_s, defrost_s_max
        self.door_known = False
        self.door_since_s: float | None = None
        self.door_told = False
        self.defrost_since_s: float | None = None
        self.defrost_until_s: float | None = None
        self.defrost_told = False
        self.power_lost_s: float | None = None
        self.power_back_s: float | None = None
        self.battery_told = False

    def feed(self, kind: ContactKind, at_s: float, value: float) -> list[ContactNews]:
        """Take one contact reading."""
        if kind == "door":
            self.door_known = True
            if value < 0.5:
                self.door_since_s, self.door_told = None, False
            elif self.door_since_s is None:
                self.door_since_s = at_s
        elif kind == "defrost":
            self._defrost(at_s, value >= 0.5)
        elif kind == "power":
            return self._power(at_s, value >= 0.5)
        elif value >= BATTERY_WELL_PCT:
            self.battery_told = False
        elif value < BATTERY_LOW_PCT and not self.battery_told:
            self.battery_told = True
            return ["battery_low"]
        return self.tick(at_s)

    def _power(self, at_s: float, live: bool) -> list[ContactNews]:
        if live:
            if self.power_lost_s is not None:
                self.power_lost_s, self.power_back_s = None, at_s
        elif self.power_lost_s is None:
            self.power_lost_s = at_s
            if self.power_back_s is None or at_s - self.power_back_s >= POWER_CALM_S:
                return ["power_failed"]
        return self.tick(at_s)

    def _defrost(self, at_s: float, heating: bool) -> None:
        if heating:
            if self.defrost_since_s is None:
                self.defrost_since_s, self.defrost_told = at_s, False
        elif self.defrost_since_s is not None:
            self.defrost_since_s, self.defrost_until_s = None, at_s + AFTER_DEFROST_S

    def tick(self, at_s: float) -> list[ContactNews]:
        """What the passing of time makes of it; each trouble is told once."""
        news: list[ContactNews] = []
        if self.door_since_s is not None and not self.door_told and at_s - self.door_since_s >= self.door_open_s:
            self.door_told = True
            news.append("door_open_long")
        heating_since_s = self.defrost_since_s
        if heating_since_s is not None and not self.defrost_told and at_s - heating_since_s >= self.defrost_s_max:
            self.defrost_told = True
            news.append("defrost_stuck")
        return news

    def defrosting(self, at_s: float) -> bool:
        """Whether the contact explains warm air now: heating (within its bound), or shortly after."""
        if self.defrost_since_s is not None:
            return at_s - self.defrost_since_s < self.defrost_s_max
        return self.defrost_until_s is not None and at_s <= self.defrost_until_s
