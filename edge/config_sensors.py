"""What is measured where: one model per kind of sensor, discriminated by ``type``.

A sensor's identity (id, serial number, place, certificate) stands here and nowhere else; a door contact or a
power-fail input is a sensor like any other, with its own quantity.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from edge.section import Positive, Section
from telemetry.messages import Identifier

TCP_DEVICE = 255  # MODBUS Messaging on TCP/IP V1.0b, 4.4.2.1: the server that is no gateway
FieldPath = Annotated[str, Field(min_length=1, max_length=200)]
Topic = Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[^+#\x00]+$")]


class Plausible(Section):
    """Values outside are marked ``suspect``, never dropped."""

    min: float
    max: float

    @model_validator(mode="after")
    def _is_a_range(self) -> Plausible:
        if not self.min < self.max:
            raise ValueError("min must be below max")
        return self


class Sensor(Section):
    """What all sensors have: ``value = raw × scale + calibration_offset``, in ``unit_of_measure``.

    The offset is the certificate's correction; the box tells the centre which one is in force, see docs/README.
    """

    id: Identifier
    name: Annotated[str, Field(min_length=1, max_length=80)]
    place: Annotated[str, Field(max_length=80)] = ""
    quantity: Identifier = "temperature"
    unit_of_measure: Annotated[str, Field(max_length=16)] = "°C"
    scale: float = 1.0
    calibration_offset: float = 0.0
    serial_number: Annotated[str, Field(max_length=64)] = ""
    calibrated_on: date | None = None
    certificate: Annotated[str, Field(max_length=64)] = ""
    certificate_expires_on: date | None = None
    plausible: Plausible | None = None


def _unit(number: int) -> int:
    if number > 247 and number != TCP_DEVICE:
        raise ValueError("255 is a Modbus TCP device itself; units on a line are less than or equal to 247")
    return number


class BitField(Section):
    """``bit_count`` bits of the value from ``first_bit`` on; bit 0 is the lowest."""

    first_bit: Annotated[int, Field(ge=0, le=31)]
    bit_count: Annotated[int, Field(ge=1, le=32)] = 1


class ModbusSensor(Sensor):
    """One value of a Modbus unit. Orders of a 32-bit value: ABCD big/big, CDAB words little, BADC bytes little,
    DCBA both little."""

    type: Literal["modbus"]
    port: Identifier
    unit: Annotated[int, Field(ge=1), AfterValidator(_unit)]
    register_address: Annotated[int, Field(ge=0, le=65_535, alias="register")]
    table: Literal["input", "holding", "coil", "discrete"] = "input"
    data_type: Literal["int16", "uint16", "int32", "uint32", "float32"] = "int16"
    word_order: Literal["big", "little"] = "big"
    byte_order: Literal["big", "little"] = "big"
    bits: BitField | None = None
    poll_interval_s: Positive = 10.0

    @property
    def source(self) -> str:
        return self.port

    @property
    def width(self) -> int:
        """Registers (or bits of a bit table) that the value takes."""
        return 2 if self.table in ("input", "holding") and self.data_type.endswith("32") else 1

    @model_validator(mode="after")
    def _fits(self) -> ModbusSensor:
        if self.register_address + self.width > 65_536:
            raise ValueError("register: the value's second register would be behind the last one, 65535")
        if self.bits is not None:
            if self.table in ("coil", "discrete") or not self.data_type.startswith("uint"):
                raise ValueError("bits: only with data_type uint16 or uint32 of an input or holding register")
            if self.bits.first_bit + self.bits.bit_count > 16 * self.width:
                raise ValueError(f"bits: the value has only {16 * self.width} bits")
        return self


class SerialLineSensor(Sensor):
    """One value of a device that talks by itself. ``field``: a regular expression with one group (text), a column
    number from 0 (csv) or a path such as ``probe.t`` (json). ``key`` selects csv lines by their first column;
    ``values`` gives words a number."""

    type: Literal["serial_line"]
    port: Identifier
    field: FieldPath
    key: Annotated[str, Field(max_length=64)] | None = None
    values: dict[Annotated[str, Field(max_length=64)], float] = {}
    silence_s: Positive = 60.0

    @property
    def source(self) -> str:
        return self.port


class MqttSensor(Sensor):
    """One value in a broker's messages; what ``topic`` and ``field`` mean depends on the decoder, see
    edge/drivers/docs/mqtt.md. ``values`` gives words a number."""

    type: Literal["mqtt"]
    broker: Identifier
    topic: Topic
    decoder: Literal["json", "zigbee2mqtt", "chirpstack", "sparkplug", "tasmota"] = "json"
    field: FieldPath
    time_field: FieldPath | None = None
    availability_topic: Topic | None = None
    offline_payload: Annotated[str, Field(min_length=1, max_length=256)] = "offline"
    values: dict[Annotated[str, Field(max_length=64)], float] = {}
    qos: Literal[0, 1] = 1
    silence_s: Positive = 900.0

    @property
    def source(self) -> str:
        return self.broker

    @model_validator(mode="after")
    def _sparkplug_topic(self) -> MqttSensor:
        if self.decoder == "sparkplug" and len(self.topic.split("/")) not in (2, 3):
            raise ValueError("topic: for sparkplug it is group/node or group/node/device, without spBv1.0")
        return self


class OneWireSensor(Sensor):
    """A DS18B20 on the kernel's 1-Wire bus, by its 64-bit ROM id."""

    type: Literal["onewire"]
    bus: Identifier = "onewire"
    device: Annotated[str, Field(pattern=r"^[0-9a-f]{2}-[0-9a-f]{12}$")]
    poll_interval_s: Positive = 10.0

    @property
    def source(self) -> str:
        return self.bus


class ReplaySensor(Sensor):
    """A column of a recorded file."""

    type: Literal["replay"]
    file: Identifier
    column: Annotated[str, Field(min_length=1, max_length=80)]

    @property
    def source(self) -> str:
        return self.file


AnySensor = Annotated[
    ModbusSensor | SerialLineSensor | MqttSensor | OneWireSensor | ReplaySensor, Field(discriminator="type")
]
