"""What lies around the pixels of a JPEG or PNG file, and taking it off without touching them.

    >>> strip_jpeg(data).removed                                                        # doctest: +SKIP
    ['exif', 'xmp', 'thumbnail']

A photograph's EXIF can name a patient, a place and a device, and its thumbnail can show what was cropped away. Both
functions copy the segments that decoding needs and nothing else: a file that has nothing else comes back as the same
object, so its bytes (and their hash) stay what the source published.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MAX_SCANS = 100
"""Progressive files have about 10 scans; each one is a pass over the whole image, so thousands are an attack."""
MAX_PROFILE = 4 << 20
"""Bytes of a colour profile; a compressed one that unfolds beyond this is an attack, not a profile."""

_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_TABLES = frozenset({0xC4, 0xCC, 0xDB, 0xDC, 0xDD})  # Huffman, arithmetic conditioning, quantisation, lines, restart
_NEEDED_CHUNKS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})


class Damaged(ValueError):
    """The container is cut off, contradicts itself or is built to exhaust its reader."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(slots=True)
class Stripped:
    """A file without metadata, and what decoding it rightly has to know."""

    data: bytes
    """The same object as was given when nothing had to go."""
    width: int
    height: int
    plain: bool
    """Every reader shows the samples of this kind of file the same way: 8 bits, no alpha, no palette."""
    orientation: int = 1
    """EXIF orientation, 1 (upright) to 8."""
    profile: bytes | None = None
    """The ICC colour profile; b"" for one that cannot be read."""
    animated: bool = False
    interlaced: bool = False
    removed: list[str] = field(default_factory=list)
    """Kinds of metadata taken off: exif, xmp, iptc, comment, text, thumbnail, trailing-data, metadata."""


def strip_jpeg(data: bytes) -> Stripped:
    """A JPEG file without its metadata segments (ITU-T T.81, Annex B); the coded image is copied as it is.

    Kept: frame, tables, scans, JFIF without its thumbnail and Adobe's marker, which both say how colours are coded.

    Raises:
        Damaged: no end marker, a segment that runs past the end, no frame, or too many scans.
    """
    out = [data[:2]]
    removed: list[str] = []
    profile: list[bytes] = []
    width = height = components = frame = orientation = scans = 0
    precision = 8
    jfif = adobe = False
    position, end = 2, len(data)
    while True:
        start = position
        while position < end and data[position] == 0xFF:
            position += 1
        if position >= end:
            raise Damaged("truncated-image", "a JPEG file without its end marker")
        if position == start:
            raise Damaged("corrupt-image", f"no JPEG marker at byte {position}")
        code = data[position]
        position += 1
        if code == 0xD9:
            out.append(b"\xff\xd9")
            break
        if code == 0x01 or 0xD0 <= code <= 0xD8:
            raise Damaged("corrupt-image", f"JPEG marker {code:02x} at byte {position} has no place there")
        length = int.from_bytes(data[position : position + 2], "big")
        body = data[position + 2 : position + length]
        if length < 2 or position + length > end:
            raise Damaged("truncated-image", f"JPEG segment {code:02x} runs past the end of the file")
        segment = b"\xff" + data[position - 1 : position + length]
        position += length
        if code in _FRAMES:
            if frame or len(body) < 6:
                raise Damaged("corrupt-image", "a JPEG file with two frames or a broken one")
            frame, precision, components = code, body[0], body[5]
            height, width = struct.unpack(">HH", body[1:5])
            out.append(segment)
        elif code == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise Damaged("image-bomb", f"a JPEG file of more than {MAX_SCANS} scans")
            found = _MARKER.search(data, position)
            if not frame or found is None:
                raise Damaged("truncated-image", "a JPEG file that ends inside its image data")
            out += (segment, data[position : found.start()])
            position = found.start()
        elif code in _TABLES:
            out.append(segment)
        elif code == 0xE0 and body.startswith(b"JFIF\0") and len(body) >= 14 and not jfif:
            jfif = True
            known = body[5:6] == b"\1"  # decoders complain about any other major version, and read it as this one
            if known and body[12:] == b"\0\0":
                out.append(segment)
            else:
                out.append(b"\xff\xe0\x00\x10JFIF\0" + (body[5:7] if known else b"\1\1") + body[7:12] + b"\0\0")
                removed.append("metadata" if body[12:] == b"\0\0" else "thumbnail")
        elif code == 0xEE and body.startswith(b"Adobe") and len(body) >= 12 and not adobe:
            adobe = True
            out.append(b"\xff\xee\x00\x0e" + body[:12])
            if len(body) > 12:
                removed.append("metadata")
        else:
            kind = _segment_kind(code, body)
            removed.append(kind)
            if kind == "exif":
                orientation = orientation or exif_orientation(body[6:])
            elif kind == "icc":
                profile.append(body[14:])
    if not scans or not width or not height:
        raise Damaged("corrupt-image", "a JPEG file without an image")
    if position < end:
        removed.append("trailing-data")
    clean = b"".join(out)
    joined = b"".join(profile)
    return Stripped(
        data=data if clean == data else clean,
        width=width,
        height=height,
        plain=frame in (0xC0, 0xC1, 0xC2) and precision == 8 and components in (1, 3),
        orientation=orientation or 1,
        profile=None if "icc" not in removed else joined if len(joined) <= MAX_PROFILE else b"",
        removed=_once(removed),
    )


def _segment_kind(code: int, body: bytes) -> str:
    if code == 0xFE:
        return "comment"
    if code == 0xE0 and body.startswith(b"JFXX"):
        return "thumbnail"
    if code == 0xE1 and body.startswith(b"Exif\0"):
        return "exif"
    if code == 0xE1 and body.startswith(b"http://ns.adobe.com/"):
        return "xmp"
    if code == 0xE2 and body.startswith(b"ICC_PROFILE\0"):
        return "icc"
    return "iptc" if code == 0xED else "metadata"


def strip_png(data: bytes) -> Stripped:
    """A PNG file with only the chunks that its pixels need (W3C PNG, third edition), their checksums verified.

    An animation loses its further frames; what is left is the image that a reader without animation shows.

    Raises:
        Damaged: no end chunk, a chunk that runs past the end, a checksum that does not fit, no header or image data.
    """
    kept: list[tuple[int, int]] = []
    removed: list[str] = []
    seen: set[bytes] = set()
    profile: bytes | None = None
    orientation, position, end = 1, len(PNG_SIGNATURE), len(data)
    while b"IEND" not in seen:
        if position + 12 > end:
            raise Damaged("truncated-image", "a PNG file without its end chunk")
        length, name = struct.unpack_from(">I4s", data, position)
        after = position + 12 + length
        if after > end:
            raise Damaged(
                "truncated-image", f"PNG chunk {name.decode('ascii', 'replace')} runs past the end of the file"
            )
        if not seen and name != b"IHDR":
            raise Damaged("corrupt-image", "a PNG file that does not begin with its header")
        if name in _NEEDED_CHUNKS:
            if (name in (b"IHDR", b"PLTE", b"tRNS") and name in seen) or (name == b"IHDR" and length != 13):
                raise Damaged("corrupt-image", f"PNG chunk {name.decode()} is doubled or broken")
            if zlib.crc32(data[position + 4 : after - 4]) != int.from_bytes(data[after - 4 : after], "big"):
                raise Damaged("corrupt-image", f"the checksum of PNG chunk {name.decode()} does not fit")
            if kept and kept[-1][1] == position:
                kept[-1] = (kept[-1][0], after)
            else:
                kept.append((position, after))
        elif not name[0] & 0x20:
            raise Damaged("corrupt-image", f"unknown critical PNG chunk {name!r}")
        else:
            removed.append(_chunk_kind(name, data[position + 8 : position + 40]))
            if name == b"eXIf":
                orientation = exif_orientation(data[position + 8 : after - 4])
            elif name == b"iCCP":
                profile = _unpacked_profile(data[position + 8 : after - 4])
        seen.add(name)
        position = after
    if b"IDAT" not in seen:
        raise Damaged("corrupt-image", "a PNG file without image data")
    if position < end:
        removed.append("trailing-data")
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    if not width or not height:
        raise Damaged("corrupt-image", "a PNG file without an image")
    clean = PNG_SIGNATURE + b"".join(data[a:b] for a, b in kept) if removed else data
    return Stripped(
        data=clean,
        width=width,
        height=height,
        plain=b"tRNS" not in seen and ((colour == 0 and depth in (2, 4, 8)) or (colour == 2 and depth == 8)),
        orientation=orientation,
        profile=profile,
        animated=b"acTL" in seen,
        interlaced=data[28] != 0,
        removed=_once(removed),
    )


def png_is_whole(png: bytes) -> bool:
    """Whether the packed data of a PNG file (as `strip_png` returns it) hold every row: its decoder leaves missing ones
    black and says nothing. Unpacks them once more, without keeping them."""
    width, height, depth, colour, _, _, interlaced = struct.unpack_from(">IIBBBBB", png, 16)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(colour, 1)
    grid = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    missing = 0
    for left, top, right, down in grid:
        columns, rows = -(-(width - left) // right), -(-(height - top) // down)
        if columns > 0 and rows > 0:
            missing += rows * (1 + (columns * bits + 7) // 8)
    unpack = zlib.decompressobj()
    for body in _packed(png):
        try:
            while body and missing > 0:
                missing -= len(unpack.decompress(body, 1 << 20))
                body = unpack.unconsumed_tail
        except zlib.error:
            return False
    return missing <= 0


def png_rows(png: bytes, size: int) -> bytes:
    """The rows of a PNG file (as `strip_png` returns it) of `size` bytes in all, each behind its filter.

    Raises:
        Damaged: the packed data do not unpack, or hold fewer.
    """
    try:
        rows = zlib.decompressobj().decompress(b"".join(_packed(png)), size)
    except zlib.error as error:
        raise Damaged("corrupt-image", f"PNG: {error}") from None
    if len(rows) < size:
        raise Damaged("truncated-image", "PNG: fewer rows than its header says")
    return rows


def _packed(png: bytes) -> Iterator[bytes]:
    position = len(PNG_SIGNATURE)
    while position < len(png):
        length, name = struct.unpack_from(">I4s", png, position)
        if name == b"IDAT":
            yield png[position + 8 : position + 8 + length]
        position += 12 + length


_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row and steps of the seven passes of an interlaced file."""


def _chunk_kind(name: bytes, head: bytes) -> str:
    if name in (b"tEXt", b"zTXt", b"iTXt"):
        return "xmp" if head.startswith(b"XML:com.adobe.xmp") else "text"
    return {
        b"eXIf": "exif", b"iCCP": "icc", b"acTL": "animation", b"fcTL": "animation", b"fdAT": "animation",
    }.get(name, "metadata")  # fmt: skip


def _unpacked_profile(body: bytes) -> bytes:
    _, found, rest = body.partition(b"\0")
    if not found or rest[:1] != b"\0":
        return b""
    unpack = zlib.decompressobj()
    try:
        profile = unpack.decompress(rest[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return profile if unpack.eof else b""


def exif_orientation(tiff: bytes) -> int:
    """The orientation, 1 to 8, that an EXIF block (a TIFF header and its first directory) asks for; 1 when it is silent
    or broken."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None or len(tiff) < 10:
        return 1
    (offset,) = struct.unpack_from(order + "I", tiff, 4)
    if offset + 2 > len(tiff):
        return 1
    (count,) = struct.unpack_from(order + "H", tiff, offset)
    for entry in range(offset + 2, min(offset + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, _, value = struct.unpack_from(order + "HHIH", tiff, entry)
        if tag == 0x0112:
            return value if kind == 3 and 1 <= value <= 8 else 1
    return 1


def _once(kinds: list[str]) -> list[str]:
    return [kind for kind in dict.fromkeys(kinds) if kind not in ("icc", "animation")]
