"""The whole way, with the command line: build and push, change and push again, load both versions, rebuild the first.

The Hub and the solver are servers on the loopback; everything between them is the real thing, in processes of their own.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from curator.publish.tree import open_release
from hub_server import WRITE_TOKEN, HubServer, loopback_hub
from openai_server import serve

ROOT = Path(__file__).resolve().parent.parent
REPO = "org/set"
TELL = """
import datasets, hashlib, json, pathlib, re, sys
name, revision = sys.argv[1:3]
told = {}
for config in datasets.get_dataset_config_names(name, revision=revision):
    for split, rows in datasets.load_dataset(name, config, revision=revision).items():
        # By this folder training/data.py knows which commit it trains on.
        assert all(re.fullmatch("[0-9a-f]{40}", pathlib.Path(file["filename"]).parent.name) for file in rows.cache_files)
        if "images" in rows.features and not isinstance(rows.features["images"].feature, datasets.Value):
            decoded = sum(image.width * image.height for row in rows for image in row["images"])
            assert decoded, "every image decodes"
            rows = rows.cast_column("images", datasets.List(datasets.Image(decode=False)))
        told[f"{config}/{split}"] = [
            {**row, "images": [hashlib.sha256(i["bytes"]).hexdigest() if isinstance(i, dict) else i for i in row["images"]]}
            if "images" in row else row for row in rows
        ]
json.dump(told, sys.stdout)
"""


def extra_source() -> dict[str, bytes]:
    """A small data set of somebody else on the Hub: pictures with questions, CC BY."""
    rows = []
    for number in range(12):
        out = io.BytesIO()
        Image.frombytes("RGB", (40, 40), hashlib.shake_256(f"extra{number}".encode()).digest(4800)).save(out, "PNG")
        rows.append(
            {"question": f"Which of the tints number {number} covers most of this noisy square picture?",
             "options": ["Red", "Green", "Blue"], "answer": "Green", "image": {"bytes": out.getvalue(), "path": f"{number}.png"}}
        )  # fmt: skip
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), sink)
    return {"README.md": b"---\nlicense: cc-by-4.0\n---\n", "data/train-00000-of-00001.parquet": sink.getvalue()}


class Machine:
    """Somebody's machine: the command line and Python, with a Hub, a solver and a home of its own."""

    def __init__(self, hub: HubServer, solver: str, home: Path) -> None:
        self.hub, self.solver, self.home = hub, solver, home

    def run(self, *arguments: str, code: int = 0) -> str:
        """Run Python with these arguments; what it said on both streams."""
        env = {
            **os.environ,
            **self.hub.env(),
            "CURATOR_HOME": str(self.home / "curator"),
            "HF_HOME": str(self.home / "hf"),
        }
        done = subprocess.run(
            [sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert WRITE_TOKEN not in done.stdout + done.stderr
        return done.stderr + done.stdout

    def curator(self, *arguments: str, code: int = 0) -> str:
        return self.run("-m", "curator", *arguments, code=code)

    def build(self, out: Path, *arguments: str) -> Path:
        scoring = ("--server", self.solver, "--solver", "phantom", "--samples", "4")
        self.curator("build", *scoring, "--out", str(out), *arguments)
        return out

    def load(self, name: str, revision: str, cache: Path) -> dict[str, list[dict[str, Any]]]:
        """Every config and split by `load_dataset` in a fresh cache."""
        fresh = Machine(self.hub, self.solver, cache)
        told: dict[str, list[dict[str, Any]]] = json.loads(fresh.run("-c", TELL, name, revision).splitlines()[-1])
        return told


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with loopback_hub() as hub, serve() as solver:
        hub.add_repo("org/extra", extra_source())
        yield Machine(hub, solver.url, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def builds(machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """v1: phantom, 1 to 2 of 4 right. v2: another source with it, and 0 to 1 of 4."""
    folder = tmp_path_factory.mktemp("builds")
    first = machine.build(folder / "v1", "--source", "phantom", "--limit", "40", "--band", "1-2")
    second = machine.build(
        folder / "v2", "--source", "phantom", "--source", "hub:org/extra", "--limit", "40", "--band", "0-1"
    )
    return first, second


def in_release(release: Path) -> dict[str, list[dict[str, Any]]]:
    """'config/split' -> rows as they lie in the shards of a build, read without `datasets`."""
    out: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(release.glob("data/*/*/*.parquet")):
        source, split, part = path.parts[-3], path.parts[-2], path.name.split("-")[0]
        rows = pq.read_table(path).to_pylist()
        for row in rows:
            row["images"] = [hashlib.sha256(image["bytes"]).hexdigest() for image in row["images"]]
        for config in ("default", source) if part == "selected" else ():
            out.setdefault(f"{config}/{split}", []).extend(rows)
        out.setdefault(f"{source}-all/{split}", []).extend(rows)
    for path in sorted(release.glob("tables/*.parquet")):
        rows = pq.read_table(path).to_pylist()
        if rows:
            out[f"{path.name.split('-0')[0]}/train"] = rows
    return out


def by_id(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(json.dumps(row, sort_keys=True) for row in rows)


@pytest.mark.slow
def test_two_versions_are_published_loaded_compared_and_rebuilt(
    machine: Machine, builds: tuple[Path, Path], tmp_path: Path
) -> None:
    hub, (first, second) = machine.hub, builds
    said = machine.curator("push", REPO, "--build", str(first), "--yes")
    assert "org/set v1.0.0 is published" in said
    said = machine.curator("push", REPO, "--build", str(second), "--yes")
    assert "org/set v1.1.0 is published" in said
    repo = hub.repos["datasets", REPO]
    commits, received = dict(repo.commits), dict(hub.received)
    said = machine.curator("push", REPO, "--build", str(second), "--yes")
    assert "nothing to do" in said
    assert (repo.commits, hub.received) == (commits, received)
    assert [len(c.tree) > 1 for c in repo.commits.values()] == [False, True, True], (
        "an empty set, v1, v2: nothing between"
    )

    for tag, build in (("v1.0.0", first), ("v1.1.0", second)):
        published = {n: d for n, d in hub.files(repo, tag).items() if n.startswith(("data/", "tables/", "recipe"))}
        built = {p.relative_to(build / "release").as_posix(): p.read_bytes() for p in (build / "release").rglob("*.*")
                 if p.is_file()}  # fmt: skip
        assert published == {n: d for n, d in built.items() if n.startswith(("data/", "tables/", "recipe"))}
        loaded, lying = machine.load(REPO, tag, tmp_path / tag), in_release(build / "release")
        assert set(loaded) == set(lying)
        for config in lying:
            assert by_id(loaded[config]) == by_id(lying[config]), config

    everything = b"".join(hub.store.values()) + b"".join(hub.files(repo).values())
    assert not any(private.encode() in everything for private in (WRITE_TOKEN, machine.solver, str(first.parent)))
    told = machine.run("-m", "curator", "diff", f"{REPO}@v1.0.0", f"{REPO}@v1.1.0", "--json")
    explained(json.loads(told[told.index("{") :]), first, second)
    assert "all as its manifest says" in machine.curator("verify", f"{REPO}@v1.1.0")

    again = tmp_path / "again"
    machine.curator("build", "--from", f"hub:{REPO}@v1.0.0", "--server", machine.solver, "--out", str(again))
    for path in sorted((first / "release").rglob("*.*")):
        assert (again / path.relative_to(first)).read_bytes() == path.read_bytes(), path.name


def explained(difference: dict[str, Any], first: Path, second: Path) -> None:
    """Each changed row, and no other, is in the difference with its stage and reason."""
    places = []
    for build in (first, second):
        with open_release(build) as tree:
            hashes = tree.side("hashes")
            assert hashes is not None
            places.append({id: tuple(rest) for id, *rest in hashes.select("id", "split", "part", "sha256").iter_rows()})
    before, after = places
    rows = difference["rows"]
    assert {row["id"] for row in rows} == {id for id in before | after if before.get(id) != after.get(id)}
    assert all(row["reason"] for row in rows)
    assert difference["summary"]["added"]["new source"] == sum(1 for id in after if id.startswith("hub:org/extra"))
    moved = [row for row in rows if row["what"] == "moved"]
    assert {row["stage"] for row in moved} == {"select"}
    assert {row["id"] for row in moved} == {id for id in before.keys() & after.keys() if before[id][1] != after[id][1]}
    assert len(moved) > 3
