"""The section `status_mqtt`: a broker of the site's own that is shown what the box sees. Off unless it stands there."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from edge.config_ports import BrokerTls, Host, PortNumber
from edge.section import Section

TopicPrefix = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^+#/$\x00][^+#\x00]*[^+#/\x00]$")]


class StatusMqttSection(Section):
    """``interval_s``: how often the states are published at most; events do not wait. ``home_assistant``: announce the
    sensors under ``discovery_prefix``. ``client_id``: brightline-status-BOX_ID without it.
    """

    host: Host
    port: PortNumber = 1883
    client_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")] | None = None
    username: Annotated[str, Field(max_length=256)] | None = None
    password: SecretStr | None = None
    tls: BrokerTls | None = None
    qos: Literal[0, 1] = 1
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    interval_s: Annotated[float, Field(ge=0.1, le=3600)] = 1.0
    topic_prefix: TopicPrefix = "brightline"
    home_assistant: bool = False
    discovery_prefix: TopicPrefix = "homeassistant"

    @model_validator(mode="after")
    def _password_has_a_user(self) -> StatusMqttSection:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        return self
