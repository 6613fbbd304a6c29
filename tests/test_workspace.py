from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curator.errors import WorkspaceError
from curator.workspace import Workspace, atomic, open_workspace, write_parquet, write_text

ROWS = pl.DataFrame({"id": ["a", "b"], "keep": [True, False], "reason": ["", "duplicate"], "evidence": ["", "{}"]})


def test_an_atomic_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    with pytest.raises(RuntimeError), atomic(path) as temporary:
        temporary.write_text("half of the new")
        raise RuntimeError("a crash in the middle")
    assert path.read_text() == "old"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_stage_is_finished_when_its_own_file_is_there(tmp_path: Path) -> None:
    with Workspace(tmp_path / "build") as workspace:
        assert workspace.facts("dedup") is None
        workspace.write_stage("dedup", ROWS, {"key": "k1"}, {"pairs": ROWS.select("id")})
        assert workspace.facts("dedup") == {"key": "k1", "schema_version": 1}
        assert workspace.read_stage("dedup").equals(ROWS)
        assert workspace.read_stage("dedup", "pairs")["id"].to_list() == ["a", "b"]


def test_a_stage_that_was_killed_beside_a_side_table_has_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.write_stage("dedup", ROWS, {"key": "old"}, {"pairs": ROWS.select("id")})

        def killed(path: Path, table: object) -> None:
            write_parquet(path, table)  # type: ignore[arg-type]
            raise KeyboardInterrupt

        with monkeypatch.context() as killing, pytest.raises(KeyboardInterrupt):
            killing.setattr("curator.workspace.write_parquet", killed)
            workspace.write_stage("dedup", ROWS, {"key": "new"}, {"pairs": ROWS.select("id", "reason")})
        assert workspace.read_stage("dedup", "pairs").width == 2
        assert workspace.facts("dedup") is None, "the old key would vouch for the new table"


def test_the_same_stage_gives_the_same_bytes(tmp_path: Path) -> None:
    files = []
    for name in ("one", "two"):
        with Workspace(tmp_path / name) as workspace:
            workspace.write_stage("dedup", ROWS, {"key": "k"}, {})
            files.append(workspace.stage_path("dedup").read_bytes())
    assert files[0] == files[1]


def test_a_damaged_stage_file_counts_as_not_finished(tmp_path: Path) -> None:
    with Workspace(tmp_path) as workspace:
        workspace.write_stage("dedup", ROWS, {"key": "k"}, {})
        path = workspace.stage_path("dedup")
        path.write_bytes(path.read_bytes()[:40])
        assert workspace.facts("dedup") is None


def test_two_builds_in_one_folder_are_refused_in_one_line(tmp_path: Path) -> None:
    hold = "import sys; from pathlib import Path; from curator.workspace import Workspace\nwith Workspace(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    other = subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdout.readline() == "held\n"
    with pytest.raises(WorkspaceError, match="another build is running in .*--out"), Workspace(tmp_path):
        pass
    other.kill()
    other.wait()
    with Workspace(tmp_path):  # a killed build leaves no lock behind
        pass


def test_leftovers_of_a_killed_build_are_swept(tmp_path: Path) -> None:
    for folder, name in (("stages", "images.arrow"), ("figures", "funnel.svg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f".{name}.123.tmp").write_bytes(b"half")
    with Workspace(tmp_path):
        assert os.listdir(tmp_path / "stages") == os.listdir(tmp_path / "figures") == []


def test_a_full_disk_is_one_line_and_leaves_the_old_file(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "old")
    with pytest.raises(WorkspaceError, match="disk is full.*same command"), atomic(tmp_path / "file") as temporary:
        with temporary.open("wb"):
            pass
        with Path("/dev/full").open("wb", buffering=0) as full:
            full.write(b"x")  # a real ENOSPC
    assert (tmp_path / "file").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path / "file", tmp_path / "file" / "build"):
        with pytest.raises(WorkspaceError, match="cannot write .*: Not a directory; choose .* --out"), Workspace(path):
            pass


def test_a_folder_without_a_build_says_so(tmp_path: Path) -> None:
    with pytest.raises(WorkspaceError, match="holds no build"):
        open_workspace(tmp_path)
