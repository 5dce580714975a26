"""What the JSON of each family of devices means: plain paths, zigbee2mqtt, ChirpStack v4, Tasmota. Pure functions.

Each takes a parsed document and says which number one sensor gets from it, or None when the message is about
something else. Sources: zigbee2mqtt "MQTT Topics and Messages"; ChirpStack v4 "Event types" (event/up); Tasmota "MQTT".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from edge.drivers.decoders.payload import PayloadError, Sample, find, to_number, to_time_s

Path = Sequence[str]
DocumentDecoder = Callable[[object, Path, Path | None, Mapping[str, float]], Sample | None]


def decode_plain(document: object, path: Path, time_path: Path | None, words: Mapping[str, float]) -> Sample:
    """A document of the user's own making: the field must be there."""
    try:
        value = find(document, path)
    except KeyError as error:
        raise PayloadError("the field is not in the message") from error
    return Sample(to_number(value, words), _time(document, time_path))


def decode_zigbee2mqtt(
    document: object, path: Path, time_path: Path | None, words: Mapping[str, float]
) -> Sample | None:
    """A device's state; messages may hold a part of it. ``last_seen`` is its time unless another field is named."""
    return _partial(document, path, time_path or ("last_seen",), words)


def decode_tasmota(document: object, path: Path, time_path: Path | None, words: Mapping[str, float]) -> Sample | None:
    """tele/…/SENSOR: its ``Time`` has no zone and is not used; Fahrenheit becomes Celsius (``TempUnit``)."""
    sample = _partial(document, path, time_path, words)
    fahrenheit = isinstance(document, dict) and document.get("TempUnit") == "F"
    if sample is not None and fahrenheit and path[-1] in ("Temperature", "DewPoint"):
        return Sample((sample.value - 32) * 5 / 9, sample.at_s)
    return sample


def decode_chirpstack(
    document: object, path: Path, time_path: Path | None, words: Mapping[str, float]
) -> Sample | None:
    """An uplink: the field is looked up in ``object``, what the device profile's codec made of the bytes."""
    if not isinstance(document, dict) or not isinstance(document.get("deduplicationId"), str):
        raise PayloadError("no ChirpStack event: deduplicationId is missing")
    decoded = document.get("object")
    if decoded is None:
        raise PayloadError("the uplink was not decoded; give its device profile a codec")
    sample = _partial(decoded, path, None, words)
    return None if sample is None else Sample(sample.value, _time(document, time_path or ("time",)))


def deduplication_id(document: object) -> str | None:
    """ChirpStack's name of an uplink, the same when it is published twice."""
    name = document.get("deduplicationId") if isinstance(document, dict) else None
    return name if isinstance(name, str) and len(name) <= 64 else None


def is_offline(payload: bytes, word: str) -> bool:
    """Whether an availability message says offline: the bare word in any case, or JSON ``{"state": word}``."""
    text = payload[:300].decode("utf-8", "replace").strip()
    if text.startswith("{"):
        quoted = f'"state":"{word}"'.lower()
        return quoted in text.lower().replace(" ", "")
    return text.lower() == word.lower()


def default_availability_topic(decoder: str, topic: str) -> str | None:
    """Where devices of this family leave their last will."""
    if decoder == "zigbee2mqtt":
        return f"{topic}/availability"
    if decoder == "tasmota" and topic.endswith("/SENSOR"):
        return topic.removesuffix("SENSOR") + "LWT"
    return None


def _partial(document: object, path: Path, time_path: Path | None, words: Mapping[str, float]) -> Sample | None:
    try:
        value = find(document, path)
    except KeyError:
        return None
    return Sample(to_number(value, words), _time(document, time_path))


def _time(document: object, time_path: Path | None) -> float | None:
    if time_path is None:
        return None
    try:
        return to_time_s(find(document, time_path))
    except KeyError:
        return None


DECODERS: dict[str, DocumentDecoder] = {
    "json": decode_plain,
    "zigbee2mqtt": decode_zigbee2mqtt,
    "chirpstack": decode_chirpstack,
    "tasmota": decode_tasmota,
}
