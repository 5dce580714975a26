"""Where sensors are reached: serial lines, Modbus TCP servers, MQTT brokers, the 1-Wire bus, recorded files.

Every port has an ``id`` that sensors refer to, and exactly one owner in the running box. Nothing here opens anything.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, field_validator, model_validator

from edge.section import Positive, Section
from telemetry.messages import Identifier

Host = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[A-Za-z0-9.:_-]+$")]
PortNumber = Annotated[int, Field(ge=1, le=65_535)]
AnswerTimeout = Annotated[float, Field(gt=0, le=10)]


class LineFormat(Section):
    """How a device that talks by itself frames its messages; see edge/drivers/docs/serial_line.md.

    ``checksum_encoding`` is 2 (crc16: 4) hexadecimal digits or raw bytes (crc16: low byte first).
    """

    framing: Literal["line", "stx_etx"] = "line"
    content: Literal["text", "csv", "json"] = "text"
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    checksum: Literal["none", "xor", "sum8", "crc16"] = "none"
    checksum_encoding: Literal["hex", "raw"] = "hex"
    checksum_covers_etx: bool = True
    frame_bytes_max: Annotated[int, Field(ge=8, le=65_536)] = 1024

    @model_validator(mode="after")
    def _can_be_framed(self) -> LineFormat:
        if self.framing == "line" and self.checksum != "none" and self.checksum_encoding == "raw":
            raise ValueError(
                "a raw checksum byte may equal the line end; use checksum_encoding: hex or framing: stx_etx"
            )
        return self


class RegisterBlocks(Section):
    """How far registers are read together: over at most ``gap_registers_max`` unused ones, so many at once."""

    gap_registers_max: Annotated[int, Field(ge=0, le=124)] = 8
    block_registers_max: Annotated[int, Field(ge=1, le=125)] = 125


class SerialPort(RegisterBlocks):
    """One serial line; only one owner polls it. ``timeout_s`` is the wait for one answer."""

    id: Identifier
    device: Path
    baud: Annotated[int, Field(ge=300, le=4_000_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    timeout_s: AnswerTimeout = 0.5
    line: LineFormat = LineFormat()


class ModbusTcpPort(RegisterBlocks):
    """One Modbus TCP server or gateway (MODBUS Messaging on TCP/IP V1.0b)."""

    id: Identifier
    host: Host
    port: PortNumber = 502
    timeout_s: AnswerTimeout = 1.0


class BrokerTls(Section):
    """TLS to the broker; without ``ca_file`` the system's authorities count. The host name is always checked."""

    ca_file: Path | None = None
    client_cert_file: Path | None = None
    client_key_file: Path | None = None

    @model_validator(mode="after")
    def _has_both_halves(self) -> BrokerTls:
        if (self.client_cert_file is None) != (self.client_key_file is None):
            raise ValueError("client_cert_file and client_key_file go together")
        return self


class Broker(Section):
    """An MQTT broker. The session ``client_id`` persists for ``session_expiry_s`` while the box is away (MQTT 5)."""

    id: Identifier
    host: Host
    port: PortNumber = 1883
    protocol: Literal["5", "3.1.1"] = "5"
    client_id: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:-]+$")]
    username: Annotated[str, Field(max_length=256)] | None = None
    password: SecretStr | None = None
    tls: BrokerTls | None = None
    keepalive_s: Annotated[int, Field(ge=5, le=3600)] = 30
    session_expiry_s: Annotated[int, Field(ge=0, le=4_294_967_295)] = 7 * 86_400
    inflight_max: Annotated[int, Field(ge=1, le=65_535)] = 2_000

    @field_validator("protocol", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _password_has_a_user(self) -> Broker:
        if self.password is not None and self.username is None:
            raise ValueError("a password needs a username")
        return self


class OneWireBus(Section):
    """The kernel's 1-Wire bus; ``folder`` is where its devices appear."""

    id: Identifier = "onewire"
    folder: Path = Path("/sys/bus/w1/devices")
    timeout_s: AnswerTimeout = 3.0


class ReplayFile(Section):
    """A CSV file of readings: one column of times (ISO 8601), one column a sensor, blanks are gaps.

    ``speed`` is times real time; ``times: now`` stamps rows when they are played, ``original`` keeps the file's.
    """

    id: Identifier
    file: Path
    time_column: Annotated[str, Field(min_length=1, max_length=80)] = "time"
    speed: Positive = 1.0
    times: Literal["now", "original"] = "now"
    repeat: bool = False


Port = SerialPort | ModbusTcpPort | Broker | OneWireBus | ReplayFile
