"""Shrinking, and the filters of PNG, in compiled code: the same samples as Pillow's, to the last bit.

Compiled code is loaded (most of a second; compiled once per machine, some seconds) when enough samples have gone by for it
to pay (`worthwhile`); until then Pillow does it.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray

COMPILED_FROM = 300_000_000
"""Samples from which loading compiled code pays: some three seconds of Pillow's work."""
PRECISION = 22
"""Bits of a weight, as in Pillow: 8 bits of sample, 2 to spare, of 32."""
_GAP = 6
"""Scale from which Pillow averages whole pixels first (`reducing_gap=3`, twice)."""

_passed = 0


def worthwhile(samples: int) -> bool:
    """Whether compiled code pays, now that this many more samples have come."""
    global _passed
    _passed += samples  # two threads may lose a count: it decides about time, never about a result
    return _passed >= COMPILED_FROM


def shrunk(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8] | None:
    """Pixels, rows x columns x channels, at a smaller size: what Pillow's `resize(…, HAMMING, reducing_gap=3)` gives.

    None for other scales than 1 to 6, for pictures twice as tall as wide (Pillow 13 begins with their rows, 12 does not),
    and where compiled code does not pay.
    """
    rows, columns, channels = pixels.shape
    usual = height <= rows < _GAP * height and width <= columns < _GAP * width and rows < 2 * columns
    if not usual or not worthwhile(pixels.size):
        return None
    from curator.image_fast_compiled import weighted_columns, weighted_rows

    first, weights = _hamming(columns, width)
    at = (first[:, None] + np.arange(len(weights)))[:, None, :] * channels + np.arange(channels)[:, None]
    across = weighted_columns(
        pixels.reshape(rows, -1),
        np.ascontiguousarray(at.reshape(width * channels, -1).T, np.int32),
        np.repeat(weights, channels, axis=1),
    )
    down: NDArray[np.uint8] = weighted_rows(across, *_hamming(rows, height))
    return down.reshape(height, width, channels)


def unfiltered(rows: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Rows of a PNG file, rows x (1 + columns * channels) as they come out of deflate, as rows x columns x channels.

    Raises:
        ValueError: a row names a filter that there is not.
    """
    if rows[:, 0].max() > 4:
        raise ValueError("a PNG row with an unknown filter")
    from curator.image_fast_compiled import unfilter

    samples: NDArray[np.uint8] = unfilter(rows, channels)
    return samples.reshape(len(rows), -1, channels)


@functools.lru_cache(maxsize=256)
def _hamming(samples: int, wanted: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """For each of `wanted` samples the first of those it is made of, and their weights (taps x wanted, fixed point).

    A sinc of one lobe under a Hamming window, stretched by the scale, as Pillow's Resample.c computes it (its constants
    are 32-bit floats).
    """
    scale = samples / wanted
    centre = (np.arange(wanted) + 0.5) * scale
    first = np.maximum((centre - scale + 0.5).astype(np.int64), 0)
    end = np.minimum((centre + scale + 0.5).astype(np.int64), samples)
    taps = int((end - first).max())
    x = math.pi * ((np.arange(taps)[:, None] + first - centre + 0.5) / scale)
    near = np.where(x == 0, 1.0, x)  # the sinc of nought is one
    window = float(np.float32(0.54)) + float(np.float32(0.46)) * np.cos(x)
    weights = np.where(x == 0, 1.0, np.sin(near) / near * window)
    weights[(np.abs(x) >= math.pi) | (np.arange(taps)[:, None] >= end - first)] = 0
    weights /= np.cumsum(weights, axis=0)[-1]
    fixed = np.floor(weights * (1 << PRECISION) + 0.5).astype(np.int32)
    spare = np.maximum(
        first + taps - samples, 0
    )  # taps that would lie beyond the last sample: moved, their weight is 0
    for n in np.flatnonzero(spare):
        fixed[:, n] = np.roll(fixed[:, n], spare[n])
    return first - spare, fixed
