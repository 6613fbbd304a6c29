"""What each stage of the pipeline does with a build's tables; the deciding is done by the pure modules it calls.

A stage takes the rows that came so far (`build.rows(stage)`) and returns an `Outcome`: one verdict per row, the columns it
adds, side tables, and a note for its funnel line.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import plan, progress, splits
from curator.builds import Build, Outcome, verdict_frame, versions
from curator.errors import UsageError
from curator.recipe import Recipe, SourceChoice, digest, load_recipe
from curator.records import Record, Verdict, evidence_json, to_table
from curator.release_facts import is_whole
from curator.workspace import data_home

if TYPE_CHECKING:
    import polars as pl

    from curator.decontaminate import Fingerprint
    from curator.sources import Opened

# -- ingest ------------------------------------------------------------------------------------------------------------


def ingest_settings(build: Build) -> Any:
    return [
        [opened.choice.model_dump(exclude={"data_dir", "cap", "weight"}), opened.revision,
         {split: opened.identity(split) for split in [*opened.build_splits(), *_held_out(build, opened)]}]
        for opened in build.sources
    ]  # fmt: skip


def _held_out(build: Build, opened: Opened) -> list[str]:
    return opened.held_out() if build.checks_held_out else []


def ingest(build: Build) -> Outcome:
    """Every raw row becomes a record, or a verdict that says why not."""
    import polars as pl

    records: list[Record] = []
    rejected: list[Verdict] = []
    held_out: list[Record] = []
    taken: set[str] = set()
    for opened in build.sources:
        for warning in opened.warnings:
            progress.say(f"  {warning}")
        for split in opened.build_splits():
            with progress.bar(f"reading {opened.source.name} {split}") as bar:
                for item in opened.records(split):
                    item = _renamed(item, taken)
                    (records if isinstance(item, Record) else rejected).append(item)  # type: ignore[arg-type]
                    bar.advance()
        for split in _held_out(build, opened):
            held_out.extend(item for item in opened.records(split) if isinstance(item, Record))
    if not records and not rejected:
        names = ", ".join(opened.source.name for opened in build.sources)
        raise UsageError(f"{names}: no rows at all in the chosen splits; `curator sources` lists the splits.")
    kept = pl.from_arrow(to_table(records))
    assert isinstance(kept, pl.DataFrame)
    kept = kept.with_columns(keep=pl.lit(True), reason=pl.lit(""), evidence=pl.lit(""))
    dropped = pl.DataFrame(
        {
            "id": [v.id for v in rejected],
            "reason": [v.reason for v in rejected],
            "evidence": [v.evidence for v in rejected],
        },
        schema={"id": pl.String, "reason": pl.String, "evidence": pl.String},
    ).with_columns(keep=pl.lit(False))
    rows = pl.concat([kept, dropped], how="diagonal")
    notes = kept["notes"].explode().drop_nulls().value_counts().sort(["count", "notes"], descending=[True, False])
    tables = {"held_out": pl.from_arrow(to_table(held_out))}
    return Outcome(rows, tables, facts={"notes": dict(notes.iter_rows())})  # type: ignore[arg-type]


def _renamed(item: Record | Verdict, taken: set[str]) -> Record | Verdict:
    """The same item with an id nobody has: repeats get -2, -3 …"""
    from dataclasses import replace

    name, number = item.id, 1
    while name in taken:
        number += 1
        name = f"{item.id}-{number}"
    taken.add(name)
    return item if name == item.id else replace(item, id=name)


# -- images ------------------------------------------------------------------------------------------------------------


def images(build: Build) -> Outcome:
    """Every image is decoded, cleaned and stored once by content; a row whose image cannot be read goes."""
    import polars as pl

    rows = build.rows("images")
    held_out = build.workspace.read_stage("ingest", "held_out")
    index = _store_images(build, pl.concat([rows.select("source", "images"), held_out.select("source", "images")]))
    stored = {(s, r): (sha, reason, notes) for s, r, sha, reason, notes in index.select(
        "source", "ref", "sha256", "reason", "notes").iter_rows()}  # fmt: skip
    shas: list[list[str]] = []
    flags: list[list[str]] = []
    verdicts: list[tuple[bool, str, str]] = []
    for source, refs, old_flags in rows.select("source", "images", "flags").iter_rows():
        found = [stored[source, ref] for ref in refs]
        bad = next(((ref, reason) for ref, (_, reason, _) in zip(refs, found, strict=True) if reason), None)
        verdicts.append((False, bad[1], evidence_json({"image": bad[0]})) if bad else (True, "", ""))
        shas.append([sha for sha, _, _ in found])
        padded = any(note.startswith("padded") for _, _, notes in found for note in notes)
        flags.append([*old_flags, "padded"] if padded else list(old_flags))
    listy = pl.List(pl.String)
    out = rows.select("id").with_columns(
        pl.Series("keep", [v[0] for v in verdicts], pl.Boolean),
        pl.Series("reason", [v[1] for v in verdicts], pl.String),
        pl.Series("evidence", [v[2] for v in verdicts], pl.String),
        pl.Series("images", shas, listy),
        pl.Series("flags", flags, listy),
    )
    distinct = index.filter(pl.col("reason") == "")["sha256"].n_unique()
    changes = index["notes"].explode().drop_nulls().str.split(" ").list.first().value_counts().sort("notes")
    facts = {"images": distinct, "notes": dict(changes.iter_rows())}
    return Outcome(
        out, {"index": index}, note=progress.counted(distinct, "image") if distinct else "no images", facts=facts
    )


def _store_images(build: Build, wanted: pl.DataFrame) -> pl.DataFrame:
    """Read and normalise every wanted image once, write the bytes to `workspace.blobs`, return the index."""
    import polars as pl
    import pyarrow as pa

    from curator.images import process
    from curator.workspace import atomic

    schema = pa.schema([("sha256", pa.string()), ("data", pa.large_binary())])
    found: list[dict[str, Any]] = []
    seen: set[str] = set()
    kinds = image_index_types()
    with atomic(build.workspace.blobs) as temporary:
        with pa.OSFile(str(temporary), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
            for opened in build.sources:
                name = opened.source.name
                mine = wanted.filter(pl.col("source") == name)
                refs = mine["images"].explode().drop_nulls().unique(maintain_order=True).to_list()
                if not refs:
                    continue
                with progress.bar(f"images of {name}", len(refs), "images") as bar:
                    for image in process(opened.read_images(refs), build.recipe.images, build.runtime.workers):
                        if not image.reason and image.sha256 not in seen:
                            seen.add(image.sha256)
                            row = [pa.array([image.sha256]), pa.array([image.data], pa.large_binary())]
                            writer.write_batch(pa.record_batch(row, schema))
                        found.append({"source": name, **{kind: getattr(image, kind) for kind in kinds}})
                        bar.advance()
        build.workspace.reopen_stage("images")
    return pl.DataFrame(found, schema={"source": pl.String, **kinds})


def image_index_types() -> dict[str, Any]:
    """Columns of the image index after `source`, with their polars types (a function: polars is imported late)."""
    import polars as pl

    text = dict.fromkeys(("ref", "sha256", "original_sha256", "pixel_sha256", "reason"), pl.String)
    sizes = dict.fromkeys(("width", "height"), pl.Int32)
    return {**text, **sizes, "phash": pl.Binary, "detail": pl.Binary, "notes": pl.List(pl.String)}


# -- dedup and decontaminate -------------------------------------------------------------------------------------------


def dedup_settings(build: Build) -> Any:
    recipe, against = build.recipe, [_content(ref) for ref in build.recipe.dedup.against]
    return [recipe.dedup.model_dump(), against, recipe.evaluation, [c.name for c in recipe.sources]]


def _content(ref: str) -> str:
    """A hash of what a release holds at this moment: its manifest has the sums of all files."""
    from curator.publish.tree import open_release

    with open_release(ref) as tree:
        return digest(tree.manifest)


def dedup(build: Build) -> Outcome:
    """Duplicates and near-duplicates go, conflicts are flagged, and every question learns its split group."""
    import polars as pl

    from curator.dedup import find, find_as_seed

    rows = build.rows("dedup")
    settings = build.recipe.dedup
    against = pl.concat([_published(ref) for ref in settings.against], how="diagonal") if settings.against else None
    order = [choice.name for choice in build.recipe.sources]
    if settings.rule == "fuzz":
        found = find_as_seed(rows)
    else:
        found = find(rows, threshold=settings.threshold, order=order, against=against)
    out = verdict_frame(rows, _reported_only(found.verdicts) if build.recipe.evaluation else found.verdicts)
    flags = found.flags.group_by("id").agg(pl.col("flag").alias("new_flags"))
    out = (
        out.join(found.groups.rename({"group": "split_group"}), on="id", how="left", maintain_order="left")
        .join(rows.select("id", "flags"), on="id", how="left", maintain_order="left")
        .join(flags, on="id", how="left", maintain_order="left")
        .with_columns(pl.concat_list("flags", pl.col("new_flags").fill_null([])).list.unique(maintain_order=True))
        .drop("new_flags")
    )
    conflicts = found.flags.filter(pl.col("flag") == "conflict").height
    note = progress.counted(conflicts, "row in conflict, flagged") if conflicts else ""
    if build.recipe.evaluation:
        dropped = found.verdicts.filter(~pl.col("keep")).height
        note = "  ".join(filter(None, [note, progress.counted(dropped, "duplicate") + ", reported only"]))
    return Outcome(out, {"pairs": found.pairs, "clusters": found.clusters}, note=note)


def _reported_only(verdicts: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    return verdicts.with_columns(keep=pl.lit(True))


def _published(ref: str) -> pl.DataFrame:
    """The questions of another build or of a published set, with images as content hashes."""
    from curator.release import read_rows

    return read_rows(ref)


def decontaminate_settings(build: Build) -> Any:
    fingerprints = [[f.name, f.digest()] for f in _fingerprints(build)]
    return [build.recipe.decontaminate.model_dump(exclude={"fingerprints"}), build.recipe.evaluation, fingerprints]


def _fingerprints(build: Build) -> list[Fingerprint]:
    """The benchmarks' fingerprints that are at hand: named by the recipe, or built before on this machine."""
    from curator.decontaminate import Fingerprint

    if build.recipe.evaluation:
        return []
    found = [Fingerprint.load(Path(path)) for path in build.recipe.decontaminate.fingerprints]
    have = {fingerprint.name for fingerprint in found}
    for name in build.recipe.decontaminate.benchmarks:
        path = fingerprint_path(name)
        if name not in have and path.is_file():
            found.append(Fingerprint.load(path))
    return found


def fingerprint_path(benchmark: str) -> Path:
    """Where a benchmark's fingerprint lies once its evaluation recipe has been built here, to the end and without a limit."""
    return data_home() / "fingerprints" / f"{benchmark}.parquet"


def decontaminate(build: Build) -> Outcome:
    """What leaks into a benchmark or into the source's own held-out splits goes, with the evidence."""
    import polars as pl

    from curator.decontaminate import check, fingerprint

    rows = build.rows("decontaminate")
    index = build.image_index().filter(pl.col("reason") == "")
    hashes = index.unique("sha256", maintain_order=True).select(
        "sha256", "original_sha256", "pixel_sha256", "phash", "detail")  # fmt: skip
    if build.recipe.evaluation:
        return _fingerprint_benchmarks(build, rows, hashes)
    references = _fingerprints(build)
    checked = {reference.name for reference in references}
    opened = {one.source.name: one for one in build.sources}
    partly: dict[str, int] = {}
    whole: dict[str, set[str]] = {}
    held_out = build.workspace.read_stage("ingest", "held_out")
    for (source, split), part in held_out.group_by("source", "source_split", maintain_order=True):
        references.append(fingerprint(f"{source}:{split}", _with_hashes(part, index), hashes))
        limit = opened[source].limit_of(split)
        if limit is not None:
            partly[f"{source}:{split}"] = limit
        else:
            whole.setdefault(str(source), set()).add(str(split))
    checked |= {name for name, read in whole.items() if benchmark_splits(opened[name]) <= read}
    leakage = check(rows, hashes, references)
    wanted = build.recipe.decontaminate.benchmarks
    note = "  ".join(
        [
            *([f"checked {len(checked & set(wanted))} of {len(wanted)} benchmarks"] if wanted else []),
            *(f"{name}: its first {progress.counted(limit, 'row')} only" for name, limit in partly.items()),
        ]
    )
    facts = {
        "checked": [
            {"name": r.name, "rows": r.rows, "images": r.images, "revision": r.revision, "limit": partly.get(r.name)}
            for r in references
        ],
        "missing": sorted(set(wanted) - checked),
    }
    return Outcome(verdict_frame(rows, leakage.verdicts), {"report": leakage.report}, note=note, facts=facts)


def benchmark_splits(opened: Opened) -> set[str]:
    """The splits that are a source's benchmark: those of the bundled evaluation set, else its test splits."""
    bundled = _bundled(opened)
    return set((bundled and bundled.splits) or (split for split in opened.splits if split.startswith("test")))


def _bundled(opened: Opened) -> SourceChoice | None:
    """How the bundled evaluation set reads a source; None when it is none of the six benchmarks."""
    return next((c for c in load_recipe("medvlthinker-eval").sources if c.name == opened.source.name), None)


def _reads_benchmark(opened: Opened) -> bool:
    """Whether an evaluation build reads all of a source's benchmark."""
    choice, bundled = opened.choice, _bundled(opened)
    whole = choice.limit is None and (not choice.where or (bundled is not None and choice.where == bundled.where))
    return whole and benchmark_splits(opened) <= set(opened.build_splits())


def _with_hashes(rows: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The same rows with image references replaced by content hashes; unreadable images are left out."""
    stored = {(s, r): sha for s, r, sha in index.select("source", "ref", "sha256").iter_rows()}
    import polars as pl

    shas = [
        [stored[source, ref] for ref in refs if (source, ref) in stored]
        for source, refs in rows.select("source", "images").iter_rows()
    ]
    return rows.with_columns(pl.Series("images", shas, pl.List(pl.String)))


def _fingerprint_benchmarks(build: Build, rows: pl.DataFrame, hashes: pl.DataFrame) -> Outcome:
    """An evaluation recipe drops nothing here: it makes the fingerprints that training sets are checked against."""
    import polars as pl

    from curator.decontaminate import fingerprint

    build.workspace.reopen_stage("decontaminate")
    for source in rows["source"].unique(maintain_order=True):
        part = rows.filter(pl.col("source") == source)
        made = fingerprint(str(source), part, hashes, revision=part["source_revision"][0])
        made.save(_own_fingerprint(build, str(source)))
    partly = [opened.source.name for opened in build.sources if not _reads_benchmark(opened)]
    note = f"  only a part of {', '.join(partly)}: for this build alone" if partly else ""
    return Outcome(verdict_frame(rows), note=f"fingerprints written, nothing dropped{note}")


def _own_fingerprint(build: Build, source: str) -> Path:
    return build.workspace.path / "fingerprints" / f"{source}.parquet"


def share_fingerprints(build: Build) -> None:
    """Put a finished evaluation build's fingerprints where others find them; a part of a benchmark never stands for it."""
    from curator.workspace import atomic

    for opened in build.sources if build.recipe.evaluation else []:
        made = _own_fingerprint(build, opened.source.name)
        if made.is_file() and _reads_benchmark(opened):
            with atomic(fingerprint_path(opened.source.name)) as temporary:
                temporary.write_bytes(made.read_bytes())


# -- score, select, distill, split -------------------------------------------------------------------------------------


def score_settings(build: Build) -> Any:
    from curator.score import identity

    return [
        identity(build.recipe.score, build.recipe.select.band, offline=build.runtime.offline),
        _attempt(build, "score"),
    ]


def _attempt(build: Build, stage: str) -> int:
    """One higher while the last drawing left questions that may go better now: the same command asks for them again."""
    facts = build.workspace.facts(stage) or {}
    return int(facts.get("attempt", 0)) + bool(facts.get("again"))


def score(build: Build) -> Outcome:
    """k samples of the solver per question, graded; what cannot be scored is set aside with the reason."""
    from curator.score import score as run

    rows = build.rows("score")
    if build.recipe.score.samples == 0:
        return Outcome(verdict_frame(rows), note="not scored")
    band = build.recipe.select.band
    scored = run(rows, build.recipe.score, read_image=build.read_image, runtime=build.runtime, band=band)
    out = verdict_frame(rows, scored.verdicts).join(scored.columns, on="id", how="left", maintain_order="left")
    return Outcome(
        out, {"scores": scored.scores}, note=scored.note, facts={**scored.facts, "attempt": _attempt(build, "score")}
    )


def select_settings(build: Build) -> Any:
    recipe = build.recipe
    mix = [[c.name, c.cap, c.weight] for c in recipe.sources]
    return [recipe.select.model_dump(), mix, recipe.seed, recipe.split.control]


def select(build: Build) -> Outcome:
    """The band of difficulty, then caps and weights of the mix; what is outside stays in the release as `rest`."""
    import polars as pl

    from curator.difficulty import band_reasons

    recipe = build.recipe
    rows = build.rows("select")
    reasons, note = band_reasons(rows, recipe.select, recipe.score.samples)
    out = rows.select("id", "source").with_columns(pl.Series("reason", reasons, pl.String))
    chosen = _mixed(out.filter(pl.col("reason") == ""), recipe)
    out = out.with_columns(
        reason=pl.when((pl.col("reason") == "") & ~pl.col("id").is_in(list(chosen)))
        .then(pl.lit("cap"))
        .otherwise(pl.col("reason"))
    )
    out = out.with_columns(keep=pl.col("reason") == "", evidence=pl.lit("")).drop("source")
    if recipe.split.control:
        control = splits.choose(rows["id"].to_list(), int(out["keep"].sum()), seed=recipe.seed, purpose="control")
        out = out.with_columns(control=pl.col("id").is_in(list(control)))
    return Outcome(out, note=note)


def _mixed(rows: pl.DataFrame, recipe: Recipe) -> set[str]:
    by_source = {str(name): part["id"].to_list() for (name,), part in rows.group_by("source", maintain_order=True)}
    caps = {c.name: c.cap for c in recipe.sources if c.cap is not None}
    available = {name: min(len(ids), caps.get(name, len(ids))) for name, ids in by_source.items()}
    quota = splits.quotas(available, {c.name: c.weight for c in recipe.sources if c.weight is not None})
    chosen: set[str] = set()
    for name, ids in by_source.items():
        chosen |= (
            splits.choose(ids, quota[name], seed=recipe.seed, purpose="mix") if quota[name] < len(ids) else set(ids)
        )
    return chosen


def distill_settings(build: Build) -> Any:
    distill = build.recipe.distill
    if distill is None:
        return None
    from curator.distill import identity

    return [identity(distill, offline=build.runtime.offline), _attempt(build, "distill")]


def distill(build: Build) -> Outcome:
    """A teacher's traces for the selected questions, kept when the answer is right and the form is good."""
    rows = build.rows("distill")
    settings = build.recipe.distill
    if settings is None:
        return Outcome(verdict_frame(rows), note="no teacher")
    from curator.distill import distill as run

    plan.before_tracing(build, rows)
    made = run(rows, settings, read_image=build.read_image, runtime=build.runtime)
    out = verdict_frame(rows, made.verdicts).join(made.columns, on="id", how="left", maintain_order="left")
    facts = {**made.facts, "attempt": _attempt(build, "distill")}
    return Outcome(out, {"traces": made.traces}, note=made.note, facts=facts)


def split(build: Build) -> Outcome:
    """The source's own splits, or new ones that never cut a group."""
    import polars as pl

    settings = build.recipe.split
    rows = build.rows("split", dropped_at=("select", "distill")).select("id", "source_split", "split_group")
    kept = set(build.rows("split")["id"].to_list())
    if settings.by == "group":
        names = [
            splits.assign(group, seed=build.recipe.seed, validation=settings.validation, test=settings.test)
            for group in rows["split_group"]
        ]
    else:
        names = rows["source_split"].to_list()
    places = dict(zip(rows["id"].to_list(), names, strict=True))
    out = verdict_frame(rows.filter(pl.col("id").is_in(list(kept))))
    out = out.with_columns(pl.Series("release_split", [places[id] for id in out["id"]], pl.String))
    rest = pl.DataFrame({"id": list(places), "release_split": list(places.values())}).filter(
        ~pl.col("id").is_in(list(kept))
    )
    counts = out["release_split"].value_counts().sort("release_split")
    note = ", ".join(f"{name} {count:,}" for name, count in counts.iter_rows())
    return Outcome(out, {"rest": rest}, note=note)


# -- write -------------------------------------------------------------------------------------------------------------


def write_settings(build: Build) -> Any:
    recipe = build.recipe
    return [recipe.digest(), versions()]


def write(build: Build) -> Outcome:
    """The release tree, exactly as it will lie on the Hub."""
    from curator import manifest, release

    rows = manifest.release_rows(build)
    check_expected(build.recipe, rows)
    build.workspace.reopen_stage("write")
    release.write(
        build.workspace.release,
        rows,
        read_image=build.read_image,
        tables=manifest.side_tables(build),
        manifest=manifest.summary(build),
        recipe_yaml=manifest.recipe_yaml(build),
    )
    out = verdict_frame(build.rows("write"))
    return Outcome(out, note=str(build.workspace.release))


def check_expected(recipe: Recipe, rows: pl.DataFrame) -> None:
    """Hold a recipe to the counts it promises.

    Raises:
        UsageError: a source has another number of rows than `expect` says.
    """
    import polars as pl

    for source, count in recipe.expect.items():
        limited = any(c.name == source and c.limit for c in recipe.sources)
        have = rows.filter((pl.col("source") == source) & (pl.col("part") == "selected")).height
        if have != count and not limited:
            raise UsageError(
                f"{source} has {progress.counted(have, 'row')} where {recipe.name} expects {count:,}: its files have changed; "
                "see the verdicts with `curator show`, then pin its revision or change `expect`."
            )


def is_intact(build: Build, stage: str) -> bool:
    """Whether what a finished stage left beside its own file is still there."""
    if stage == "images":
        return build.workspace.blobs.is_file() and build.workspace.has_table("images", "index")
    if stage == "write":
        return is_whole(build.workspace.release)
    return True
