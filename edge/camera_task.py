"""What a camera process is told at its start, as one line of JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edge.config_cameras import Camera
from edge.config_evidence import EvidenceSection


class CameraTask(BaseModel):
    """One camera. ``open_incidents``: kind, or kind@zone → incident id. ``blind``: it was told as blind before.
    ``crashed_shadows``: numbers of its models whose candidate took the process down, again and again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    box_id: str
    camera: Camera
    key_file: Path
    spool_dir: Path
    open_incidents: dict[str, str]
    blind: bool = False
    crashed_shadows: tuple[int, ...] = ()
    evidence: EvidenceSection = EvidenceSection()

    @property
    def evidence_dir(self) -> Path:
        """Where the originals stay."""
        return self.spool_dir.parent / "evidence"


class WatchTask(BaseModel):
    """What the parent tells the camera process; ``crumbs_file``: see `vision.crumbs`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cameras: Annotated[tuple[CameraTask, ...], Field(min_length=1)]
    crumbs_file: Path
