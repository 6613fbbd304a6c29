"""What long work shows: a bar with rate and time left on a terminal, a plain line now and then where there is none.

with progress.bar("scoring", total=3200) as bar:
    bar.advance(16, note="412 right / 88 wrong / 3 unreadable")
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

PLAIN_EVERY = 15.0  # seconds between lines without a terminal: enough to see life, too little to fill a log

_quiet = False
_hush = threading.local()


class Bar(Protocol):
    """One piece of long work."""

    def advance(self, n: int = 1, note: str = "") -> None: ...


def be_quiet(quiet: bool = True) -> None:
    """Show nothing (for `--json` and for the Python API)."""
    global _quiet
    _quiet = quiet


@contextmanager
def hushed() -> Iterator[None]:
    """Show nothing of what this thread does meanwhile, on the way to something else."""
    before = getattr(_hush, "now", False)
    _hush.now = True
    try:
        yield
    finally:
        _hush.now = before


def _is_quiet() -> bool:
    return _quiet or getattr(_hush, "now", False)


def say(line: str = "") -> None:
    """One line for the person who waits, on standard error so that output can be piped."""
    if not _is_quiet():
        print(line, file=sys.stderr, flush=True)


class _Silent:
    def advance(self, n: int = 1, note: str = "") -> None:
        pass


class _Plain:
    def __init__(self, what: str, total: int | None, unit: str) -> None:
        self.what, self.total, self.unit = what, total, unit
        self.done, self.started, self.spoken = 0, 0.0, 0.0

    def advance(self, n: int = 1, note: str = "") -> None:
        now = time.monotonic()
        if not self.started:  # what came before was loading, which says nothing about the rate
            self.started = self.spoken = now
        self.done += n
        if now - self.spoken >= PLAIN_EVERY:
            self.spoken = now
            say(f"  {self.what}: {self._figures(now)}{'  ' + note if note else ''}")

    def _figures(self, now: float) -> str:
        rate = self.done / max(now - self.started, 1e-9)
        if self.total is None:
            return f"{self.done:,} {self.unit}, {rate:,.0f}/s"
        left = (self.total - self.done) / rate if rate else float("inf")
        return f"{self.done:,} of {self.total:,} {self.unit}, {rate:,.0f}/s, {duration(left)} left"


def duration(seconds: float) -> str:
    """Seconds as people say them: '42 s', '3 min 05 s', '2 h 10 min'."""
    if seconds == float("inf"):
        return "unknown time"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size(count: float) -> str:
    """Bytes as people say them: '312 B', '4.1 kB', '1.2 GB'."""
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def counted(number: int, thing: str) -> str:
    """So many of a thing: '1 image', '2,000 images'; of several words the first is the thing: '1 row with a blank'."""
    noun, blank, rest = thing.partition(" ")
    return f"{number:,} {noun}{'' if number == 1 else 's'}{blank}{rest}"


@contextmanager
def bar(what: str, total: int | None = None, unit: str = "rows") -> Iterator[Bar]:
    """Progress of `what` over `total` units (None when unknown)."""
    if _is_quiet():
        yield _Silent()
    elif not sys.stderr.isatty():
        yield _Plain(what, total, unit)
    else:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
            task = shown.add_task(what, total=total, rate="", note="")

            class _Rich:
                def advance(self, n: int = 1, note: str = "") -> None:
                    speed = shown.tasks[0].speed or 0.0
                    shown.update(task, advance=n, rate=f"{speed:,.0f} {unit}/s", note=note)

            yield _Rich()
