"""Publishing with the real clients to a Hub on the loopback, through every way in which a push can go wrong."""

from __future__ import annotations

import copy
import functools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from curator.cli import app
from curator.errors import CuratorError, GatedError, NetworkError, PublishError, UsageError, VerificationError
from curator.publish import client, hub
from curator.publish.export import export
from curator.publish.tree import open_release
from curator.release_facts import read_manifest
from hub_server import EXPIRED_TOKEN, READ_TOKEN, WRITE_TOKEN, HubServer, Repo, loopback_hub
from test_release import World, facts, tree

REPO = "org/set"
SLEEP = time.sleep
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setattr(client, "WAITS", (0.01, 0.01))
    monkeypatch.setattr(time, "sleep", lambda seconds: SLEEP(min(seconds, 0.01)))
    with loopback_hub() as running:
        yield running


@pytest.fixture(scope="module")
def world() -> World:
    return World()


@pytest.fixture(scope="module")
def first(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return world.write(tmp_path_factory.mktemp("v1") / "release")


@pytest.fixture(scope="module")
def second(world: World, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One row less, one moved into the selection, one with another answer."""
    id = pl.col("id")
    rows = world.rows.filter(id != "phantom:train:0001").with_columns(
        part=pl.when(id == "phantom:train:0002").then(pl.lit("selected")).otherwise("part"),
        question=pl.when(id == "vqa-rad:train:0003").then(pl.lit("What is it?")).otherwise("question"),
    )
    return world.write(tmp_path_factory.mktemp("v2") / "release", rows)


@pytest.fixture(scope="module")
def published(first: Path) -> tuple[Repo, dict[str, bytes]]:
    """The repository and the blobs of a Hub on which v1.0.0 was pushed: doing that once is enough."""
    with loopback_hub() as running:
        push(running, first)
        return running.repos["datasets", REPO], running.store


@pytest.fixture
def with_first(server: HubServer, published: tuple[Repo, dict[str, bytes]]) -> HubServer:
    """A Hub on which v1.0.0 is published."""
    server.repos["datasets", REPO], server.store = copy.deepcopy(published[0]), dict(published[1])
    return server


def push(
    server: HubServer, release: Path, token: str = WRITE_TOKEN, repo: str | None = REPO, **options: object
) -> hub.Pushed:
    return hub.push(release, repo, endpoint=server.url, token=token or None, **options)  # type: ignore[arg-type]


def on_hub(server: HubServer, revision: str = "main") -> dict[str, bytes]:
    files = server.files(server.repos["datasets", REPO], revision)
    return {name: data for name, data in files.items() if name != ".gitattributes"}


def data_of(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: data for name, data in files.items() if name.startswith(("data/", "tables/", "recipe"))}


def repo_of(server: HubServer) -> Repo:
    return server.repos["datasets", REPO]


def test_a_push_is_one_commit_with_a_tag_and_the_second_does_nothing(server: HubServer, first: Path) -> None:
    pushed = push(server, first)
    assert (pushed.version, pushed.changed) == ("1.0.0", True)
    assert len(repo_of(server).commits) == 2, "the Hub's own first commit, and ours"
    assert repo_of(server).tags == {"v1.0.0": pushed.commit}
    assert data_of(on_hub(server, "v1.0.0")) == data_of(tree(first))
    sent = dict(server.received)
    again = push(server, first)
    assert (again.version, again.changed, again.commit) == ("1.0.0", False, pushed.commit)
    assert server.received == sent
    assert len(repo_of(server).commits) == 2


def test_the_command_takes_a_build_its_release_and_a_copy_of_that(
    server: HubServer, first: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "push", functools.partial(hub.push, endpoint=server.url, token=WRITE_TOKEN))
    shutil.copytree(first, tmp_path / "build" / "release")
    (tmp_path / "build" / "stages").mkdir()
    shutil.copytree(first, tmp_path / "copy")
    for folder in ("build", "build/release", "copy"):
        said = CliRunner().invoke(app, ["push", REPO, "--build", str(tmp_path / folder), "--dry-run"])
        assert said.exception is None and "v1.0.0" in said.output


def test_versions_follow_from_what_changed(with_first: HubServer, world: World, second: Path, tmp_path: Path) -> None:
    server = with_first
    assert push(server, second).version == "1.1.0"
    other = world.write(tmp_path / "a", world.rows, manifest=facts(title="Another title"))
    assert push(server, other).version == "1.2.0", "the rows of v1 again: rows changed"
    titled = world.write(tmp_path / "b", world.rows, manifest=facts(title="A third title"))
    assert push(server, titled).version == "1.2.1", "only words"
    without = world.write(tmp_path / "c", world.rows.filter(pl.col("source") == "phantom"))
    assert push(server, without).version == "2.0.0", "a config is gone"
    files = on_hub(server)
    assert not any(name.startswith("data/vqa-rad") for name in files), "stale shards go in the same commit"
    changelog = files["CHANGELOG.md"].decode()
    assert [line for line in changelog.splitlines() if line.startswith("## ")] == [
        "## v2.0.0", "## v1.2.1", "## v1.2.0", "## v1.1.0", "## v1.0.0"]  # fmt: skip
    assert data_of(on_hub(server, "v1.1.0")) == data_of(tree(second)), "old tags stay where they were"


def test_a_version_that_exists_is_refused_and_a_free_one_taken(server: HubServer, first: Path, second: Path) -> None:
    push(server, first, version="v1.0.0")
    with pytest.raises(UsageError, match=r"v1\.0\.0 of org/set exists and tags never move: say --version 1\.0\.1"):
        push(server, second, version="1.0.0")
    with pytest.raises(UsageError, match=r"write it as 1\.2\.0"):
        push(server, second, version="two")
    assert push(server, second, version="7.0.0").version == "7.0.0"


def test_a_dry_run_needs_no_token_and_changes_nothing(
    server: HubServer, first: Path, second: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    planned = push(server, first, token="", dry_run=True)
    assert (planned.changed, server.repos) == (False, {})
    said = capsys.readouterr().err
    assert "sha256" in said
    assert "leakage: checked against vqa-rad; not against slake" in said
    push(server, first)
    before = on_hub(server)
    planned = push(server, second, token="", dry_run=True)
    assert planned.version == "1.1.0"
    assert set(planned.plan.change) >= {"data/phantom/train/selected-00000-of-00001.parquet", "README.md"}
    assert on_hub(server) == before
    assert push(server, first, token="", dry_run=True, repo=None).repo == "YOUR-NAME/test"


def test_a_dry_run_says_what_it_asks_and_plans_without_a_network_too(
    first: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("curator.publish.client.WAITS", ())
    nowhere = "http://127.0.0.1:9"
    planned = hub.push(first, "org/set", dry_run=True, endpoint=nowhere, token="")
    assert (planned.version, planned.changed) == ("1.0.0", False) and "README.md" in planned.plan.add
    said = capsys.readouterr().err.splitlines()
    assert f"  asking {nowhere} which files and tags org/set has now; nothing is sent" in said
    assert any(line.endswith(": planned as for a new data set") for line in said)
    assert hub.push(first, None, dry_run=True, endpoint=nowhere, token="").repo == "YOUR-NAME/test"
    with pytest.raises(NetworkError):
        hub.push(first, "org/set", endpoint=nowhere, token="hf_x")


def test_saying_no_publishes_nothing(server: HubServer, first: Path) -> None:
    asked: list[str] = []
    with pytest.raises(UsageError, match="nothing was published"):
        push(server, first, repo=None, confirm=lambda question: bool(asked.append(question)))
    assert "tester/test v1.0.0" in asked[0], "the account's name and the build's, shown"
    assert server.repos == {}


# -- faults --------------------------------------------------------------------------------------------------------------

PASSING = {
    "503 on reading the head": ("GET", "/revision/", {"status": 503}),
    "429 with Retry-After": ("GET", "/refs$", {"status": 429, "headers": {"Retry-After": "1"}}),
    "500 on preupload": ("POST", "/preupload/", {"status": 500}),
    "503 on the LFS batch": ("POST", "objects/batch", {"status": 503}),
    "reset in the middle of a blob": ("PUT", "/lfs/", {"reset_after": 1000, "times": 2}),
    "500 while sending a blob": ("PUT", "/lfs/", {"status": 500}),
    "500 on the commit": ("POST", "/commit/", {"status": 500}),
    "503 on the commit": ("POST", "/commit/", {"status": 503, "times": 2}),
    "409 on the commit": ("POST", "/commit/", {"status": 409}),
    "429 on the commit": ("POST", "/commit/", {"status": 429, "headers": {"Retry-After": "1"}}),
    "reset before the commit": ("POST", "/commit/", {"reset_after": 0}),
    "answer lost after the commit": ("POST", "/commit/", {"lose_answer": True}),
    "answer lost after the tag": ("POST", "/tag/", {"lose_answer": True}),
    "503 on the tag": ("POST", "/tag/", {"status": 503}),
    "truncated download": ("GET", "/cdn/", {"truncate": 10}),
    "reset in the middle of a download": ("GET", "/cdn/", {"reset_after": 500}),
    "one flipped bit in a download": ("GET", "/cdn/", {"flip": True}),
    "503 on a download": ("HEAD", "/resolve/.*parquet", {"status": 503}),
}


@pytest.mark.parametrize("fault", PASSING, ids=str)
def test_what_passes_is_survived_and_main_is_never_half_a_release(
    with_first: HubServer, second: Path, fault: str
) -> None:
    server = with_first
    before, commits = on_hub(server), len(repo_of(server).commits)
    method, path, what = PASSING[fault]
    injected = server.fail(method, path, **what)
    pushed = push(server, second)
    assert injected.times == 0, "the fault happened"
    assert len(repo_of(server).commits) == commits + 1
    assert data_of(on_hub(server)) == data_of(tree(second))
    assert repo_of(server).tags["v1.1.0"] == pushed.commit
    assert on_hub(server, "v1.0.0") == before


LASTING = {
    "403 on preupload": ("POST", "/preupload/", {"status": 403}, PublishError, "may not write to org/set"),
    "401 in the middle": ("POST", "/preupload/", {"status": 401}, PublishError, "needs a token"),
    "404 in the middle": (
        "POST",
        "/preupload/",
        {"status": 404, "code": "RepoNotFound"},
        UsageError,
        "no data set org/set",
    ),
    "403 on the commit": ("POST", "/commit/", {"status": 403}, PublishError, "may not write to org/set"),
    "400 on the commit": ("POST", "/commit/", {"status": 400}, PublishError, "refused"),
    "500 on every commit": ("POST", "/commit/", {"status": 500}, PublishError, "answers 500"),
    "429 on every commit": ("POST", "/commit/", {"status": 429}, PublishError, "limits how often"),
    "nobody there": ("POST", "/commit/", {"reset_after": 0}, NetworkError, "cannot reach"),
    "the head cannot be read": ("GET", "/revision/", {"status": 503}, PublishError, "answers 503"),
}


@pytest.mark.parametrize("fault", LASTING, ids=str)
def test_what_lasts_is_one_line_and_leaves_main_as_it_was_then_the_same_command_goes_on(
    with_first: HubServer, second: Path, fault: str
) -> None:
    server = with_first
    before = on_hub(server)
    method, path, what, error, says = LASTING[fault]
    injected = server.fail(method, path, **what, times=1000)
    with pytest.raises(error, match=says) as raised:
        push(server, second)
    assert "\n" not in str(raised.value)
    assert WRITE_TOKEN not in str(raised.value)
    assert on_hub(server) == before
    injected.times, sent = 0, dict(server.received)
    assert push(server, second).version == "1.1.0"
    assert all(count == 1 for count in server.received.values()), "no blob was sent twice"
    assert set(sent) <= set(server.received)


def test_an_interrupted_push_sends_only_what_is_missing(server: HubServer, first: Path) -> None:
    server.fail("PUT", "/lfs/", times=0)
    seen = 0

    def third() -> None:
        nonlocal seen
        seen += 1
        if seen == 3:
            raise ConnectionResetError

    server.fail("PUT", "/lfs/", before=third, times=3)
    interrupted = server.fail("PUT", "/lfs/", status=403, times=1000)
    with pytest.raises(PublishError):
        push(server, first)
    done = dict(server.received)
    assert done
    interrupted.times = 0
    push(server, first)
    assert all(count == 1 for count in server.received.values())


@pytest.mark.parametrize(
    "moment", [("PUT", "/lfs/", 3), ("POST", "/commit/", 1), ("GET", "/cdn/", 2), ("POST", "/tag/", 1)]
)
def test_a_killed_push_goes_on_by_the_same_command(
    with_first: HubServer, first: Path, second: Path, moment: tuple[str, str, int]
) -> None:
    """kill -9 while the third blob is sent, at the commit, while it is checked, and before the tag."""
    method, path, number = moment
    before = on_hub(with_first)
    script = f"from pathlib import Path; from curator.publish import hub; hub.push(Path({str(second)!r}), {REPO!r})"
    env = {**os.environ, **with_first.env()}
    started = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, env=env, stderr=subprocess.DEVNULL)
    seen: list[int] = []

    def kill() -> None:
        seen.append(1)
        if len(seen) == number:
            started.kill()
            started.wait()
            raise ConnectionResetError

    fault = with_first.fail(method, path, before=kill, times=number)
    assert started.wait(60) == -9
    assert fault.times == 0
    assert data_of(on_hub(with_first)) in (data_of(before), data_of(tree(second)))
    sent = set(with_first.received)
    assert push(with_first, second).version == "1.1.0"
    assert data_of(on_hub(with_first, "v1.1.0")) == data_of(tree(second))
    assert len(repo_of(with_first).commits) == 3
    assert all(with_first.received[blob] == 1 for blob in sent)


def test_damage_that_lasts_on_download_gets_no_tag(server: HubServer, first: Path) -> None:
    damage = server.fail("GET", "/cdn/", flip=True, times=1000)
    with pytest.raises(VerificationError, match=r"without its tag v1\.0\.0; run the same command again"):
        push(server, first)
    assert repo_of(server).tags == {}
    damage.times = 0
    again = push(server, first)
    assert repo_of(server).tags == {"v1.0.0": again.commit}
    assert len(repo_of(server).commits) == 2, "checked and tagged, not published twice"


def test_another_writer_is_planned_around_a_bounded_number_of_times(
    with_first: HubServer, first: Path, second: Path
) -> None:
    server = with_first

    def other() -> None:
        repo = repo_of(server)
        repo.commit({**repo.head.tree, "NOTES.md": str(len(repo.commits)).encode()}, "somebody's note")

    server.fail("POST", "/commit/", before=other, times=2)
    push(server, second)
    assert "NOTES.md" in on_hub(server), "what is not ours stays"
    assert data_of(on_hub(server)) == data_of(tree(second))
    before = on_hub(server)
    server.fail("POST", "/commit/", before=other, times=1000)
    with pytest.raises(PublishError, match="keeps changing under us"):
        push(server, first)
    assert data_of(on_hub(server)) == data_of(before)


def test_a_race_between_two_pushes_gives_two_whole_versions(server: HubServer, first: Path, second: Path) -> None:
    server.fail("POST", "/commit/", before=lambda: push(server, second), times=1)
    assert push(server, first).version == "1.1.0"
    assert data_of(on_hub(server, "v1.0.0")) == data_of(tree(second))
    assert data_of(on_hub(server, "v1.1.0")) == data_of(tree(first))


def test_a_tag_that_somebody_else_took_meanwhile_stays_theirs(with_first: HubServer, second: Path) -> None:
    tags = repo_of(with_first).tags
    theirs = tags["v1.0.0"]
    with_first.fail("POST", "/tag/", before=lambda: tags.update({"v1.1.0": theirs}))
    with pytest.raises(PublishError, match="is not on the commit that was published; say another --version"):
        push(with_first, second)
    assert tags == {"v1.0.0": theirs, "v1.1.0": theirs}


# -- tokens --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("", "needs a token: make one with write access at .*/settings/tokens"),
        (EXPIRED_TOKEN, "does not accept your token .expired or revoked.: make a new one at"),
        (READ_TOKEN, "can only read: make one with write access at"),
    ],
)
def test_each_wrong_token_says_what_to_do_and_is_never_shown(
    server: HubServer,
    first: Path,
    token: str,
    says: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HF_TOKEN_PATH", "/nowhere")
    with pytest.raises(PublishError, match=says) as raised:
        push(server, first, token=token)
    output = capsys.readouterr()
    assert not token or token not in str(raised.value) + output.out + output.err
    assert server.repos == {}


def test_no_token_is_written_anywhere(server: HubServer, first: Path, curator_home: Path) -> None:
    push(server, first)
    assert not any(WRITE_TOKEN.encode() in data for data in on_hub(server).values())
    assert not any(WRITE_TOKEN.encode() in p.read_bytes() for p in curator_home.rglob("*") if p.is_file())


# -- what may be published -----------------------------------------------------------------------------------------------


def restricted(world: World, directory: Path) -> Path:
    """PathVQA-like: the text is MIT, the pictures may not be published again; a third licence is non-commercial."""
    given = facts()
    given["sources"][0]["redistributable"] = False
    given["sources"][1]["license"] = "cc-by-nc-4.0"
    rows = world.rows.with_columns(
        license=pl.when(pl.col("source") == "vqa-rad").then(pl.lit("mit")).otherwise(pl.lit("cc-by-nc-4.0"))
    )
    verdicts = pa.table(
        {"id": rows["id"].to_list(), "stage": ["select"] * 24, "keep": [True] * 24, "reason": [""] * 24,
         "evidence": ['{"answer": "secret"}'] * 24}
    )  # fmt: skip
    return world.write(directory, rows, manifest=given, tables={"verdicts": verdicts})


def test_a_public_push_leaves_out_what_may_not_be_redistributed(
    server: HubServer, world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = restricted(world, tmp_path / "release")
    push(server, release)
    assert "12 rows left out, their licence is not redistributable: vqa-rad 12" in capsys.readouterr().err
    files = on_hub(server)
    assert not any(name.startswith("data/vqa-rad") for name in files)
    hidden = [blob for sha, blob in world.blobs.items()]
    kept = {name: data for name, data in files.items() if name.startswith("data/phantom")}
    assert kept
    with open_release(f"hub:{REPO}", endpoint=server.url) as found:
        verdicts = found.side("verdicts")
        assert verdicts is not None
        shown = verdicts.filter(pl.col("evidence") != "")["id"]
        assert set(shown) == {id for id in verdicts["id"] if id.startswith("phantom")}
        assert found.manifest["withheld"]["sources"] == {"vqa-rad": 12}
    assert "12 rows" in files["README.md"].decode()
    assert push(server, release).changed is False, "the same rows are left out in the same bytes"
    assert hidden


@pytest.mark.parametrize(
    ("options", "rows"),
    [({"license_filter": "any"}, 24), ({"private": True}, 24), ({"license_filter": "redistributable"}, 12)],
)
def test_the_licence_filter_and_private_sets(
    server: HubServer, world: World, tmp_path: Path, options: dict[str, object], rows: int
) -> None:
    push(server, restricted(world, tmp_path / "release"), **options)
    with open_release(f"hub:{REPO}", endpoint=server.url, token=WRITE_TOKEN) as found:
        assert sum(c["rows"] for c in found.manifest["counts"]) == rows
    assert repo_of(server).private is bool(options.get("private"))


@pytest.mark.parametrize(("says", "shown"), [(None, False), (True, True)])
def test_dropped_rows_are_quoted_only_where_their_source_allows_all_of_its_rows(
    server: HubServer, world: World, tmp_path: Path, says: bool | None, shown: bool
) -> None:
    given, ids = facts(), [*world.rows["id"], "vqa-rad:train:dropped"]
    given["sources"][0]["redistributable"] = says
    verdicts = pa.table(
        {"id": ids, "stage": ["ingest"] * 25, "keep": [True] * 24 + [False], "reason": [""] * 24 + ["few-options"],
         "evidence": [""] * 24 + ['{"options": ["secret"]}']}
    )  # fmt: skip
    release = world.write(tmp_path / "release", manifest=given, tables={"verdicts": verdicts})
    push(server, release)
    with open_release(f"hub:{REPO}", endpoint=server.url) as found:
        assert ("secret" in str(found.side("verdicts").to_dicts())) is shown  # type: ignore[union-attr]
        assert found.manifest["counts"] == read_manifest(release)["counts"] and "withheld" not in found.manifest
    data = {name: blob for name, blob in on_hub(server).items() if name.startswith("data/")}
    assert data == {name: blob for name, blob in tree(release).items() if name.startswith("data/")}
    assert push(server, release).changed is False


def test_nothing_left_to_publish_says_so(server: HubServer, world: World, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the rows may be published as commercial"):
        push(server, restricted(world, tmp_path / "release"), license_filter="commercial")
    with pytest.raises(UsageError, match="it is one of any, redistributable, commercial"):
        push(server, tmp_path / "release", license_filter="all")


@pytest.mark.parametrize(
    "checked, against", [([], "nothing"), (["medqa:test", "slake:test"], "medqa:test, slake:test only, which is no benchmark")]
)  # fmt: skip
def test_a_set_checked_against_no_benchmark_is_refused_in_public_only(
    server: HubServer, world: World, tmp_path: Path, checked: list[str], against: str
) -> None:
    leakage = {
        "checked": [{"name": name, "rows": 9, "images": 0} for name in checked],
        "missing": ["slake"],
        "found": [],
    }
    release = world.write(tmp_path / "release", world.rows, manifest=facts(leakage=leakage))
    with pytest.raises(UsageError, match=f"checked for leakage against {against}: .* --unchecked"):
        push(server, release)
    assert server.repos == {}
    push(server, release, private=True)
    assert push(server, release, unchecked=True, repo="org/public").changed
    if not checked:
        card = server.files(server.repos["datasets", "org/public"])["README.md"].decode()
        assert "Leakage was not checked" in card


def test_the_test_split_that_is_a_benchmark_is_a_check(server: HubServer, world: World, tmp_path: Path) -> None:
    leakage = {"checked": [{"name": "vqa-rad:test", "rows": 451, "images": 203}], "missing": ["slake"], "found": []}
    assert push(server, world.write(tmp_path / "release", world.rows, manifest=facts(leakage=leakage))).changed


def test_a_private_set_is_never_sent_to_a_public_repository(server: HubServer, first: Path) -> None:
    server.add_repo(REPO)
    with pytest.raises(UsageError, match="is public: choose another name"):
        push(server, first, private=True)


def test_a_repository_of_somebody_else_is_left_alone(server: HubServer, first: Path) -> None:
    server.add_repo(REPO, {"data/train.parquet": b"PAR1"})
    with pytest.raises(UsageError, match="did not put there"):
        push(server, first)


def test_a_release_that_was_touched_is_not_published(server: HubServer, world: World, tmp_path: Path) -> None:
    release = world.write(tmp_path / "release")
    shard = next(release.glob("data/phantom/train/selected-*"))
    shard.write_bytes(shard.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError, match="is not as it was built"):
        push(server, release)
    with pytest.raises(UsageError, match="holds no release"):
        push(server, tmp_path / "nothing")


# -- reading it back -----------------------------------------------------------------------------------------------------


def test_a_published_card_and_its_rows_are_read_like_those_of_a_build(
    with_first: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_release(f"{REPO}@v1.0.0", endpoint=with_first.url) as tree:
        assert f"curator build --from hub:{REPO}@v1.0.0" in tree.path("README.md").read_text("utf-8")
        assert export(tree, tmp_path / "exported", "jsonl").text()
    (tmp_path / "builds").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="there is no folder builds/nope"), open_release("builds/nope"):
        pass


def test_the_recipe_of_a_version_comes_back(with_first: HubServer, first: Path) -> None:
    server = with_first
    path = hub.fetch_recipe(f"hub:{REPO}@v1.0.0", endpoint=server.url)
    assert path.read_bytes() == (first / "recipe.yaml").read_bytes()
    with pytest.raises(UsageError, match=r"no such version; its versions are: v1\.0\.0"):
        hub.fetch_recipe(f"{REPO}@v9.9.9", endpoint=server.url)
    with pytest.raises(UsageError, match="no data set org/none"):
        hub.fetch_recipe("org/none", endpoint=server.url)
    with pytest.raises(UsageError, match="names no data set"):
        hub.fetch_recipe("what is this", endpoint=server.url)


@pytest.mark.parametrize(("token", "status"), [("", 401), (READ_TOKEN, 403)])
def test_a_gated_set_says_where_its_terms_are(with_first: HubServer, token: str, status: int) -> None:
    server = with_first
    repo_of(server).gated = True
    with pytest.raises(GatedError, match=r"accept its terms at .*/datasets/org/set"):
        hub.fetch_recipe(REPO, endpoint=server.url, token=token or None)


def test_every_error_of_ours_is_a_curator_error() -> None:
    assert issubclass(PublishError, CuratorError)
