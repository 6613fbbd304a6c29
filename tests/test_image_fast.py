"""Compiled code gives what Pillow gives, to the last bit, so when it is loaded never shows in a build."""

from __future__ import annotations

import io
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curator import image_fast, recipe
from curator.image_bytes import png_rows, strip_png
from curator.images import BadImage, decoded, process
from test_images_hostile import chunk, png


@pytest.fixture(autouse=True)
def compiled() -> Iterator[None]:
    before = image_fast.COMPILED_FROM
    image_fast.COMPILED_FROM = 0
    yield
    image_fast.COMPILED_FROM = before


def image(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


@settings(deadline=None, max_examples=150)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(1, 7), st.sampled_from([1, 3]), st.integers(0, 9))
def test_shrinking_is_pillows(height: int, width: int, scale: float, channels: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    size = max(1, round(width / scale)), max(1, round(height / scale))
    got = image_fast.shrunk(pixels, size[1], size[0])
    if got is None:
        assert height >= 2 * width or max(width / size[0], height / size[1]) >= 6
        return
    wanted = image(pixels).resize(size, Image.Resampling.HAMMING, reducing_gap=3.0)
    assert np.array_equal(got, np.asarray(wanted).reshape(got.shape))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.randoms(use_true_random=False))
def test_rows_of_a_png_are_pillows_under_every_filter(height: int, width: int, channels: int, rng: object) -> None:
    rows = b"".join(
        bytes([rng.randrange(5)]) + rng.randbytes(width * channels)  # type: ignore[attr-defined]
        for _ in range(height)
    )
    data = png(width, height, rows, colour=2 if channels == 3 else 0)
    packed = np.frombuffer(png_rows(strip_png(data).data, len(rows)), np.uint8).reshape(height, -1)
    got = image_fast.unfiltered(packed, channels)
    assert np.array_equal(got, np.asarray(Image.open(io.BytesIO(data))).reshape(got.shape))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("mode", ["RGB", "L", "gray in RGB"])
@pytest.mark.parametrize("size", [(300, 200), (1500, 1100), (1100, 2300)])
def test_a_build_is_the_same_with_and_without(kind: str, mode: str, size: tuple[int, int]) -> None:
    coarse = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    picture = picture if mode == "RGB" else picture.convert("L")
    out = io.BytesIO()
    (picture.convert("RGB") if mode == "gray in RGB" else picture).save(out, kind)
    items = [("x", out.getvalue())]
    (fast,) = process(items, recipe.Images(), 1)
    image_fast.COMPILED_FROM = 1 << 60
    (plain,) = process(items, recipe.Images(), 1)
    assert fast == plain
    assert fast.reason == ""
    assert Image.open(io.BytesIO(fast.data)).mode == ("L" if mode == "L" else "RGB")


ROWS = b"\0" * 193 * 64


def broken_stream() -> bytes:
    data = png(64, 64, ROWS)
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    body = bytearray(data[at + 4 : at + 4 + length])
    body[3] ^= 0xFF
    return data[: at - 4] + chunk(b"IDAT", bytes(body)) + data[at + 8 + length :]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (png(64, 64, b"\5" + ROWS[1:]), "corrupt-image"),
        (png(64, 64, ROWS[:-1]), "truncated-image"),
        (broken_stream(), "corrupt-image"),
    ],
    ids=["a filter that there is not", "too few rows", "broken deflate"],
)
def test_a_damaged_png_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadImage) as caught:
        decoded(data, 28, 1024)
    assert caught.value.reason == reason


def test_more_data_than_rows_are_not_unpacked() -> None:
    data = png(64, 64, ROWS + bytes(50 << 20))
    assert len(png_rows(strip_png(data).data, len(ROWS))) == len(ROWS)
    assert decoded(data, 28, 1024).pixels.shape == (64, 64, 1), "black is gray"
