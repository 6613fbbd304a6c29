"""The loops of `image_fast`: importing this loads numba and, once per machine, compiles for some seconds."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

from curator.image_fast import PRECISION

_HALF = 1 << PRECISION - 1
_at = numba.uint64
"""An index without a sign has no negative case to look out for, and loops over it are vectorised."""


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def weighted_columns(rows: NDArray[np.uint8], at: NDArray[np.int32], weights: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Each row with sample n made of its samples `at[:, n]` by `weights[:, n]` (taps x samples)."""
    taps, size = at.shape
    out = np.empty((rows.shape[0], size), np.uint8)
    wide, total = np.empty(rows.shape[1], np.int32), np.empty(size, np.int32)
    for y in range(rows.shape[0]):
        wide[:] = rows[y]
        total[:] = _HALF
        for tap in range(taps):
            place, weight = at[tap], weights[tap]
            for n in range(size):
                total[n] += wide[_at(place[n])] * weight[n]
        row = out[y]
        for n in range(size):
            row[n] = total[n] >> PRECISION
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def weighted_rows(rows: NDArray[np.uint8], first: NDArray[np.int64], weights: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Row n made of the rows from `first[n]` on by `weights[:, n]` (taps x rows)."""
    taps, size = weights.shape
    out = np.empty((size, rows.shape[1]), np.uint8)
    total = np.empty(rows.shape[1], np.int32)
    for y in range(size):
        total[:] = _HALF
        for tap in range(taps):
            weight, row = weights[tap, y], rows[first[y] + tap]
            for n in range(row.size):
                total[n] += np.int32(row[n]) * weight
        made = out[y]
        for n in range(made.size):
            made[n] = total[n] >> PRECISION
    return out


@numba.njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def unfilter(packed: NDArray[np.uint8], channels: int) -> NDArray[np.uint8]:
    """Rows of 8-bit samples behind their filter types 0 to 4 (W3C PNG, 9.2), without them."""
    height, size = packed.shape[0], packed.shape[1] - 1
    above = np.zeros(size + channels, np.uint8)  # with a pixel of nought on the left, as the filters take it
    here = np.zeros(size + channels, np.uint8)
    out = np.empty((height, size), np.uint8)
    for y in range(height):
        kind, row = packed[y, 0], packed[y, 1:]
        if kind == 0:
            here[channels:] = row
        elif kind == 1:
            for n in range(size):
                here[_at(n + channels)] = row[_at(n)] + here[_at(n)]
        elif kind == 2:
            for n in range(size):
                here[_at(n + channels)] = row[_at(n)] + above[_at(n + channels)]
        elif kind == 3:
            for n in range(size):
                mean = (np.int32(here[_at(n)]) + np.int32(above[_at(n + channels)])) >> 1
                here[_at(n + channels)] = row[_at(n)] + mean
        else:
            for n in range(size):
                left, up, corner = np.int32(here[_at(n)]), np.int32(above[_at(n + channels)]), np.int32(above[_at(n)])
                to_left, to_up, to_corner = abs(up - corner), abs(left - corner), abs(left + up - corner - corner)
                near = corner if to_corner < to_up else up
                near = left if to_left <= min(to_up, to_corner) else near
                here[_at(n + channels)] = row[_at(n)] + near
        out[y] = here[channels:]
        above, here = here, above
    return out
