"""A model as somebody uploads it: looked at by size, digest and the shape of its manifest, then kept for good.

Nothing here runs it, and no library that could is loaded: what onnxruntime thinks of it, each box finds out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import Request
from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile

from server.audit import person
from server.deps import AppState, transact
from server.models import User
from server.problems import Problem
from server.rollout.desk import Kept, make_release
from server.rollout.models import Release
from telemetry.messages import Identifier
from telemetry.released_model import MANIFEST_BYTES_MAX, MODEL_BYTES_MAX, SLOT, check_model, read_manifest
from telemetry.releases import ReleaseError

FORM_BYTES_MAX = MODEL_BYTES_MAX + MANIFEST_BYTES_MAX + 64 * 1024  # the files, and what their form adds
NAME_CHARACTERS_MAX = 80
_PLACE: TypeAdapter[str] = TypeAdapter(Identifier)
_FILE = {"type": "string", "format": "binary"}
BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["name", "manifest", "model"],
                    "properties": {
                        "name": {"type": "string", "minLength": 1, "maxLength": NAME_CHARACTERS_MAX},
                        "slot": {"type": "string", "default": SLOT, "description": "whose place it takes on a box"},
                        "manifest": {**_FILE, "description": "JSON: sha256, input_px, names, licence ..."},
                        "model": {**_FILE, "description": "ONNX"},
                    },
                }
            }
        },
    }
}


@dataclass(frozen=True)
class ModelForm:
    """What a form holds; nothing of it has been looked at but its sizes."""

    name: str
    slot: str
    manifest: bytes
    model: bytes
    csrf: str


async def read_form(request: Request) -> ModelForm:
    """The parts of a form; raises Problem. Read after the log-in: strangers upload nothing."""
    async with request.form(max_files=2, max_fields=4, max_part_size=64 * 1024) as form:
        manifest = await _file(form, "manifest", MANIFEST_BYTES_MAX)
        model = await _file(form, "model", MODEL_BYTES_MAX)
        name, slot, csrf = (str(form.get(key) or "").strip() for key in ("name", "slot", "csrf"))
    return ModelForm(name, slot or SLOT, manifest, model, csrf)


async def _file(form: FormData, name: str, bytes_max: int) -> bytes:
    upload = form.get(name)
    if not isinstance(upload, UploadFile):
        raise Problem(422, "release", f"send a form (multipart/form-data) with a file named {name}")
    data = await upload.read(bytes_max + 1)
    if len(data) > bytes_max:
        raise Problem(413, "too_large", f"{name} has at most {bytes_max} bytes")
    return data


def keep_model(state: AppState, form: ModelForm, user: User, remote: str) -> Release:
    """Check the form's files, keep them and note the release; raises Problem 422."""
    if not 1 <= len(form.name) <= NAME_CHARACTERS_MAX:
        raise Problem(422, "release", f"name has 1 to {NAME_CHARACTERS_MAX} characters")
    try:
        slot = _PLACE.validate_python(form.slot)
        manifest = read_manifest(form.manifest)
        check_model(manifest, form.model)
    except ValidationError as error:
        raise Problem(422, "release", "slot has 1 to 64 letters, digits and _ . : -") from error
    except ReleaseError as error:
        raise Problem(422, "release", str(error)) from error
    digest, model_sha256 = state.blobs.put(form.manifest), state.blobs.put(form.model)
    kept = Kept(form.name, digest, len(form.model), slot, model_sha256)
    return transact(state, lambda db: make_release(db, kept, user, person(user, remote)))
