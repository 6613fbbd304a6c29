"""The images stage: order, hashes, errors as rows, bounded memory, repeated bytes decoded once."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curator import image_hash, images, recipe
from curator.image_hash import _sketch, correlation, fingerprint, pixel_hash
from curator.images import ImageRow, process

BOUNDS = recipe.Images()


def scan(seed: int, side: int = 200) -> Image.Image:
    """A smooth random picture, its own for each seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 24), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def encode(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def one(data: bytes | Exception) -> ImageRow:
    (row,) = process([("x", data)], BOUNDS, 1)
    return row


def bits(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


def test_a_row_holds_what_was_stored() -> None:
    data = encode(scan(1, 300), "PNG", dpi=(72, 72))
    row = one(data)
    assert row.ref == "x"
    assert row.reason == row.problem == ""
    assert row.original_sha256 == hashlib.sha256(data).hexdigest()
    assert row.sha256 == hashlib.sha256(row.data).hexdigest() != row.original_sha256
    assert (row.width, row.height, row.notes) == (300, 300, ["metadata-removed"])
    stored = Image.open(io.BytesIO(row.data))
    assert stored.mode == "L"
    assert row.pixel_sha256 == hashlib.sha256(b"300x300\n" + stored.tobytes()).hexdigest(), "anybody can compute it"
    colours = Image.merge("RGB", [scan(n, 300) for n in (1, 2, 3)])
    wanted = hashlib.sha256(b"300x300\n" + colours.tobytes()).hexdigest()
    assert one(encode(colours, "PNG")).pixel_sha256 == wanted
    assert (len(row.phash), len(row.detail)) == (32, 128)


def test_order_is_kept_whatever_takes_long() -> None:
    sides = [900, 40, 700, 30, 28, 800] * 6
    items = [(str(n), encode(scan(n, side), "PNG")) for n, side in enumerate(sides)]
    rows = list(process(items, BOUNDS, 4))
    assert [row.ref for row in rows] == [ref for ref, _ in items]
    assert [row.width for row in rows] == sides
    assert rows == list(process(items, BOUNDS, 1))


def test_what_cannot_be_read_is_a_row_with_its_reason() -> None:
    items: list[tuple[str, bytes | Exception]] = [
        ("gone", FileNotFoundError(2, "no such file", "a.jpg")),
        ("no member", KeyError("There is no item named 'b.png' in the archive")),
        ("bad zip", zipfile.BadZipFile("Bad CRC-32 for file 'c.png'")),
        ("empty", b""),
        ("text", b"hello\nworld"),
        ("good", encode(scan(3), "JPEG")),
    ]
    rows = list(process(items, BOUNDS, 2))
    assert [row.reason for row in rows] == [
        "missing-image",
        "missing-image",
        "corrupt-image",
        "empty-image",
        "not-an-image",
        "",
    ]
    for row in rows[:-1]:
        assert row.problem
        assert "\n" not in row.problem
        assert (row.sha256, row.data, row.phash) == ("", b"", b"")
        assert row.reason in images.REASONS
    assert rows[3].original_sha256 == hashlib.sha256(b"").hexdigest()


def test_no_more_than_a_few_images_are_held() -> None:
    read = 0

    def source() -> Iterator[tuple[str, bytes]]:
        nonlocal read
        for n in range(500):
            read += 1
            yield str(n), encode(scan(n, 32), "PNG")

    rows = process(source(), BOUNDS, 2)
    for done in range(1, 40):
        next(rows)
        assert read <= done + 8
    rows.close()
    assert read < 60


def test_repeated_bytes_are_decoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    real = images.decoded

    def counting(data: bytes, min_side: int, max_side: int) -> images.Decoded:
        seen.append(len(data))
        return real(data, min_side, max_side)

    monkeypatch.setattr(images, "decoded", counting)
    a, b = encode(scan(1), "PNG"), encode(scan(2), "PNG")
    rows = list(process([(f"{n}", a if n % 3 else b) for n in range(30)], BOUNDS, 2))
    assert len(seen) == 2
    assert len({row.sha256 for row in rows}) == 2
    assert [row.ref for row in rows] == [str(n) for n in range(30)]
    rows[1].notes.append("mine")
    assert rows[2].notes == []


# -- hashes ------------------------------------------------------------------------------------------------------------


def test_one_picture_has_one_pixel_hash_in_every_lossless_form() -> None:
    picture = scan(4)
    forms = [encode(picture, "PNG"), encode(picture, "BMP"), encode(picture.convert("RGB"), "PNG"), encode(picture, "TIFF"),
             encode(picture, "WEBP", lossless=True), encode(picture, "PNG", compress_level=0)]  # fmt: skip
    jpeg = encode(picture, "JPEG")
    assert len({one(form).pixel_sha256 for form in forms}) == 1
    assert one(jpeg).pixel_sha256 == one(encode(Image.open(io.BytesIO(jpeg)), "PNG")).pixel_sha256
    assert one(encode(scan(5), "PNG")).pixel_sha256 != one(forms[0]).pixel_sha256
    odd = picture.convert("RGB")
    odd.putpixel((picture.width - 1, picture.height - 1), (1, 2, 3))
    assert one(encode(odd, "PNG")).pixel_sha256 != one(forms[0]).pixel_sha256, "one coloured pixel counts"
    flat = np.zeros((28, 56, 1), np.uint8)
    assert pixel_hash(flat) != pixel_hash(flat.reshape(56, 28, 1)), "the size counts"


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(70, 1024), st.floats(0.35, 3.0), st.sampled_from(["PNG", "JPEG"]))
def test_a_resized_copy_keeps_its_hash(seed: int, side: int, scale: float, kind: str) -> None:
    copy = max(70, round(side * scale))
    original = one(encode(scan(seed, side), "PNG"))
    resized = one(encode(scan(seed, side).resize((copy, copy)), kind))
    assert bits(original.phash, resized.phash) <= 12
    assert correlation(original.detail, resized.detail) > 0.94


@settings(deadline=None, max_examples=40)
@given(st.integers(80, 400), st.integers(80, 400))
def test_a_jpeg_is_hashed_at_the_size_its_decoder_gives(width: int, height: int) -> None:
    """The decoder scales in eighths and rounds up; the hash has to know how much of the last row is picture."""
    picture = scan(width * height).resize((width, height))
    row = one(encode(picture, "JPEG", quality=95))
    exact, _ = fingerprint(np.asarray(picture), height, width)
    assert bits(row.phash, exact) <= 10


def test_brightness_is_no_content() -> None:
    picture = scan(6)
    darker = picture.point([round(v * 0.7 + 10) for v in range(256)])
    assert bits(one(encode(picture, "PNG")).phash, one(encode(darker, "PNG")).phash) <= 4


@pytest.mark.parametrize("colour", ["white", "black", "#808080"])
def test_a_plain_picture_has_no_perceptual_hash(colour: str) -> None:
    for kind in ("PNG", "JPEG"):
        row = one(encode(Image.new("RGB", (300, 200), colour), kind))
        assert row.phash == b""
        assert row.reason == ""
    noise = np.random.default_rng(1).integers(127, 130, (200, 200), dtype=np.uint8)
    assert one(encode(Image.fromarray(noise), "PNG")).phash == b"", "noise is not a picture either"


def test_the_transform_is_the_textbook_one() -> None:
    scipy_fft = pytest.importorskip("scipy.fft", reason="compares with scipy's transform")
    gray = np.asarray(scan(7, 64))
    waves = scipy_fft.dctn(gray.astype(float), norm="ortho")[:16, :16] / 64
    wanted = np.packbits(waves.ravel() > np.median(waves)).tobytes()
    assert bits(fingerprint(gray, 64, 64)[0], wanted) <= 2
    assert waves.size == image_hash.BITS


def test_vqa_rad_goes_through_whole(real_data: Path) -> None:
    files = sorted((real_data / "vqa_rad" / "VQA_RAD Image Folder").glob("*.jpg"))
    rows = list(process(((file.name, file.read_bytes()) for file in files), BOUNDS))
    assert len(rows) == 315
    assert not [row.reason for row in rows if row.reason]
    assert all(min(row.width, row.height) >= 28 and max(row.width, row.height) <= 1024 for row in rows)
    assert len({row.sha256 for row in rows}) == len({row.pixel_sha256 for row in rows}) == 315
    assert all(len(row.phash) == 32 for row in rows)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(0.0, 1.0))
def test_bits_of_two_details_tell_their_correlation(seed: int, mixed: float) -> None:
    """1,024 random hyperplanes: five standard deviations of what they can be wrong by."""
    rng = np.random.default_rng(seed)
    a, b = rng.standard_normal((2, 24, 24)).astype(np.float32)
    b = mixed * a + (1 - mixed) * b
    exact = float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b))
    share = np.arccos(min(exact, 1.0)) / np.pi
    off = 5 * np.sqrt(share * (1 - share) / 1024) + 0.005
    least, most = (np.cos(np.pi * float(np.clip(share + by, 0, 1))) for by in (off, -off))
    assert least <= correlation(_sketch(a), _sketch(b)) <= most
    assert correlation(_sketch(a), b"") == 0.0
    assert _sketch(np.zeros((24, 24), np.float32)) == b""
