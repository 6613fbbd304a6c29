"""kill -9 at random moments of a build, then the same command: the same bytes, nothing paid twice, nothing lost."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from openai_server import serve

ROOT = Path(__file__).resolve().parent.parent
DELAY = 0.05  # seconds a call takes, about
STARTING = 0.3  # of a whole build's time, about: what one that goes on repeats, so that most of these are killed too
SETTLED = 3 * DELAY  # a killed build's last request is answered and noted within twice the delay


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def acknowledged(store: Path) -> tuple[int, set[int]]:
    """How many samples are committed, and the seeds of the questions' first ones, which name the calls."""
    if not store.exists():
        return 0, set()
    with sqlite3.connect(store, timeout=30) as connection:
        try:
            rows = connection.execute(
                "SELECT key, idx FROM samples JOIN prompts ON prompts.id = samples.prompt"
            ).fetchall()
        except sqlite3.OperationalError:  # killed before the tables were made
            return 0, set()
    seeds = {_seed(key.hex(), index) for key, index in rows if index == 0}
    return len(rows), seeds


def _seed(prompt: str, index: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{prompt}/{index}".encode()).digest()[:4], "big") >> 1


def command(out: Path, store: Path, *more: str) -> list[str]:
    build = [sys.executable, "-m", "curator", "build", "--source", "phantom", "--difficulty", "medium"]
    return [*build, "--out", str(out), "--store", str(store), *more]


def run(arguments: list[str], home: Path, patience: float | None = None) -> int:
    """Run to the end, or kill -9 after `patience` seconds; the exit code (-9 when it was killed)."""
    started = subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "CURATOR_HOME": str(home)},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        _, said = started.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        started.kill()
        started.communicate()
        return -9
    assert started.returncode == 0, said.decode()
    return 0


@pytest.mark.slow
def test_fifty_kills_of_builds_that_a_server_answers(tmp_path: Path) -> None:
    draw = random.Random(11)
    home = tmp_path / "home"
    log = tmp_path / "calls.jsonl"
    with serve(delay=DELAY, log=log) as server:
        options = ["--server", server.url, "--samples", "4", "--limit", "90"]
        store = tmp_path / "whole.sqlite"
        run(command(tmp_path / "whole", store, *options), home)  # draws the world and compiles, which no other one does
        expected, (samples, _) = tree(tmp_path / "whole" / "release"), acknowledged(store)
        started = time.monotonic()
        run(command(tmp_path / "other", tmp_path / "other.sqlite", *options), home)
        whole = time.monotonic() - started
        assert samples > 200
        kills, rounds = 0, 0
        while kills < 50:
            rounds += 1
            out, store = tmp_path / f"round{rounds}", tmp_path / f"round{rounds}.sqlite"
            left = whole
            while True:
                had, paid = acknowledged(store)
                seen = len(log.read_text().splitlines())
                patience = draw.uniform(0.1, 1.2) * left
                started = time.monotonic()
                code = run(command(out, store, *options), home, patience if kills < 50 else None)
                if code:
                    left = max(0.0, left - patience) + STARTING * whole
                    time.sleep(SETTLED)
                else:  # how quick this machine is just now
                    whole *= (time.monotonic() - started) / left
                kills += code != 0
                calls = [json.loads(line) for line in log.read_text().splitlines()[seen:]]
                assert not paid & {call["seed"] for call in calls}, "an acknowledged sample was asked for again"
                assert acknowledged(store)[0] >= had, "an acknowledged sample was lost"
                if not code:
                    break
            assert tree(out / "release") == expected
            assert acknowledged(store)[0] == samples
            assert not list(out.rglob(".*.tmp"))


@pytest.mark.slow
def test_kills_of_builds_that_the_local_engine_answers(tmp_path: Path) -> None:
    draw = random.Random(5)
    home = tmp_path / "home"
    options = ["--limit", "60", "--samples", "4"]
    started = time.monotonic()
    run(command(tmp_path / "whole", tmp_path / "whole.sqlite", *options), home)
    whole = time.monotonic() - started
    expected, (samples, _) = tree(tmp_path / "whole" / "release"), acknowledged(tmp_path / "whole.sqlite")
    out, store, had = tmp_path / "killed", tmp_path / "killed.sqlite", 0
    for _ in range(4):
        run(command(out, store, *options), home, draw.uniform(0.4 * whole, 0.95 * whole))
        count, _ = acknowledged(store)
        assert count >= had, "an acknowledged sample was lost"
        had = count
    run(command(out, store, *options), home)
    # The engine is deterministic per sample up to the rounding of its batches; the store is what both builds share here.
    assert acknowledged(store)[0] == samples
    again = tmp_path / "again"
    run(command(again, store, *options), home)
    assert tree(again / "release") == tree(out / "release")
    assert set(tree(out / "release")) == set(expected)
