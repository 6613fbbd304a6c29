"""A release says nothing of the folders of the machine that built it, and its recipe still builds it on another."""

from __future__ import annotations

import csv
import hashlib
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

import curator
from curator import phantom
from curator.builds import Runtime
from curator.decontaminate import fingerprint
from curator.elsewhere import public
from curator.engines.model import identify
from curator.errors import UsageError
from curator.recipe import Solver, compose, differences, load_recipe, make_recipe
from curator.stages import image_index_types

if not (phantom.model_dir() / "model.safetensors").is_file():
    pytest.skip("the phantom model is not here", allow_module_level=True)

SECRET = "bobs-own-disk"
SMALL = {"samples": 2, "max_tokens": 16, "min_pixels": 784, "max_pixels": 9408}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A machine: its questions and pictures, a model, an earlier build's folder and a fingerprint file."""
    home = tmp_path_factory.mktemp("disk") / SECRET
    shutil.copytree(phantom.model_dir(), home / "models" / "mine")
    pictures = home / "set" / "pictures"
    pictures.mkdir(parents=True)
    for shade in range(4):
        Image.effect_noise((64, 56), 10 + 40 * shade).save(pictures / f"{shade}.png")
    (pictures / "broken.png").write_bytes(b"no picture")
    questions = [("What shade is picture 0?", "0.png"), ("Which organ does number one show?", "1.png"), ("Broken?", "broken.png"),
                 ("Lost?", "lost.png"), ("What has no picture at all?", ""), ("Is the third one dark?", "3.png")]  # fmt: skip
    with (home / "set" / "train.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "A", "B", "answer", "image"])
        writer.writerows([text, "Yes", "No", "A", f"pictures/{name}" if name else ""] for text, name in questions)
        writer.writerow(["", "Yes", "No", "A", ""])
        writer.writerow(["Which key?", "Yes", "No", "Z", ""])
    earlier = Runtime(out=home / "builds" / "earlier", store=home / "earlier.sqlite")
    curator.build(load_recipe("phantom", name="earlier", score={"samples": 0}), earlier)
    row = {"id": "b:1", "question": "Which bone is this?", "options": ["a", "b"], "answer": "a", "images": []}
    frame = pl.DataFrame([row], schema_overrides={"images": pl.List(pl.String)})
    fingerprint("bench", frame, pl.DataFrame(schema=image_index_types())).save(home / "bench.parquet")
    return home


def recipe(home: Path, **score: Any) -> curator.Recipe:
    model = str(home / "models" / "mine")
    return make_recipe(
        {
            "name": "mine",
            "sources": [{"name": "folder", "data_dir": str(home / "set")}],
            "dedup": {"against": [str(home / "builds" / "earlier")]},
            "decontaminate": {"benchmarks": [], "fingerprints": [str(home / "bench.parquet")]},
            "score": {"model": model, **SMALL, "blind": True, **score},
            "distill": {"model": model, **SMALL, "samples": 1, "min_tokens": 1},
            "publish": {"rollouts": True},
        }
    )


def mine(home: Path) -> curator.Recipe:
    model = str(home / "models" / "mine")
    return recipe(
        home,
        cascade=[{"model": model, **SMALL, "samples": 1}],
        also=[{"model": model, **SMALL, "temperature": 0.5}],
    )


@pytest.fixture(scope="module")
def built(home: Path) -> curator.Result:
    runtime = Runtime(out=home / "builds" / "mine", store=home / "rollouts.sqlite")
    return curator.build(mine(home), runtime)


def said(path: Path) -> str:
    """All that a file of a release says, out of its compression."""
    if path.suffix != ".parquet":
        return path.read_text("utf-8")
    table = pq.read_table(path)
    return f"{table.schema.metadata} {table.to_pylist()}"


def test_no_file_of_a_release_says_where_anything_lay(built: curator.Result, home: Path) -> None:
    told = {str(path.relative_to(built.release)): said(path) for path in built.release.rglob("*") if path.is_file()}
    assert {"recipe.yaml", "manifest.json", "README.md"} < set(told) and any("rollouts" in name for name in told)
    assert "missing-image" in "".join(told.values()) and "not-an-image" in "".join(told.values())
    for name, text in told.items():
        for word in (SECRET, str(home.parent), home.parent.name):
            assert word not in text, name


def test_the_recipe_names_what_lay_here_by_what_it_is(built: curator.Result, home: Path) -> None:
    text = (built.release / "recipe.yaml").read_text("utf-8")
    raw = yaml.safe_load(text)
    model = identify(Solver(model=str(home / "models" / "mine")))
    assert model.startswith("mine@")
    solvers = [raw["score"], raw["distill"], *raw["score"]["cascade"], *raw["score"]["also"]]
    assert [solver["model"] for solver in solvers] == [model] * 4
    manifest = (home / "builds" / "earlier" / "release" / "manifest.json").read_bytes()
    assert raw["dedup"]["against"] == [f"earlier@{hashlib.sha256(manifest).hexdigest()[:16]}"]
    [name] = raw["decontaminate"]["fingerprints"]
    assert name.startswith("bench@") and len(name) == len("bench@") + 16


def test_the_same_recipe_again_is_no_other_recipe(built: curator.Result, home: Path) -> None:
    """Else the same command would be refused for a release with other settings."""
    published = load_recipe(built.release / "recipe.yaml")
    assert public(published) == published and differences(published, mine(home)) == []
    other = mine(home).model_copy(update={"score": mine(home).score.model_copy(update={"model": "phantom"})})
    assert differences(published, other) == ["score.model mine → phantom"]


def test_a_folder_that_a_server_calls_its_model_is_not_said_either() -> None:
    served = {"name": "x", "sources": ["a"], "score": {"model": f"/{SECRET}/q", "servers": ["http://gpu1:8000"]}}
    assert public(make_recipe(served)).score.model == "q"


def test_elsewhere_one_line_says_what_is_to_be_given(built: curator.Result, home: Path, tmp_path: Path) -> None:
    file = str(shutil.copy(built.release / "recipe.yaml", tmp_path))
    model, earlier = str(home / "models" / "mine"), str(home / "builds" / "earlier")
    with pytest.raises(UsageError, match=r"score.model is mine@\w{16}, by name and hash, .*: give --solver FOLDER"):
        compose(file, [], {})
    with pytest.raises(UsageError, match=r"score.cascade is mine@.*: write in .*recipe.yaml where it lies here"):
        compose(file, [], {"score": {"model": model}})
    text = Path(file).read_text("utf-8")
    Path(file).write_text(text.replace(identify(Solver(model=model)), model), "utf-8")
    with pytest.raises(UsageError, match=r"dedup.against is earlier@\w{16}.*: give --against FOLDER"):
        compose(file, [], {})
    with pytest.raises(UsageError, match=r"decontaminate.fingerprints is bench@\w{16}.*: write in "):
        compose(file, [], {"dedup": {"against": [earlier]}})


def test_with_what_it_asks_for_it_is_the_same_release(home: Path, tmp_path: Path) -> None:
    raw = recipe(home).model_dump(exclude_unset=True)
    first = curator.build(
        make_recipe({**raw, "decontaminate": {"benchmarks": []}, "distill": None}),
        Runtime(out=home / "builds" / "first", store=home / "rollouts.sqlite"),
    )
    moved = shutil.copytree(home, tmp_path / "alices")
    given = {
        "sources": {"data_dir": str(moved / "set")},
        "score": {"model": str(moved / "models" / "mine")},
        "dedup": {"against": [str(moved / "builds" / "earlier")]},
    }
    file = shutil.copy(first.release / "recipe.yaml", tmp_path)
    again = curator.build(
        compose(str(file), [], given), Runtime(out=tmp_path / "again", store=moved / "rollouts.sqlite")
    )
    ours, theirs = (
        {str(p.relative_to(r)): p.read_bytes() for p in r.rglob("*") if p.is_file()}
        for r in (first.release, again.release)
    )
    assert ours == theirs
