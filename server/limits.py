"""Settings of how often somebody may ask; `server.rate_limit` keeps them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Limits(BaseModel):
    """Requests per second and how many at once, for a caller and for an address; failed log-ins of an address."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    caller_per_s: Annotated[float, Field(gt=0)] = 50.0
    caller_burst: Annotated[int, Field(ge=1)] = 500
    address_per_s: Annotated[float, Field(gt=0)] = 500.0
    address_burst: Annotated[int, Field(ge=1)] = 5000
    failed_logins_per_minute: Annotated[float, Field(gt=0)] = 6.0
    failed_logins_burst: Annotated[int, Field(ge=1)] = 60
