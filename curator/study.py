"""The whole comparison as one command: build, train and evaluate {base, SFT, RLVR} x {text, image-text} x sizes.

    curator study phantom            minutes on a laptop
    curator study medvlthinker       the paper's; says first what it takes

Every step is one that can be run alone and that goes on where it stopped, so the same command resumes the study. The table
is written again after each evaluation.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from curator import compare, memory, progress, train
from curator.errors import EngineError, UsageError, unknown
from curator.evaluate import RESULTS, compare_runs, evaluate
from curator.recipe import Recipe, load_recipe, make_recipe, recipe_dir
from curator.settings import checked, read_yaml
from curator.workspace import write_text

Data = Literal["text", "image-text"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Build(_Part):
    """A set to build, or one that is published."""

    recipe: str | None = None
    changes: dict[str, dict[str, Any]] = {}
    """Laid over the recipe, section by section."""
    dataset: str | None = None
    """ORG/NAME or a folder instead of a recipe."""
    rows: int = Field(0, ge=0)
    """Rows expected, for the forecast only."""

    @model_validator(mode="after")
    def _one(self) -> Build:
        if (self.recipe is None) == (self.dataset is None):
            raise ValueError("give either recipe or dataset")
        return self


class Size(_Part):
    """One base model and the training configs for it, by data."""

    model: str
    parameters: float
    """For the forecast only."""
    sft: dict[Data, str] = {}
    rlvr: dict[Data, str] = {}


class Study(_Part):
    """A study, read from `recipes/studies/*.yaml`."""

    name: str
    suite: str
    builds: dict[str, Build]
    data: dict[Data, str] = {"text": "text", "image-text": "image-text"}
    """Which build each paradigm trains on; where both name one, each takes its kind of rows."""
    sizes: dict[str, Size]
    accelerate: str | None = None
    processes: int | None = None
    overrides: list[str] = []
    """key=value for every training."""
    evaluation: dict[str, Any] = {}
    """Settings of `curator eval`."""

    @model_validator(mode="after")
    def _builds_exist(self) -> Study:
        for paradigm, name in self.data.items():
            if name not in self.builds:
                raise ValueError(f"{paradigm} trains on {name!r}, which is not among builds")
        return self


@dataclass(frozen=True, slots=True)
class Cell:
    """One row of the table."""

    size: str
    kind: str
    """base, sft or rlvr."""
    data: str
    """"" for the base model."""
    model: str
    config: str = ""

    @property
    def name(self) -> str:
        return "-".join(part for part in (self.size, self.kind, self.data) if part)


def load_study(name_or_path: str | Path) -> Study:
    """A study by a bundled one's name or from a YAML file.

    Raises:
        UsageError: no such study, or one that does not hold.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        folder = recipe_dir() / "studies"
        path = folder / f"{name_or_path}.yaml"
        if not path.is_file():
            raise unknown("study", str(name_or_path), (p.stem for p in folder.glob("*.yaml")), "Or give a file.")
    return checked(Study, read_yaml(path, "study"), "study", where=str(path))


def cells(study: Study) -> list[Cell]:
    """The rows of the table, base models first within each size."""
    found = []
    for size, what in study.sizes.items():
        found.append(Cell(size, "base", "", what.model))
        for kind, configs in (("sft", what.sft), ("rlvr", what.rlvr)):
            found += [Cell(size, kind, data, what.model, config) for data, config in configs.items()]
    return found


def plan(study: Study) -> str:
    """What the study takes, by the arithmetic of docs/training.md, as lines of text."""
    lines = [f"{study.name}: {len(study.builds)} builds, {len(cells(study))} evaluations on {study.suite}"]
    total = 0.0
    for cell in cells(study):
        if cell.kind == "base":
            continue
        settings = _settings(study, cell, Path("studies") / study.name)
        rows = min(filter(None, (settings.limit, study.builds[study.data[_data(cell)]].rows or None)), default=0)
        hours = memory.training_hours(settings, rows, study.sizes[cell.size].parameters)
        total += hours
        need = memory.forecast(
            round(study.sizes[cell.size].parameters), lora=settings.lora is not None,
            reference=getattr(settings, "kl", 0) > 0, shards=study.processes or 1, tokens=0,
        )  # fmt: skip
        lines.append(
            f"  {cell.name}: {settings.model}, {progress.counted(rows, 'row')}, about {hours:,.1f} GPU-hours, "
            f"{need.total / memory.GIB:.1f} GiB of states a process"
        )
    lines.append(
        f"  trainings together about {total:,.0f} GPU-hours; what builds take is said by `curator build --dry-run`"
    )
    return "\n".join(lines)


def run(
    name_or_path: str | Path, *, out: Path | None = None, store: Path | None = None, dry_run: bool = False
) -> Path | None:
    """Run a study to its table; returns the table's file (results.md; results.json beside it), None for a dry run.

    Raises:
        UsageError, EngineError and whatever a build raises: one line; the same command goes on.
    """
    study = load_study(name_or_path)
    folder = out or Path("studies") / study.name
    progress.say(plan(study))
    if dry_run:
        return None
    for name, what in study.builds.items():
        _build(name, what, folder, store)
    done: list[Cell] = []
    for cell in cells(study):
        model = cell.model if cell.kind == "base" else _train(study, cell, folder)
        suite = (
            str(folder / "builds" / study.suite)
            if study.suite in study.builds and study.suite != "phantom"
            else study.suite
        )
        progress.say(f"evaluating {cell.name}")
        evaluate(model, suite, out=folder / "evals" / cell.name, store=store, **study.evaluation)
        done.append(cell)
        _write_table(study, done, folder)
    return folder / "results.md"


def _build(name: str, what: Build, folder: Path, store: Path | None) -> None:
    if what.recipe is None:
        return
    from curator.builds import Runtime
    from curator.pipeline import run as build

    progress.say(f"building {name}")
    build(build_recipe(what), Runtime(out=folder / "builds" / name, store=store, yes=True))


def build_recipe(what: Build) -> Recipe:
    """The recipe of a study's build with its changes.

    Raises:
        UsageError: the build is a published set, or the changes do not fit the recipe.
    """
    if what.recipe is None:
        raise UsageError(f"{what.dataset} is published: it has no recipe to build.")
    raw = load_recipe(what.recipe).model_dump(mode="json", exclude_unset=True)
    for section, changes in what.changes.items():
        given = raw.get(section) or {}
        raw[section] = {**given, **changes} if isinstance(given, dict) else changes
    return make_recipe(raw, where=what.recipe)


def _data(cell: Cell) -> Data:
    return "text" if cell.data == "text" else "image-text"


def _given(study: Study, cell: Cell, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """What the study changes in a bundled training config."""
    name = study.data[_data(cell)]
    dataset = study.builds[name].dataset or str(folder / "builds" / name)
    shared = list(study.data.values()).count(name) > 1
    overrides = [*([f"only={cell.data}"] if shared else []), *study.overrides]
    return {"dataset": dataset, "model": cell.model, "output": str(folder / "models" / cell.name)}, overrides


def _settings(study: Study, cell: Cell, folder: Path) -> train.SftSettings | train.RlvrSettings:
    given, overrides = _given(study, cell, folder)
    return train.load_settings(cell.kind, cell.config, overrides, **given)


def _train(study: Study, cell: Cell, folder: Path) -> str:
    output = folder / "models" / cell.name
    wanted = _settings(study, cell, folder)
    record = output / train.RECORD
    if record.is_file():
        made = json.loads(record.read_text("utf-8"))
        same = made["settings"] == wanted.model_dump(mode="json") and made["data"] == train.data_facts(wanted.dataset)
        if made["finished"] and same:
            return str(output)
    given, overrides = _given(study, cell, folder)
    progress.say(f"training {cell.name}")
    code = train.launch(
        cell.kind, cell.config, overrides=overrides, accelerate=study.accelerate, processes=study.processes, **given
    )
    if code:
        raise EngineError(
            f"the training {cell.name} ended with code {code}, by what it says above: after that is mended, the same "
            "command goes on from its last checkpoint."
        )
    return str(output)


def _write_table(study: Study, done: list[Cell], folder: Path) -> None:
    found = {cell.name: json.loads((folder / "evals" / cell.name / RESULTS).read_text("utf-8")) for cell in done}
    against = {
        cell.name: compare_runs(folder / "evals" / f"{cell.size}-base", folder / "evals" / cell.name)
        for cell in done
        if cell.kind != "base"
    }
    rows = {
        name: {"evaluation": part, "against_base": against[name].as_dict() if name in against else None}
        for name, part in found.items()
    }
    table = {"study": study.model_dump(mode="json"), "cells": [asdict(cell) for cell in done], "results": rows}
    write_text(folder / "results.json", json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "results.md", "\n".join(_lines(study, done, found, against)) + "\n")


def _lines(
    study: Study, done: list[Cell], found: dict[str, Any], against: dict[str, compare.Comparison]
) -> Iterator[str]:
    names = list(found[done[0].name]["benchmarks"])
    theirs = any(part.get("reference_mean") for part in found.values())
    heads = ["model", *names, "mean", "95 % interval", "to its base", "p", *(["theirs"] if theirs else [])]
    yield f"# {study.name}: accuracy in percent\n"
    yield "| " + " | ".join(heads) + " |"
    yield "|---|" + "---:|" * (len(heads) - 1)
    for cell in done:
        part = found[cell.name]
        row = [f"{cell.size} {cell.kind}{f'({cell.data})' if cell.data else ''}"]
        row += [f"{100 * part['benchmarks'][name]['accuracy']['value']:.2f}" for name in names]
        mean = part["macro"]
        row += [f"{100 * mean['value']:.2f}", f"{100 * mean['low']:.2f} … {100 * mean['high']:.2f}"]
        change = against[cell.name].macro if cell.name in against else None
        row += [f"{100 * change.difference:+.2f}", compare.p_text(change.p)] if change else ["", ""]
        if theirs:
            row.append(f"{part['reference_mean']['accuracy']:.2f}" if part.get("reference_mean") else "")
        yield "| " + " | ".join(row) + " |"
    yield f"\nMean over benchmarks; intervals by a bootstrap over images, differences paired. Suite {study.suite}."
