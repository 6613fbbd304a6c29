"""Publishing a release as one commit with a tag that never moves, and fetching the recipe of a published one.

    push(Path("builds/x/release"), "ORG/NAME")

The order of things is that of ../shared/hub.md: stage, compare by sha256, upload the shards, one commit on the parent that
the plan was made for, download it again and check it, then tag it. Until the commit, main is as it was; until the check,
there is no tag; the same command goes on from wherever it was stopped.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.errors import CuratorError, NetworkError, PublishError, UsageError
from curator.licenses import WANTED, Wanted
from curator.publish.client import Hub, is_passing, retry_after, sha256, status_of, transport_errors
from curator.publish.plan import OWN_FOLDERS, Plan, first_plan, make_plan
from curator.publish.tree import RemoteTree, Tree, parse, release_folder
from curator.recipe import BENCHMARKS
from curator.release_facts import Written, read_manifest

if TYPE_CHECKING:
    from huggingface_hub import CommitOperationAdd


DAY = 86_400
RACES = 5
"""How often we plan again because somebody else's commit came first."""


@dataclass(frozen=True)
class Pushed:
    """What a push did. `changed` is False when there was nothing to do."""

    repo: str
    version: str
    commit: str
    changed: bool
    plan: Plan


def push(
    release: Path,
    repo: str | None = None,
    *,
    version: str | None = None,
    private: bool = False,
    license_filter: str = "redistributable",
    unchecked: bool = False,
    dry_run: bool = False,
    confirm: Callable[[str], bool] | None = None,
    endpoint: str | None = None,
    token: str | None = None,
) -> Pushed:
    """Publish a release (or the release of a build's folder) as a version of a data set on the Hub.

    `confirm` is asked once before anything is sent (None: do not ask). `token` and `endpoint` default to the Hub's own
    login and address.

    Raises:
        UsageError: there is no release, nothing that may be published, a bad name or version, or `confirm` said no.
        PublishError: the Hub refused or failed; main is as it was, or holds the whole version without its tag.
        VerificationError: what was published did not come back as it was sent; it got no tag.
    """
    folder = release_folder(Path(release))
    if folder is None:
        raise UsageError(f"{release} holds no release: run `curator build` first, or name a build's folder.")
    tree = Tree(str(release), folder, read_manifest(folder))
    wanted = _wanted(license_filter)
    _check_promises(tree.manifest, private=private, unchecked=unchecked)
    hub = Hub(repo or "", endpoint=endpoint, token=token)
    if not dry_run:
        _check_token(hub)
    hub.repo = _name(repo, tree, hub, dry_run)
    with _publishable(tree, private, wanted) as (publishable, note):
        for line in (note, _leakage(publishable.manifest)):
            if line:
                progress.say(f"  {line}")
        return _push(hub, publishable, version, private, dry_run, confirm)


def _push(
    hub: Hub, tree: Tree, version: str | None, private: bool, dry_run: bool, confirm: Callable[[str], bool] | None
) -> Pushed:
    plan = _dry_plan(hub, tree, version, private) if dry_run else make_plan(hub, tree, version, private)
    if plan.empty and plan.tagged:
        progress.say(f"{hub.repo} v{plan.version} is this release already: nothing to do.")
        return Pushed(hub.repo, plan.version, plan.parent or "", False, plan)
    progress.say(plan.text())
    if dry_run:
        return Pushed(hub.repo, plan.version, plan.parent or "", False, plan)
    kind = "privately " if private else ""
    if confirm is not None and not confirm(f"Publish {hub.repo} v{plan.version} {kind}({progress.size(plan.bytes)})?"):
        raise UsageError("nothing was published; `--yes` publishes without asking, `--dry-run` shows the plan.")
    if plan.parent is None:
        hub.ask(
            lambda: hub.api.create_repo(hub.repo, repo_type="dataset", private=private, exist_ok=True), doing="creating"
        )
        plan = make_plan(hub, tree, version, private)
    for _ in range(RACES):
        if plan.empty:
            assert plan.parent is not None
            commit: str | None = plan.parent
        else:
            _upload(hub, plan)
            commit = _commit(hub, plan)
        if commit is not None:
            _check_published(hub, commit, plan, tree.folder.parent)
            _tag(hub, plan.version, commit)
            progress.say(f"{hub.repo} v{plan.version} is published: {hub.endpoint}/datasets/{hub.repo}")
            return Pushed(hub.repo, plan.version, commit, True, plan)
        progress.say("  somebody else changed the data set meanwhile: planning again")
        plan = make_plan(hub, tree, version, private)
    raise PublishError(
        f"{hub.repo} keeps changing under us ({RACES} times): main is as the others left it; run again later."
    )


def _dry_plan(hub: Hub, tree: Tree, version: str | None, private: bool) -> Plan:
    """The plan, also where the Hub is out of reach: then as for a new data set."""
    progress.say(f"  asking {hub.endpoint} which files and tags {hub.repo} has now; nothing is sent")
    try:
        return make_plan(hub, tree, version, private)
    except NetworkError as error:
        progress.say(f"  {str(error).partition(';')[0]}: planned as for a new data set")
        return first_plan(hub.repo, tree, version)


# -- what may be published, and where ------------------------------------------------------------------------------------


def _wanted(license_filter: str) -> Wanted:
    for wanted in WANTED:
        if license_filter == wanted:
            return wanted
    raise UsageError(f"--license {license_filter}: it is one of {', '.join(WANTED)}.")


def _check_promises(manifest: Written, *, private: bool, unchecked: bool) -> None:
    if not any(c["rows"] for c in manifest["counts"] if c["part"] == "selected"):
        raise UsageError(
            f"{manifest['name']} selected no row: there is nothing to publish; widen --difficulty and build again."
        )
    if not (_benchmarks(manifest) or manifest.get("evaluation") or private or unchecked):
        checked = [item["name"] for item in manifest["leakage"]["checked"]]
        against = f"against {', '.join(checked)} only, which is no benchmark" if checked else "against nothing"
        raise UsageError(
            f"{manifest['name']} was checked for leakage {against}: build the benchmarks first "
            "(`curator build medvlthinker-eval`), publish it with --private, or say --unchecked."
        )


def _benchmarks(manifest: Written) -> set[str]:
    """The benchmarks that a set was checked against. A source's own held-out split (`name:split`) is one where it is all of one of
    ours, or of phantom, whose only benchmark is its own."""
    leakage = manifest["leakage"]
    names = [item["name"].partition(":") for item in leakage["checked"]]
    return {
        name
        for name, colon, _ in names
        if not colon or (name in (*BENCHMARKS, "phantom") and name not in leakage["missing"])
    }


def _leakage(manifest: Written) -> str:
    """What the leakage check did not reach: no refusal, but said at each push and in the card."""
    missing = manifest["leakage"]["missing"]
    checked = ", ".join(item["name"] for item in manifest["leakage"]["checked"]) or "nothing"
    return f"leakage: checked against {checked}; not against {', '.join(missing)}" if missing else ""


def _check_token(hub: Hub) -> None:
    """Say what is wrong with the token before anything else happens."""
    answer = hub.ask(lambda: hub.api.whoami(), doing="publishing")
    role = ((answer.get("auth") or {}).get("accessToken") or {}).get("role")
    if role == "read":
        raise PublishError(
            f"your token can only read: make one with write access at {hub.endpoint}/settings/tokens, then `hf auth login`."
        )


def _name(repo: str | None, tree: Tree, hub: Hub, dry_run: bool) -> str:
    import yaml

    if repo is None:
        recipe = yaml.safe_load(tree.path("recipe.yaml").read_text("utf-8")) or {}
        repo = (recipe.get("publish") or {}).get("repo")
    if repo is None:
        try:
            repo = f"{hub.whoami()}/{tree.manifest['name']}"
        except (PublishError, NetworkError):
            if not dry_run:
                raise
            repo = f"YOUR-NAME/{tree.manifest['name']}"
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", repo):
        raise UsageError(f"{repo!r} is no name of a data set: write ORG/NAME.")
    return repo


@contextlib.contextmanager
def _publishable(tree: Tree, private: bool, wanted: Wanted) -> Iterator[tuple[Tree, str]]:
    """The release without the rows that may not be published and what it quotes of them, and what to say about that."""
    from curator.publish.withhold import describe, is_open, withheld, write_without

    if private and wanted == "redistributable":
        wanted = "any"
    if is_open(tree, wanted):
        yield tree, ""
        return
    left_out = withheld(tree, wanted)
    with _scratch(tree.folder.parent) as temporary:
        directory = temporary / "release"
        write_without(tree, directory, wanted)
        manifest = read_manifest(directory)
        if not any(c["rows"] for c in manifest["counts"] if c["part"] == "selected"):
            raise UsageError(
                f"{describe(left_out, wanted)}: no selected row is left. Use --private, or another --license."
            )
        yield Tree(tree.name, directory, manifest), describe(left_out, wanted)


# -- doing it ------------------------------------------------------------------------------------------------------------


def _operations(plan: Plan) -> list[Any]:
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete

    adds = [
        CommitOperationAdd(path, staged.content if isinstance(staged.content, bytes) else str(staged.content))
        for path, staged in {**plan.add, **plan.change}.items()
    ]
    return [*adds, *(CommitOperationDelete(path) for path in plan.delete)]


def _upload(hub: Hub, plan: Plan) -> None:
    """Send the large files, shard by shard; what the Hub has already is not sent again."""
    from huggingface_hub import CommitOperationAdd

    with _quiet_client(), progress.bar("uploading", plan.bytes, "bytes") as bar:
        for operation in _operations(plan):
            if isinstance(operation, CommitOperationAdd) and operation.path_in_repo.startswith(OWN_FOLDERS):
                hub.ask(lambda operation=operation: _send(hub, operation), doing="uploading to")  # type: ignore[misc]
                bar.advance(operation.upload_info.size, note=operation.path_in_repo)


def _send(hub: Hub, operation: CommitOperationAdd) -> None:
    try:
        hub.api.preupload_lfs_files(hub.repo, additions=[operation], repo_type="dataset")
    except RuntimeError as error:  # what the client makes of any failure while it sends a blob
        cause = error.__cause__
        if cause is not None and isinstance(cause, tuple(transport_errors())):
            raise cause from error
        raise OSError(str(error)) from error


def _commit(hub: Hub, plan: Plan) -> str | None:
    """Make the one commit; its id, or None when another commit came first.

    An answer that is lost or says 5xx may hide a commit that was made: main is read before anything is tried again.
    """
    error: BaseException | None = None
    for wait in (1.0, 2.0, 4.0, None):
        try:
            with _quiet_client():
                made = hub.api.create_commit(
                    hub.repo, _operations(plan), commit_message=f"v{plan.version}", repo_type="dataset",
                    commit_description="\n".join(plan.lines), parent_commit=plan.parent,
                )  # fmt: skip
            return str(made.oid)
        except tuple(transport_errors()) as failed:
            error = failed
        if status_of(error) in (409, 412):
            return None
        if not is_passing(error):
            raise hub.explain(error, "publishing to") from error
        head = hub.head()
        if head is not None and head != plan.parent:
            return head if _compare_with_head(hub, plan, head) else None
        if wait is not None:
            time.sleep(max(wait, min(retry_after(error), 60.0)))
    assert error is not None
    raise hub.explain(error, "publishing to") from error


def _compare_with_head(hub: Hub, plan: Plan, head: str) -> bool:
    """Whether main is the plan already."""
    files = hub.files(head)
    here = all(
        path in files and files[path].is_same(staged.size, staged.sha256, staged.git_blob)
        for path, staged in plan.staged.items()
    )
    return here and not any(path in files for path in plan.delete)


def _check_published(hub: Hub, commit: str, plan: Plan, beside: Path) -> None:
    """Download the commit into a fresh folder in `beside`, check every byte, and load every config."""
    from curator.publish.verify import check_loads, verify

    untagged = f"it is on main, but without its tag v{plan.version}; run the same command again."
    with _scratch(beside) as temporary, _quiet_client():
        try:
            tree = RemoteTree(hub, commit, temporary)
            report = verify(tree)
            sent = plan.staged["manifest.json"].sha256
            if sha256(temporary / "manifest.json") != sent:
                report.problems.insert(0, "manifest.json is not the one that was sent")
            report.raise_problems()
            check_loads(temporary)
        except CuratorError as error:
            raise type(error)(f"{str(error).rstrip('.')}: {untagged}") from error


def _tag(hub: Hub, version: str, commit: str) -> None:
    """Tag a commit; a tag that is there already must be on this very commit."""

    def call() -> None:
        try:
            hub.api.create_tag(hub.repo, tag=f"v{version}", revision=commit, repo_type="dataset")
        except tuple(transport_errors()) as error:
            if status_of(error) != 409:  # it exists: where, is looked at below
                raise

    hub.ask(call, doing="tagging")
    if hub.tags().get(f"v{version}") != commit:
        raise PublishError(f"v{version} of {hub.repo} is not on the commit that was published; say another --version.")


@contextlib.contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """A temporary folder on the disk that had room for the release; those of pushes killed a day ago go first."""
    for left in beside.glob(".publish-*"):
        if time.time() - left.stat().st_mtime > DAY:
            shutil.rmtree(left, ignore_errors=True)
    writable = beside if os.access(beside, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix=".publish-", dir=writable, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextlib.contextmanager
def _quiet_client() -> Iterator[None]:
    """The Hub's client without its own progress bars: ours says more."""
    from huggingface_hub import utils

    shown = not utils.are_progress_bars_disabled()  # type: ignore[attr-defined]
    if shown:
        utils.disable_progress_bars()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if shown:
            utils.enable_progress_bars()  # type: ignore[attr-defined]


# -- building a published version again ----------------------------------------------------------------------------------


def fetch_recipe(ref: str, *, endpoint: str | None = None, token: str | None = None) -> Path:
    """The recipe of a published version, with the revisions it read, as a file of the user's data folder.

    Raises:
        UsageError: no such data set or version, or one that curator did not publish.
        NetworkError: the Hub could not be reached.
    """
    from curator.publish.tree import open_release
    from curator.workspace import data_home, write_text

    repo, revision = parse(ref)
    with open_release(f"hub:{repo}@{revision}", endpoint=endpoint, token=token) as tree:
        text = tree.path("recipe.yaml").read_text("utf-8")
    path = data_home() / "recipes" / f"{repo.replace('/', '--')}@{revision.replace('/', '-')}.yaml"
    write_text(path, text)
    return path
