"""A cold room in three numbers: air, product and wall temperature. Pure, and the same for the same seed.

Each node relaxes towards its neighbours (lumped capacities, Newton's law of cooling); the compressor removes a
constant power while it runs. Time constants are those of a walk-in room of about 20 m³.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

AIR_TO_WALL_S = 600.0  # air follows the walls and goods within about ten minutes
AIR_TO_OUTSIDE_OPEN_S = 150.0  # and the kitchen's air within minutes when the door stands open
WALL_TO_OUTSIDE_S = 40_000.0
PRODUCT_TO_AIR_S = 5_400.0  # a crate of milk lags an hour and a half behind
COOLING_C_PER_S = 0.02


@dataclass
class ColdRoom:
    """Call `step`; read `air_c` and `product_c` (°C)."""

    setpoint_c: float = 3.0
    outside_c: float = 26.0
    air_c: float = 3.0
    wall_c: float = 3.5
    product_c: float = 3.2
    door_open: bool = False
    compressor_failed: bool = False
    compressor_on: bool = False
    noise_c: float = 0.05
    seed: int = 1
    _random: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311 - measurement noise

    def step(self, dt_s: float) -> None:
        """Advance by *dt_s* seconds in parts of at most 10 s, which keeps Euler's method stable here."""
        while dt_s > 0:
            part_s = min(dt_s, 10.0)
            self._euler(part_s)
            dt_s -= part_s

    def _euler(self, dt_s: float) -> None:
        if self.air_c > self.setpoint_c + 1.0:
            self.compressor_on = True
        elif self.air_c < self.setpoint_c - 1.0:
            self.compressor_on = False
        rate = (self.wall_c - self.air_c) / AIR_TO_WALL_S
        if self.door_open:
            rate += (self.outside_c - self.air_c) / AIR_TO_OUTSIDE_OPEN_S
        if self.compressor_on and not self.compressor_failed:
            rate -= COOLING_C_PER_S
        self.wall_c += dt_s * (
            (self.air_c - self.wall_c) / AIR_TO_WALL_S / 4 + (self.outside_c - self.wall_c) / WALL_TO_OUTSIDE_S
        )
        self.product_c += dt_s * (self.air_c - self.product_c) / PRODUCT_TO_AIR_S
        self.air_c += dt_s * rate

    def measured_c(self, true_c: float) -> float:
        """What a probe says: the truth with Gaussian noise."""
        return true_c + self._random.gauss(0, self.noise_c)
