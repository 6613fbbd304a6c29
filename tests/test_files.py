"""Files and archives: what reads, what is refused, and the one line that says so."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curator import sources
from curator.answers import grade_file
from curator.errors import SourceError, UsageError
from curator.recipe import SourceChoice
from curator.records import BadRow, Record, Verdict
from curator.sources.archives import Archive
from curator.sources.files import LocalTree, Row, glob, read_rows
from curator.sources.parquet import read_parquet_images


def put(folder: Path, name: str, content: bytes | str) -> LocalTree:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return LocalTree(folder)


def rows(folder: Path, name: str, content: bytes | str, **settings: Any) -> list[dict[str, Any] | BadRow]:
    return list(read_rows(put(folder, name, content), name, **settings))


@pytest.mark.parametrize(
    ("name", "content", "settings", "expected"),
    [
        ("a.csv", "q,a\nWhy?,N/A\n", {}, [{"q": "Why?", "a": "N/A"}]),
        ("bom.csv", b"\xef\xbb\xbfq,a\nWhy?,1\n", {}, [{"q": "Why?", "a": "1"}]),
        ("crlf.csv", "q,a\r\n\"two\nlines\",1\r\n\r\n", {}, [{"q": "two\nlines", "a": "1"}]),
        ("a.tsv", "q\ta\nWhy?\t1\n", {}, [{"q": "Why?", "a": "1"}]),
        ("none.csv", "x,1\n", {"header": ("q", "a")}, [{"q": "x", "a": "1"}]),
        ("pipe.txt", 'i|"what" is it?|ct\ni|c|q|a\n', {"header": ("i", "c?", "q", "a")},
         [{"i": "i", "q": '"what" is it?', "a": "ct"}, {"i": "i", "c": "c", "q": "q", "a": "a"}]),
        ("a.jsonl", '{"q": 1}\n\n{"q": "é"}\n', {}, [{"q": 1}, {"q": "é"}]),
        ("a.json", '[{"q": 1}]', {}, [{"q": 1}]),
        ("a.pkl", pickle.dumps([{"q": "Why?"}]), {}, [{"q": "Why?"}]),
    ],
)  # fmt: skip
def test_rows_of_every_kind_of_file(
    tmp_path: Path, name: str, content: bytes | str, settings: dict[str, Any], expected: list[Any]
) -> None:
    assert rows(tmp_path, name, content, **settings) == expected


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.csv", "q,a\nWhy?\nx,1\n", "ragged-row"),
        ("b.csv", "q,a\n1,2,3\nx,1\n", "ragged-row"),
        ("a.jsonl", '{"q": \n{"q": 1}\n', "unreadable-row"),
        ("b.jsonl", '[1, 2]\n{"q": 1}\n', "wrong-type"),
        ("a.json", '[7, {"q": 1}]', "wrong-type"),
        ("c.jsonl", f'{{"q": {"1" * 5000}}}\n{{"q": 1}}\n', "unreadable-row"),
        ("b.json", f'[{{"q": [-{"1" * 5000}]}}, {{"q": 1}}]', "unreadable-row"),
        ("c.csv", 'q,a\n"two "quoted" words",1\nx,1\n', "unreadable-row"),
        ("d.csv", 'q,a\n"never closed,1\nx,1\n', "unreadable-row"),
        ("e.tsv", 'q\ta\n"never closed\t1\nx\t1\n', "unreadable-row"),
    ],
)
def test_a_line_that_cannot_be_read_is_one_bad_row(tmp_path: Path, name: str, content: str, reason: str) -> None:
    first, second = rows(tmp_path, name, content)
    assert isinstance(first, BadRow)
    assert first.reason == reason
    assert isinstance(second, dict)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("latin.csv", "q,a\nr\u00f6ntgen,1\n".encode("latin-1"), "is not UTF-8 (byte 0xf6): save it as UTF-8"),
        ("utf16.csv", "q,a\nx,1\n".encode("utf-16"), "is not UTF-8 (byte 0xff): save it as UTF-8"),
        ("latin.jsonl", '{"q": "r\u00f6"}\n'.encode("latin-1"), "is not UTF-8"),
        ("latin.json", '[{"q": "r\u00f6"}]'.encode("latin-1"), "is not UTF-8"),
        ("quote.csv", 'q,a\n"never closed,1\n', "is no readable CSV at line"),
        ("empty.csv", "", "is empty: it has no header line"),
        ("cut.json", '[{"q": 1}, {"q"', "is no readable JSON"),
        ("deep.json", "[" * 100_000, "is no readable JSON"),
        ("object.json", '{"a": 1}', "is not laid out as documented: expected a list of rows, found dict"),
        ("all.jsonl", "not json\nat all\n", "holds no JSON lines: line 1"),
        ("broken.parquet", b"PAR1 no, not really PAR1", "is no readable Parquet file"),
        ("notes.docx", b"PK", "rows come from .csv, .tsv, .json, .jsonl or .parquet"),
        ("evil.pkl", pickle.dumps([Path("x")]), "is no readable PKL: it wants to load pathlib"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes | str, says: str) -> None:
    with pytest.raises(SourceError) as error:
        rows(tmp_path, name, content)
    assert says in str(error.value)
    assert str(tmp_path / name) in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.exit_code == 1


def test_a_quote_without_its_pair_costs_its_own_line_only(tmp_path: Path) -> None:
    content = (
        'q,a\nfirst,1\n"never closed,2\n"two\nlines",3\nplain,4\n"a ""quoted"" word",5\n"again, not closed,6\nlast,7\n'
    )
    found = rows(tmp_path, "a.csv", content)
    assert [(row["a"], row.line) for row in found if isinstance(row, Row)] == [
        ("1", 2),
        ("3", 5),
        ("4", 6),
        ("5", 7),
        ("7", 9),
    ]
    bad = [json.loads(row.evidence) for row in found if isinstance(row, BadRow)]
    assert [(one["line"], one["error"]) for one in bad] == [
        (3, "',' expected after '\"'"),
        (8, "unexpected end of data"),
    ]


def test_a_text_that_closes_far_away_is_looked_for_only_so_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curator.sources.files.MAX_LINES", 3)
    found = rows(tmp_path, "a.csv", 'q,a\n"1\n2\n3",x\n"1\n2\n3\n4"\nlast,x\n')
    assert [row["q"] for row in found if isinstance(row, Row)] == ["1\n2\n3", "last"]
    bad = [json.loads(row.evidence) for row in found if isinstance(row, BadRow)]
    assert bad[0] == {"error": "a quoted text does not end in 3 lines", "line": 5} and len(bad) == 4


# -- archives ---------------------------------------------------------------------------------------------------------------


def archive(folder: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Archive:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as made:
        for name, data in members.items():
            made.writestr(zipfile.ZipInfo(name), data, method)
    return Archive(put(folder, "a.zip", buffer.getvalue()), "a.zip")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_read_in_place(tmp_path: Path, method: int) -> None:
    members = {f"images/{n} (1).jpg": bytes([n]) * n * 997 for n in range(40)}
    made = archive(tmp_path, members, method)
    assert {name: made.read(name) for name in made.members} == members
    found = dict(made.read_all([*members, "images/none.jpg"]))
    assert isinstance(found.pop("images/none.jpg"), SourceError)
    assert found == members
    assert {path.name for path in tmp_path.iterdir()} == {"a.zip"}


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "images/../../evil.jpg", "/etc/passwd", "..\\evil.jpg", "C:\\evil.jpg"]
)
def test_an_archive_with_a_member_outside_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SourceError, match="leaves the archive: refused"):
        archive(tmp_path, {"images/a.jpg": b"x", name: b"x"})


def test_a_bomb_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    made = archive(tmp_path, {"a.jpg": b"\0" * 1000})
    made.members["a.jpg"].file_size = 10 << 30
    with pytest.raises(SourceError, match="unpacks to 10,737,418,240 bytes: refused"):
        made.read("a.jpg")
    made.members["a.jpg"].file_size = 10  # a directory that lies about the size does not unpack more than it says
    with pytest.raises(SourceError, match="size or checksum differ"):
        made.read("a.jpg")


def test_damage_is_named_by_member(tmp_path: Path) -> None:
    made = archive(tmp_path, {"a.jpg": b"x" * 5000, "b.jpg": b"y" * 5000}, zipfile.ZIP_STORED)
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[100] ^= 1
    (tmp_path / "a.zip").write_bytes(data)
    found = dict(Archive(LocalTree(tmp_path), "a.zip").read_all(["a.jpg", "b.jpg"]))
    assert "a.jpg is damaged" in str(found["a.jpg"])
    assert found["b.jpg"] == b"y" * 5000
    made.members["a.jpg"].flag_bits |= 1
    with pytest.raises(SourceError, match="encrypted"):
        made.read("a.jpg")


@pytest.mark.parametrize("content", [b"", b"PK not a zip", b"\0" * 5000])
def test_what_is_no_zip_is_said_so(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SourceError, match=r"a\.zip is no readable zip: .*; fetch it again"):
        Archive(put(tmp_path, "a.zip", content), "a.zip")


def test_a_cut_off_zip_is_said_so(tmp_path: Path) -> None:
    archive(tmp_path, {"a.jpg": b"x" * 5000})
    cut = (tmp_path / "a.zip").read_bytes()[:-30]
    with pytest.raises(SourceError, match="is no readable zip"):
        Archive(put(tmp_path, "a.zip", cut), "a.zip")


def test_patterns_take_the_first_that_matches_and_look_inside_archives(tmp_path: Path) -> None:
    archive(tmp_path, {"x/QA/b.json": b"[]", "x/QA/a.json": b"[]", "x/no.txt": b""})
    tree = put(tmp_path, "validate.json", "[]")
    assert glob(tree, ("validation.json", "validate.json")) == ["validate.json"]
    assert glob(tree, "a.zip!x/QA/*.json") == ["a.zip!x/QA/a.json", "a.zip!x/QA/b.json"]
    assert glob(tree, "none.zip!*|x") == []
    assert glob(tree, "validate.json|a.zip") == ["a.zip", "validate.json"]


# -- Parquet ----------------------------------------------------------------------------------------------------------------


def test_image_bytes_are_not_read_with_the_rows(tmp_path: Path) -> None:
    """Rows of 200 pictures of 50 kB cost a few kB; one picture costs its row group."""
    picture = {"bytes": b"\xff" + bytes(range(256)) * 200, "path": "a.jpg"}
    alone = {"bytes": picture["bytes"]}
    table = pa.Table.from_pylist(
        [{"image": picture, "pair": [picture, picture], "alone": alone, "q": str(n)} for n in range(200)]
    )
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=10, compression="none", use_dictionary=False)

    class Counting(LocalTree):
        taken = 0

        def open(self, path: str) -> Any:
            tree, file = self, super().open(path)

            class Counted(io.RawIOBase):
                def read(self, size: int = -1) -> bytes:
                    data = file.read(size)
                    tree.taken += len(data)
                    return data

                def seek(self, offset: int, whence: int = 0) -> int:
                    return file.seek(offset, whence)

                def tell(self) -> int:
                    return file.tell()

                def seekable(self) -> bool:
                    return True

                def readable(self) -> bool:
                    return True

            return Counted()

    tree = Counting(tmp_path)
    found = list(read_rows(tree, "a.parquet"))
    assert found[12] == {
        "image": "a.parquet#12/image", "pair": ["a.parquet#12/pair/0", "a.parquet#12/pair/1"], "q": "12",
        "alone": "a.parquet#12/alone",
    }  # fmt: skip
    assert tree.taken < 0.05 * (tmp_path / "a.parquet").stat().st_size
    tree.taken = 0
    ((reference, data),) = read_parquet_images(tree, "a.parquet", ["12/image"])
    assert (reference, data) == ("a.parquet#12/image", picture["bytes"])
    assert tree.taken < 0.1 * (tmp_path / "a.parquet").stat().st_size
    pairs = dict(read_parquet_images(tree, "a.parquet", ["199/pair/1", "3/pair/0", "400/image"]))
    assert pairs["a.parquet#199/pair/1"] == picture["bytes"]
    assert isinstance(pairs["a.parquet#400/image"], SourceError)


PICTURE = b"\x89PNG and so on"
PICTURES: dict[str, tuple[pa.DataType, list[Any], list[Any]]] = {
    "a struct of bytes": (pa.struct([("bytes", pa.binary())]), [{"bytes": PICTURE}] * 2, [True, True]),
    "a struct of bytes with gaps": (pa.struct([("bytes", pa.binary())]), [{"bytes": PICTURE}, None], [True, False]),
    "lists of structs of bytes": (
        pa.list_(pa.struct([("bytes", pa.binary())])), [[{"bytes": PICTURE}] * 2, [], None], [2, 0, None]),
    "bytes": (pa.binary(), [PICTURE, PICTURE], [True, True]),
    "bytes with gaps": (pa.large_binary(), [None, PICTURE], [False, True]),
    "lists of bytes": (pa.list_(pa.binary()), [None, [PICTURE]], [None, 1]),
    "a struct with a path and gaps": (
        pa.struct([("bytes", pa.binary()), ("path", pa.string())]), [None, {"bytes": PICTURE, "path": None}], [False, True]),
}  # fmt: skip


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("statistics", [True, False])
def test_pictures_of_every_kind_of_parquet_column(tmp_path: Path, kind: str, statistics: bool) -> None:
    type_, cells, there = PICTURES[kind]
    table = pa.table({"q": [str(n) for n in range(len(cells))], "image": pa.array(cells, type_)})
    pq.write_table(table, tmp_path / "a.parquet", write_statistics=statistics)
    tree = LocalTree(tmp_path)
    found = [row["image"] for row in read_rows(tree, "a.parquet", pictures=("image",)) if isinstance(row, dict)]
    wanted: list[Any] = []
    for n, count in enumerate(there):
        reference = f"a.parquet#{n}/image"
        if isinstance(count, bool) or count is None:
            wanted.append(reference if count else None)
        else:
            wanted.append([f"{reference}/{i}" for i in range(count)])
    assert found == wanted
    named = [one for cell in found if cell for one in ([cell] if isinstance(cell, str) else cell)]
    cells_ = [one.partition("#")[2] for one in named]
    assert named and dict(read_parquet_images(tree, "a.parquet", cells_)) == dict.fromkeys(named, PICTURE)


def test_text_that_is_not_utf8_in_a_parquet_file_is_one_bad_row(tmp_path: Path) -> None:
    bytes_ = pa.array([b"one", b"r\xf6ntgen", b"three"])
    words = pa.Array.from_buffers(pa.string(), 3, bytes_.buffers())
    pictures = pa.array([{"bytes": PICTURE}] * 3)
    pq.write_table(pa.table({"q": words, "image": pictures}), tmp_path / "a.parquet")
    first, bad, third = read_rows(LocalTree(tmp_path), "a.parquet")
    assert isinstance(bad, BadRow) and bad.reason == "unreadable-row" and "0xf6" in bad.evidence
    assert (first, third) == ({"q": "one", "image": "a.parquet#0/image"}, {"q": "three", "image": "a.parquet#2/image"})


def test_only_the_pictures_column_may_be_plain_bytes(tmp_path: Path) -> None:
    """A writer that does not mark its text as text: its bytes are no picture's name, so the question is not read as one."""
    table = pa.table({"question": [b"Which?"], "answer": ["yes"], "image": [PICTURE]})
    pq.write_table(table, tmp_path / "train.parquet")
    (verdict,) = opened(tmp_path, "folder").records("train")
    assert isinstance(verdict, Verdict) and verdict.reason == "wrong-type"


def test_a_raw_value_is_no_more_than_a_few_words_of_evidence(tmp_path: Path) -> None:
    rows_ = [
        {"question": "Which?", "answer": "yes", "image": ["x" * 9999]},
        {"question": "Which?", "options": ["same " * 999] * 2, "answer": "A"},
        {"question": "Which?", "options": ["a", "b"], "answer": "long " * 9999},
    ]
    put(tmp_path, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows_))
    found = list(opened(tmp_path, "folder").records("train"))
    assert [item.reason for item in found if isinstance(item, Verdict)] == [
        "missing-image", "duplicate-options", "answer-not-among-options"
    ]  # fmt: skip
    assert all(200 < len(item.evidence) < 400 for item in found if isinstance(item, Verdict))
    put(tmp_path, "train.jsonl", json.dumps({"question": "long " * 999, "answer": "yes"}))
    choice = SourceChoice(name="folder", data_dir=str(tmp_path), where={"question": "short"})
    (filtered,) = sources.open_source(choice).records("train")
    assert isinstance(filtered, Verdict) and filtered.reason == "filtered" and len(filtered.evidence) < 300


# -- what a source says of its folder -----------------------------------------------------------------------------------------


def opened(folder: Path, name: str = "medqa") -> sources.Opened:
    return sources.open_source(SourceChoice(name=name, data_dir=str(folder)))


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no folder at .*nowhere: give the folder that holds"):
        opened(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SourceError, match="is a file: --data-dir wants the folder"):
        opened(tmp_path / "file")


def test_a_folder_with_other_files_says_what_was_looked_for_and_found(tmp_path: Path) -> None:
    put(tmp_path, "readme.txt", "x")
    with pytest.raises(SourceError, match=r"looked for phrases_no_exclude_train\.jsonl .* found readme\.txt"):
        opened(tmp_path)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_an_empty_source_is_an_error(tmp_path: Path, content: str) -> None:
    put(tmp_path, "phrases_no_exclude_train.jsonl", content)
    with pytest.raises(SourceError, match="no rows in split train .* the files are empty"):
        list(opened(tmp_path).records("train"))


def test_images_in_an_archive_and_in_a_folder_read_the_same(tmp_path: Path) -> None:
    rows_ = [
        {
            "img_name": f"xmlab{n}/source.jpg",
            "question": "Is it?",
            "answer": "Yes",
            "q_lang": "en",
            "answer_type": "CLOSED",
            "qid": n,
        }
        for n in range(3)
    ]
    for form in ("zip", "folder"):
        home = tmp_path / form
        put(home, "train.json", json.dumps(rows_))
        pictures = {f"imgs/xmlab{n}/source.jpg": bytes([n]) * 9 for n in range(2)}
        if form == "zip":
            with zipfile.ZipFile(home / "imgs.zip", "w") as made:
                for name, data in pictures.items():
                    made.writestr(name, data)
        else:
            for name, data in pictures.items():
                put(home, name, data)
        source = opened(home, "slake")
        items = list(source.records("train"))
        records = [item for item in items if isinstance(item, Record)]
        assert [item.reason for item in items if not isinstance(item, Record)] == ["missing-image"]
        references = [image for record in records for image in record.images]
        assert references[0] == ("imgs.zip!imgs/xmlab0/source.jpg" if form == "zip" else "imgs/xmlab0/source.jpg")
        assert [data for _, data in source.read_images([*references, references[0]])] == list(pictures.values())


def test_without_any_images_the_rows_are_read_and_a_warning_says_so(tmp_path: Path) -> None:
    row = {
        "img_name": "x.jpg",
        "question": "Is it?",
        "answer": "Yes",
        "q_lang": "en",
        "answer_type": "CLOSED",
        "qid": 1,
    }
    put(tmp_path, "train.json", json.dumps([row]))
    source = opened(tmp_path, "slake")
    assert source.warnings == [f"slake: no images in {tmp_path}: neither imgs/ nor imgs.zip is there."]
    (record,) = source.records("train")
    assert isinstance(record, Record)
    ((_, problem),) = source.read_images(record.images)
    assert isinstance(problem, FileNotFoundError)


def test_a_source_whose_questions_are_inside_the_archive_too(tmp_path: Path) -> None:
    row = {"question_id": "CT_0", "question": "Which?", "gt_answer": "CT", "image_path": "Images/CT/0 (6).png",
           "modality": "CT(Computed Tomography)", "option_A": "MRI", "option_B": "CT"}  # fmt: skip
    with zipfile.ZipFile(tmp_path / "OmniMedVQA.zip", "w") as made:
        made.writestr("OmniMedVQA/QA_information/Open-access/CT.json", json.dumps([row]))
        made.writestr("OmniMedVQA/QA_information/Restricted-access/X.json", json.dumps([row, row]))
        made.writestr("OmniMedVQA/Images/CT/0 (6).png", b"picture")
    source = opened(tmp_path, "omnimedvqa")
    (record,) = source.records("open_access")
    assert isinstance(record, Record)
    assert (record.answer_label, record.imaging_modality) == ("B", "CT")
    assert dict(source.read_images(record.images)) == {"OmniMedVQA.zip!OmniMedVQA/Images/CT/0 (6).png": b"picture"}


@pytest.mark.parametrize(
    ("split", "home", "text", "folder", "line"),
    [
        ("train", "ImageClef-2019-VQA-Med-Training", "All_QA_Pairs_train.txt", "Train_images", "synpic1|is this a ct or an mri?|ct"),
        ("test", "VQAMed2019Test", "VQAMed2019_Test_Questions_w_Ref_Answers.txt", "VQAMed2019_Test_Images",
         "synpic1|modality|is this a ct or an mri?|ct"),
    ],
)  # fmt: skip
def test_vqa_med_is_read_in_its_zips(tmp_path: Path, split: str, home: str, text: str, folder: str, line: str) -> None:
    with zipfile.ZipFile(tmp_path / f"{home}.zip", "w") as made:
        made.writestr(f"{home}/{text}", line + "\n")
        made.writestr(f"{home}/{folder}/synpic1.jpg", b"picture")
    source = opened(tmp_path, "vqa-med-2019")
    (record,) = source.records(split)
    assert isinstance(record, Record)
    assert (record.options, record.answer) == (["Ct", "Mri"], "Ct")
    assert [data for _, data in source.read_images(record.images)] == [b"picture"]


# -- responses to grade -------------------------------------------------------------------------------------------------------


def test_a_response_that_was_cut_inside_of_a_character_is_graded_and_can_be_printed(tmp_path: Path) -> None:
    line = {"response": "The answer is B.\ud83d", "options": ["a\udc00", "\U0001f600"], "answer_label": "B", "n": 0}
    put(tmp_path, "r.jsonl", json.dumps(line).replace(": 0}", f": {'7' * 5000}}}"))
    (row,) = grade_file(tmp_path / "r.jsonl")
    assert row["correct"] and json.dumps(row, ensure_ascii=False).encode()
    assert (row["response"], row["options"], row["n"]) == (
        "The answer is B.\ufffd",
        ["a\ufffd", "\U0001f600"],
        "7" * 5000,
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"answer_label": "1" * 5000}, "answer_label is '1111"),
        ({"answer_label": "[" * 90_000}, "not JSON"),
        ({"options": json.dumps("[" * 90_000)}, "'options' is text, not a list"),
    ],
)
def test_a_line_that_cannot_be_graded_is_one_short_line(tmp_path: Path, changes: dict[str, str], says: str) -> None:
    cells = {"response": '"B"', "options": '["a", "b"]', "answer_label": '"B"', **changes}
    put(tmp_path, "r.jsonl", "{" + ", ".join(f'"{name}": {cell}' for name, cell in cells.items()) + "}")
    with pytest.raises(UsageError) as told:
        list(grade_file(tmp_path / "r.jsonl"))
    assert f"r.jsonl:1: {says}" in str(told.value)
    assert "\n" not in str(told.value) and len(str(told.value)) < len(str(tmp_path)) + 200
