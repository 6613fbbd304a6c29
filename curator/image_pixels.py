"""From any mode that Pillow decodes to RGB or gray of 8 bits in sRGB, on white, within bounds: pixels in, pixels out.

Each step returns the image it was given when it has nothing to do, and says in `notes` when it had.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from curator import image_fast
from curator.image_read import DECODER_ERRORS, BadImage

_PROFILE_TOLERANCE = 4
"""Levels of 255 within which a colour profile counts as sRGB: below what recoding as JPEG changes."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}  # fmt: skip


def condensed(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Samples (height x width x 3 or 1) with one channel where all three are equal, as in most radiographs: a third of
    the work for whatever comes after."""
    rows = pixels.reshape(len(pixels), -1)
    for some in (rows[len(rows) // 2 :][:1], rows) if pixels.shape[2] == 3 else ():
        # A coloured picture shows in its middle row already.
        differ = np.bitwise_or.reduce(some[:, 1:] ^ some[:, :-1], axis=0)
        differ[2::3] = 0  # from one pixel to the next
        if differ.any():
            return pixels
    return np.ascontiguousarray(pixels[..., :1])


def upright(image: Image.Image, orientation: int, notes: list[str]) -> Image.Image:
    """Turned or mirrored as the EXIF orientation, 1 to 8, asks for."""
    if orientation == 1:
        return image
    notes.append("rotated")
    return image.transpose(_UPRIGHT[orientation])


def in_srgb(image: Image.Image, profile: bytes | None, notes: list[str]) -> Image.Image:
    """Pixels in sRGB, when a usable profile says that they are in another space; the profile goes in either case.

    Models and the image processors before them ignore profiles, so what they see would depend on the camera.
    """
    if profile is None:
        return image
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        transform = ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), image.mode, "RGB")
        managed = ImageCms.applyTransform(image, transform) if _shifts(transform, image.mode) else None
    except DECODER_ERRORS:  # broken, or for another kind of pixel: dropped, as every reader does
        managed = None
    if managed is None:
        notes.append("icc-removed")
        return image
    notes.append("icc→srgb")
    return managed.getchannel(1) if image.mode == "L" else managed


def _shifts(transform: ImageCms.ImageCmsTransform, mode: str) -> bool:
    """Whether a transform to sRGB moves any colour of a coarse grid by more than the tolerance; CMYK always moves."""
    if mode == "CMYK":
        return True
    if mode == "L":
        probe = np.arange(256, dtype=np.uint8)[None, :]
        plain = np.repeat(probe[..., None], 3, 2)
    else:
        levels = np.arange(0, 256, 51, dtype=np.uint8)
        probe = plain = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
    moved = ImageCms.applyTransform(Image.fromarray(probe), transform)
    return moved is not None and int(np.abs(np.asarray(moved).astype(int) - plain).max()) > _PROFILE_TOLERANCE


def eight_bit(image: Image.Image, notes: list[str]) -> Image.Image:
    """Gray samples of 16 or 32 bits as 8, scaled by the range that is really used."""
    if not (image.mode.startswith("I") or image.mode == "F"):
        return image
    values = np.asarray(image)
    if image.mode == "F":
        finite = np.isfinite(values)
        if not finite.any():
            raise BadImage("corrupt-image", "not one finite value among its samples")
        values = np.where(finite, values, values[finite].min())
    low, high = float(values.min()), float(values.max())
    if image.mode != "F" and low >= 0 and high <= 0xFFFF:
        # A CT has 12 bits in a container of 16: divided by 65,535 it would be black. The same depth for a whole study,
        # where a stretch from minimum to maximum would differ per slice.
        bits = next(b for b in (8, 10, 12, 14, 16) if high < 1 << b)
        table = np.minimum(np.arange(1 << 16) * (255 / ((1 << bits) - 1)), 255).round().astype(np.uint8)
        gray = table[values]
        notes.append(f"{bits}-bit→8-bit")
    else:
        if image.mode == "F" and low >= 0 and high <= 1:
            low, high = 0.0, 1.0
        scaled = (values.astype(np.float64) - low) * (255 / (high - low) if high > low else 0.0)
        gray = scaled.round().astype(np.uint8)
        notes.append(f"{low:g}..{high:g}→8-bit")
    return Image.fromarray(gray).convert("RGB")


def on_white(image: Image.Image, notes: list[str]) -> Image.Image:
    """RGB or gray ("L"), transparency over white."""
    mode = image.mode
    clear = "transparency" in image.info
    if mode in ("L", "RGB") and not clear:
        return image
    if mode == "1" and not clear:
        notes.append("1-bit→gray")
        return image.convert("L")
    if clear or mode in ("RGBA", "LA", "PA", "RGBa", "La"):
        notes.append(f"{mode.lower()}→rgb on white")
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        white.alpha_composite(layer)
        return white.convert("RGB")
    notes.append(f"{mode.lower()}→rgb")
    return image.convert("RGB")


def fits(width: int, height: int, min_side: int, max_side: int) -> bool:
    return min_side <= min(width, height) and max(width, height) <= max_side


def target_size(width: int, height: int, min_side: int, max_side: int) -> tuple[int, int]:
    """The size that an image is scaled to: the ratio kept, the long side at most `max_side`, and the short side at
    least `min_side` as far as that allows (it does up to a ratio of max_side / min_side)."""
    short, long = min(width, height), max(width, height)
    scale = min(max(min_side / short, 1.0), max_side / long)
    if scale == 1.0:
        return width, height
    return max(1, min(round(width * scale), max_side)), max(1, min(round(height * scale), max_side))


def shrunk(pixels: NDArray[np.uint8], min_side: int, max_side: int, notes: list[str]) -> NDArray[np.uint8]:
    """What `sized` does to samples that are too large, in compiled code; all others as they were given."""
    height, width, _ = pixels.shape
    columns, rows = target_size(width, height, min_side, max_side)
    smaller = image_fast.shrunk(pixels, rows, columns) if max(width, height) > max_side else None
    if smaller is None:
        return pixels
    notes.append(f"resized {width}x{height}→{columns}x{rows}")
    return smaller


def sized(image: Image.Image, min_side: int, max_side: int, notes: list[str]) -> Image.Image:
    width, height = image.size
    size = target_size(width, height, min_side, max_side)
    if size != image.size:
        shrink = size[0] * size[1] < width * height
        # Hamming: as sharp as bicubic when shrinking, at half the cost, and no halo beside a bone as Lanczos leaves.
        method = Image.Resampling.HAMMING if shrink else Image.Resampling.BICUBIC
        image = image.resize(size, method, reducing_gap=3.0 if shrink else None)
        notes.append(f"resized {width}x{height}→{size[0]}x{size[1]}")
    padded = (max(size[0], min_side), max(size[1], min_side))
    if padded != size:
        canvas = Image.new(image.mode, padded, "white")
        canvas.paste(image, ((padded[0] - size[0]) // 2, (padded[1] - size[1]) // 2))
        notes.append(f"padded {size[0]}x{size[1]}→{padded[0]}x{padded[1]}")
        return canvas
    return image
