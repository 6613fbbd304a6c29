"""The verbs of the command line; what they do lives in the modules they call, imported when they are called."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from curator import options, progress, terminal
from curator.errors import CuratorError, UsageError
from curator.options import (
    BuildArgument,
    Engine,
    Json,
    Out,
    Ray,
    ReleaseArgument,
    Replicas,
    Servers,
    Store,
    show_version,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    epilog="Start with: curator build --source phantom --difficulty medium",
)


@app.callback()
def curator(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """Medical question sets in, published training sets out. For research, not for clinical decisions."""


@app.command()
def build(
    recipe: Annotated[str | None, typer.Argument(help="A bundled recipe's name or a YAML file.")] = None,
    source: Annotated[list[str] | None, typer.Option(help="A name of `curator sources`; may be given again.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="easy, medium, hard, a list with commas, or any.")] = None,
    band: Annotated[str | None, typer.Option(help="Pass counts to keep instead, e.g. 2-14, or auto.")] = None,
    split: Annotated[
        str | None, typer.Option(help="Build these splits (commas) instead of the training split.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Build at most N rows of each split.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="A local copy of the source, instead of the Hub.")] = None,
    solver: Annotated[str | None, typer.Option(help="Model that answers: a Hub id, a folder, or phantom.")] = None,
    engine: Engine = None,
    server: Servers = None,
    samples: Annotated[int | None, typer.Option(min=0, help="Samples per question; 0 builds without scoring.")] = None,
    stop: Annotated[str | None, typer.Option(help="full, exact or declared: when to stop drawing.")] = None,
    blind: Annotated[bool, typer.Option("--blind", help="Also score every question without its images.")] = False,
    shuffle_options: Annotated[int | None, typer.Option(help="Seed of a recorded shuffle of the options.")] = None,
    teacher: Annotated[str | None, typer.Option(help="Model that writes reasoning traces.")] = None,
    teacher_server: Annotated[
        list[str] | None, typer.Option(help="OpenAI-compatible server of the teacher; may be given again.")
    ] = None,
    against: Annotated[
        list[str] | None, typer.Option(help="Also drop duplicates of this build or published set.")
    ] = None,
    control: Annotated[bool, typer.Option("--control", help="Also write an unfiltered control of equal size.")] = False,
    rollouts: Annotated[str | None, typer.Option(help="Reuse samples: a parquet file or hub:ORG/NAME.")] = None,
    rebuild: Annotated[
        str | None, typer.Option("--from", help="Rebuild a published version: hub:ORG/NAME@v1.2.0.")
    ] = None,
    out: Out = None,
    store: Store = None,
    replicas: Replicas = 1,
    ray: Ray = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it would take, and stop.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before large downloads or long work.")] = False,
    as_json: Json = False,
) -> None:
    """Build a set: read, clean, deduplicate, check for leaks, score, select, split, write.

    Run the same command again to go on where it stopped; what is unchanged is not done again.
    """
    from curator import pipeline
    from curator.builds import Runtime
    from curator.recipe import compose

    progress.be_quiet(as_json)
    if sum(map(bool, (recipe, source, rebuild))) > 1:
        raise UsageError("a recipe, --source and --from each say what to build: give only one of them.")
    if rebuild is not None:
        from curator.publish.hub import fetch_recipe

        recipe = str(fetch_recipe(rebuild))
    changes: dict[str, Any] = {
        "sources": {
            "splits": split.split(",") if split else None,
            "limit": limit,
            "data_dir": str(data_dir) if data_dir else None,
        },
        "score": {
            "model": solver, "engine": engine, "servers": server or None, "samples": samples, "stop": stop,
            "blind": blind or None, "shuffle_options": shuffle_options,
        },
        "select": {"difficulty": options.difficulties(difficulty), "band": options.band(band)},
        "distill": {"model": teacher, "servers": teacher_server or None},
        "dedup": {"against": against or None},
        "split": {"control": control or None},
    }  # fmt: skip
    made = compose(recipe, options.sources(source), changes)
    runtime = Runtime(
        out=out, store=store, rollouts=rollouts, yes=yes, dry_run=dry_run, replicas=replicas, ray=ray
    )  # fmt: skip
    result = pipeline.run(made, runtime)
    if not dry_run:
        pipeline.remember(result.path)
    if as_json:
        terminal.print_json({"path": str(result.path), "funnel": [vars(line) for line in result.funnel]})
    elif not dry_run:
        _done(result)


def _done(result: Any) -> None:
    from curator.release_facts import first_config, read_manifest

    manifest = read_manifest(result.release)
    selected = sum(count["rows"] for count in manifest["counts"] if count["part"] == "selected")
    print(f"{progress.counted(selected, 'question')} in {result.release}")
    config, split = first_config(manifest)
    named = "" if config == "default" else f'"{config}", '
    print(f"""  load:    datasets.load_dataset("{result.release}", {named}split="{split}")""")
    print(f"  look:    curator show {result.path}    open {result.path}/report.html")
    print(f"  publish: curator push ORG/NAME --build {result.path}")


@app.command()
def push(
    repo: Annotated[str | None, typer.Argument(help="ORG/NAME; default the recipe's publish.repo, else yours.")] = None,
    build: Annotated[
        Path | None, typer.Option(help="The build, or a release's folder; default the last build.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Version instead of the proposed one, e.g. 1.2.0.")] = None,
    private: Annotated[bool, typer.Option("--private", help="A private repository.")] = False,
    license: Annotated[
        str, typer.Option(help="Rows to publish: any, redistributable or commercial.")
    ] = "redistributable",
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Publish although leakage was not checked.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; asks the Hub, needs no token.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Publish a build's release to the Hub: one commit, verified, with a tag that never moves."""
    from curator.publish import hub

    hub.push(
        _folder(build), repo, version=version, private=private, license_filter=license, unchecked=unchecked,
        dry_run=dry_run, confirm=None if yes else terminal.confirm,
    )  # fmt: skip


@app.command()
def sources(
    name: Annotated[str | None, typer.Argument(help="Tell of one: its facts, its rows, the files it wants.")] = None,
    as_json: Json = False,
) -> None:
    """List the sources: size, modality, licence, and what may be redistributed; or tell of one."""
    from curator.sources import explain, table

    if name is not None and not as_json:
        print(explain(name))
        return
    rows = table(name)
    if as_json:
        terminal.print_json(rows)
    else:
        terminal.print_table(rows)


@app.command()
def recipes() -> None:
    """List the bundled recipes."""
    from curator.recipe import load_recipe, recipe_dir

    rows = [load_recipe(path) for path in sorted(recipe_dir().glob("*.yaml"))]
    terminal.print_table(
        [{"recipe": r.name, "sources": ", ".join(s.name for s in r.sources), "what": r.description} for r in rows]
    )


@app.command()
def show(
    build: BuildArgument = None,
    stage: Annotated[str | None, typer.Option(help="Rows dropped at this stage.")] = None,
    difficulty: Annotated[str | None, typer.Option(help="Rows of this difficulty.")] = None,
    reason: Annotated[str | None, typer.Option(help="Rows dropped for this reason.")] = None,
    source: Annotated[str | None, typer.Option(help="Rows of this source.")] = None,
    find: Annotated[str | None, typer.Option(help="Rows whose question contains this text.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many rows to print.")] = 5,
    images: Annotated[Path | None, typer.Option(help="Also write the rows' images into this folder.")] = None,
    open_images: Annotated[bool, typer.Option("--open", help="Open the images in the desktop's viewer.")] = False,
    as_json: Json = False,
) -> None:
    """Print rows of a build as a person reads them."""
    from curator import look

    workspace = _workspace(build)
    rows = look.pick(
        look.life(workspace), stage=stage, difficulty=difficulty, reason=reason, source=source, find=find
    )  # fmt: skip
    shown = list(rows.head(limit).iter_rows(named=True))
    if as_json:
        terminal.print_json(shown)
        return
    for row in shown:
        print("\n".join(look.describe(row)))
        if images is not None or open_images:
            folder = images or workspace.path / "images"
            for path in look.write_images(workspace, row, folder):
                print(f"  wrote {path}")
                if open_images:
                    typer.launch(str(path))
        print()
    more = "--limit shows more, " if rows.height > limit else ""
    hint = f"; {more}`curator explain` one row's whole life" if shown else ""
    print(f"{len(shown):,} of {progress.counted(rows.height, 'row')}{hint}")


@app.command()
def explain(id: Annotated[str, typer.Argument(help="A row's id.")], build: BuildArgument = None) -> None:
    """Tell one row's whole life: each stage's verdict with its evidence."""
    from curator import look

    print("\n".join(look.explain(_workspace(build), id)))


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say what this machine can run, and what to install for the rest."""
    from curator import doctor as examine

    findings = examine.examine()
    if as_json:
        terminal.print_json(examine.as_json(findings))
        return
    for finding in findings:
        print(finding)


@app.command()
def grade(
    file: Annotated[Path, typer.Argument(help="JSON lines with response, options, answer_label.")],
    grader: Annotated[str, typer.Option(help="curator, seed-rollout, seed-reward or seed-regrade.")] = "curator",
    strict: Annotated[
        bool, typer.Option("--strict", help="Accept one well-formed answer tag only, as the reward.")
    ] = False,
) -> None:
    """Grade a file of responses: prints each with what was read, then the totals."""
    from curator.answers import grade_file

    graded = grade_file(file, grader=grader, strict=strict)
    try:
        for row in graded:
            print(json.dumps(row, ensure_ascii=False))
    except (UnicodeDecodeError, UsageError) as error:
        if graded.summary.responses:
            progress.say(f"{graded.summary}, before the line that cannot be read")
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{file} is not UTF-8 text (byte {error.start}): give a JSON Lines file.") from None
    progress.say(str(graded.summary))


@app.command()
def report(
    build: BuildArgument = None,
    open_page: Annotated[bool, typer.Option("--open", help="Open it in the browser.")] = False,
) -> None:
    """Write the build's page: funnel, difficulty, leaks, duplicates, and a gallery of its questions."""
    from curator.report import write

    page = write(_workspace(build))
    print(f"{page}, figures as SVG in {page.parent / 'figures'}")
    if open_page:
        typer.launch(str(page))


@app.command()
def card(release: ReleaseArgument = None) -> None:
    """Print the data set card of a release."""
    from curator.publish.tree import open_release

    with open_release(release or _folder(None)) as tree:
        print(tree.path("README.md").read_text("utf-8"))


@app.command()
def diff(
    a: Annotated[str, typer.Argument(help="A build's folder, or ORG/NAME@v1.0.0.")],
    b: Annotated[str, typer.Argument(help="The one to compare with it.")],
    as_json: Json = False,
) -> None:
    """Say which rows were added, removed or changed between two builds or versions, and why."""
    from curator.publish.diff import diff as compare_releases
    from curator.publish.tree import open_release

    with open_release(a) as first, open_release(b) as second:
        difference = compare_releases(first, second)
    if as_json:
        terminal.print_json(difference.as_json())
    else:
        print(difference.text())


@app.command()
def verify(release: ReleaseArgument = None) -> None:
    """Check a release: checksums, schema, counts, groups, leakage, images.

    Exit code 0: all holds. 1: it differs from its manifest. 2: it could not be checked, or not for leaks.
    """
    from curator.publish.tree import open_release
    from curator.publish.verify import verify as verify_release

    with open_release(release or _folder(None)) as tree:
        found = verify_release(tree)
    print(found.text())
    try:
        found.raise_problems()
        found.raise_unchecked()
    except CuratorError as error:  # the report has said it
        raise typer.Exit(error.exit_code) from None


@app.command()
def export(
    release: ReleaseArgument = None,
    to: Annotated[str, typer.Option(help="jsonl, messages, medvlthinker or verl.")] = "jsonl",
    out: Annotated[Path, typer.Option(help="The folder to write.")] = Path("export"),
) -> None:
    """Write a release in the form that another tool reads."""
    from curator.publish.export import export as export_release
    from curator.publish.tree import open_release

    with open_release(release or _folder(None)) as tree:
        print(export_release(tree, out, to).text())


@app.command()
def rollouts(
    what: Annotated[str, typer.Argument(help="stats, export, import or verify.")] = "stats",
    file: Annotated[Path | None, typer.Argument(help="The parquet file to export to or import from.")] = None,
    store: Store = None,
) -> None:
    """Look after the rollout store: every sample ever drawn, paid once."""
    from curator import rollout_files
    from curator.rollouts import RolloutStore

    if what not in ("stats", "export", "import", "verify"):
        raise UsageError(f"rollouts {what!r}: say stats, export FILE, import FILE or verify.")
    if what in ("export", "import") and file is None:
        raise UsageError(f"rollouts {what} needs a parquet file: curator rollouts {what} FILE.parquet")
    with RolloutStore(store) as opened:
        if what == "stats":
            terminal.print_table(opened.stats() or [{"samples": f"none yet in {opened.path}"}])
        elif what == "verify":
            print(f"{progress.counted(rollout_files.verify(opened), 'sample')}, all whole")
        elif what == "export" and file is not None:
            print(f"{progress.counted(rollout_files.export(opened, file), 'sample')} written to {file}")
        elif file is not None:
            new, known = rollout_files.take_in(opened, file)
            print(f"{progress.counted(new, 'sample')} taken in, {known:,} there already")


@app.command()
def train(
    kind: Annotated[str, typer.Argument(help="sft or rlvr.")],
    config: Annotated[str, typer.Option(help="A bundled config's name (training/configs) or a YAML file.")],
    dataset: Annotated[str | None, typer.Option(help="A build, a release or ORG/NAME.")] = None,
    subset: Annotated[str | None, typer.Option("--subset", help="Config of the data set.")] = None,
    revision: Annotated[str | None, typer.Option(help="Version of the data set.")] = None,
    model: Annotated[str | None, typer.Option(help="Base model.")] = None,
    output: Annotated[str | None, typer.Option(help="Folder for checkpoints and the trained model.")] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Train an adapter instead of all weights.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", help="Another value of the config: key=value.")] = None,
    accelerate: Annotated[str | None, typer.Option(help="fsdp2, zero3 … or an accelerate file.")] = None,
    processes: Annotated[int | None, typer.Option(help="Processes, one a GPU.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and say what it takes; no step.")
    ] = False,
) -> None:
    """Train on a published set or a build: supervised on its traces, or RL with verifiable rewards."""
    from curator.train import launch

    code = launch(
        kind, config, dataset=dataset, subset=subset, revision=revision, model=model, output=output, lora=lora,
        overrides=set_ or [], accelerate=accelerate, processes=processes, dry_run=dry_run,
    )  # fmt: skip
    raise typer.Exit(code)


@app.command(name="eval")
def evaluate(
    model: Annotated[str, typer.Argument(help="A Hub id, a folder, an adapter, phantom, or a served name.")],
    suite: Annotated[str, typer.Option(help="medvlthinker, phantom, or a release.")] = "medvlthinker",
    revision: Annotated[str | None, typer.Option(help="Commit, branch or tag of the model on the Hub.")] = None,
    engine: Engine = None,
    server: Servers = None,
    samples: Annotated[int, typer.Option(min=1, help="1: greedy; more: pass@k.")] = 1,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Longest answer.")] = None,
    prompt: Annotated[str, typer.Option(help="curator or seed.")] = "curator",
    blind: Annotated[bool, typer.Option("--blind", help="Also without the images.")] = False,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions per benchmark, by a hash of their ids.")] = None,
    against: Annotated[str | None, typer.Option(help="Row of the published table to stand beside.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for results, replaced if there; default evals/MODEL-SUITE.")
    ] = None,
    store: Store = None,
    replicas: Replicas = 1,
    ray: Ray = None,
    as_json: Json = False,
) -> None:
    """Evaluate a model on the six benchmarks, with intervals, beside the published table."""
    from curator.evaluate import evaluate as run
    from curator.evaluate import markdown

    progress.be_quiet(as_json)
    found = run(
        model, suite, revision=revision, engine=engine or "auto", servers=server or (), samples=samples,
        max_tokens=max_tokens, prompt=prompt, blind=blind, limit=limit, against=against, out=out, store=store,
        replicas=replicas, ray=ray,
    )  # fmt: skip
    if as_json:
        terminal.print_json({"folder": str(found.folder), **found.report})
        return
    print(markdown(found.report))
    print(f"results in {found.folder}")


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="Folder of an evaluation.")],
    b: Annotated[Path, typer.Argument(help="Folder of another on the same suite.")],
    grader: Annotated[str, typer.Option(help="Which grader's verdicts.")] = "curator",
    as_json: Json = False,
) -> None:
    """Compare two evaluations question by question: paired tests, and the least difference that could be seen."""
    from dataclasses import asdict

    from curator.compare import markdown
    from curator.evaluate import compare_runs

    found = compare_runs(a, b, grader=grader)
    if as_json:
        terminal.print_json(asdict(found))
    else:
        print(markdown(found))


@app.command()
def study(
    name: Annotated[
        str, typer.Argument(help="A bundled study (phantom, medvlthinker) or a YAML file.")
    ] = "medvlthinker",
    out: Annotated[Path | None, typer.Option(help="Folder of the study; default studies/NAME.")] = None,
    store: Store = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it takes, and stop.")] = False,
) -> None:
    """Build, train and evaluate {base, SFT, RLVR} x {text, image-text} x sizes into one table; run again to go on."""
    from curator.study import run

    table = run(name, out=out, store=store, dry_run=dry_run)
    if table is not None:
        print(table.read_text("utf-8"))
        print(f"results in {table.parent}")


@app.command()
def push_model(
    folder: Annotated[Path, typer.Argument(help="A trained folder.")],
    repo: Annotated[str, typer.Argument(help="ORG/NAME.")],
    evaluation: Annotated[
        list[Path] | None, typer.Option(help="Folder of an evaluation of these weights; may be given again.")
    ] = None,
    version: Annotated[str | None, typer.Option(help="Tag, e.g. 1.0.0.")] = None,
    private: Annotated[bool, typer.Option("--private", help="A private repository.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be sent.")] = False,
) -> None:
    """Publish a trained model with its card: base, data and version, config, evaluation, limits."""
    from curator.publish.model import push_model as push_trained

    pushed = push_trained(folder, repo, evaluations=evaluation or (), version=version, private=private, dry_run=dry_run)
    files = f"{progress.counted(len(pushed.files), 'file')}, {progress.size(pushed.bytes)}"
    sent = f"{'would send ' if dry_run else ''}{files}" if pushed.files else "nothing to do, it is the same"
    print(f"{pushed.repo}: {sent}{f', commit {pushed.commit}' if pushed.commit else ''}")


def _folder(build: Path | None) -> Path:
    """The folder of a build that was named, by its release too; default: the last one."""
    from curator.pipeline import last_build

    folder = build or last_build()
    if folder is None:
        raise UsageError(
            "no build yet: type `curator build --source phantom --difficulty medium`, or name a build's folder."
        )
    above = folder.absolute().parent
    return above if folder.name == "release" and (above / "stages").is_dir() else folder


def _workspace(build: Path | None) -> Any:
    from curator.workspace import open_workspace

    return open_workspace(_folder(build))


def main() -> None:
    """The command `curator`."""
    terminal.run(app)
