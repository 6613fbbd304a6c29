"""Reading an image file that nobody vouches for: what it is, whether it is safe to decode, and its pixels.

Every refusal is a `BadImage` with one of `REASONS`. Formats go by their first bytes, each to its own decoder and no
other; sizes are checked before anything is reserved for them.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from curator import image_bytes, image_fast

REASONS = {
    "missing-image": "the source names an image that is not there",
    "empty-image": "a file of no bytes",
    "truncated-image": "the file ends before its image does",
    "corrupt-image": "the file contradicts itself or does not decode to the end",
    "not-an-image": "text, markup or something else that holds no picture",
    "unsupported-image": "a picture in a format that is not read (SVG, PDF, HEIC, AVIF, NIfTI …)",
    "image-bomb": "more pixels than MAX_PIXELS, or far more than its bytes can hold",
    "dicom": "DICOM: how its values become gray is a medical decision, so convert it to PNG first",
}
"""Why an image cannot be used: the `reason` of a `BadImage` and of an `ImageRow`."""

MAX_PIXELS = 89_478_485
"""Pillow's own limit: 256 MiB of RGB. A radiograph has some 10 million pixels, a scanned poster 60."""
MAX_DENSITY = 1_100
"""Pixels per byte above which a large image is refused unread: deflate packs at most 1,032 bytes into one."""
DENSITY_FROM = 16_000_000

# What Pillow raises for hostile bytes is not documented; these are the kinds that its decoders are seen to raise.
DECODER_ERRORS = (
    OSError, SyntaxError, ValueError, ArithmeticError, LookupError, TypeError, AttributeError, EOFError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError, ImageCms.PyCMSError,
)  # fmt: skip

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xd8", "JPEG"), (image_bytes.PNG_SIGNATURE, "PNG"), (b"GIF87a", "GIF"), (b"GIF89a", "GIF"), (b"BM", "BMP"),
    (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG2000"), (b"\xff\x4f\xff\x51", "JPEG2000"),
    *((b"P%d" % n, "PPM") for n in range(1, 7)),
)  # fmt: skip
_OPENERS: dict[str, type[ImageFile.ImageFile]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "JPEG2000": Jpeg2KImagePlugin.Jpeg2KImageFile,
    "PPM": PpmImagePlugin.PpmImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
}


class BadImage(Exception):
    """An image that cannot be used. `reason` is a key of `REASONS`, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def reason_of(said: str) -> str:
    if "truncated" in said or "end of" in said or "eof" in said:
        return "truncated-image"
    return "unsupported-image" if "unsupported" in said or "unknown pixel mode" in said else "corrupt-image"


def sniff(data: bytes) -> str:
    """The format by its first bytes; refuses what is none of those that are read."""
    if not data:
        raise BadImage("empty-image", "a file of no bytes")
    if _is_dicom(data):  # before the others: its first 128 bytes are free, and some files make them those of a TIFF
        raise BadImage("dicom", "a DICOM file: convert it to PNG first, since the window is a medical decision")
    for magic, kind in _MAGIC:
        if data.startswith(magic):
            return kind
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WEBP"
    head = data[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    for found, what in (
        (data[4:8] == b"ftyp", "HEIC, AVIF or a video"), (b"<svg" in head, "SVG"), (data[:5] == b"%PDF-", "PDF"),
        (data[344:348] in (b"n+1\0", b"ni1\0") or data[4:7] in (b"n+2", b"ni2"), "NIfTI"),
        (data[:4] == b"8BPS", "Photoshop"), (data[:4] == b"%!PS", "PostScript"),
        (data[:2] == b"\x1f\x8b", "gzip (NIfTI volumes often are)"),
    ):  # fmt: skip
        if found:
            raise BadImage("unsupported-image", f"{what} is not read; convert it to PNG or JPEG first")
    raise BadImage("not-an-image", "HTML or XML" if head.startswith(b"<") else f"starts with {data[:8]!r}")


def _is_dicom(data: bytes) -> bool:
    if data[128:132] == b"DICM":
        return True
    # Without its preamble: group 2 or 8, an element, then a value representation or a short length.
    first = data[:2]
    explicit = data[4:6] in (b"UL", b"UI", b"CS", b"DA", b"OB")
    implicit = first[1:] == b"\0" and data[3:4] == b"\0" and data[6:8] == b"\0\0" and len(data) > 132
    return first in (b"\x02\0", b"\x08\0", b"\0\x02", b"\0\x08") and (explicit or implicit)


def check_size(width: int, height: int, size: int) -> None:
    if width * height > MAX_PIXELS:
        raise BadImage("image-bomb", f"{width}x{height} is more than {MAX_PIXELS:,} pixels")
    if width * height > DENSITY_FROM and width * height > MAX_DENSITY * size:
        raise BadImage("image-bomb", f"claims {width}x{height} pixels in {size:,} bytes")


def decode_jpeg(bare: image_bytes.Stripped) -> NDArray[np.uint8] | None:
    """All pixels of a JPEG file, or None when only Pillow can turn them into colours.

    Pillow shows gray where the coded data stop making sense and says nothing; this decoder is strict about it.
    """
    try:
        _, _, space, _ = simplejpeg.decode_jpeg_header(bare.data)
    except ValueError:
        return None  # a sampling that the TurboJPEG interface has no name for
    wanted = {"Gray": "GRAY", "YCbCr": "RGB", "RGB": "RGB"}.get(space, "CMYK")
    try:
        pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(bare.data, wanted, strict=True)
    except ValueError as error:
        said = " ".join(str(error).split())
        reason = "truncated-image" if "premature end" in said.lower() else "corrupt-image"
        raise BadImage(reason, f"JPEG: {said}") from None
    return pixels if wanted != "CMYK" else None


def decode_png(bare: image_bytes.Stripped) -> NDArray[np.uint8] | None:
    """All pixels of a gray or RGB PNG file of 8 bits, or None where Pillow does as well (see `image_fast`) or better."""
    depth, colour = bare.data[24:26]
    channels = 3 if colour == 2 else 1
    size = bare.height * (1 + bare.width * channels)
    if not bare.plain or depth != 8 or bare.interlaced or size > DENSITY_FROM * 3 or not image_fast.worthwhile(size):
        return None
    rows = np.frombuffer(image_bytes.png_rows(bare.data, size), np.uint8).reshape(bare.height, -1)
    return image_fast.unfiltered(rows, channels)


def opened(kind: str, data: bytes) -> ImageFile.ImageFile:
    # The plugin itself, not Image.open: no other plugin gets a try at hostile bytes, and no bomb warning is printed
    # where this module raises.
    if not any(
        item[0] == "ignore" and item[3] is not None and item[3].pattern == _PLUGINS for item in warnings.filters
    ):
        warnings.filterwarnings("ignore", module=_PLUGINS)
    return _OPENERS[kind](io.BytesIO(data))


_PLUGINS = r"PIL\.\w+ImagePlugin"
"""Their warnings about odd tags would reach a user's terminal once per file; what matters of them is raised."""


def loaded(kind: str, data: bytes) -> Image.Image:
    image = opened(kind, data)
    image.load()
    return image


def check_webp(data: bytes) -> None:
    """Refuse a WebP file that is cut off or too large before its decoder reserves a canvas for it."""
    if 8 + int.from_bytes(data[4:8], "little") > len(data):
        raise BadImage("truncated-image", "WEBP: the file is shorter than its header says")
    form = data[12:16]
    if form == b"VP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
    elif form == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif form == b"VP8 " and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (26, 28))
    else:
        raise BadImage("corrupt-image", "WEBP: no image header")
    check_size(width, height, len(data))
