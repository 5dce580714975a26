"""Proof photos: what is no photo is refused with a sentence, and what is shown says nothing of the phone."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from html import unescape

import pytest
from PIL import Image

from server.i18n import catalogue
from server.photo import PhotoRefused, read_photo
from tests.server.centre import Centre, Person, proof

Jpeg = Callable[..., bytes]
GPS = 0x8825


@pytest.fixture(scope="module")
def alert_id(centre: Centre, staff: Person) -> int:
    return centre.box().raise_alert(staff)


def submit_form(staff: Person, alert_id: int, photo: bytes, language: str) -> tuple[int, str]:
    answer = staff.post(
        f"/alerts/{alert_id}/submit",
        data={**proof(), "csrf": staff.csrf["x-csrf-token"]},
        files={"photo": ("照片.jpg", photo, "image/jpeg")},
        headers={"accept-language": language},
    )
    return answer.status_code, unescape(answer.text)


def bomb() -> bytes:
    """A PNG of a few kilobytes that says it has 900 megapixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    head = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("photo", "status", "code"),
    [
        (bytes(50 * 1024 * 1024), 413, "photo_too_large"),
        (b"this is only a text\n" * 50, 422, "photo_not_a_picture"),
        (b"", 422, "photo_missing"),
        (bomb(), 422, "photo_too_many_pixels"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>", 422, "photo_not_a_picture"),
    ],
    ids=["50 MB", "text named .jpg", "empty", "bomb", "svg"],
)
def test_what_is_no_photo_is_refused_with_a_sentence_and_not_kept(
    centre: Centre, staff: Person, alert_id: int, photo: bytes, status: int, code: str
) -> None:
    before = centre.dump()
    for language in ("zh-CN", "en"):
        found, text = submit_form(staff, alert_id, photo, language)
        assert (found, catalogue()[code][language] in text) == (status, True)
    answer = staff.submit(alert_id, photo)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert centre.dump() == before


def test_a_stranger_uploads_nothing(centre: Centre, alert_id: int, jpeg: Jpeg) -> None:
    with centre.client() as stranger:
        page = stranger.post(f"/alerts/{alert_id}/submit", files={"photo": jpeg(1)})
        api = stranger.post(f"/api/v1/alerts/{alert_id}/rectifications", files={"photo": jpeg(1)})
    assert (page.status_code, page.headers["location"], api.status_code) == (303, "/login", 401)


def test_a_form_without_a_photo_or_with_too_long_a_note_is_refused(staff: Person, alert_id: int, jpeg: Jpeg) -> None:
    path = f"/api/v1/alerts/{alert_id}/rectifications"
    answers = [
        staff.post(path, headers=staff.csrf),
        staff.post(path, headers=staff.csrf, data={"photo": "text"}),
        staff.post(path, headers=staff.csrf, files={"photo": jpeg(1)}, data={"matter": "长" * 2001}),
    ]
    assert [answer.status_code for answer in answers] == [422] * 3
    assert [answer.json()["code"] for answer in answers] == ["photo_missing", "photo_missing", "note_too_long"]


def test_a_form_with_thousands_of_parts_is_refused(staff: Person, alert_id: int) -> None:
    path = f"/api/v1/alerts/{alert_id}/rectifications"
    many = [("photo", (f"{number}.jpg", b"x")) for number in range(200)]
    assert 400 <= staff.post(path, headers=staff.csrf, files=many).status_code < 500


def test_a_body_beyond_64_megabytes_is_refused(staff: Person, alert_id: int) -> None:
    answer = staff.submit(alert_id, bytes(64 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def photo_with_exif(orientation: int) -> bytes:
    """60 × 40, red on the left, blue on the right."""
    picture = Image.new("RGB", (60, 40), (255, 0, 0))
    picture.paste((0, 0, 255), (30, 0, 60, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "SecretPhoneMaker"
    exif.get_ifd(GPS)[1] = "N"
    exif.get_ifd(GPS)[2] = (39.0, 54.0, 15.0)
    out = io.BytesIO()
    picture.save(out, "JPEG", exif=exif, quality=95)
    return out.getvalue()


def test_what_is_shown_is_upright_and_without_place_or_phone(centre: Centre, staff: Person) -> None:
    alert_id = centre.box().raise_alert(staff)
    sent = photo_with_exif(6)
    assert b"SecretPhoneMaker" in sent
    assert staff.submit(alert_id, sent).status_code == 201
    sha256 = staff.get(f"/api/v1/alerts/{alert_id}").json()["rectifications"][0]["photos"][0]["sha256"]
    shown = staff.get(f"/api/v1/evidence/{sha256}").content
    assert b"SecretPhoneMaker" not in shown
    with Image.open(io.BytesIO(shown)) as picture:
        assert (picture.format, picture.size, dict(picture.getexif())) == ("JPEG", (40, 60), {})
        top, bottom = picture.getpixel((20, 5)), picture.getpixel((20, 55))
    assert isinstance(top, tuple)
    assert isinstance(bottom, tuple)
    assert (top[0] > 200, top[2] < 60, bottom[0] < 60, bottom[2] > 200) == (True,) * 4


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_the_named_formats_are_shown_within_1600_pixels(kind: str) -> None:
    out = io.BytesIO()
    picture = Image.new("RGB", (4000, 3000), (9, 99, 9))
    picture.paste((200, 30, 30), (0, 0, 2000, 1000))
    picture.save(out, kind)
    with Image.open(io.BytesIO(read_photo(out.getvalue()).shown)) as shown:
        assert (shown.format, max(shown.size)) == ("JPEG", 1600)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow warns of damaged EXIF and goes on
def test_damaged_photos_are_refused_and_never_a_fault() -> None:
    pick = random.Random(3)
    sources = [photo_with_exif(6)]
    for kind in ("PNG", "WEBP"):
        out = io.BytesIO()
        Image.linear_gradient("L").resize((50, 50)).convert("RGB").save(
            out, kind, exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x00\x00"
        )
        sources.append(out.getvalue())
    for number in range(600):
        damaged = bytearray(sources[number % 3])
        for _ in range(pick.randrange(1, 12)):
            damaged[pick.randrange(len(damaged))] = pick.randrange(256)
        end = pick.randrange(1, len(damaged) + 1) if number % 2 else len(damaged)
        with suppress(PhotoRefused):
            assert read_photo(bytes(damaged[:end])).shown.startswith(b"\xff\xd8")
