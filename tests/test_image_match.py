"""Which images count as the same: made pictures for the rules, VQA-RAD's real ones for the thresholds."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance

from curator import image_match, recipe
from curator.image_match import MAX_BITS, match
from curator.images import process

COLUMNS = {
    "sha256": pl.String,
    "original_sha256": pl.String,
    "pixel_sha256": pl.String,
    "phash": pl.Binary,
    "detail": pl.Binary,
}


def frame(files: Iterable[tuple[str, bytes]]) -> pl.DataFrame:
    rows = process(files, recipe.Images(), 2)
    return pl.DataFrame([{"ref": row.ref, **{name: getattr(row, name) for name in COLUMNS}} for row in rows],
                        schema={"ref": pl.String, **COLUMNS})  # fmt: skip


def encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def scan(seed: int, side: int = 256) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (24, 24), dtype=np.uint8)
    return Image.fromarray(coarse).resize((side, side), Image.Resampling.BICUBIC)


def kinds(candidates: pl.DataFrame, references: pl.DataFrame) -> list[tuple[str, str, str]]:
    """Pairs as (candidate ref, reference ref, kind)."""
    names = {
        **dict(candidates.select("sha256", "ref").iter_rows()),
        **dict(references.select("sha256", "ref").iter_rows()),
    }
    ours = dict(candidates.select("sha256", "ref").iter_rows())
    found = match(candidates, references)
    assert found.columns == ["candidate", "reference", "kind", "bits", "correlation"]
    return sorted(
        (ours[a], names[b], kind) for a, b, kind in found.select("candidate", "reference", "kind").iter_rows()
    )


def test_the_strongest_evidence_is_named_once() -> None:
    picture = scan(1)
    jpeg = encode(picture, "JPEG", quality=90)
    ours = frame([
        ("same file", jpeg),
        ("same file with a comment", jpeg[:20] + b"\xff\xfe\0\5Doe" + jpeg[20:]),
        ("same pixels", encode(Image.open(io.BytesIO(jpeg)))),
        ("smaller", encode(picture.resize((150, 150)))),
        ("recompressed", encode(picture, "JPEG", quality=30)),
        ("another", encode(scan(2))),
    ])  # fmt: skip
    theirs = frame([("it", jpeg), ("unrelated", encode(scan(3)))])
    wanted = {"same file": "image-bytes", "same pixels": "image-pixels", "smaller": "image-near",
              "recompressed": "image-near", "same file with a comment": "image-bytes"}  # fmt: skip
    names = dict(zip(ours["sha256"], ours["ref"], strict=True))
    assert ours["sha256"][0] == ours["sha256"][1], "without its comment it is the same file"
    found = match(ours, theirs)
    by_hash = {
        hash_: [ref for ref, h in zip(ours["ref"], ours["sha256"], strict=True) if h == hash_] for hash_ in names
    }
    got = {ref: kind for hash_, kind in zip(found["candidate"], found["kind"], strict=True) for ref in by_hash[hash_]}
    assert got == wanted
    assert found["reference"].unique().to_list() == [theirs["sha256"][0]]


def test_the_original_file_is_recognised_after_normalising() -> None:
    large = encode(scan(5, 1400), "JPEG")
    stored = frame([("x", large)])
    renormalised = stored.with_columns(original_sha256=pl.col("sha256"))  # built from the published, resized file
    other_bounds = stored.with_columns(sha256=pl.lit("0" * 64), pixel_sha256=pl.lit("1" * 64))
    assert match(stored, renormalised)["kind"].to_list() == ["image-bytes"]
    assert match(stored, other_bounds)["kind"].to_list() == ["image-bytes"]


def test_plain_pictures_match_by_bytes_and_pixels_only() -> None:
    plain = [
        (f"{colour} {side}", encode(Image.new("RGB", (side, side), colour)))
        for colour in ("white", "black")
        for side in (64, 99)
    ]
    ours, theirs = frame(plain), frame([*plain, ("white jpeg", encode(Image.new("RGB", (80, 80), "white"), "JPEG"))])
    assert kinds(ours, theirs) == sorted((name, name, "image-bytes") for name, _ in plain)
    assert match(ours, theirs)["bits"].to_list() == [None] * 4


def test_two_pictures_of_one_layout_are_told_apart_by_detail() -> None:
    """Charts and forms share their coarse frequencies; the confirming correlation looks at the finer ones."""
    y, x = np.mgrid[0:256, 0:256]
    layout = (x + y) * 0.35
    a, b = layout + 30 * (y // 12 % 2), layout + 30 * ((y + 6) // 12 % 2)
    ours, theirs = (
        frame([("a", encode(Image.fromarray(a.astype(np.uint8))))]),
        frame([("b", encode(Image.fromarray(b.astype(np.uint8))))]),
    )
    loose = match(ours, theirs, max_bits=256, min_correlation=-1.0)
    assert loose.height == 1
    assert loose["correlation"][0] < image_match.MIN_CORRELATION
    assert match(ours, theirs, max_bits=256).is_empty()


def test_empty_sides_and_nulls() -> None:
    some = frame([("a", encode(scan(1)))])
    nulls = some.with_columns(pl.lit(None, pl.String).alias(c) for c in ("original_sha256", "pixel_sha256")).with_columns(
        pl.lit(None, pl.Binary).alias("phash"), pl.lit(None, pl.Binary).alias("detail"), sha256=pl.lit("f" * 64))  # fmt: skip
    for ours, theirs in (
        (some.clear(), some),
        (some, some.clear()),
        (some, nulls),
        (nulls, some),
        (nulls.with_columns(sha256=pl.lit("")), nulls),
    ):
        found = match(ours, theirs)
        assert found.is_empty()
        assert found.schema == {
            "candidate": pl.String,
            "reference": pl.String,
            "kind": pl.String,
            "bits": pl.Int32,
            "correlation": pl.Float32,
        }
    assert match(pl.concat([some, some]), some).height == 1, "a repeated row counts once"


def random_frame(seed: int, size: int, near: pl.DataFrame | None = None) -> pl.DataFrame:
    """Rows of random hashes, some a few bits from those of `near`."""
    rng = np.random.default_rng(seed)
    hashes = rng.integers(0, 256, (size, 32), dtype=np.uint8)
    if near is not None:
        for n in range(0, size, 3):
            copy = np.frombuffer(near["phash"][int(rng.integers(near.height))], np.uint8).copy()
            flips = rng.choice(256, int(rng.integers(0, 70)), replace=False)
            for flip in flips:
                copy[flip // 8] ^= 1 << (flip % 8)
            hashes[n] = copy
    name = [hashlib.sha256(f"{seed}/{n}".encode()).hexdigest() for n in range(size)]
    return pl.DataFrame({"sha256": name, "original_sha256": name, "pixel_sha256": name,
                         "phash": [h.tobytes() for h in hashes], "detail": [b"\1" * 128] * size}, schema=COLUMNS)  # fmt: skip


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 40), st.integers(0, 120))
def test_no_pair_is_missed_and_none_invented(seed: int, ours: int, theirs: int, most: int) -> None:
    b = random_frame(seed, theirs)
    a = random_frame(seed + 1, ours, b)
    wanted = {
        (x, y, bits)
        for x, h in a.select("sha256", "phash").iter_rows()
        for y, g in b.select("sha256", "phash").iter_rows()
        if (bits := (int.from_bytes(h, "big") ^ int.from_bytes(g, "big")).bit_count()) <= most
    }
    assert set(match(a, b, max_bits=most).select("candidate", "reference", "bits").iter_rows()) == wanted


def test_the_compiled_scan_is_the_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    b = random_frame(1, 2100)
    a = random_frame(2, 1300, b)
    plain = match(a, b)
    monkeypatch.setattr(image_match, "COMPILED_FROM", 0)
    assert match(a, b).equals(plain)
    assert plain.height > 200
    many = pl.concat([b.head(1)] * 3000).with_columns(pl.Series("sha256", [f"{n:064x}" for n in range(3000)]))
    assert match(b.head(2), many).height == 3000, "more than one block of results"


# -- the thresholds, on real images ------------------------------------------------------------------------------------


def copies(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    width, height = image.size
    for scale in (0.25, 0.5, 1.5):
        yield f"resized {scale}", encode(image.resize((round(width * scale), round(height * scale))))
    for quality in (20, 85):
        yield f"quality {quality}", encode(image, "JPEG", quality=quality)
    yield "brighter", encode(ImageEnhance.Brightness(image).enhance(1.15), "JPEG", quality=90)


def test_real_copies_are_found_and_real_patients_kept_apart(real_data: Path) -> None:
    folder = real_data / "vqa_rad"
    questions = json.loads((folder / "VQA_RAD Dataset Public.json").read_text("utf-8"))
    about = {row["image_name"]: (row["image_organ"], row["image_case_url"]) for row in questions}
    files = [(name, (folder / "VQA_RAD Image Folder" / name).read_bytes()) for name in sorted(about)]
    originals = frame(files)
    pairs = match(originals, originals).filter(pl.col("candidate") != pl.col("reference"))
    assert pairs.is_empty(), "of 16,279 pairs of different patients with the same organ, none is flagged"
    hashes = np.stack([np.frombuffer(phash, np.uint8) for phash in originals["phash"]])
    distance = np.bitwise_count(hashes[:, None] ^ hashes[None]).sum(-1).astype(int)
    cases = [about[name] for name in originals["ref"]]
    unrelated = [
        distance[i, j]
        for i in range(len(cases))
        for j in range(i)
        if cases[i][0] == cases[j][0] and cases[i][1] != cases[j][1]
    ]
    assert len(unrelated) == 16_279
    assert min(unrelated) > MAX_BITS * 1.4, "with room to spare, before any confirmation"
    for name, data in files[::15]:
        image = Image.open(io.BytesIO(data)).convert("RGB")
        variants = frame(copies(image))
        found = match(variants, originals)
        names = dict(originals.select("sha256", "ref").iter_rows())
        assert {names[reference] for reference in found["reference"]} == {name}
        assert set(found["candidate"]) == set(variants["sha256"]), "every copy is found"
