"""How boxes are looked after: one optional YAML file, ``boxes.yaml``, in the folder of the record."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

FILE_NAME = "boxes.yaml"
FILE_BYTES_MAX = 64 * 1024


class BoxSettings(BaseModel):
    """A box that told nothing for ``silent_after_s`` is silent (boxes tell their status every 5 minutes);
    ``look_s`` is how often the centre looks, ``rollout_look_s`` how often it looks whether a roll-out goes on."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    silent_after_s: Annotated[float, Field(ge=1, le=7 * 86_400)] = 900.0
    look_s: Annotated[float, Field(ge=0.1, le=300)] = 15.0
    rollout_look_s: Annotated[float, Field(ge=0.1, le=60)] = 5.0

    @model_validator(mode="after")
    def _fits(self) -> BoxSettings:
        if self.look_s > self.silent_after_s:
            raise ValueError("look_s must not be longer than silent_after_s")
        return self


def load_boxes(data_dir: Path) -> BoxSettings:
    """The settings in the data folder's ``boxes.yaml``, else those of the product; raises ValueError."""
    path = data_dir / FILE_NAME
    if not path.exists():
        return BoxSettings()
    try:
        if path.stat().st_size > FILE_BYTES_MAX:
            raise ValueError(f"{path}: has more than {FILE_BYTES_MAX} bytes")
        data: Any = yaml.safe_load(path.read_bytes())
        return BoxSettings.model_validate(data)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({type(error).__name__})") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML") from error
    except ValidationError as error:
        found = [f"{path}: {'.'.join(map(str, item['loc'])) or 'settings'}: {item['msg']}" for item in error.errors()]
        raise ValueError("\n".join(found)) from None
