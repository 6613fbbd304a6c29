"""What a push would do: every file as it will lie on the Hub, compared with main, and the version that this makes.

plan = make_plan(hub, tree, version=None, private=False)
print(plan.text())
"""

from __future__ import annotations

import copy
import hashlib
import re
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from curator import progress
from curator.errors import UsageError
from curator.publish.client import Hub, git_blob, sha256
from curator.publish.diff import Difference, diff
from curator.publish.tree import RemoteTree, Tree
from curator.release import rendered
from curator.release_facts import Written

if TYPE_CHECKING:
    from curator.publish.client import RemoteFile

FOREIGN = {"README.md", ".gitattributes"}
"""What an empty repository may hold."""
OWN_FOLDERS = ("data/", "tables/")


@dataclass(frozen=True)
class Staged:
    """One file as it will lie on the Hub: bytes, or a file of the release."""

    content: bytes | Path
    size: int
    sha256: str

    def git_blob(self) -> str:
        return git_blob(self.content if isinstance(self.content, bytes) else self.content.read_bytes())


@dataclass
class Plan:
    """What a push would do."""

    repo: str
    version: str
    parent: str | None
    add: dict[str, Staged] = field(default_factory=dict)
    change: dict[str, Staged] = field(default_factory=dict)
    delete: list[str] = field(default_factory=list)
    same: int = 0
    lines: list[str] = field(default_factory=list)
    """What is new in this version."""
    staged: dict[str, Staged] = field(default_factory=dict)
    tagged: bool = False

    @property
    def empty(self) -> bool:
        return not (self.add or self.change or self.delete)

    @property
    def bytes(self) -> int:
        """Bytes of the files to add or change; blobs that the Hub has already are not sent again."""
        return sum(staged.size for staged in (*self.add.values(), *self.change.values()))

    def text(self) -> str:
        """The plan for a person, with a sha256 per file."""
        out = [f"{self.repo} v{self.version}: {progress.size(self.bytes)} in {progress.counted(len(self.add) + len(self.change), 'file')}, "
               f"{len(self.delete)} deleted, {self.same} unchanged"]  # fmt: skip
        out += [f"  {line}" for line in self.lines]
        for mark, files in (("+", self.add), ("~", self.change)):
            out += [
                f"  {mark} {path}  {progress.size(staged.size)}  sha256 {staged.sha256[:16]}"
                for path, staged in files.items()
            ]
        return "\n".join([*out, *(f"  - {path}" for path in self.delete)])


def make_plan(hub: Hub, tree: Tree, version: str | None, private: bool) -> Plan:
    """Compare a release with main: which version this is, and what would be added, changed and deleted."""
    commit = hub.head()
    asked = _version(version) if version is not None else None
    if commit is None:
        return first_plan(hub.repo, tree, version)
    if private and not hub.ask(lambda: hub.api.dataset_info(hub.repo)).private:
        raise UsageError(
            f"{hub.repo} is public: choose another name for a private set, or make it private on the Hub first."
        )
    files, tags = hub.files(commit), hub.tags()
    if "manifest.json" not in files and set(files) - FOREIGN:
        raise UsageError(f"{hub.repo} holds files that curator did not put there: choose another name.")
    with tempfile.TemporaryDirectory(prefix="curator-") as temporary:
        head = RemoteTree(hub, commit, Path(temporary) / "head") if "manifest.json" in files else None
        if head is not None:
            again = _same_again(hub, tree, head, asked, files, tags)
            if again is not None:
                return again
        base = _last_tagged(hub, tags, Path(temporary) / "base")
        if base is None:
            lines, chosen, history = _first(tree.manifest), asked or "1.0.0", []
        else:
            difference = diff(base, tree)
            lines, chosen = difference.lines(), asked or _next(base.manifest.get("version", "0.0.0"), difference)
            history = base.manifest.get("history", [])
    if f"v{chosen}" in tags:
        free = _raise(max(_versions(tags)), "patch")
        raise UsageError(f"v{chosen} of {hub.repo} exists and tags never move: say --version {free} or later.")
    staged = stage(tree, hub.repo, chosen, [_entry(chosen, lines), *history])
    return _compare(Plan(hub.repo, chosen, commit, lines=lines, staged=staged), files, head)


def first_plan(repo: str, tree: Tree, version: str | None) -> Plan:
    """The plan for a data set that is not there yet: every file is added."""
    plan = Plan(repo, _version(version) if version is not None else "1.0.0", None, lines=_first(tree.manifest))
    plan.staged = stage(tree, repo, plan.version, [_entry(plan.version, plan.lines)])
    plan.add = dict(plan.staged)
    return plan


def _same_again(
    hub: Hub, tree: Tree, head: RemoteTree, asked: str | None, files: dict[str, RemoteFile], tags: dict[str, str]
) -> Plan | None:
    """The plan without changes when main is this very release already, tagged or not (an interrupted push)."""
    version = head.manifest.get("version", "")
    if not version or (asked is not None and asked != version):
        return None
    staged = stage(tree, hub.repo, version, head.manifest.get("history", []))
    plan = _compare(Plan(hub.repo, version, head.commit, staged=staged), files, head)
    tagged = tags.get(f"v{version}")
    if not plan.empty or tagged not in (None, head.commit):
        return None
    plan.tagged = tagged is not None
    plan.lines = ["on main already, without its tag"]
    return plan


def _compare(plan: Plan, files: dict[str, RemoteFile], head: Tree | None) -> Plan:
    for path, staged in plan.staged.items():
        if path not in files:
            plan.add[path] = staged
        elif files[path].is_same(staged.size, staged.sha256, staged.git_blob):
            plan.same += 1
        else:
            plan.change[path] = staged
    ours = set(head.manifest["files"]) if head is not None else set()
    plan.delete = sorted(
        path
        for path in files
        if path not in plan.staged and (path in ours or (head is not None and path.startswith(OWN_FOLDERS)))
    )
    return plan


def stage(tree: Tree, repo: str, version: str, history: list[dict[str, Any]]) -> dict[str, Staged]:
    """Every file as it will lie on the Hub: the release's own, and card, changelog and manifest for this version."""
    manifest = copy.deepcopy(tree.manifest)
    manifest["repo"], manifest["version"], manifest["history"] = repo, version, history
    texts = rendered(manifest)
    out = {
        path: Staged(tree.folder / path, facts["size"], facts["sha256"])
        for path, facts in manifest["files"].items()
        if path not in texts
    }
    for path, staged in out.items():
        if not (tree.folder / path).is_file() or sha256(tree.folder / path) != staged.sha256:
            raise UsageError(f"{tree.name}: {path} is not as it was built; run the build again.")
    for path, data in texts.items():
        facts = manifest["files"].get(path)
        out[path] = Staged(data, len(data), facts["sha256"] if facts else _sha256(data))
    return dict(sorted(out.items()))


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _entry(version: str, lines: list[str]) -> dict[str, Any]:
    return {"version": version, "lines": lines}


def _first(manifest: Written) -> list[str]:
    rows = {part: sum(c["rows"] for c in manifest["counts"] if c["part"] == part) for part in ("selected", "rest")}
    sources = ", ".join(source["name"] for source in manifest["sources"])
    rest = f", {rows['rest']:,} more in the -all configs" if rows["rest"] else ""
    return [f"first version: {progress.counted(rows['selected'], 'row')} selected{rest}, from {sources}"]


def _version(text: str) -> str:
    if not re.fullmatch(r"v?\d+\.\d+\.\d+", text):
        raise UsageError(f"--version {text}: write it as 1.2.0.")
    return text.removeprefix("v")


def _versions(tags: dict[str, str]) -> list[str]:
    found = [tag[1:] for tag in tags if re.fullmatch(r"v\d+\.\d+\.\d+", tag)]
    return sorted(found, key=lambda v: tuple(map(int, v.split("."))))


def _raise(version: str, bump: str) -> str:
    major, minor, patch = map(int, version.split("."))
    return {"major": f"{major + 1}.0.0", "minor": f"{major}.{minor + 1}.0", "patch": f"{major}.{minor}.{patch + 1}"}[
        bump
    ]


def _next(version: str, difference: Difference) -> str:
    return _raise(version, difference.bump())


def _last_tagged(hub: Hub, tags: dict[str, str], folder: Path) -> RemoteTree | None:
    versions = _versions(tags)
    if not versions:
        return None
    commit = tags[f"v{versions[-1]}"]
    if "manifest.json" not in hub.files(commit):
        return None
    return RemoteTree(hub, commit, folder)
