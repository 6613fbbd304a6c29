"""What an image is compared by: its pixels' hash, a 256-bit perceptual hash and a hash of its fine detail.

    >>> phash, detail = fingerprint(gray, height, width)                                 # doctest: +SKIP

The perceptual hash is the signs, about their median, of the 16 x 16 lowest cosine frequencies of the gray picture
(Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", with 256 bits in place of 64: two
chest radiographs share most of their 64). The frequencies are taken from a small gray version of any size by one matrix
product each way. No resampling, and the last row and column count for the part of the picture that they cover: on real
radiographs a copy of another size then differs by at most 6 bits where resampling to a fixed square left 36.

The detail is the same picture at 24 x 24 without its three lowest frequencies each way, which bodies share. Kept of it are
1,024 signs of random projections: enough to tell how two details correlate (`correlation`), and no picture any more.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
from numpy.typing import NDArray

from curator.image_pixels import condensed

SIDE = 64
"""Pixels per side of the gray version that hashing wants at least, where the image has them."""
BITS = 256
DETAIL_SIDE = 24
PLAIN = 2.0
"""Standard deviation, in gray levels, of the hashed frequencies below which there is no picture to compare, only noise.
The flattest of VQA-RAD's 315 images has 23."""
SKETCH_SIDE = 32
"""Of the 32 x 32 signs that are kept of a detail."""
_LOW = math.isqrt(BITS)
_SHARED = 3


def pixel_hash(pixels: NDArray[np.uint8]) -> str:
    """sha256 hex of an image's size and samples, height x width x 3 (RGB) or x 1 (gray). Three equal channels count as
    gray, so one picture has one hash: as a JPEG and as the PNG of its decoded pixels, stored as gray or as RGB."""
    height, width, _ = pixels.shape
    digest = hashlib.sha256(f"{width}x{height}\n".encode())
    digest.update(np.ascontiguousarray(condensed(pixels)).data)
    return digest.hexdigest()


def fingerprint(gray: NDArray[np.uint8], height: float, width: float) -> tuple[bytes, bytes]:
    """The hash (32 bytes, b'' for a picture too plain to hash) and the detail's hash (128 bytes, b'' without detail).

    Args:
        gray: rows x columns, 0 to 255.
        height: rows that the picture really covers; less than `gray` has when its last row is covered in part.
        width: the same for columns.
    """
    # In blocks of four rows: small enough that the linear algebra library does not wake its own threads for it.
    down = _cosines(gray.shape[0], height).reshape(-1, 4, gray.shape[0]) @ gray.astype(np.float32)
    waves = down.reshape(DETAIL_SIDE, -1) @ _cosines(gray.shape[1], width).T
    low = waves[:_LOW, :_LOW]
    spread = math.sqrt(max(0.0, float(np.square(low).sum() - low[0, 0] ** 2)))  # Parseval, without the mean
    median = np.sort(low, axis=None)[BITS // 2 - 1 : BITS // 2 + 1].mean()
    phash = np.packbits(low > median).tobytes() if spread >= PLAIN else b""
    waves[:_SHARED, :_SHARED] = 0
    basis = _cosines(DETAIL_SIDE, DETAIL_SIDE) * DETAIL_SIDE
    picture = basis.T @ waves @ basis
    return phash, _sketch(picture)


def correlation(one: bytes, other: bytes) -> float:
    """How two details correlate, -1 to 1 give or take .02, from the bits in which their hashes differ; 0 where one is empty.

    A random hyperplane separates two vectors as often as their angle is of a half turn (Charikar 2002).
    """
    if not one or len(one) != len(other):
        return 0.0
    differing = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()
    return math.cos(math.pi * differing / (8 * len(one)))


def _sketch(picture: NDArray[np.float32]) -> bytes:
    """The sides of 1,024 random hyperplanes on which a picture lies; b'' for one without anything in it.

    Three rounds of flipped signs and a Hadamard transform take the place of a random matrix (Andoni et al. 2015,
    "Practical and Optimal LSH for Angular Distance"). Whole numbers throughout, so no sum depends on its order.
    """
    peak = float(np.abs(picture).max())
    if peak == 0:
        return b""
    field = np.zeros((SKETCH_SIDE, SKETCH_SIDE))
    field.flat[: picture.size] = (picture * (127 / peak)).round()
    flips, hadamard = _rounds()
    for flip in flips:
        field = hadamard @ (field * flip) @ hadamard
    return np.packbits(field > 0).tobytes()


@functools.cache
def _rounds() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The signs flipped in each of three rounds, the same on every machine, and the Hadamard matrix (Sylvester)."""
    drawn = hashlib.shake_256(b"curator.image_hash.sketch").digest(3 * SKETCH_SIDE * SKETCH_SIDE // 8)
    flips = np.unpackbits(np.frombuffer(drawn, np.uint8)).reshape(3, SKETCH_SIDE, SKETCH_SIDE).astype(np.float64)
    both = np.arange(SKETCH_SIDE)[:, None] & np.arange(SKETCH_SIDE)
    return 2 * flips - 1, 1.0 - 2.0 * (np.bitwise_count(both) % 2)


@functools.lru_cache(maxsize=512)
def _cosines(samples: int, extent: float) -> NDArray[np.float32]:
    """24 rows of a cosine transform (DCT-II) over a picture of `extent` samples, of which the last may lie in it in part.

    Orthonormal but for a factor, so that coefficients do not depend on the number of samples; rows that so few samples
    cannot carry are zero.
    """
    left = np.arange(samples, dtype=np.float32)
    right = np.minimum(left + 1, np.float32(extent))
    waves = np.arange(DETAIL_SIDE, dtype=np.float32)[:, None] * np.float32(np.pi / (2 * extent))
    table: NDArray[np.float32] = np.cos(waves * (left + right)) * ((right - left) / np.float32(extent))
    table[1:] *= np.float32(math.sqrt(2))
    table[samples:] = 0
    return table
