"""What an image is compared by: its pixels' hash, a 256-bit perceptual hash and a high-pass picture.

    >>> phash, detail = fingerprint(gray, height, width)                                 # doctest: +SKIP

The perceptual hash is the signs, about their median, of the 16 x 16 lowest cosine frequencies of the gray picture
(Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions", with 256 bits in place of 64: two
chest radiographs share most of their 64). The frequencies are taken from a small gray version of any size by one matrix
product each way. No resampling, and the last row and column count for the part of the picture that they cover: on real
radiographs a copy of another size then differs by at most 6 bits where resampling to a fixed square left 36.

`detail` is the same picture at 24 x 24 without its three lowest frequencies each way, which bodies share.
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
    """The hash (32 bytes, b'' for a picture too plain to hash) and the detail (576 signed bytes) of a picture.

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
    peak = float(np.abs(picture).max())
    if peak > 0:
        picture *= 127 / peak
    return phash, picture.round().astype(np.int8).tobytes()


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
