"""The recipe: everything that decides what a build's release contains, read from `recipes/*.yaml`.

    name: vqa-rad
    sources: [vqa-rad]
    select: {difficulty: [medium]}

Every key has a default; an unknown key is refused with the nearest known one. Where a build lies, which network it
uses and how fast the machine is are not here: they never change a release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from curator.difficulty import bands
from curator.elsewhere import HASHED, all_here, public
from curator.errors import UsageError, unknown
from curator.phantom import SOLVER
from curator.settings import checked, read_yaml

BENCHMARKS = ("pmc-vqa", "mmmu-medical", "medxpertqa-mm", "path-vqa", "slake", "vqa-rad")
DEFAULT_SOLVER = "Qwen/Qwen2.5-VL-3B-Instruct"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SourceChoice(_Part):
    """One source of the mix; earlier sources are preferred when two hold the same question."""

    name: str
    """A name of `curator sources`, or `hub:ORG/NAME`."""
    splits: list[str] | None = None
    """None: the training split, with the validation split where there is one."""
    revision: str | None = None
    data_dir: str | None = None
    """A local copy in the source's own layout, instead of the Hub."""
    limit: int | None = Field(None, ge=1)
    """Read at most this many rows of each split that is built, from the top (what they are checked against: see `Opened.limit_of`)."""
    cap: int | None = Field(None, ge=1)
    """Keep at most this many questions of this source in the release (seeded choice by id)."""
    weight: float | None = Field(None, gt=0)
    """Share of this source in the mix relative to the others' weights; the scarcest source sets the size."""
    where: dict[str, str | list[str]] = {}
    """Keep only rows whose column equals (one of) the value(s), e.g. {language: en, answer_type: [choice, yes_no]}."""
    columns: dict[str, str | list[str]] = {}
    """For `hub:` and `folder`: record column -> raw column."""
    options: dict[str, str] = {}
    """Settings of the adapter itself, e.g. {version: "2"} for pmc-vqa."""

    @field_validator("where")
    @classmethod
    def _columns_of_records(cls, where: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        for column in where:
            from curator.records import Record

            if column not in Record.__dataclass_fields__:
                raise unknown("column", column, Record.__dataclass_fields__, "In a source's `where`.")
        return where


class Images(_Part):
    min_side: int = Field(28, ge=1)
    max_side: int = Field(1024, ge=28)

    @model_validator(mode="after")
    def _smaller_first(self) -> Images:
        if self.min_side > self.max_side:
            raise ValueError(f"min_side {self.min_side} is over max_side {self.max_side}: no image has such sides")
        return self


class Dedup(_Part):
    threshold: float = Field(0.8, gt=0, le=1)
    """Jaccard similarity of word 5-gram sets from which two questions are near-duplicates."""
    against: list[str] = []
    """Builds (folders) or published sets (hub:ORG/NAME@v) whose questions are duplicates too."""
    rule: Literal["jaccard", "fuzz"] = "jaccard"
    """fuzz, for parity only: what m1 and MedVLThinker dropped, `fuzz.ratio` of two questions of at least 95."""

    @model_validator(mode="after")
    def _the_seed_knew_no_others(self) -> Dedup:
        if self.rule == "fuzz" and self.model_fields_set & {"threshold", "against"}:
            raise ValueError("rule: fuzz takes no threshold and no against")
        return self


class Decontaminate(_Part):
    benchmarks: list[str] = list(BENCHMARKS)
    fingerprints: list[str] = []
    """Fingerprint files; those in the user's data directory are found by benchmark name."""
    held_out: bool = True
    """Also check against the source's own splits that are not being built."""

    @model_validator(mode="after")
    def _benchmarks_can_be_had(self) -> Decontaminate:
        for name in set(self.benchmarks) - set(BENCHMARKS):
            from curator.sources import names
            from curator.workspace import data_home

            # A benchmark is a source whose evaluation set was built, or what a fingerprint file calls itself.
            made = name.startswith("hub:") or (data_home() / "fingerprints" / f"{name}.parquet").is_file()
            if not (made or self.fingerprints or name in names()):
                raise unknown("benchmark", name, [*BENCHMARKS, *names()], "In decontaminate.benchmarks.")
        return self


def pixels_in_order(least: int, most: int) -> None:
    """Raise ValueError where no picture can have at least and at most so many pixels."""
    if least > most:
        raise ValueError(f"min_pixels {least} is over max_pixels {most}: no picture has such a size")


class Solver(_Part):
    """Who answers and how. Decides sample identity, except `engine`, `servers` and `max_tokens`."""

    model: str = DEFAULT_SOLVER
    revision: str | None = None
    engine: Literal["auto", "transformers", "vllm", "openai"] = "auto"
    servers: list[str] = []
    samples: int = Field(16, ge=0, le=1024)
    """0: no scoring; every question has difficulty null and passes the band."""
    temperature: float = Field(1.0, ge=0)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(4096, ge=1)
    min_pixels: int = Field(28 * 28, ge=1)
    max_pixels: int = Field(1024 * 1024, ge=784)
    prompt: Literal["curator", "seed"] = "curator"
    grader: Literal["curator", "seed-rollout", "seed-reward", "seed-regrade"] = "curator"
    blind: bool = False
    """Also draw every sample without the images."""
    shuffle_options: int | None = None
    """Seed of a recorded shuffle of the options, against position bias."""

    @field_validator("servers")
    @classmethod
    def _addresses(cls, servers: list[str]) -> list[str]:
        from curator.engines.openai import base_url

        for url in servers:
            base_url(url)  # raises UsageError, which never shows a password; pydantic passes it on
        return servers

    @model_validator(mode="after")
    def _pixels_in_order(self) -> Self:
        pixels_in_order(self.min_pixels, self.max_pixels)
        return self

    @model_validator(mode="before")
    @classmethod
    def _small_for_phantom(cls, raw: Any) -> Any:
        # It was trained on small images and short answers; larger limits would only cost time.
        return {**SOLVER, **raw} if isinstance(raw, dict) and raw.get("model") == SOLVER["model"] else raw


class Score(Solver):
    stop: Literal["full", "exact", "declared"] = "full"
    audit: float = Field(0.05, ge=0, le=1)
    """Share of questions that draw all samples whatever the stopping rule."""
    alpha: float = Field(0.057, gt=0, lt=1)
    """`declared` stops when the posterior chance of the wrong side is under this (benchmarks/stopping.py)."""
    cascade: list[Solver] = []
    """Cheap solvers first (greedy, one sample): what any of them gets right is dropped, as m1 did."""
    also: list[Solver] = []
    """More solvers whose counts go to the `scores` table."""


class Select(_Part):
    difficulty: list[Literal["easy", "medium", "hard", "any"]] = ["any"]
    band: tuple[int, int] | Literal["auto"] | None = None
    """Inclusive pass counts; replaces `difficulty` as the criterion."""
    needs_image: bool = False
    """Keep only questions that are right more often with the image than without (wants score.blind)."""

    @field_validator("band")
    @classmethod
    def _ordered(cls, band: tuple[int, int] | str | None) -> tuple[int, int] | str | None:
        if isinstance(band, tuple) and (band[0] > band[1] or band[0] < 0):
            raise ValueError(f"{band[0]} to {band[1]} is empty; write it low-high, from 0")
        return band


class Distill(Solver):
    """A teacher's reasoning traces."""

    model: str = "Qwen/Qwen2.5-VL-32B-Instruct"
    samples: int = Field(3, ge=1)
    choose: Literal["first", "shortest", "median"] = "first"
    keep: int = Field(1, ge=1)
    """Traces per question in the `traces` table."""
    min_tokens: int = Field(16, ge=0)
    max_trace_tokens: int = Field(8192, ge=1)
    require: bool = False
    """Drop questions that get no accepted trace."""
    token_budget: int | None = Field(None, ge=1)
    teachers: list[Solver] = []
    """More teachers; agreement between them is recorded."""

    @model_validator(mode="after")
    def _some_length_is_right(self) -> Distill:
        if self.min_tokens > self.max_trace_tokens:
            raise ValueError(f"min_tokens {self.min_tokens} is over max_trace_tokens {self.max_trace_tokens}")
        return self

    @model_validator(mode="after")
    def _own_letters(self) -> Distill:
        if any(teacher.shuffle_options is not None for teacher in (self, *self.teachers)):
            raise ValueError(
                "a teacher's options cannot be shuffled: its trace would speak of letters that are not the row's"
            )
        return self


class Split(_Part):
    by: Literal["source", "group"] = "source"
    """source: keep the source's splits; group: cut anew by `split_group`."""
    validation: float = Field(0.0, ge=0, lt=1)
    test: float = Field(0.0, ge=0, lt=1)
    order: Literal["id", "easy-to-hard", "shuffled"] = "id"
    control: bool = False
    """Also write an unfiltered control of equal size (config `control`)."""

    @model_validator(mode="after")
    def _something_is_left(self) -> Split:
        if self.validation + self.test >= 1:
            raise ValueError(f"validation {self.validation:g} and test {self.test:g} leave nothing to train on")
        if self.by == "source" and (self.validation or self.test):
            raise ValueError("shares for validation and test want `by: group`; `by: source` keeps the source's splits")
        return self


class Publish(_Part):
    repo: str | None = None
    title: str | None = None
    rollouts: bool = False
    """Publish the samples themselves as a side table."""


PARITY: dict[str, dict[str, Any]] = {
    "score": {"prompt": "seed", "grader": "seed-rollout"},
    "select": {"band": [1, 7]},
    "split": {"order": "easy-to-hard"},
    "distill": {"prompt": "seed", "grader": "seed-rollout", "choose": "first"},
}
"""What `parity: true` stands for: MedVLThinker's prompt and rollout grader, 1..7 right of 16, easy to hard, first trace."""


class Recipe(_Part):
    """One build, from sources to release."""

    name: str
    description: str = ""
    sources: list[SourceChoice] = Field(min_length=1)
    images: Images = Images()
    dedup: Dedup = Dedup()
    decontaminate: Decontaminate = Decontaminate()
    score: Score = Score()
    select: Select = Select()
    distill: Distill | None = None
    split: Split = Split()
    publish: Publish = Publish()
    seed: int = 42
    parity: bool = False
    """The seed's prompt, grader, band 1..7 and order, wherever the recipe says nothing else: `PARITY`."""
    evaluation: bool = False
    """An evaluation set: duplicates and leakage are reported, nothing is dropped for them."""
    expect: dict[str, Annotated[int, Field(ge=0)]] = {}
    """Rows each source must have in the release, asserted when it is written."""

    @model_validator(mode="before")
    @classmethod
    def _as_the_seed(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or raw.get("parity") is not True:
            return raw
        below = {part: values for part, values in PARITY.items() if part != "distill" or raw.get("distill")}
        given = {part: raw.get(part) or {} for part in below}  # what is no mapping is refused as it stands
        return {**raw, **{part: {**below[part], **own} for part, own in given.items() if isinstance(own, dict)}}

    @field_validator("sources", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return (
            [{"name": item} if isinstance(item, str) else item for item in value] if isinstance(value, list) else value
        )

    @field_validator("sources")
    @classmethod
    def _once_each(cls, sources: list[SourceChoice]) -> list[SourceChoice]:
        # Rows, pictures, caps and counts are all known by their source's name.
        names = [choice.name for choice in sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise ValueError(
                f"{twice!r} is named twice: list its `splits` in one choice, put files into one folder, or make two builds, "
                "the second with `dedup: {against: [THE FIRST]}`"
            )
        return sources

    @model_validator(mode="after")
    def _expects_its_sources(self) -> Recipe:
        names = [choice.name for choice in self.sources]
        for name in self.expect:
            if name not in names:
                raise unknown("source", name, names, "`expect` counts rows of the recipe's own sources.")
        return self

    @field_validator("name")
    @classmethod
    def _file_name(cls, name: str) -> str:
        if not name or not all(c.isalnum() or c in "-_." for c in name) or name.startswith("."):
            raise ValueError("a name is letters, digits, '-', '_' and '.'")
        return name

    @model_validator(mode="after")
    def _band_fits(self) -> Recipe:
        band = self.select.band
        if isinstance(band, tuple) and self.score.samples and band[1] > self.score.samples:
            raise ValueError(f"band {band[0]}-{band[1]} reaches beyond the {self.score.samples} samples drawn")
        return self

    @model_validator(mode="after")
    def _band_has_scores(self) -> Recipe:
        select = self.select
        if not self.score.samples and (select.band or select.needs_image or "any" not in select.difficulty):
            raise ValueError("a band of difficulty wants scores: set samples above 0, or take --difficulty any")
        if not self.score.samples and self.split.order == "easy-to-hard":
            raise ValueError("order easy-to-hard wants scores: set samples above 0, or split.order to id or shuffled")
        if select.band is None and "any" not in select.difficulty:
            there = bands(self.score.samples)
            lacking = [name for name in select.difficulty if name not in there]
            if lacking:
                raise ValueError(
                    f"score.samples {self.score.samples} tells {' and '.join(there)} apart, and select.difficulty wants "
                    f"{lacking[0]}: draw 3 samples or more"
                )
        if select.needs_image and not self.score.blind:
            raise ValueError("select.needs_image wants samples without the images too: set score.blind to true")
        return self

    @model_validator(mode="after")
    def _counts_are_whole(self) -> Recipe:
        wants = {
            "needs_image": self.select.needs_image,
            "band auto": self.select.band == "auto",
            "order easy-to-hard": self.split.order == "easy-to-hard",
        }
        first = next((name for name, wanted in wants.items() if wanted), None)
        if first and self.score.stop != "full":
            raise ValueError(
                f"{first} wants all samples of every question, stop {self.score.stop} draws fewer: take --stop full"
            )
        return self

    def digest(self) -> str:
        """sha256 of the recipe as canonical JSON, without what does not change a release."""
        return digest(portable(self.model_dump(mode="json")))


MACHINE = frozenset({"data_dir", "servers", "engine"})
"""Keys that say how this machine builds, not what: in no digest and in no published recipe."""


def portable(value: Any) -> Any:
    """A recipe's plain data without the keys of `MACHINE`: the address of a server is nobody else's business."""
    if isinstance(value, dict):
        return {key: portable(inside) for key, inside in value.items() if key not in MACHINE}
    return [portable(inside) for inside in value] if isinstance(value, list) else value


def differences(old: Recipe, new: Recipe) -> list[str]:
    """What decides a release and is another: 'select.difficulty medium → hard'. A revision only where `new` says one.

    A model or release that has another hash under the same name is, like a later revision, no other setting.
    """
    before, after = (dict(_settings(portable(public(one).model_dump(mode="json")))) for one in (old, new))
    return [
        f"{key} {before.get(key, 'nothing')} → {after.get(key, 'nothing')}"
        for key in dict.fromkeys([*after, *before])
        if before.get(key) != after.get(key) and not (key.endswith(".revision") and key not in after)
    ]


def _settings(value: Any, place: str = "") -> Iterator[tuple[str, str]]:
    """Every setting by its place, as text; what is not set is left out."""
    if isinstance(value, dict):
        for key, inside in value.items():
            yield from _settings(inside, f"{place}.{key}" if place else key)
    elif isinstance(value, list) and any(isinstance(inside, dict) for inside in value):
        for index, inside in enumerate(value):
            yield from _settings(inside, f"{place}.{index}")
    elif value is not None:
        words = [str(one) for one in (value if isinstance(value, list) else [value])]
        yield place, ", ".join(word.rpartition("@")[0] if HASHED.fullmatch(word) else word for word in words)


def digest(value: Any) -> str:
    """sha256 of a value as canonical JSON."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def recipe_dir() -> Path:
    """Where the bundled recipes lie: inside the wheel, or beside the package in a checkout."""
    inside = Path(__file__).parent / "recipes"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "recipes"


def load_recipe(name_or_path: str | Path, **changes: Any) -> Recipe:
    """A recipe from a file or by the name of a bundled one, with top-level keys replaced by `changes`.

    Raises:
        UsageError: no such recipe, unreadable YAML, an unknown key (the nearest is suggested) or a bad value.
    """
    path = Path(name_or_path)
    if not path.suffix:
        bundled = recipe_dir() / f"{name_or_path}.yaml"
        if not bundled.is_file():
            raise unknown(
                "recipe",
                str(name_or_path),
                (p.stem for p in recipe_dir().glob("*.yaml")),
                "`curator recipes` lists all; or give a file: recipe.yaml.",
            )
        path = bundled
    return make_recipe({**read_yaml(path, "recipe"), **changes}, where=str(path))


def make_recipe(raw: dict[str, Any], where: str = "the recipe") -> Recipe:
    """A checked recipe from plain data; see `load_recipe` for what it raises."""
    return checked(Recipe, raw, "recipe", where)


def compose(name: str | None, sources: list[str], changes: dict[str, Any]) -> Recipe:
    """The recipe of a command line: a named one (or the bundled one of its only source) with `changes` laid over it.

    `changes` is nested like a recipe; None means "as the recipe has it".

    Raises:
        UsageError: neither a recipe nor a source, one of them is not known, or a difficulty where a band decides.
    """
    if name is None and not sources:
        raise UsageError(
            "say what to build: a recipe (`curator recipes` lists them) or --source NAME (`curator sources`)."
        )
    if name is None and len(sources) == 1 and (recipe_dir() / f"{sources[0]}.yaml").is_file():
        base = load_recipe(sources[0])
    elif name is not None:
        base = load_recipe(name)
    else:
        plain = "-".join(source.removeprefix("hub:").replace("/", "-") for source in sources)
        base = make_recipe({"name": plain, "sources": sources})
    raw = base.model_dump(mode="json", exclude_unset=True)
    if sources and [choice.name for choice in base.sources] != sources:
        raw["sources"] = [{"name": source} for source in sources]
        raw.pop("expect", None)  # the counts of the recipe's own choice
    select = changes.get("select") or {}
    if select.get("difficulty") and (select.get("band") or base.select.band):
        raise UsageError("a band, of --band or of the recipe, takes the place of --difficulty: give --band alone.")
    if (changes.get("score") or {}).get("samples") == 0 and not any(select.values()):
        raw["select"] = {"difficulty": ["any"]}  # without scores the recipe's band has no meaning
    own = changes.pop("sources", {})
    raw["sources"] = [_laid_over(choice, own) for choice in raw["sources"]]
    where = name or "the command line"
    made = make_recipe(_laid_over(raw, changes), where)
    all_here(made, where)
    return made


def _laid_over(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        if value is None:
            continue
        merged[key] = _laid_over(merged.get(key) or {}, value) if isinstance(value, dict) else value
    return {key: value for key, value in merged.items() if value != {} or key in below}
