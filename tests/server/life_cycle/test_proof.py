"""五定: each of the five that is missing is named; a photo is of its alert's time, and used once."""

from __future__ import annotations

import io
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from server import service
from server.life_cycle.likeness import bands, distance, likeness_of, signed
from server.life_cycle.proof import Claim, DuplicatePhoto, Fault, Proof, ProofRefused, prove
from server.life_cycle.state import MoveRefused
from server.models_life_cycle import RectificationPhoto
from server.photo import Photo, PhotoRefused, read_photo
from tests.server.life_cycle.record import CLAIM, MORNING, ZONE, Desk

OPENED = MORNING
NOW = MORNING + timedelta(hours=1)
SAID = replace(CLAIM, taken_at="2026-03-10T09:30")  # in the site's time
PHOTO = Photo(b"p", b"s", 1)
SKEW = timedelta(minutes=5)
BITS = st.integers(0, 2**64 - 1)


def scene(seed: int, size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A picture with large and small parts, as a kitchen has."""
    pick = random.Random(seed)
    rough = Image.frombytes("RGB", (6, 5), pick.randbytes(90)).resize(size, Image.Resampling.BICUBIC)
    fine = Image.frombytes("RGB", (60, 45), pick.randbytes(8100)).resize(size, Image.Resampling.NEAREST)
    return Image.blend(rough, fine, 0.25)


def encoded(picture: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def exif_of(taken: str = "", offset: str = "", gps: dict[int, Any] | None = None) -> Image.Exif:
    exif = Image.Exif()
    if taken:
        exif.get_ifd(0x8769)[0x9003] = taken
    if offset:
        exif.get_ifd(0x8769)[0x9011] = offset
    for tag, value in (gps or {}).items():
        exif.get_ifd(0x8825)[tag] = value
    return exif


def proved(photos: list[Photo], claim: Claim = SAID) -> Proof:
    return prove(photos, claim, OPENED, ZONE, NOW, SKEW)


def faults(photos: list[Photo], claim: Claim = SAID) -> tuple[Fault, ...]:
    with pytest.raises(ProofRefused) as caught:
        proved(photos, claim)
    return caught.value.faults


@pytest.mark.parametrize("element", ["place", "person", "matter", "scene"])
def test_each_element_that_is_missing_is_refused_by_its_name(element: str) -> None:
    assert faults([PHOTO], replace(SAID, **{element: ""})) == (f"proof_{element}_missing",)


def test_all_that_is_missing_is_told_at_once() -> None:
    assert faults([PHOTO], Claim(taken_at="soon")) == (
        "proof_time_missing", "proof_place_missing", "proof_person_missing", "proof_matter_missing",
        "proof_scene_missing",
    )  # fmt: skip


def test_time_and_place_come_from_the_phone_or_else_from_the_form() -> None:
    taken = replace(PHOTO, taken_at=datetime(2026, 3, 10, 9, 15), place=(30.25, 120.13))  # noqa: DTZ001 - the phone's
    (found,) = proved([taken], replace(SAID, place="", taken_at="")).photos
    assert (found.taken_at, found.taken_from) == (datetime(2026, 3, 10, 1, 15, tzinfo=UTC), "exif")
    (found,) = proved([PHOTO]).photos
    assert (found.taken_at, found.taken_from) == (datetime(2026, 3, 10, 1, 30, tzinfo=UTC), "form")
    assert faults([taken, replace(PHOTO, likeness=2)], replace(SAID, place="")) == ("proof_place_missing",)


@pytest.mark.parametrize(
    ("minutes", "fault"),
    [
        (-6, "photo_before_alert"),
        (-5, None),
        (0, None),
        (65, None),
        (66, "photo_from_future"),
        (-9e5, "photo_before_alert"),
    ],
)
def test_a_photo_is_no_older_than_its_alert_and_not_of_the_future(minutes: float, fault: Fault | None) -> None:
    photo = replace(PHOTO, taken_at=OPENED + timedelta(minutes=minutes))
    if fault is None:
        assert proved([photo]).photos
    else:
        assert faults([photo]) == (fault,)


def test_what_the_phone_says_is_read_and_not_shown() -> None:
    gps = {1: "S", 2: (33.0, 51.0, 36.0), 3: "E", 4: (151.0, 12.0, 0.0)}
    exif = exif_of("2026:03:10 09:15:00", "+08:00", gps)
    photo = read_photo(encoded(scene(1), exif=exif))
    assert photo.taken_at == datetime(2026, 3, 10, 1, 15, tzinfo=UTC)
    assert photo.place == pytest.approx((-33.86, 151.2))
    with Image.open(io.BytesIO(photo.shown)) as shown:
        assert dict(shown.getexif()) == {}


@pytest.mark.parametrize(
    ("taken", "offset", "gps"),
    [
        ("", "", {}),
        ("yesterday", "+08:00", {1: "N"}),
        ("0000:00:00 00:00:00", "", {2: (1.0, 2.0, 3.0)}),
        ("0001:01:01 00:00:00", "", {1: "N", 2: (200.0, 0.0, 0.0), 3: "E", 4: (1.0, 0.0, 0.0)}),
    ],
)
def test_a_time_or_place_that_is_none_is_not_taken_for_one(taken: str, offset: str, gps: dict[int, Any]) -> None:
    photo = read_photo(encoded(scene(1), exif=exif_of(taken, offset, gps)))
    assert (photo.taken_at, photo.place) == (None, None)


def test_a_picture_is_known_again_smaller_brighter_and_compressed_anew_and_no_other_is() -> None:
    known = [read_photo(encoded(scene(seed))).likeness for seed in range(16)]
    for seed in range(16):
        again = ImageEnhance.Brightness(scene(seed).resize((160, 120))).enhance(1.1)
        for other in (encoded(again, quality=40), encoded(again, "PNG"), encoded(scene(seed), "WEBP", quality=60)):
            near = [
                number for number, likeness in enumerate(known) if distance(likeness, read_photo(other).likeness) <= 6
            ]
            assert near == [seed]


def test_a_picture_that_shows_nothing_is_refused() -> None:
    with pytest.raises(PhotoRefused, match="photo_blank"):
        read_photo(encoded(Image.new("RGB", (640, 480), (90, 90, 90))))
    assert likeness_of(Image.new("L", (9, 9))) is None


@given(BITS, st.sets(st.integers(0, 63), max_size=7))
def test_two_hashes_that_differ_in_seven_bits_share_a_band(likeness: int, flips: set[int]) -> None:
    other = likeness ^ sum(1 << flip for flip in flips)
    assert distance(likeness, other) == len(flips)
    assert any(one == two for one, two in zip(bands(likeness), bands(other), strict=True))
    assert signed(likeness) % 2**64 == likeness
    assert -(2**63) <= signed(likeness) < 2**63


def test_a_photo_that_was_used_before_is_refused_also_by_another_site_which_learns_not_where(desk: Desk) -> None:
    mine, theirs, again = desk.raised(), desk.raised(site="B"), desk.raised(source="cam-2")
    photo = encoded(scene(5))
    desk.submit(mine, photo)
    kept = len(list((desk.folder / "blobs").rglob("*")))
    alike = encoded(scene(5).resize((200, 150)), quality=50)
    with pytest.raises(DuplicatePhoto) as caught:
        desk.submit(again, alike)
    assert caught.value.alert_id == mine
    with pytest.raises(DuplicatePhoto) as caught:
        desk.submit(theirs, alike, site="B")
    assert caught.value.alert_id is None
    assert [desk.alert(number).state for number in (theirs, again)] == ["open", "open"]
    assert len(list((desk.folder / "blobs").rglob("*"))) == kept, "what is refused is not kept"
    desk.submit(again, encoded(scene(6)))
    assert len(desk.rows(RectificationPhoto)) == 2


def test_the_same_photo_twice_in_one_rectification_is_refused() -> None:
    assert faults([PHOTO, PHOTO]) == ("photo_twice",)


def test_a_dismissal_is_counted_against_the_model_until_it_is_withdrawn(desk: Desk) -> None:
    from server.life_cycle.lists import FalseAlarms, false_alarms

    first, second = desk.raised(), desk.raised(source="cam-2")
    desk.raised("temperature_excursion", source="cold-1", data={})

    def told(role: str, site: str = "A") -> list[FalseAlarms]:
        hand = desk.hand(role, site)
        with desk.changing() as db:
            return false_alarms(db, hand.user)

    desk.move(first, "dismiss", "regulator", "a shadow")
    desk.move(second, "dismiss", "regulator", "a poster")
    desk.move(second, "reopen", "regulator", "it was none")
    assert told("regulator") == told("staff") == [FalseAlarms("m" * 64, 2, 1)]
    assert told("staff", "B") == []


def test_a_push_names_only_a_picture_of_its_alert(desk: Desk) -> None:
    alert_id = desk.raised()
    with pytest.raises(service.UnknownPicture):
        desk.move(alert_id, "push", "viewer", "look", picture="a" * 64)
    desk.move(alert_id, "push", "viewer", "look")
    assert desk.moves(alert_id)[-1] == ("push", "open", "open")


def test_the_head_is_called_once_in_ten_minutes_by_each_person(desk: Desk) -> None:
    alert_id = desk.raised()
    desk.move(alert_id, "push", "viewer")
    with pytest.raises(MoveRefused, match="pushed_lately"):
        desk.move(alert_id, "push", "viewer", "again")
    desk.move(alert_id, "push", "regulator")
    desk.later(minutes=10)
    desk.move(alert_id, "push", "viewer")
