"""Whole builds of the phantom world with its own model: what is promised about any build, checked on one."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import polars as pl
import pytest

import curator
from curator import look
from curator.builds import Build, Runtime
from curator.engines import Sample, Sampling, ask
from curator.errors import CuratorError, Interrupted, UsageError, WorkspaceError
from curator.phantom.world import PLANTS, Planted, generate
from curator.pipeline import NAMES, verdicts
from curator.plan import before_anything
from curator.recipe import compose
from curator.report import write as write_report
from curator.rollouts import RolloutStore
from curator.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


def recipe(**changes: object) -> curator.Recipe:
    return compose("phantom", [], dict(changes))


def tree(folder: Path) -> dict[str, str]:
    """Every file of a folder with its sha256."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> curator.Result:
    folder = tmp_path_factory.mktemp("built")
    runtime = Runtime(out=folder / "phantom", store=folder / "rollouts.sqlite")
    return curator.build(recipe(select={"difficulty": ["medium"]}), runtime)


def again(built: curator.Result, out: Path | None = None, **changes: object) -> curator.Result:
    runtime = Runtime(out=out or built.path, store=built.path.parent / "rollouts.sqlite")
    return curator.build(recipe(**{"select": {"difficulty": ["medium"]}, **changes}), runtime)


def test_rows_in_are_rows_kept_and_rows_dropped_with_a_reason(built: curator.Result) -> None:
    for before, line in zip(built.funnel, built.funnel[1:], strict=False):
        assert line.rows_in == before.rows_out
    for line in built.funnel:
        assert line.rows_in == line.rows_out + sum(line.reasons.values())
    every = verdicts(Workspace(built.path))
    assert every.filter(~pl.col("keep") & (pl.col("reason") == "")).is_empty()
    ingested = every.filter(pl.col("stage") == "ingest")
    last = every.group_by("id", maintain_order=True).last()
    assert last.height == ingested.height  # one life per raw row


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> list[Planted]:
    """The truth table of the phantom world."""
    return generate(tmp_path_factory.mktemp("world")).planted


def test_everything_planted_is_found_and_nothing_else(built: curator.Result, planted: list[Planted]) -> None:
    every = verdicts(Workspace(built.path)).filter(
        pl.col("stage").is_in(["ingest", "images", "dedup", "decontaminate"])
    )
    dropped = {id: (stage, reason) for id, stage, keep, reason, _ in every.iter_rows() if not keep}
    expected = {plant.id: PLANTS[plant.kind][1] for plant in planted if PLANTS[plant.kind][1]}
    assert {id: stage for id, (stage, _) in dropped.items()} == expected
    life = look.life(Workspace(built.path))
    conflicts = set(life.filter(pl.col("flags").list.contains("conflict"))["id"])
    assert conflicts == {id for plant in planted if plant.kind == "conflict" for id in (plant.id, plant.partner)}


def test_the_pass_counts_spread_over_all_four_groups(built: curator.Result) -> None:
    counts = look.life(Workspace(built.path))["pass_count"].drop_nulls()
    groups = {
        "0": (counts == 0).sum(),
        "1-7": counts.is_between(1, 7).sum(),
        "8-15": counts.is_between(8, 15).sum(),
        "16": (counts == 16).sum(),
    }
    assert all(groups.values()), groups


def test_load_dataset_reads_every_config_typed_and_streaming(built: curator.Result, tmp_path: Path) -> None:
    release = str(built.release)
    names = datasets.get_dataset_config_names(release)
    assert {"default", "phantom", "phantom-all", "verdicts", "scores"} <= set(names)
    for name in names:
        loaded = datasets.load_dataset(release, name, split="train", cache_dir=str(tmp_path))
        assert len(loaded)
    rows = datasets.load_dataset(release, "phantom", split="train", cache_dir=str(tmp_path))
    assert rows.features == curator.records.features()
    assert set(rows["difficulty"]) == {"medium"}
    pictured = next(row for row in rows if row["images"])
    assert pictured["images"][0].size[0] >= 28
    first = next(iter(datasets.load_dataset(release, "phantom", split="train", streaming=True)))
    assert first["id"] == rows[0]["id"] == min(rows["id"])


def test_the_same_command_again_does_nothing_and_changes_nothing(built: curator.Result) -> None:
    before = tree(built.release)
    second = again(built)
    assert second.unchanged == NAMES
    assert tree(built.release) == before


def test_the_same_inputs_and_store_give_the_same_bytes_elsewhere(built: curator.Result, tmp_path: Path) -> None:
    other = again(built, tmp_path / "elsewhere")
    assert tree(other.release) == tree(built.release)


def test_another_band_pays_for_no_sample(built: curator.Result, tmp_path: Path) -> None:
    out = tmp_path / "again"
    again(built, out)
    before = (built.path.parent / "rollouts.sqlite").stat().st_mtime_ns
    hard = again(built, out, select={"difficulty": ["hard"]})
    assert hard.unchanged == ["ingest", "images", "dedup", "decontaminate", "score"]
    assert (built.path.parent / "rollouts.sqlite").stat().st_mtime_ns == before


def test_explain_tells_a_duplicate_and_its_partner(built: curator.Result, planted: list[Planted]) -> None:
    plant = next(plant for plant in planted if plant.kind == "near-duplicate")
    told = "\n".join(look.explain(Workspace(built.path), plant.id))
    assert "near-duplicate" in told and plant.partner in told and "Jaccard" in told


def test_the_manifest_holds_the_sums_of_every_file(built: curator.Result) -> None:
    manifest = json.loads((built.path / "manifest.json").read_text())
    for name, facts in manifest["files"].items():
        assert hashlib.sha256((built.release / name).read_bytes()).hexdigest() == facts["sha256"]
    assert manifest["schema_version"] == 1
    assert "seconds" in json.loads((built.path / "run.json").read_text())


def test_ctrl_c_says_so_exits_130_and_the_same_command_goes_on(built: curator.Result, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "curator", "build", "--source", "phantom", "--difficulty", "medium"]
    command += ["--out", str(tmp_path / "b"), "--store", str(tmp_path / "s.sqlite")]
    environ = {**os.environ, "CURATOR_HOME": str(tmp_path / "home")}
    running = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / "b" / "stages" / "decontaminate.parquet").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(1)
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130, said
    assert "the same command goes on" in said.splitlines()[-1] and "Traceback" not in said
    subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)
    assert tree(tmp_path / "b" / "release") == tree(built.release)


def test_the_cards_leaks_are_the_funnels(built: curator.Result) -> None:
    manifest = json.loads((built.release / "manifest.json").read_text("utf-8"))
    line = next(line for line in built.funnel if line.stage == "decontaminate")
    counted: dict[str, int] = {}
    for found in manifest["leakage"]["found"]:
        counted[found["kind"]] = counted.get(found["kind"], 0) + found["rows"]
    assert counted == line.reasons and sum(counted.values()) == line.rows_in - line.rows_out
    card = (built.release / "README.md").read_text("utf-8")
    assert f"the `leakage` table has every match: {manifest['tables']['leakage']}" in card


DEAD = {"score": {"servers": ["http://127.0.0.1:9"]}}


@pytest.mark.parametrize(
    "changes, how, says",
    [
        ({"score": {"model": "org/no-such-solver"}}, {}, "org/no-such-solver is not in the Hub's cache.*--samples 0"),
        (
            {"distill": {"model": "org/no-such-teacher"}},
            {},
            "no-such-teacher is not in .*; `curator build` takes --teacher FOLDER, or --teacher-server URL too.$",
        ),
        ({"distill": {"model": "./no-such-teacher/"}}, {}, "no-such-teacher"),
        ({"dedup": {"against": ["no-such-build"]}}, {}, "'no-such-build' names no data set"),
        ({}, {"rollouts": "no-such.parquet"}, "no file of rollouts at no-such.parquet"),
        ({}, {"rollouts": __file__}, r"test_build\.py is no Parquet file: --rollouts wants"),
        ({}, {"store": Path(__file__) / "s.sqlite"}, "cannot make the folder of the rollout store .* with --store"),
        ({}, {"store": Path(__file__)}, "is no rollout store .* with --store"),
        (DEAD, {}, "no server answers: http://127.0.0.1:9/v1: Connection refused. Start it, or check its address."),
        ({"sources": {"splits": ["tst"]}}, {}, "no split named 'tst'; did you mean 'test'"),
        ({"sources": {"splits": ["tst"]}}, {"dry_run": True}, "no split named 'tst'; did you mean 'test'"),
    ],
)
def test_a_wrong_name_is_told_before_anything_is_read(
    tmp_path: Path, changes: dict[str, object], how: dict[str, Any], says: str
) -> None:
    runtime = Runtime(**{"out": tmp_path / "b", "store": tmp_path / "s.sqlite", **how})
    with pytest.raises(CuratorError, match=says):
        curator.build(recipe(**changes), runtime)
    assert not (tmp_path / "b").exists(), "what is refused leaves no folder"


def test_a_dead_server_ends_no_build_that_may_need_nothing_of_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "s.sqlite"
    asked = ask("q", [{"role": "user", "content": "What is it?"}], (), Sampling(), "phantom", [0])
    with RolloutStore(store) as opened:
        assert not opened.holds("phantom")
        opened.put([(asked[0], Sample("q", 0, "A", "", "stop", 1, 1))], "some engine")
        opened.flush()
        assert opened.holds("phantom") and not opened.holds("phantom@1")
    recipe_ = recipe(**DEAD)
    before_anything(Build(recipe_, Workspace(tmp_path / "b"), Runtime(store=store)))
    before_anything(Build(recipe_, Workspace(tmp_path / "b"), Runtime(store=tmp_path / "new.sqlite", dry_run=True)))
    line = "no server answers: http://127.0.0.1:9/v1: Connection refused. Start it, or check its address. Going on: "
    assert capsys.readouterr().err.count(line) == 2


def test_the_default_folder_keeps_its_release_from_other_settings(
    built: curator.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(built.path, tmp_path / "builds" / "phantom")
    monkeypatch.chdir(tmp_path)
    here, before = Path("builds/phantom"), tree(tmp_path / "builds" / "phantom")
    runtime = Runtime(store=built.path.parent / "rollouts.sqlite")
    hard = recipe(select={"difficulty": ["hard"]})
    with pytest.raises(
        UsageError, match=r"select.difficulty medium → hard.*--out builds/phantom replaces it .*Runtime\(out="
    ):
        curator.build(hard, runtime)
    assert tree(tmp_path / "builds" / "phantom") == before
    assert not curator.build(recipe(select={"difficulty": ["medium"]}), runtime).funnel[-1].reasons  # goes on
    curator.build(hard, replace(runtime, dry_run=True))  # replaces nothing
    assert "replaces" not in capsys.readouterr().err
    replaced = curator.build(hard, replace(runtime, out=here))
    said = "builds/phantom holds a release with other settings (select.difficulty medium → hard): this build replaces it.\n"
    assert capsys.readouterr().err.count(said) == 1
    assert replaced.funnel[5].note == "hard: 0 of 16 right"
    fresh = curator.build(hard, replace(runtime, out=Path("fresh")))
    assert tree(replaced.release) == tree(fresh.release), "what was there before leaves no trace"


def test_a_dry_run_changes_no_build_of_other_settings(built: curator.Result, tmp_path: Path) -> None:
    out, other = tmp_path / "b", recipe(sources={"limit": 20}, score={"samples": 0})
    shutil.copytree(built.path, out)
    before = tree(out)
    dry = Runtime(out=out, store=tmp_path / "s.sqlite", dry_run=True)
    with pytest.raises(UsageError, match=r"limit.*, and a dry run replaces nothing: --out .*/b-2 reads beside it"):
        curator.build(other, dry)
    curator.build(recipe(select={"difficulty": ["medium"]}), dry)  # its own
    assert tree(out) == before
    beside = replace(dry, out=tmp_path / "b-2")
    curator.build(other, beside)
    assert curator.build(other, replace(beside, dry_run=False)).unchanged == NAMES[:4], "what it read is used"


def test_a_build_on_its_way_shows_nothing_of_the_one_before(built: curator.Result, tmp_path: Path) -> None:
    shutil.copytree(built.path, tmp_path / "b")
    runtime = Runtime(out=tmp_path / "b", store=built.path.parent / "rollouts.sqlite", until="dedup")
    curator.build(recipe(sources={"limit": 20}), runtime)
    rows = look.life(Workspace(tmp_path / "b"))
    assert rows.height == 40 and "pass_count" not in rows.columns
    assert set(verdicts(Workspace(tmp_path / "b"))["stage"]) == {"ingest", "images", "dedup"}


@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_a_damaged_stage_is_one_line_and_the_build_mends_it(built: curator.Result, tmp_path: Path, damage: str) -> None:
    shutil.copytree(built.path, tmp_path / "b")
    path = tmp_path / "b" / "stages" / "score.parquet"
    data = path.read_bytes()
    path.write_bytes(data[:2000] if damage == "cut" else data[:200] + b"x" * 400 + data[600:])
    workspace = Workspace(tmp_path / "b")
    for read in (look.life, write_report, lambda w: list(look.explain(w, "phantom:train:00001"))):
        with pytest.raises(WorkspaceError, match=r"score\.parquet is damaged: delete it and run the same"):
            read(workspace)
    path.unlink()
    assert tree(again(built, tmp_path / "b").release) == tree(built.release)


@pytest.mark.parametrize("lost", ["manifest.json", "data/phantom/train/selected-00000-of-00001.parquet"])
def test_a_release_that_lost_a_file_is_written_again(built: curator.Result, tmp_path: Path, lost: str) -> None:
    shutil.copytree(built.path, tmp_path / "b")
    (tmp_path / "b" / "release" / lost).write_bytes(b"x")
    mended = again(built, tmp_path / "b")
    assert tree(mended.release) == tree(built.release) and "write" not in mended.unchanged


def test_a_build_that_was_killed_after_its_release_finishes_what_lies_beside_it(
    built: curator.Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "b"
    shutil.copytree(built.path, out)
    beside = ("verdicts.parquet", "report.html", "manifest.json")
    with monkeypatch.context() as killing:
        killing.setattr("curator.report.write", lambda workspace: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            again(built, out, select={"difficulty": ["hard"]})
    left = tree(out)
    mended = again(built, out, select={"difficulty": ["hard"]})
    assert mended.unchanged == NAMES
    assert tree(out)["report.html"] != left["report.html"]
    assert tree(out)["manifest.json"] == tree(out)["release/manifest.json"] != left["manifest.json"]
    for name in beside:
        (out / name).unlink()
        again(built, out, select={"difficulty": ["hard"]})
        assert (out / name).is_file()


@pytest.mark.parametrize("stage", ["images", "write"])
def test_what_a_killed_stage_left_never_passes_for_that_of_other_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    def build(max_side: int) -> Path:
        changes = {"sources": {"limit": 20}, "score": {"samples": 0}, "images": {"max_side": max_side}}
        return curator.build(recipe(**changes), Runtime(out=tmp_path / "b")).release

    expected = tree(build(1024))
    store = Workspace.write_stage

    def killed(workspace: Workspace, name: str, *what: object) -> None:
        if name == stage:
            raise KeyboardInterrupt
        store(workspace, name, *what)  # type: ignore[arg-type]

    with monkeypatch.context() as killing, pytest.raises(Interrupted):
        killing.setattr(Workspace, "write_stage", killed)
        build(64)
    if stage == "images":  # the release, still whole, must be made of the pictures again
        shutil.rmtree(tmp_path / "b" / "release")
    assert tree(build(1024)) == expected


def test_evidence_is_read_as_words() -> None:
    assert look.told('{"benchmark": "a:test", "of": "a:test:1", "same_options": true, "image": "%s"}' % ("0a" * 32)) == [
        "leaks into: a:test", "its row there: a:test:1", "with the same options: yes", "image: 0a0a0a0a0a0a…",
    ]  # fmt: skip
    assert look.told('{"options": ["red", "red"], "n_b": {"x": 1}}') == ["options: red | red", "n b: x 1"]
    assert look.told("") == []


@pytest.mark.parametrize(
    "typed, says",
    [
        ("00001", "did you mean 'phantom:train:00001'?"), ("train:1", "did you mean 'phantom:train:00001'?"),
        ("PHANTOM:train:00001", "did you mean 'phantom:train:00001'?"),
        ("phantom:train:99999", "ids look like 'phantom:"),
    ],
)  # fmt: skip
def test_an_id_that_is_not_there_names_the_row_only_where_it_is_plain(
    built: curator.Result, typed: str, says: str
) -> None:
    with pytest.raises(UsageError) as told:
        list(look.explain(Workspace(built.path), typed))
    assert says in str(told.value)
