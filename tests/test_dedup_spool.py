"""Columns that are more than memory may hold: what comes back, what stays behind, and what a full disk says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curator.spool import Store

BLOCK = st.tuples(st.integers(0, 40), st.integers(0, 40))


@given(blocks=st.lists(BLOCK, min_size=1, max_size=12), budget=st.integers(0, 2_000))
def test_what_went_in_comes_out_whatever_the_budget(blocks, budget):
    given_ = [(np.arange(a, dtype=np.uint32) + i, np.arange(b, dtype=np.uint64) * i) for i, (a, b) in enumerate(blocks)]
    with Store(budget) as store:
        spool, other = store.spool(), store.spool()
        for block in given_:
            spool.append(*block)
            other.append(block[1][::2])
        assert spool.bytes == sum(column.nbytes for block in given_ for column in block)
        assert store.held <= budget
        for back, block in zip(spool, given_, strict=True):
            for x, y in zip(back, block, strict=True):
                assert x.dtype == y.dtype and x.tolist() == y.tolist()
        for number in range(2):
            whole = spool.column(number)
            assert whole.tolist() == np.concatenate([block[number] for block in given_]).tolist()
            array, starts = spool.stretches(number)
            for start, block in zip(starts, given_, strict=True):
                assert array[start : start + len(block[number])].tolist() == block[number].tolist()
        assert [x.tolist() for (x,) in other] == [block[1][::2].tolist() for block in given_]


def test_a_temporary_file_has_no_name_that_could_stay_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with Store(8) as store:
        store.spool().append(np.arange(10_000))
        assert store.written == 80_000 and os.listdir(tmp_path) == []


FULL = """
import resource, sys
import numpy as np, polars as pl
from curator import leaders
from curator.errors import CuratorError
from curator.texts import FrameCorpus
words = [" ".join(f"w{i % 50}x{j}" for j in range(40)) for i in range(500)]
rows = FrameCorpus(pl.DataFrame({"question": words, "answer": "a"}))
leaders.leaders(rows, None, 0, 0.8, compiled=True, budget=1000)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    leaders.leaders(rows, None, 0, 0.8, compiled=True, budget=1000)
except CuratorError as error:
    print(error)
"""


def test_a_full_disk_is_one_line(tmp_path: Path):
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", FULL], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("cannot keep ") and done.stdout.count("\n") == 1, done
    assert str(tmp_path) in done.stdout and "TMPDIR" in done.stdout
    assert os.listdir(tmp_path) == []
