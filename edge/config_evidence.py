"""What the box keeps of its cameras and for how long, and who may open the originals that leave it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from edge.evidence_sealing import read_recipients
from telemetry.evidence import RECIPIENTS_MAX, AgeRecipient
from telemetry.messages import Identifier

MIB = 1024 * 1024
Days = Annotated[float, Field(ge=1, le=3_660)]
Tier = Literal["I", "II", "III"]


class EvidenceSection(BaseModel):
    """``sealed_to``: age public keys of the regulator; without one no original leaves the box. A key is replaced by
    adding the new one, and taking the old one away later. ``face_model``: a YuNet file in ONNX, besides the models.

    Originals stay on the box for ``keep_days``, or what its kind (first) or tier says; the oldest go earlier when they
    all are more than ``local_bytes_max`` or the disk has less than ``free_bytes_min`` left. Held ones always stay.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    sealed_to: Annotated[tuple[AgeRecipient, ...], Field(max_length=RECIPIENTS_MAX)] = ()
    face_model: Path | None = None
    keep_days: Days = 15
    keep_days_by_tier: dict[Tier, Days] = {"I": 30}
    keep_days_by_kind: dict[Identifier, Days] = {}
    local_bytes_max: Annotated[int, Field(ge=MIB)] = 8 * 1024 * MIB
    free_bytes_min: Annotated[int, Field(ge=0)] = 256 * MIB
    films: bool = True

    @field_validator("sealed_to")
    @classmethod
    def _are_keys(cls, recipients: tuple[str, ...]) -> tuple[str, ...]:
        if recipients:
            read_recipients(recipients)
        return recipients

    def days_for(self, kind: str, tier: Tier | None) -> float:
        """How long to keep the original of an incident of *kind*."""
        by_tier = self.keep_days if tier is None else self.keep_days_by_tier.get(tier, self.keep_days)
        return self.keep_days_by_kind.get(kind, by_tier)

    def located(self, folder: Path) -> EvidenceSection:
        """The same with paths from *folder*."""
        return self if self.face_model is None else self.model_copy(update={"face_model": folder / self.face_model})
