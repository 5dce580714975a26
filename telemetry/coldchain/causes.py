"""Root-cause hints: what usually looks like this, each with the fact it rests on. A hint is never a verdict.

Contacts know; shapes suggest. An open door lets the air run up fast and level off; a stopped compressor lets it climb
steadily at the speed of the room's own losses; warm goods lift the mean while the machine still works against it.
"""

from __future__ import annotations

from dataclasses import dataclass

from telemetry.coldchain.contacts import Contacts
from telemetry.coldchain.finding import Cause
from telemetry.coldchain.rise import Rise
from telemetry.coldchain.wording import Clock, phrase

DOOR_SHARE = 0.65
FAST_C_PER_S = 0.25 / 60


@dataclass(frozen=True)
class Scene:
    """What is known when a hint is asked for."""

    at_s: float
    value_c: float
    contacts: Contacts
    rise: Rise
    defrost_overlong: bool
    clock: Clock
    shift_s: float = 0.0  # of ``at_s`` before the times of the contacts


def hint(scene: Scene) -> tuple[Cause, ...]:
    """The likely causes, the best founded first."""
    causes = list(_from_contacts(scene))
    if scene.defrost_overlong and not any(cause.code == "defrost_stuck" for cause in causes):
        causes.append(Cause.of("defrost_stuck", phrase("defrost_shape"), scene.clock))
    if not causes and scene.rise.since_s is not None:
        causes.extend(_from_shape(scene))
    return tuple(causes)


def companions_cause(names: list[str], clock: Clock) -> Cause:
    """Several probes at once: what they share is the likely cause."""
    return Cause.of("power_or_plant", phrase("others_rise", probes=", ".join(names)), clock)


def _from_contacts(scene: Scene) -> list[Cause]:
    contacts, causes = scene.contacts, []
    if contacts.power_lost_s is not None:
        lost = phrase("no_power", since_at=contacts.power_lost_s + scene.shift_s)
        causes.append(Cause.of("power_failed", lost, scene.clock))
    if contacts.door_since_s is not None:
        opened = phrase("door_open_since", since_at=contacts.door_since_s + scene.shift_s)
        causes.append(Cause.of("door_open", opened, scene.clock))
    since_s, at_s = contacts.defrost_since_s, scene.at_s - scene.shift_s
    if since_s is not None and at_s - since_s >= contacts.defrost_s_max:
        causes.append(Cause.of("defrost_stuck", phrase("defrost_contact", lasting_s=at_s - since_s), scene.clock))
    return causes


def _from_shape(scene: Scene) -> list[Cause]:
    rise = scene.rise
    assert rise.since_s is not None
    trend = rise.rate_c_per_s(scene.at_s, scene.value_c)
    early = rise.early_share(rise.peak_s, rise.peak_c) if rise.readings >= 3 else 0.5
    fast = rise.slope_c_per_s > FAST_C_PER_S
    if fast and (early > DOOR_SHARE or rise.step_c > 0.3 * (rise.peak_c - rise.from_c)):
        return [Cause.of("door_open", phrase("ran_up", run_c=rise.peak_c - rise.from_c), scene.clock)]
    if trend > 0 and not rise.turned(scene.value_c):
        climb = phrase("steady_climb", rate_c_per_s=trend, since_at=rise.since_s)
        return [Cause.of("compressor_stopped", climb, scene.clock)]
    return [Cause.of("warm_load", phrase("stays_up"), scene.clock)]


def twin_cause(name: str, value_c: float, clock: Clock) -> Cause:
    """The probe beside it sees nothing: rather the sensor than the room."""
    return Cause.of("sensor_fault", phrase("twin_calm", twin=name, air_c=value_c), clock)
