"""Images: opened, verified, brought into one form and hashed.

    >>> normalise(Path("fundus.tif").read_bytes())                                       # doctest: +SKIP
    Normalised(data=b'\\x89PNG…', format='PNG', width=1024, height=768, notes=['resized 2048x1536→1024x768'])

What comes out is JPEG or PNG, RGB or gray, 8 bits, upright, without metadata, its sides within bounds, and decodes to
the end. A file that is all that already keeps its bytes; a JPEG or PNG that only carries metadata loses it without
being coded again. Whatever cannot be read raises `BadImage` with one of `REASONS`, never anything else. `docs/images.md`
lists the rules with their reasons.
"""

from __future__ import annotations

import hashlib
import io
import itertools
import os
import zipfile
import zlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image

from curator import image_bytes, image_hash, image_pixels, image_read, recipe
from curator.errors import UsageError
from curator.image_read import REASONS, BadImage

__all__ = ["REASONS", "BadImage", "ImageRow", "Normalised", "fingerprint", "normalise", "process"]

QUALITY = 95
"""Of a JPEG that has to be coded again; with 4:4:4, so that thin coloured lines in figures survive."""


@dataclass(slots=True)
class Normalised:
    """An image as it is stored: JPEG or PNG bytes, RGB or gray, upright, without metadata, within bounds."""

    data: bytes
    format: str
    width: int
    height: int
    notes: list[str] = field(default_factory=list)
    """What was changed, in order; [] when `data` is the object that was given."""


@dataclass(slots=True)
class ImageRow:
    """One image reference after the images stage; without `data`, a row of the stage's table."""

    ref: str
    sha256: str = ""
    """Of the stored bytes: the image's name from here on. '' when it cannot be used."""
    data: bytes = b""
    width: int = 0
    height: int = 0
    original_sha256: str = ""
    """Of the bytes as the source has them."""
    pixel_sha256: str = ""
    """Of the stored image's size and decoded RGB pixels (gray as three equal channels): see `image_hash.pixel_hash`."""
    phash: bytes = b""
    """32 bytes, see `image_hash.fingerprint`; b'' for a picture too plain to be told from another."""
    detail: bytes = b""
    """1,024 bits of the fine detail that confirms a near match."""
    notes: list[str] = field(default_factory=list)
    reason: str = ""
    """'' or why the image cannot be used: a key of `REASONS`."""
    problem: str = ""
    """What was found, when `reason` is not ''."""


def normalise(data: bytes, *, min_side: int = 28, max_side: int = 1024) -> Normalised:
    """One image file as JPEG or PNG that every reader shows the same way.

    Decoded to the end and verified; turned upright as its EXIF says, then stripped of all metadata; RGB on white or
    gray, 8 bits, sRGB; the first frame of several; both sides within `min_side` and `max_side` pixels with the ratio
    kept, padded with white where no scale can do both. `notes` says what was changed. Calling it on its own result
    changes nothing.

    Raises:
        BadImage: the bytes are no image that can be used; see `REASONS`.
        UsageError: the bounds are empty.
    """
    return decoded(data, min_side, max_side).image


def fingerprint(image: Normalised, pixels: NDArray[np.uint8] | None = None) -> tuple[bytes, bytes]:
    """Perceptual hash and detail (`image_hash.fingerprint`) of a normalised image, from a gray version that is as small
    as hashing allows. A JPEG whose pixels are not at hand is decoded at that size, in eighths.

    Args:
        pixels: what `image` decodes to, height x width x 3 or 1.
    """
    width, height = image.width, image.height
    if pixels is None and image.format == "JPEG":
        eighths = next(n for n in range(1, 9) if n == 8 or min(width, height) * n > 8 * (image_hash.SIDE - 1))
        rows, columns = -(-height * eighths // 8), -(-width * eighths // 8)
        small = simplejpeg.decode_jpeg(image.data, "GRAY", min_height=rows, min_width=columns)
        return image_hash.fingerprint(small[..., 0], height * eighths / 8, width * eighths / 8)
    whole = Image.open(io.BytesIO(image.data)) if pixels is None else _image(pixels)
    factor = max(1, min(8, min(width, height) // image_hash.SIDE))
    return image_hash.fingerprint(np.asarray(whole.reduce(factor).convert("L")), height / factor, width / factor)


def process(
    items: Iterable[tuple[str, bytes | Exception]], settings: recipe.Images, workers: int | None = None
) -> Iterator[ImageRow]:
    """Normalise and hash images, in the order given; a bad one becomes a row with a reason.

    Decoding runs in `workers` threads (default: one per core), outside Python's lock. At most 4 images per worker are
    held at once, and bytes that were seen a moment ago (a source that repeats the image per question) are not decoded
    again.

    Args:
        items: reference and file contents, or the exception that reading it raised.
    """
    count = workers or _cores()
    recent: OrderedDict[str, Future[ImageRow]] = OrderedDict()
    with ThreadPoolExecutor(count, thread_name_prefix="images") as pool:
        waiting: deque[tuple[str, Future[ImageRow]]] = deque()
        source = iter(items)
        try:
            while True:
                for ref, content in itertools.islice(source, 4 * count - len(waiting)):
                    if isinstance(content, Exception):
                        key, job = "", _done(_unread(content))
                    else:
                        key = hashlib.sha256(content).hexdigest()
                        job = recent.get(key) or pool.submit(_row, content, key, settings)
                    if key:
                        recent[key] = job
                        recent.move_to_end(key)
                        while len(recent) > 8 * count:
                            recent.popitem(last=False)
                    waiting.append((ref, job))
                if not waiting:
                    return
                ref, job = waiting.popleft()
                row = job.result()
                yield replace(row, ref=ref, notes=list(row.notes))
        finally:
            for _, job in waiting:
                job.cancel()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _done(row: ImageRow) -> Future[ImageRow]:
    future: Future[ImageRow] = Future()
    future.set_result(row)
    return future


def _unread(error: Exception) -> ImageRow:
    corrupt = isinstance(error, zipfile.BadZipFile | zlib.error | EOFError)
    reason = error.reason if isinstance(error, BadImage) else "corrupt-image" if corrupt else "missing-image"
    return ImageRow("", reason=reason, problem=" ".join(str(error).split()) or type(error).__name__)


def _row(content: bytes, digest: str, settings: recipe.Images) -> ImageRow:
    try:
        result = decoded(content, settings.min_side, settings.max_side)
    except BadImage as bad:
        return ImageRow("", original_sha256=digest, reason=bad.reason, problem=bad.detail)
    image, pixels = result.image, image_pixels.condensed(result.pixels)
    phash, detail = fingerprint(image, pixels)
    return ImageRow(
        ref="",
        sha256=digest if image.data is content else hashlib.sha256(image.data).hexdigest(),
        data=image.data,
        width=image.width,
        height=image.height,
        original_sha256=digest,
        pixel_sha256=image_hash.pixel_hash(pixels),
        phash=phash,
        detail=detail,
        notes=image.notes,
    )


@dataclass(slots=True)
class Decoded:
    """A normalised image with its pixels: height x width x 3 (RGB) or height x width x 1 (gray)."""

    image: Normalised
    pixels: NDArray[np.uint8]


def decoded(data: bytes, min_side: int, max_side: int) -> Decoded:
    """What `normalise` does, with the pixels that it has at hand by then."""
    if not 1 <= min_side <= max_side:
        raise UsageError(
            f"no image has sides from {min_side} to {max_side} pixels; images.min_side must be the smaller."
        )
    kind = image_read.sniff(data)
    try:
        if kind == "JPEG":
            return _jpeg(data, min_side, max_side)
        if kind == "PNG":
            return _png(data, min_side, max_side)
        return _other(data, kind, min_side, max_side)
    except image_bytes.Damaged as damage:
        raise BadImage(damage.reason, damage.detail) from None
    except MemoryError:
        raise BadImage("image-bomb", "decoding it takes more memory than there is") from None
    except image_read.DECODER_ERRORS as error:
        said = " ".join(str(error).split()) or type(error).__name__
        raise BadImage(image_read.reason_of(said.lower()), f"{kind}: {said}") from None


def _jpeg(data: bytes, min_side: int, max_side: int) -> Decoded:
    bare = image_bytes.strip_jpeg(data)
    image_read.check_size(bare.width, bare.height, len(data))
    pixels = image_read.decode_jpeg(bare)
    notes = [f"{kind}-removed" for kind in bare.removed]
    if pixels is None:  # inks, or a sampling that few readers know: stored as plain RGB
        bare.plain = False
        return _finish(image_read.loaded("JPEG", bare.data), bare, "JPEG", notes, min_side, max_side)
    return _from_pixels(pixels, bare, "JPEG", notes, min_side, max_side)


def _png(data: bytes, min_side: int, max_side: int) -> Decoded:
    bare = image_bytes.strip_png(data)
    image_read.check_size(bare.width, bare.height, len(data))
    notes = [f"{kind}-removed" for kind in bare.removed] + ["first-frame"] * bare.animated
    pixels = image_read.decode_png(bare)
    if pixels is not None:
        return _from_pixels(pixels, bare, "PNG", notes, min_side, max_side)
    image = image_read.loaded("PNG", bare.data)
    # Rows that are missing are left at nought. Where the last one is not, none is.
    last = image.crop((0, image.height - 1, image.width, image.height))
    if (bare.interlaced or not any(last.tobytes())) and not image_bytes.png_is_whole(bare.data):
        raise BadImage("truncated-image", "PNG: fewer rows than its header says")
    return _finish(image, bare, "PNG", notes, min_side, max_side)


def _other(data: bytes, kind: str, min_side: int, max_side: int) -> Decoded:
    if kind == "WEBP":
        image_read.check_webp(data)
    image = image_read.opened(kind, data)
    image_read.check_size(*image.size, len(data))
    bare = image_bytes.Stripped(data, *image.size, plain=False)
    exif, profile = image.info.get("exif"), image.info.get("icc_profile")
    if kind != "TIFF" and isinstance(exif, bytes):  # Pillow turns a TIFF upright itself
        bare.orientation = image_bytes.exif_orientation(exif.removeprefix(b"Exif\0\0"))
    if isinstance(profile, bytes):
        bare.profile = profile if len(profile) <= image_bytes.MAX_PROFILE else b""
    notes = [f"{kind.lower()}→png"]
    notes += [f"{name}-removed" for name in ("exif", "xmp", "comment") if image.info.get(name)]
    notes += ["first-frame"] * bool(getattr(image, "is_animated", False))
    image.load()
    image_read.check_size(*image.size, len(data))
    return _finish(image, bare, "PNG", notes, min_side, max_side)


def _from_pixels(
    pixels: NDArray[np.uint8], bare: image_bytes.Stripped, target: str, notes: list[str], min_side: int, max_side: int
) -> Decoded:
    """`_finish` for gray or RGB pixels of 8 bits, of which many need nothing and most others one thing."""
    as_it_is = bare.orientation == 1 and bare.profile is None
    if bare.plain and as_it_is and image_pixels.fits(bare.width, bare.height, min_side, max_side):
        image = Normalised(bare.data, target, bare.width, bare.height, notes)
        return Decoded(image, image_pixels.condensed(pixels))
    mode = "RGB" if pixels.shape[2] == 3 else "L"
    if bare.profile is None:  # a profile is for the channels that are there
        pixels = image_pixels.condensed(pixels)
    if as_it_is:
        pixels = image_pixels.shrunk(pixels, min_side, max_side, notes)
    return _finish(_image(pixels), bare, target, notes, min_side, max_side, mode)


def _finish(
    image: Image.Image,
    bare: image_bytes.Stripped,
    target: str,
    notes: list[str],
    min_side: int,
    max_side: int,
    mode: str = "",
) -> Decoded:
    """Colour, orientation and size, then the file as it is stored: coded again only when a pixel changed.

    `mode` "RGB" says that a gray image was stored with three channels, and is to be again.
    """
    before = image
    if before.mode == "CMYK":  # a profile of inks is for the inks
        image = image_pixels.in_srgb(image, bare.profile, notes)
    image = image_pixels.eight_bit(image, notes)
    image = image_pixels.on_white(image, notes)
    if before.mode != "CMYK":
        image = image_pixels.in_srgb(image, bare.profile, notes)
    image = image_pixels.upright(image, bare.orientation, notes)
    image = image_pixels.sized(image, min_side, max_side, notes)
    if image is before and bare.plain and image.size == (bare.width, bare.height):
        return Decoded(Normalised(bare.data, target, *image.size, notes), _array(image))
    notes = notes or ["recoded"]
    gray_in_colours = mode == "RGB" and image.mode == "L"
    kept, image = image, image.convert("RGB") if gray_in_colours else image
    out = io.BytesIO()
    if target == "PNG":
        image.info = {}  # or Pillow writes the profile and the comments back
        image.save(out, "PNG", compress_level=6)
        return Decoded(Normalised(out.getvalue(), "PNG", *image.size, notes), _array(kept))
    image.save(out, "JPEG", quality=QUALITY, subsampling=2 if gray_in_colours else 0)  # empty planes may be coarse
    stored = out.getvalue()
    pixels = simplejpeg.decode_jpeg(stored, "GRAY" if kept.mode == "L" else "RGB", strict=True)
    return Decoded(Normalised(stored, "JPEG", *image.size, notes), pixels)


def _image(pixels: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def _array(image: Image.Image) -> NDArray[np.uint8]:
    pixels = np.asarray(image)
    return pixels if pixels.ndim == 3 else pixels[..., None]
