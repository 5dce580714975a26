"""What every section of the configuration is made of: frozen, no unknown keys, bounded numbers."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Positive = Annotated[float, Field(gt=0, le=86_400)]


class Section(BaseModel):
    """Base of all sections: frozen, no unknown keys, no NaN (a limit of NaN would never alarm)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
