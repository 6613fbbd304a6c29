"""Numbers as people say them."""

from __future__ import annotations

import pytest

from curator.progress import counted, duration, size


@pytest.mark.parametrize(
    "number, thing, said",
    [
        (0, "image", "0 images"), (1, "image", "1 image"), (2, "image", "2 images"), (12_345, "row", "12,345 rows"),
        (1, "row in conflict, flagged", "1 row in conflict, flagged"), (8, "row in conflict", "8 rows in conflict"),
    ],
)  # fmt: skip
def test_so_many_of_a_thing(number: int, thing: str, said: str) -> None:
    assert counted(number, thing) == said


@pytest.mark.parametrize("seconds, said", [(42, "42 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")])
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


@pytest.mark.parametrize("count, said", [(312, "312 B"), (4_100, "4.1 kB"), (1_200_000_000, "1.2 GB")])
def test_sizes(count: float, said: str) -> None:
    assert size(count) == said
