"""Figures for information: mean kinetic temperature, and the danger-zone clock for food. Pure.

Neither excuses an excursion. MKT: T = (ΔH/R) / -ln(Σ exp(-ΔH/(R·Tᵢ)) / n) in kelvin at equal intervals, ΔH = 83.144
kJ/mol (ICH / USP <1079.2>). Danger zone 8-60 °C, two hours: see DangerClock.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import exp, log
from typing import ClassVar

from telemetry.coldchain.state import Remembering

ACTIVATION_K = 10_000.0
ZERO_C_K = 273.15
DANGER_LOW_C, DANGER_HIGH_C = 8.0, 60.0
DANGER_S = 7_200.0


def mean_kinetic_c(values_c: Iterable[float]) -> float:
    """The mean kinetic temperature in °C of readings at equal intervals; ValueError without readings."""
    total, count = 0.0, 0
    for value_c in values_c:
        total += exp(-ACTIVATION_K / (value_c + ZERO_C_K))
        count += 1
    if count == 0:
        raise ValueError("needs at least one reading")
    return ACTIVATION_K / -log(total / count) - ZERO_C_K


class DangerClock(Remembering):
    """Seconds that food has spent between 8 and 60 °C. Growth does not go back.

    Two hours in the zone is the limit of canteen practice rules; time outside neither adds nor takes away, except
    that after ``cleared_s`` in good temperature the goods are taken to be others.
    """

    FIELDS: ClassVar[tuple[str, ...]] = ("spent_s", "safe_s", "told")

    def __init__(self) -> None:
        self.spent_s = self.safe_s = 0.0
        self.told = False

    def feed(self, product_c: float, elapsed_s: float, cleared_s: float = 86_400.0) -> bool:
        """True once, when the two hours are used up."""
        if not DANGER_LOW_C < product_c < DANGER_HIGH_C:
            self.safe_s += elapsed_s
            if self.safe_s >= cleared_s:
                self.spent_s, self.told = 0.0, False
            return False
        self.safe_s = 0.0
        self.spent_s += elapsed_s
        if self.told or self.spent_s < DANGER_S:
            return False
        self.told = True
        return True
