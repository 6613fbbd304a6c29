"""kill -9 at random while traces are drawn, then the same command: the same bytes, nothing paid twice, nothing lost."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from openai_server import serve
from test_build_kill import ROOT, acknowledged, run, tree

DELAY = 0.3  # seconds a call takes, about
SETTLED = 2 * DELAY  # until the server has answered what a killed build had asked


def killed_after(arguments: list[str], home: Path, log: Path, more: int) -> bool:
    """Run, and kill -9 when the server has answered `more` calls; whether it was killed before its end."""
    had = len(log.read_bytes().splitlines())
    environment = {**os.environ, "CURATOR_HOME": str(home)}
    started = subprocess.Popen(arguments, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    while started.poll() is None:
        if len(log.read_bytes().splitlines()) >= had + more:
            started.kill()
            break
        time.sleep(0.005)
    return started.wait() == -9


@pytest.mark.slow
def test_kills_while_a_teacher_answers_lose_and_repay_nothing(tmp_path: Path) -> None:
    draw = random.Random(3)
    home, log = tmp_path / "home", tmp_path / "calls.jsonl"
    log.touch()
    with serve(delay=DELAY, log=log) as server:
        recipe = {
            "name": "traced",
            "sources": [{"name": "phantom"}],
            "score": {"samples": 0},
            "distill": {"model": "phantom", "servers": [server.url], "samples": 3, "min_tokens": 2, "keep": 3},
        }
        (tmp_path / "traced.yaml").write_text(yaml.safe_dump(recipe))

        def command(name: str) -> list[str]:
            build = [sys.executable, "-m", "curator", "build", str(tmp_path / "traced.yaml")]
            return [*build, "--out", str(tmp_path / name), "--store", str(tmp_path / f"{name}.sqlite")]

        run(command("whole"), home)
        expected, (samples, _) = tree(tmp_path / "whole" / "release"), acknowledged(tmp_path / "whole.sqlite")
        assert samples > 500
        store = tmp_path / "killed.sqlite"
        for finish in (False, False, False, False, True):
            had, paid = acknowledged(store)
            seen = len(log.read_text().splitlines())
            if finish:
                run(command("killed"), home)
            else:
                assert killed_after(command("killed"), home, log, draw.randint(5, 45))
                time.sleep(SETTLED)
            calls = [json.loads(line) for line in log.read_text().splitlines()[seen:]]
            assert calls and not paid & {call["seed"] for call in calls}, "an acknowledged trace was asked for again"
            assert acknowledged(store)[0] >= had, "an acknowledged trace was lost"
        assert had > 0, "the kills came before anything was acknowledged"
        assert acknowledged(store)[0] == samples
        assert tree(tmp_path / "killed" / "release") == expected
