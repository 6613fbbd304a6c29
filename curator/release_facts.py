"""What a release says about itself: the shape of manifest.json, and where things lie in the tree.

The pipeline fills in a `Manifest`; `release.write` adds what it counts itself and stores a `Written`.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from curator.errors import UsageError
from curator.records import SCHEMA_VERSION

PARTS = ("selected", "rest", "control")


class SourceFacts(TypedDict):
    """One source as it was read. `redistributable` None: each row's own licence decides."""

    name: str
    revision: str
    license: str
    redistributable: bool | None
    title: NotRequired[str]
    url: NotRequired[str]
    repo: NotRequired[str | None]
    """Its Hub repository, for the card's `source_datasets`."""
    citation: NotRequired[str]
    splits: NotRequired[list[str]]
    rows: NotRequired[int]
    """Raw rows read."""


class FunnelFacts(TypedDict):
    stage: str
    rows_in: int
    rows_out: int
    reasons: dict[str, int]
    note: NotRequired[str]


class Checked(TypedDict):
    """A benchmark or held-out split that the rows were compared with."""

    name: str
    rows: int
    images: int
    revision: NotRequired[str]
    limit: NotRequired[int | None]
    """Only so many of its first rows were read."""


class Found(TypedDict):
    """Rows that leak into a benchmark, each counted once, as in the funnel."""

    benchmark: str
    kind: str
    """The reason of their verdict: leak-image, leak-question …"""
    rows: int


class LeakageFacts(TypedDict):
    checked: list[Checked]
    missing: list[str]
    """Benchmarks that the recipe names and whose fingerprints were not at hand."""
    found: list[Found]


class ScoringFacts(TypedDict):
    """How difficulty was measured; {} when nothing was scored."""

    solver: NotRequired[str]
    samples: NotRequired[int]
    criterion: NotRequired[str]
    """What selected, in words: 'medium (1 to 7 of 16)'."""
    temperature: NotRequired[float]
    prompt: NotRequired[str]
    grader: NotRequired[str]
    stop: NotRequired[str]
    figures: NotRequired[dict[str, Any]]
    """What the counts promise (`difficulty.figures`)."""


class Manifest(TypedDict):
    """What the pipeline knows about a build. `write` adds what it counts itself: see `Written`."""

    name: str
    recipe_sha256: str
    seed: int
    versions: dict[str, str]
    sources: list[SourceFacts]
    funnel: list[FunnelFacts]
    leakage: LeakageFacts
    scoring: NotRequired[ScoringFacts]
    title: NotRequired[str]
    description: NotRequired[str]
    evaluation: NotRequired[bool]
    traces: NotRequired[dict[str, Any]]
    notes: NotRequired[dict[str, int]]
    """Repairs by kind."""


class FileFacts(TypedDict):
    sha256: str
    size: int
    rows: NotRequired[int]


class Counts(TypedDict):
    source: str
    split: str
    part: str
    rows: int
    bytes: int


class Written(Manifest):
    """The manifest.json of a release."""

    schema_version: int
    counts: list[Counts]
    difficulty: dict[str, dict[str, int]]
    """part -> easy | medium | hard | unscored -> rows."""
    histogram: list[list[int]]
    """[samples drawn, right, rows] over all scored rows of selected and rest."""
    languages: dict[str, int]
    answer_types: dict[str, int]
    licenses: dict[str, dict[str, int]]
    """source -> licence -> rows (selected and rest)."""
    with_images: int
    blind: dict[str, int]
    """Sums over rows that were also asked without their image: rows, right, drawn, sighted_right, sighted_drawn."""
    columns: dict[str, str]
    tables: dict[str, int]
    files: dict[str, FileFacts]
    version: NotRequired[str]
    repo: NotRequired[str]
    history: NotRequired[list[dict[str, Any]]]
    withheld: NotRequired[dict[str, Any]]
    """Rows left out of a public release for their licence."""


def read_manifest(directory: Path) -> Written:
    """The manifest of a release folder.

    Raises:
        UsageError: there is none, it is not JSON, or it was written by a later curator.
    """
    path = directory / "manifest.json"
    try:
        manifest: Written = json.loads(path.read_text("utf-8"))
        version = manifest["schema_version"]
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"{directory} is no release (no manifest.json): give a build's folder or its release."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a manifest ({error}): build it again.") from None
    if version > SCHEMA_VERSION:
        raise UsageError(f"{directory} has schema {version}, this curator reads up to {SCHEMA_VERSION}: update it.")
    return manifest


def is_whole(directory: Path) -> bool:
    """Whether a release has all files of its manifest, by name and size; `publish.verify` reads them."""
    try:
        files = read_manifest(directory)["files"]
    except UsageError:
        return False
    places = ((directory / name, facts["size"]) for name, facts in files.items())
    return all(path.is_file() and path.stat().st_size == size for path, size in places)


def file_facts(path: Path) -> FileFacts:
    """sha256 and size of a file."""
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "size": path.stat().st_size}


def slug(source: str) -> str:
    """A source's name as a folder and a config: letters, digits, '-', '_' and '.'."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", source.removeprefix("hub:")).strip("-.") or "source"


def first_config(manifest: Written) -> tuple[str, str]:
    """The config and split that a reader of a release loads first: default's train, where there are such rows."""
    listed = configs(manifest)
    config = "default" if "default" in listed else next(iter(listed))
    return config, "train" if "train" in listed[config] else next(iter(listed[config]))


def configs(manifest: Written) -> dict[str, dict[str, list[str]]]:
    """config -> split -> globs, as the card's YAML lists them; a split without rows is not listed.

    `default` is the selected rows of all sources; one config per source (selected), `<source>-all` (selected and rest),
    `control` where there is one, and the side tables. Empty tables and empty configs are left out: `datasets` cannot load
    a split without rows.
    """
    out: dict[str, dict[str, list[str]]] = {}

    def add(config: str, split: str, glob: str) -> None:
        globs = out.setdefault(config, {}).setdefault(split, [])
        if glob not in globs:
            globs.append(glob)

    counts = [c for c in manifest["counts"] if c["rows"]]
    taken = set(manifest["tables"]) | {"default", "control"}
    for c in counts:
        if c["part"] == "selected":
            add("default", c["split"], f"data/*/{c['split']}/selected-*.parquet")
    for suffix, parts in (("", ("selected",)), ("-all", ("selected", "rest"))):
        for c in sorted(counts, key=lambda c: (c["source"], c["split"], PARTS.index(c["part"]))):
            name = c["source"] if c["source"] not in taken else f"{c['source']}-source"
            if c["part"] in parts:
                add(name + suffix, c["split"], f"data/{c['source']}/{c['split']}/{c['part']}-*.parquet")
    for c in counts:
        if c["part"] == "control":
            add("control", c["split"], f"data/*/{c['split']}/control-*.parquet")
    for name, size in manifest["tables"].items():
        if size:
            add(name, "train", f"tables/{name}-*.parquet")
    return out
