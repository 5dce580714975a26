"""One rule that is watched in one zone: from the scene to an incident that opens or closes, and the time it covered."""

from __future__ import annotations

from dataclasses import dataclass, field

from vision.catalogue import Rule, StateRule
from vision.detections import Floats
from vision.judgement import judge
from vision.places import Places
from vision.scene import Scene
from vision.violation import Closed, Opened, Verdict, ViolationMachine
from vision.zones import Zone


@dataclass
class Guard:
    """``looker`` is the number of the model that finds its subjects: the rule is asked when that one has looked."""

    code: str
    rule: Rule
    zone: Zone
    machine: ViolationMachine
    looker: int
    boxes: dict[int, Floats] = field(default_factory=dict)  # of the last scene, by track
    was_active: bool = True
    verdicts: tuple[Verdict, ...] = ()  # of the last scene
    watched_at_s: float | None = None
    _places: Places | None = None  # of what is judged by the place where it stands

    def __post_init__(self) -> None:
        if isinstance(self.rule, StateRule):
            self._places = Places(self.rule.grace_s, self.rule.reach)

    @property
    def zone_id(self) -> str:
        return self.zone.zone_id

    def watch(self, scene: Scene, now_s: float, *, active: bool) -> Opened | Closed | None:
        """Ask the rule about *scene*; outside of its periods nobody is judged, and what is open runs out."""
        self.was_active = active
        self.verdicts, self.watched_at_s = (), now_s
        if not active:
            self.boxes = {}
            return self.machine.observe([], now_s)
        if self._places is not None:
            scene = self._places.name(scene, self.rule.subjects, now_s)
        judged = judge(self.rule, scene, self.zone, self.machine.is_offender)
        self.boxes = {item.observation.track_id: item.xyxy for item in judged if item.xyxy is not None}
        self.verdicts = tuple(item.observation.verdict for item in judged)
        return self.machine.observe([item.observation for item in judged], now_s)

    def covers(self, scene: Scene) -> bool:
        """Whether everything that the rule needs was looked for."""
        return set(self.rule.needs) <= scene.looked_for
