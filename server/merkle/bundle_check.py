"""Checks an exported bundle with public keys alone: no database, no network, no other file."""

from __future__ import annotations

import json
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from server.merkle.bundle import FORMAT, ITEMS_MAX
from server.merkle.checkpoint import CheckpointWrong, TreeHead, open_checkpoint
from server.merkle.leaves import evidence_fields, leaf_data
from server.merkle.public_keys import PublicKeys
from server.merkle.tree import ProofWrong, check_inclusion, leaf_hash
from telemetry.batch import BatchError, open_batch
from telemetry.evidence import EvidenceError, open_evidence

FILE_BYTES_MAX = 32 * 1024 * 1024
LIST_BYTES_MAX = 512 * 1024 * 1024
# where in a leaf the digest of the file's bytes stands
DIGEST_AT = {"self_control": 8, "report_file": 5, "asset": 5}
MAY_LACK_FILE = "asset"  # what an asset said before is on record by its digest only
Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class _Item(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: str
    leaf: list[Any]
    position: Annotated[int, Field(ge=0, le=2**53)]
    path: Annotated[list[Hash], Field(max_length=64)]
    file: str | None


class _Listed(BaseModel):
    model_config = ConfigDict(extra="forbid")

    format: Literal["brightline-bundle-1"]
    of: dict[str, Any]
    checkpoint: str
    items: Annotated[list[_Item], Field(max_length=ITEMS_MAX)]
    missing: list[str]


@dataclass
class BundleVerification:
    """What the bundle holds, what is wrong with it, and what it says itself that it lacks (``gaps``)."""

    items: int = 0
    batches: int = 0
    pictures: int = 0
    documents: int = 0
    samples: int = 0
    assets: int = 0
    head: str = ""
    problems: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)


def verify_bundle(path: Path, keys: PublicKeys) -> BundleVerification:
    """Check everything in it; raises ValueError for a file that is no bundle at all, OSError."""
    found = BundleVerification()
    try:
        with zipfile.ZipFile(path) as archive:
            listed = _Listed.model_validate_json(_read(archive, "bundle.json", LIST_BYTES_MAX))
            try:
                head = open_checkpoint(listed.checkpoint, keys.log)
            except CheckpointWrong as error:
                found.problems.append(f"the head {error}")
                return found
            found.head = f"{head.size} leaves at {head.at}"
            found.gaps = listed.missing
            known = {"bundle.json"}
            for item in listed.items:
                found.items += 1
                known |= {item.file} if item.file else set()
                found.problems += _faults(archive, item, head, keys, found)
            found.problems += _loose_files(archive, listed, known)
            found.problems += _left_out(listed)
    except (zipfile.BadZipFile, ValidationError, KeyError, NotImplementedError) as error:
        raise ValueError(f"{path}: is no {FORMAT} ({type(error).__name__})") from None
    return found


def _read(archive: zipfile.ZipFile, name: str, bytes_max: int = FILE_BYTES_MAX) -> bytes:
    """A member, read no further than it may be long; raises KeyError or ValueError."""
    with archive.open(name) as file:
        data = file.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise ValueError(f"{name} has more than {bytes_max} bytes")
    return data


def _faults(
    archive: zipfile.ZipFile, item: _Item, head: TreeHead, keys: PublicKeys, found: BundleVerification
) -> Iterator[str]:
    name = f"{item.kind} at leaf {item.position}"
    if item.leaf[:1] != [item.kind]:
        yield f"{name}: its leaf is of another kind"
        return
    hash_ = leaf_hash(leaf_data(item.kind, item.leaf[1:]))
    try:
        check_inclusion(hash_, item.position, head.size, [bytes.fromhex(text) for text in item.path], head.root)
    except ProofWrong as error:
        yield f"{name}: {error}"
    found.samples += item.kind == "sample"
    found.assets += item.kind == "asset" and item.file is not None
    if item.kind in ("batch", "evidence", *DIGEST_AT) and (item.file is not None or item.kind != MAY_LACK_FILE):
        try:
            data = _read(archive, item.file or "")
        except KeyError:
            yield f"{name}: its bytes are not in the bundle"
            return
        except zipfile.BadZipFile:
            yield f"{name}: its bytes are damaged"
            return
        yield from _faults_of_bytes(name, item, data, keys, found)


def _faults_of_bytes(name: str, item: _Item, data: bytes, keys: PublicKeys, found: BundleVerification) -> Iterator[str]:
    if item.kind in DIGEST_AT:
        found.documents += item.kind != "asset"
        if sha256(data).hexdigest() not in item.leaf[DIGEST_AT[item.kind] :][:1]:
            yield f"{name}: its bytes are not those of its digest"
        return
    leaf = _leaf_of_bytes(item, data, keys)
    found.batches += item.kind == "batch"
    found.pictures += item.kind == "evidence"
    if isinstance(leaf, str):
        yield f"{name}: {leaf}"
    elif leaf != item.leaf[1:]:
        yield f"{name}: its bytes are those of another one"


def _left_out(listed: _Listed) -> Iterator[str]:
    """A self-control record comes with all its editions to the newest, the end of a sample with the sample."""
    editions: dict[str, set[int]] = defaultdict(set)
    samples, ended = set[str](), set[str]()
    for item in listed.items:
        number, _, edition = [*item.leaf[1:4], None, None, None][:3]
        if item.kind == "self_control" and isinstance(edition, int):
            editions[str(item.leaf[2])].add(edition)
        elif item.kind in ("sample", "sample_end"):
            (samples if item.kind == "sample" else ended).add(str(number))
    for record, known in editions.items():
        if len(known) != max(known):
            yield f"self-control record {record}: {len(known)} of {max(known)} editions are in the bundle"
    yield from (f"sample {number}: its end is in the bundle without it" for number in sorted(ended - samples))


def _leaf_of_bytes(item: _Item, data: bytes, keys: PublicKeys) -> list[Any] | str:
    """The fields of the leaf, made again from the signed bytes; a sentence when they do not hold."""
    try:
        if item.kind == "batch":
            batch = open_batch(data, keys.boxes.get)
            header = batch.header
            return [header.box_id, header.epoch, header.lane, header.seq, batch.sha256]
        sealed = open_evidence(data, keys.boxes.get)
    except (BatchError, EvidenceError) as error:
        return str(error)
    told = sealed.manifest
    fields = [told.sha256, told.box_id, told.incident_id, told.role, told.size_bytes, sealed.signed, sealed.signature]
    return evidence_fields(fields)


def _loose_files(archive: zipfile.ZipFile, listed: _Listed, known: set[str]) -> Iterator[str]:
    """Proof photos are named by their digest in a leaf; nothing else may lie in the bundle."""
    text = json.dumps([item.leaf for item in listed.items if item.kind == "photo"])
    for name in archive.namelist():
        if name in known:
            continue
        folder, _, digest = name.partition("/")
        if folder != "photos" or digest not in text:
            yield f"{name}: nothing in the log speaks of it"
            continue
        try:
            matches = sha256(_read(archive, name)).hexdigest() == digest
        except zipfile.BadZipFile:
            matches = False
        if not matches:
            yield f"{name}: its bytes were changed"
