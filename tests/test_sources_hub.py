"""Reading the Hub over a loopback server: what it costs, what it survives, and what it says when it does not."""

from __future__ import annotations

import json
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from curator.sources.remote import HubTree
from range_server import COMMIT, RangeServer
from source_rows import SHAPES, changed

ROOT = Path(__file__).resolve().parent.parent
MEDQA = next(shape for shape in SHAPES if shape.source == "medqa")
REPO = "GBaker/MedQA-USMLE-4-options"

READ = """
import json, sys
import curator.sources.remote as remote
from curator.errors import CuratorError
from curator.recipe import SourceChoice
from curator.records import Record
from curator.sources import open_source
remote.PAUSE = 0.01
choice, split, offline = json.loads(sys.argv[1]), sys.argv[2], len(sys.argv) > 3
try:
    opened = open_source(SourceChoice.model_validate(choice), offline=offline)
    cost = opened.estimate([split])
    items = list(opened.records(split))
    records = [item for item in items if isinstance(item, Record)]
    images = dict(opened.read_images(image for record in records for image in record.images))
    bad = {name: str(data) for name, data in images.items() if not isinstance(data, bytes)}
    print(json.dumps({"rows": len(items), "ids": [item.id for item in items], "revision": opened.revision,
                      "fetch": cost.fetch_bytes, "images": {n: len(d) for n, d in images.items() if isinstance(d, bytes)},
                      "bad": bad, "license": [r.license for r in records][:1]}))
except CuratorError as error:
    print(json.dumps({"error": type(error).__name__, "says": str(error), "exit": error.exit_code}))
"""


def read(
    server: RangeServer | None, cache: Path, split: str = "train", *, offline: bool = False, **choice: Any
) -> dict[str, Any]:
    """What a fresh process reads from the server, as it would from the Hub."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "0"}
    env.update(
        server.env(cache) if server else {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_CACHE": str(cache / "hub")}
    )
    args = [sys.executable, "-c", READ, json.dumps(choice), split, *(["offline"] if offline else [])]
    done = subprocess.run(args, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


def medqa_file(count: int = 5) -> bytes:
    rows = [changed(MEDQA.good, {"question": f"Which {n}?"}) for n in range(count)]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.fixture
def medqa() -> Any:
    with RangeServer({REPO: {"phrases_no_exclude_train.jsonl": medqa_file(), "README.md": b"x"}}) as server:
        yield server


# -- what it costs ------------------------------------------------------------------------------------------------------------


def giant_zip(path: Path, members: int, size: int, real: int) -> None:
    """A zip of `members` pictures, `size` bytes apart: a sparse file in which only the first `real` ones have content.

    Its directory is that of an 18.9 GB archive of 149 thousand members: real in every entry, with zip64 offsets.
    """
    draw = random.Random(0)
    directory = bytearray()
    with path.open("wb") as file:
        for number in range(members):
            name, offset = f"images/PMC{number:07}_F1.jpg".encode(), number * size
            data = draw.randbytes(size - 30 - len(name)) if number < real else b""
            crc, length = zlib.crc32(data), len(data)
            if number < real:
                file.seek(offset)
                file.write(
                    struct.pack("<4s5H3L2H", b"PK\x03\x04", 45, 0, 0, 0, 0, crc, length, length, len(name), 0) + name
                )
                file.write(data)
            extra = struct.pack("<2HQ", 1, 8, offset) if offset >= 0xFFFFFFFF else b""
            directory += struct.pack(
                "<4s6H3L5H2L", b"PK\x01\x02", 45, 45, 0, 0, 0, 0, crc, length, length, len(name), len(extra), 0, 0, 0, 0,
                0xFFFFFFFF if extra else offset,
            ) + name + extra  # fmt: skip
        start = members * size
        file.seek(start)
        file.write(directory)
        end = start + len(directory)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, members, members, len(directory), start))
        file.write(struct.pack("<4sLQL", b"PK\x06\x07", 0, end, 1))
        file.write(struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0))


def test_64_rows_of_an_18_gigabyte_archive_cost_under_50_megabytes(tmp_path: Path) -> None:
    giant_zip(tmp_path / "images.zip", members=149_000, size=127_000, real=64)
    assert (tmp_path / "images.zip").stat().st_size > 18_900_000_000
    header = "Figure_path,Question,Answer,Choice A,Choice B,Choice C,Choice D,Answer_label\n"
    row = "PMC{:07}_F1.jpg,What is {}? ,x{}, A:x{} , B:y , C:z , D:w ,A\n"
    table = (header + "".join(row.format(n, "it " * 50, n, n) for n in range(176_948))).encode()
    with RangeServer({"RadGenome/PMC-VQA": {"train.csv": table, "images.zip": tmp_path / "images.zip"}}) as server:
        got = read(server, tmp_path / "cache", name="pmc-vqa", limit=64)
        assert got["rows"] == 64
        assert got["bad"] == {}
        assert len(got["images"]) == 64
        assert set(got["images"].values()) == {127_000 - 30 - len("images/PMC0000000_F1.jpg")}
        assert server.sent < 50_000_000, f"{server.sent:,} bytes"
        assert got["fetch"] < 50_000_000
        assert len(server.requests) < 64 + 20


def test_most_of_an_archive_is_fetched_whole_once_and_checked(tmp_path: Path) -> None:
    rows = [{"img_name": f"xmlab{n}/source.jpg", "question": "Is it?", "answer": "Yes", "q_lang": "en", "answer_type": "CLOSED",
             "qid": n} for n in range(60)]  # fmt: skip
    with zipfile.ZipFile(tmp_path / "imgs.zip", "w") as made:
        for n in range(60):
            made.writestr(f"imgs/xmlab{n}/source.jpg", random.Random(n).randbytes(100_000))
    files: dict[str, bytes | Path] = {"train.json": json.dumps(rows).encode(), "imgs.zip": tmp_path / "imgs.zip"}
    with RangeServer({"BoKelvin/SLAKE": files}) as server:
        got = read(server, tmp_path / "cache", name="slake")
        assert len(got["images"]) == 60
        whole = [r for r in server.requests if r.startswith("GET") and "imgs.zip" in r and "bytes=" not in r]
        assert len(whole) == 1
        before = server.sent
        again = read(server, tmp_path / "cache", name="slake")
        assert again == {**got, "fetch": 0}
        assert server.sent - before < 10_000, "a second build fetches the listing only"
        few = read(server, tmp_path / "other", name="slake", limit=3)
        assert len(few["images"]) == 3
        assert not [r for r in server.requests[-8:] if "imgs.zip" in r and "bytes=" not in r and r.startswith("GET")]

        offline = read(None, tmp_path / "cache", name="slake", offline=True)
        assert offline["ids"] == got["ids"]
        assert offline["images"] == got["images"]


def test_a_flipped_byte_in_a_whole_download_is_thrown_away(tmp_path: Path) -> None:
    data = medqa_file(60_000)
    with RangeServer({REPO: {"phrases_no_exclude_train.jsonl": data}}) as server:
        server.fail("phrases_no_exclude_train.jsonl", ["flip"])
        got = read(server, tmp_path, name="medqa")
        assert "arrived damaged and was thrown away: run the same command again" in got["says"]
        assert got["exit"] == 2
        assert read(server, tmp_path, name="medqa")["rows"] == 60_000


def test_a_download_that_is_cut_off_goes_on_where_it_stopped(tmp_path: Path) -> None:
    size = 30_000_000  # the client writes, and so resumes, by 10 MB
    with zipfile.ZipFile(tmp_path / "imgs.zip", "w") as made:
        made.writestr("imgs/xmlab1/source.jpg", random.Random(1).randbytes(size))
    row = {
        "img_name": "xmlab1/source.jpg",
        "question": "Is it?",
        "answer": "Yes",
        "q_lang": "en",
        "answer_type": "CLOSED",
    }
    files: dict[str, bytes | Path] = {"train.json": json.dumps([row]).encode(), "imgs.zip": tmp_path / "imgs.zip"}
    with RangeServer({"BoKelvin/SLAKE": files}) as server:
        server.fail("imgs.zip", [None, None, None, "cut"])  # the directory is read by range first
        assert list(read(server, tmp_path / "cache", name="slake")["images"].values()) == [size]
        resumed = [r for r in server.requests if r.startswith("GET") and "imgs.zip bytes=10" in r]
        assert len(resumed) == 1, server.requests
        assert server.sent < size + 6_000_000, "of the first half, sent once, the first 10 MB were kept"


# -- what it survives -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failures", [[503], [429, 429], ["drop"], ["cut", 500], [502, "cut", "drop"]])
def test_passing_failures_are_retried(tmp_path: Path, failures: list[Any]) -> None:
    big = medqa_file(40_000)  # beyond what is fetched whole: read by range
    with RangeServer({REPO: {"phrases_no_exclude_train.jsonl": big}}) as server:
        server.fail("phrases_no_exclude_train.jsonl", failures)
        got = read(server, tmp_path, name="medqa", limit=7)
        assert got["rows"] == 7
        assert got["revision"] == COMMIT
        assert server.failures["phrases_no_exclude_train.jsonl"] == []
        assert server.sent < 2_000_000


def test_a_listing_that_fails_once_is_asked_again(tmp_path: Path, medqa: RangeServer) -> None:
    medqa.fail("", [503, 429])
    assert read(medqa, tmp_path, name="medqa")["rows"] == 5


@pytest.mark.parametrize("failure", [503, 429, "drop", "cut"])
def test_a_server_that_keeps_failing_is_one_line_after_five_attempts(tmp_path: Path, failure: Any) -> None:
    with RangeServer({REPO: {"phrases_no_exclude_train.jsonl": medqa_file(40_000)}}) as server:
        server.fail("phrases_no_exclude_train.jsonl", [failure] * 50)
        got = read(server, tmp_path, name="medqa", limit=7)
        assert got["error"] == "NetworkError"
        assert got["exit"] == 2
        assert "5 times" in got["says"]
        assert "run the same command again" in got["says"]
        assert "\n" not in got["says"]
        assert 50 - len(server.failures["phrases_no_exclude_train.jsonl"]) == 5


# -- what it says -----------------------------------------------------------------------------------------------------------------


WAYS = "run again with a network; `curator build` takes a local copy too (--data-dir DIR)."


def test_no_network_is_one_line_at_once(tmp_path: Path) -> None:
    got = read(None, tmp_path, name="medqa")
    assert got == {"error": "NetworkError", "says": f"no network, to read {REPO}: {WAYS}", "exit": 2}


def test_offline_without_a_cache_is_one_line(tmp_path: Path) -> None:
    got = read(None, tmp_path, name="medqa", offline=True)
    assert got["says"] == f"offline, and {REPO} is not in the Hub's cache: {WAYS}"


def test_a_pinned_revision_is_read_from_the_cache_without_a_network(tmp_path: Path, medqa: RangeServer) -> None:
    assert read(medqa, tmp_path, name="medqa")["rows"] == 5
    assert read(None, tmp_path, name="medqa", revision=COMMIT)["rows"] == 5
    assert "no network" in read(None, tmp_path, name="medqa")["says"]


def test_the_commit_of_a_name_is_replaced_and_never_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may be reading it, and this one may be killed: the old file stays what it was."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    tree = HubTree.__new__(HubTree)
    tree.repo, tree._asked_for, tree.revision = REPO, "main", COMMIT
    tree._remember()
    noted = tree._home() / "refs" / "main"
    os.link(noted, tmp_path / "open elsewhere")
    tree.revision = "b" * 40
    tree._remember()
    assert (tmp_path / "open elsewhere").read_text("utf-8") == COMMIT and noted.read_text("utf-8") == "b" * 40


def test_a_gated_source_says_what_to_accept_and_where(tmp_path: Path) -> None:
    with RangeServer({REPO: {"phrases_no_exclude_train.jsonl": medqa_file()}}, gated={REPO}) as server:
        got = read(server, tmp_path, name="medqa")
    assert (got["error"], got["exit"]) == ("GatedError", 1)
    assert f"accept its terms at https://huggingface.co/datasets/{REPO}, then `hf auth login`" in got["says"]


def test_a_repository_or_revision_that_is_not_there(tmp_path: Path, medqa: RangeServer) -> None:
    assert (
        "no data set nobody/nothing on the Hub, or it is private"
        in read(medqa, tmp_path, name="hub:nobody/nothing")["says"]
    )
    assert "has no such revision" in read(medqa, tmp_path, name="medqa", revision="v9")["says"]


def test_a_source_that_is_not_on_the_hub_says_where_it_is(tmp_path: Path) -> None:
    got = read(None, tmp_path, name="vqa-med-2019")
    assert "get it from https://zenodo.org/records/10499039 and give its folder with --data-dir" in got["says"]


def test_a_release_of_ours_is_read_by_its_default_config(tmp_path: Path) -> None:
    card = (
        "---\nconfigs:\n- config_name: default\n  default: true\n  data_files:\n  - split: train\n"
        "    path: data/*/train/selected-*.jsonl\n- config_name: all\n  data_files:\n  - split: train\n"
        "    path: data/*/train/*.jsonl\n---\n"
    )
    row = '{"id": "%s", "question": "Is it?", "answer": "yes"}\n'
    files: dict[str, bytes | Path] = {
        "README.md": card.encode(),
        "data/x/train/selected-00000-of-00001.jsonl": (row % "a").encode(),
        "data/x/train/rest-00000-of-00001.jsonl": (row % "b").encode(),
        "tables/verdicts-00000-of-00001.jsonl": b'{"id": "a", "stage": "ingest"}\n',
    }
    with RangeServer({"me/set": files}) as server:
        assert read(server, tmp_path, name="hub:me/set")["ids"] == ["hub:me/set:train:a"]
        both = read(server, tmp_path, name="hub:me/set", options={"config": "all"})
        assert sorted(both["ids"]) == ["hub:me/set:train:a", "hub:me/set:train:b"]
        wrong = read(server, tmp_path, name="hub:me/set", options={"config": "al"})
        assert "no config named 'al'; did you mean 'all'?" in wrong["says"]


def test_any_data_set_of_the_hub_with_mapped_columns(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    picture = {"bytes": b"\x89PNG" + b"x" * 100, "path": "a.png"}
    rows = [{"Pic": picture, "Stem": f"Which {n}?", "o1": "heart", "o2": "lung", "Key": "lung"} for n in range(4)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "t.parquet")
    files: dict[str, bytes | Path] = {"data/train-00000-of-00001.parquet": tmp_path / "t.parquet", "README.md": b"x"}
    with RangeServer({"me/mine": files}) as server:
        columns = {"question": "Stem", "options": ["o1", "o2"], "answer": "Key", "images": "Pic"}
        got = read(server, tmp_path / "c", name="hub:me/mine", columns=columns, options={"license": "cc-by-4.0"})
        assert got["rows"] == 4
        assert set(got["images"].values()) == {104}
        assert got["license"] == ["cc-by-4.0"]
        assert got["ids"][0].startswith("hub:me/mine:train:")
