"""The frame around the sources: names, facts, plug-ins, splits, ids, cost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import curator.sources
from curator import sources
from curator.builds import Runtime
from curator.errors import SourceError, UsageError
from curator.licenses import LICENSES, may_share
from curator.recipe import BENCHMARKS, SourceChoice, load_recipe, recipe_dir
from curator.records import Record, Verdict
from curator.sources import columns
from curator.sources.files import LocalTree
from curator.workspace import Workspace
from source_rows import MISSING, SHAPES, changed, write

ISSUE = [
    "pmc-vqa",
    "slake",
    "vqa-rad",
    "path-vqa",
    "mmmu-medical",
    "medxpertqa-mm",
    "omnimedvqa",
    "kvasir-vqa",
    "vqa-med-2019",
    "folder",
    "medqa",
    "medmcqa",
    "head-qa",
    "pubmedqa",
    "mmlu-medical",
    "mmlu-pro-health",
    "medxpertqa-text",
    "m23k",
    "phantom",
]
MEDQA = next(shape for shape in SHAPES if shape.source == "medqa")


def test_every_source_that_was_asked_for_is_there() -> None:
    assert set(sources.names()) >= set(ISSUE)
    assert set(BENCHMARKS) <= set(sources.names())
    assert [source.name for source in sources.all_sources()] == sources.names()


def test_an_unknown_source_names_the_nearest() -> None:
    with pytest.raises(
        UsageError, match="no source named 'pmcvqa'; did you mean 'pmc-vqa'\\? `curator sources` lists all"
    ):
        sources.get("pmcvqa")
    with pytest.raises(UsageError, match="names no data set of the Hub: write hub:ORG/NAME"):
        sources.get("hub:squad")


@pytest.mark.parametrize("name", ISSUE)
def test_the_facts_of_a_source(name: str) -> None:
    source = sources.get(name)
    assert source.name == name
    assert source.license in LICENSES, "a licence that curator.licenses does not know is never published"
    assert source.modality in ("text", "image+text")
    assert source.title
    assert source.repo or source.homepage
    if source.redistributable:
        assert LICENSES[source.license].redistributable
    for layout in source.layouts:
        assert layout.map is not None
        assert set(layout.files) <= set(source.rows) | {"validation", "dev", "test"}


@pytest.mark.parametrize("name", [name for name in ISSUE if name not in ("phantom", "folder")])
def test_a_source_is_one_short_file_that_shows_a_row(name: str) -> None:
    module = sys.modules[f"curator.sources.{name.replace('-', '_')}"] if sources.get(name) else ModuleType("")
    text = Path(str(module.__file__)).read_text("utf-8")
    assert len(text.splitlines()) < 130
    assert "{" in (module.__doc__ or "") or "|" in (module.__doc__ or "") or "=" in (module.__doc__ or "")
    assert "arXiv" in text or "doi" in text or "CEUR" in text


def test_what_may_not_be_redistributed_is_marked() -> None:
    assert {s.name for s in sources.all_sources() if s.redistributable is False} == {"path-vqa", "omnimedvqa"}
    assert {s.name for s in sources.all_sources() if s.redistributable is None} == {"pmc-vqa", "folder", "m23k"}


def test_the_table_lists_them_all_and_the_hub() -> None:
    rows = {row["name"]: row for row in sources.table()}
    assert set(rows) == {*sources.names(), "hub:ORG/NAME"}
    assert rows["pmc-vqa"]["download"] == "18.9 GB"
    assert rows["path-vqa"]["redistribute"] == "no"
    assert "test 451" in rows["vqa-rad"]["rows"]


def test_listing_the_sources_loads_nothing_heavy() -> None:
    code = (
        "import sys, curator.sources as s; s.table();"
        "print([m for m in ('torch','datasets','polars','huggingface_hub') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.replace("'", '"')) == []


# -- a source from another package --------------------------------------------------------------------------------------------


def test_another_package_adds_a_source_by_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "their_sets.py").write_text(
        "from curator.sources import Raw, Record, Source\n"
        "THEIRS = Source(name='their-set', title='theirs', license='mit', redistributable=True, homepage='here',\n"
        "                files={'train': 'train.jsonl'}, columns=('q', 'a'))\n"
        "@THEIRS.row\n"
        "def record(raw: Raw) -> Record:\n"
        "    return Record(question=raw.text('q'), options=['Yes', 'No'], answer=raw.text('a'))\n"
        "NOT_ONE = 7\n",
        "utf-8",
    )
    info = tmp_path / "their_sets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-sets\nVersion: 1.0\n", "utf-8")
    (info / "entry_points.txt").write_text(
        "[curator.sources]\ntheir-set = their_sets:THEIRS\nnot-one = their_sets:NOT_ONE\ngone = no_such_module:X\n",
        "utf-8",
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert "their-set" in sources.names()
    data = tmp_path / "data"
    data.mkdir()
    (data / "train.jsonl").write_text('{"q": "Is it?", "a": "yes"}\n{"q": "", "a": "yes"}\n', "utf-8")
    opened = sources.open_source(SourceChoice(name="their-set", data_dir=str(data)))
    record, verdict = opened.records("train")
    assert isinstance(record, Record)
    assert record.answer == "Yes"
    assert isinstance(verdict, Verdict)
    assert verdict.reason == "empty-question"
    with pytest.raises(SourceError, match="the entry point 'not-one' .* is a int, not a curator.sources.Source"):
        sources.get("not-one")
    with pytest.raises(SourceError, match="the installed source 'gone' .* cannot be loaded"):
        sources.get("gone")


# -- splits, options, ids, cost -----------------------------------------------------------------------------------------------


def medqa(folder: Path, count: int = 3, **choice: object) -> sources.Opened:
    rows = [changed(MEDQA.good, {"question": f"Which {n}?"}) for n in range(count)]
    write(folder, MEDQA, rows)
    (folder / "phrases_no_exclude_test.jsonl").write_text(json.dumps(MEDQA.good) + "\n", "utf-8")
    return sources.open_source(SourceChoice.model_validate({"name": "medqa", "data_dir": str(folder), **choice}))


def test_the_training_split_is_built_and_the_others_are_held_out(tmp_path: Path) -> None:
    opened = medqa(tmp_path)
    assert (opened.splits, opened.build_splits(), opened.held_out()) == (["train", "test"], ["train"], ["test"])
    asked = medqa(tmp_path, splits=["test"])
    assert (asked.build_splits(), asked.held_out()) == (["test"], [])
    with pytest.raises(UsageError, match="no split named 'tets'; did you mean 'test'\\? medqa has train, test"):
        medqa(tmp_path, splits=["tets"]).build_splits()


def test_a_benchmark_wants_its_split_named(tmp_path: Path) -> None:
    shape = next(shape for shape in SHAPES if shape.source == "medxpertqa-text")
    write(tmp_path, shape, [shape.good])
    opened = sources.open_source(SourceChoice(name="medxpertqa-text", data_dir=str(tmp_path)))
    with pytest.raises(UsageError, match="medxpertqa-text has no training split here; give --split, one of test"):
        opened.build_splits()


def test_the_limit_counts_raw_rows_from_the_top(tmp_path: Path) -> None:
    opened = medqa(tmp_path, 9, limit=4)
    assert [i.question for i in opened.records("train") if isinstance(i, Record)] == [f"Which {n}?" for n in range(4)]
    assert opened.estimate().rows == 4


@pytest.mark.parametrize(
    ("options", "says"),
    [({"sheffle": "42"}, "no option of medmcqa named 'sheffle'; did you mean 'shuffle'"),
     ({"shuffle": "often"}, "option shuffle is 'often'; give a whole number")],
)  # fmt: skip
def test_a_wrong_option_is_named(tmp_path: Path, options: dict[str, str], says: str) -> None:
    shape = next(shape for shape in SHAPES if shape.source == "medmcqa")
    write(tmp_path, shape, [shape.good])
    with pytest.raises(UsageError, match=says):
        list(
            sources.open_source(SourceChoice(name="medmcqa", data_dir=str(tmp_path), options=options)).records("train")
        )


def test_ids_are_content_where_there_is_none_and_repeats_are_numbered(tmp_path: Path) -> None:
    write(tmp_path, MEDQA, [MEDQA.good, MEDQA.good, changed(MEDQA.good, {"question": "Other?"})])
    opened = sources.open_source(SourceChoice(name="medqa", data_dir=str(tmp_path)))
    first, second, third = (item.id for item in opened.records("train"))
    assert second == f"{first}-2"
    assert third not in (first, second)
    write(tmp_path, MEDQA, [changed(MEDQA.good, {"question": "Other?"}), MEDQA.good])
    assert {item.id for item in opened.records("train")} == {third, first}


def test_identity_changes_with_the_files_only(tmp_path: Path) -> None:
    before = medqa(tmp_path).identity("train")
    assert sources.open_source(SourceChoice(name="medqa", data_dir=str(tmp_path))).identity("train") == before
    (tmp_path / "notes.txt").write_text("x", "utf-8")
    assert sources.open_source(SourceChoice(name="medqa", data_dir=str(tmp_path))).identity("train") == before
    assert medqa(tmp_path, 4).identity("train") != before


@pytest.mark.parametrize("name", ["folder", "pmc-vqa"])
def test_identity_changes_with_a_picture_that_is_mended_or_added(name: str, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"cut off")
    for split in ("train", "test"):
        (tmp_path / f"{split}.csv").write_text("question,image,answer\nWhich?,images/a.png,yes\n")

    def identity() -> str:
        return sources.open_source(SourceChoice(name=name, data_dir=str(tmp_path))).identity("train")

    found = [identity()]
    (tmp_path / "test.csv").write_text("question,image,answer\nAnother split's?,images/a.png,yes\n")
    assert identity() == found[0]
    (tmp_path / "images" / "a.png").write_bytes(b"the whole picture")
    found.append(identity())
    (tmp_path / "images" / "b.png").write_bytes(b"one more")
    found.append(identity())
    assert len(set(found)) == 3 and identity() == found[2]


def test_a_wrong_where_column_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column named 'langauge'; did you mean 'language'"):
        list(medqa(tmp_path, where={"langauge": "en"}).records("train"))


# -- a user's folder ------------------------------------------------------------------------------------------------------------


def folder(tmp_path: Path, name: str, content: str, **choice: object) -> list[Record | Verdict]:
    (tmp_path / name).write_text(content, "utf-8")
    opened = sources.open_source(SourceChoice.model_validate({"name": "folder", "data_dir": str(tmp_path), **choice}))
    return list(opened.records(opened.splits[0]))


@pytest.mark.parametrize(
    ("name", "content", "columns", "expected"),
    [
        ("mine.csv", "question,A,B,C,answer\nWhich?,heart,lung,,B\n", {}, (["heart", "lung"], "lung")),
        ("mine.csv", "Stem;x\n", {}, None),
        ("mine.csv", 'Stem,Choices,Key\nWhich?,"[""heart"", ""lung""]",lung\n',
         {"question": "Stem", "options": "Choices", "answer": "Key"}, (["heart", "lung"], "lung")),
        ("mine.csv", "Stem,o1,o2,Key\nWhich?,heart,lung,b)\n", {"question": "Stem", "options": ["o1", "o2"], "answer": "Key"},
         (["heart", "lung"], "lung")),
        ("mine.csv", "question,options,answer\nWhich?,heart | lung,lung\n", {}, (["heart", "lung"], "lung")),
        ("mine.csv", "question,A,B,label\nWhich?,heart,lung,0\n", {}, (["heart", "lung"], "heart")),
        ("mine.csv", "question,A,B,C,answer\nHow many?,2,1,0,1\n", {}, (["2", "1", "0"], "1")),
        ("test.jsonl", '{"question": "Which?", "options": {"A": "heart", "B": "lung"}, "answer_idx": "A"}\n', {},
         (["heart", "lung"], "heart")),
        ("test.jsonl", '{"question": "Is it?", "answer": "no"}\n', {}, (["Yes", "No"], "No")),
        ("test.jsonl", '{"question": "What is it?", "answer": 12}\n', {}, ([], "12")),
    ],
)  # fmt: skip
def test_columns_of_a_folder(
    tmp_path: Path, name: str, content: str, columns: dict[str, object], expected: tuple[list[str], str] | None
) -> None:
    if expected is None:
        with pytest.raises(SourceError, match="no rows"):
            folder(tmp_path, name, content)
        return
    (record,) = folder(tmp_path, name, content, columns=columns)
    assert isinstance(record, Record), record
    assert (record.options, record.answer) == expected
    assert record.source_split == ("test" if name.startswith("test") else "train")


@pytest.mark.parametrize(
    ("row", "reason"),
    [("Which?,heart,lung,3", "unknown-label"), ("How many?,1,2,1", "answer-not-among-options")],
    ids=["no such option", "the number may be an option's place or its text"],
)
def test_a_number_that_names_no_option_or_perhaps_two_is_no_key(tmp_path: Path, row: str, reason: str) -> None:
    (verdict,) = folder(tmp_path, "mine.csv", f"question,A,B,label\n{row}\n")
    assert isinstance(verdict, Verdict) and verdict.reason == reason


NUMBERED: dict[str, tuple[list[Any], list[str | None]]] = {
    "a 0 is of 0 to 2": ([1, 2, 0], ["b", "c", "a"]),
    "the last of three is of 1 to 3": ([1, 2, 3], ["a", "b", "c"]),
    "numbers as text": (["1", " 3"], ["a", "c"]),
    "0 to 3 are too many, and of 0 to 2": ([0, 3, 1], ["a", None, "b"]),
    "what is beyond either way proves nothing": ([-1, 3, 4, 1], [None, "c", None, "a"]),
    "letters and texts need no proof": (["B", "c", 3], ["b", "c", "c"]),
    "a hidden key needs none either": ([-1, -1], [None, None]),
}


@pytest.mark.parametrize("case", NUMBERED)
@pytest.mark.parametrize("column", ["answer", "answer_idx"])
def test_a_file_proves_what_its_keys_count_from(tmp_path: Path, case: str, column: str) -> None:
    keys, answers = NUMBERED[case]
    if column == "answer_idx":  # a text is no key there
        keys = ["C" if key == "c" else key for key in keys]
    rows = [{"question": f"Which {n}?", "options": ["a", "b", "c"], column: key} for n, key in enumerate(keys)]
    found = folder(tmp_path, "train.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert [item.answer if isinstance(item, Record) else None for item in found] == answers


def test_each_file_counts_as_it_proves_itself(tmp_path: Path) -> None:
    for name, keys in {"train-0.csv": "012", "train-1.csv": "312", "test.csv": "11"}.items():
        lines = "".join(f"{name} {n}?,a,b,c,{key}\n" for n, key in enumerate(keys))
        (tmp_path / name).write_text(f"question,A,B,C,label\n{lines}")
    opened = mine(tmp_path)
    assert [i.answer for i in opened.records("train") if isinstance(i, Record)] == ["a", "b", "c", "c", "a", "b"]
    with pytest.raises(
        SourceError, match=r"test\.csv has numbers as keys, none of them 0 .*`options: {keys: one-based}`"
    ):
        list(opened.records("test"))
    for said, answer in (("zero-based", "b"), ("one-based", "a")):
        told = mine(tmp_path, options={"keys": said})
        assert [i.answer for i in told.records("test") if isinstance(i, Record)] == [answer] * 2
    with pytest.raises(UsageError, match="option keys is '1'; give one of zero-based, one-based"):
        mine(tmp_path, options={"keys": "1"})


@pytest.mark.parametrize("first", [0, 1])
def test_an_answers_text_proves_what_its_number_counts_from(tmp_path: Path, first: int) -> None:
    """Beside texts the number of a middle option is enough; what the texts prove holds for a row without one."""
    lines = f"One?,a,b,c,d,b,{1 + first}\nTwo?,a,b,c,d,,{1 + first}\n"
    found = folder(tmp_path, "train.csv", f"question,A,B,C,D,answer,answer_idx\n{lines}")
    assert [(i.answer, i.answer_label) for i in found if isinstance(i, Record)] == [("b", "B")] * 2


def test_a_mapped_column_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no column 'Stem'; it has 'question', 'answer'"):
        folder(tmp_path, "mine.csv", "question,answer\nIs it?,yes\n", columns={"question": "Stem"})
    with pytest.raises(UsageError, match="no record column named 'questoin'; did you mean 'question'"):
        folder(tmp_path, "mine.csv", "question,answer\nIs it?,yes\n", columns={"questoin": "Stem"})
    with pytest.raises(UsageError, match="folder reads your own files: give their folder with --data-dir"):
        sources.open_source(SourceChoice(name="folder"))


def test_a_folders_licence_is_the_users_word(tmp_path: Path) -> None:
    (record,) = folder(tmp_path, "mine.csv", "question,answer\nIs it?,yes\n", options={"license": "cc-by-4.0"})
    assert isinstance(record, Record)
    assert record.license == "cc-by-4.0"
    assert sources.get("folder").license == "unknown", "one folder's licence is not another's"


# -- PMC-VQA's licences -----------------------------------------------------------------------------------------------------------


def test_a_figures_licence_is_its_articles(tmp_path: Path) -> None:
    shape = next(shape for shape in SHAPES if shape.file == "train.csv")
    rows = [changed(shape.good, {"Figure_path": f"PMC{n}_F1.jpg"}) for n in (13900, 13901, 999, 17774)]
    write(tmp_path, shape, rows)
    for row in rows:
        (tmp_path / "images" / row["Figure_path"]).write_bytes(b"x")
    (tmp_path / "oa_comm_use_file_list.csv").write_text(
        "File,Article Citation,Accession ID,Last Updated (YYYY-MM-DD HH:MM:SS),PMID,License\n"
        "oa_package/b0/ac/PMC13901.tar.gz,Breast Cancer Res. 2001,PMC13901,2019-11-05 11:56:12,11250747,CC0\n"
        'oa_package/08/e0/PMC13900.tar.gz,"Breast Cancer Res, 2001",PMC13900,2019-11-05 11:56:12,11250746,CC BY\n'
        "oa_package/f6/73/PMC17774.tar.gz,Genome Biol. 2000,PMC17774,2019-11-05 11:56:12,,NO-CC CODE\n",
        "utf-8",
    )
    opened = sources.open_source(SourceChoice(name="pmc-vqa", data_dir=str(tmp_path)))
    found = [item.license for item in opened.records("train") if isinstance(item, Record)]
    assert found == ["cc-by", "cc0-1.0", "unknown", "no-cc-code"]
    assert [may_share(license) for license in found] == [True, True, False, False]
    none = sources.open_source(SourceChoice(name="pmc-vqa", data_dir=str(tmp_path), options={"licenses": "none"}))
    assert {item.license for item in none.records("train") if isinstance(item, Record)} == {"unknown"}


@pytest.mark.parametrize(
    "origin, license",
    [
        ("openlifescienceai/medmcqa", "mit"),
        ("GBaker/MedQA-USMLE-4-options", "mit"),
        ("openlifescienceai/headqa", "mit"),
        ("dvilares/head_qa", "mit"),
        ("qiaojin/PubMedQA", "mit"),
        ("somebody/secret-exams", "unknown"),
        ("", "mit"),
    ],
)
def test_a_row_of_m23k_names_the_set_it_is_from_and_has_its_licence(tmp_path: Path, origin: str, license: str) -> None:
    shape = next(shape for shape in SHAPES if shape.source == "m23k")
    write(tmp_path, shape, [changed(shape.good, {"source": origin or MISSING})])
    (record,) = sources.open_source(SourceChoice(name="m23k", data_dir=str(tmp_path))).records("train")
    assert isinstance(record, Record) and record.source == "m23k"
    assert (record.source_id.rpartition("/")[0], record.license) == (origin, license)
    assert record.id == f"m23k:train:{record.source_id}"
    assert may_share(record.license, sources.get("m23k").redistributable) is (license == "mit")


# -- recipes ------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", sorted(recipe_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_a_bundled_recipe_names_sources_splits_and_options_that_exist(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.description
    for choice in recipe.sources:
        source = sources.get(choice.name)
        if source.opener is None:
            assert set(choice.splits or ()) <= set(source.rows), choice
        assert set(choice.options) <= set(source.options)
        assert set(choice.where) <= set(Record.__dataclass_fields__)
    assert set(recipe.expect) <= {choice.name for choice in recipe.sources}


def test_the_evaluation_recipe_is_the_seeds_8220_questions() -> None:
    recipe = load_recipe("medvlthinker-eval")
    assert recipe.expect == {
        "pmc-vqa": 2000, "mmmu-medical": 170, "medxpertqa-mm": 2000, "path-vqa": 3362, "slake": 416, "vqa-rad": 272
    }  # fmt: skip
    assert sum(recipe.expect.values()) == 8220
    assert recipe.evaluation
    assert [choice.name for choice in recipe.sources] == list(BENCHMARKS)


def test_the_api_call_works_before_and_after_the_package_is_imported() -> None:
    code = "import curator; a = len(curator.sources()); import curator.sources; print(a, len(curator.sources()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(sources.names()))] * 2


def test_the_public_names_of_the_package() -> None:
    assert all(hasattr(curator.sources, name) for name in curator.sources.__all__)


def test_the_page_about_sources_says_what_the_sources_say() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "sources.md").read_text("utf-8")
    for row in sources.table():
        line = f"| `{row['name']}` | {row['what']} | {row['rows']} | {row['license']} | {row['redistribute']} | {row['from']} |"
        assert line in page


def test_the_example_of_the_page_is_a_source(tmp_path: Path) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "sources.md").read_text("utf-8")
    names: dict[str, object] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], names)
    made = names["MY_SET"]
    assert isinstance(made, sources.Source)
    (tmp_path / "train.jsonl").write_text(
        '{"qid": 7, "stem": "Which? ", "choices": ["a", "b"], "key": "B"}\n{"qid": 8}\n', "utf-8"
    )
    opened = sources.Opened(made, SourceChoice(name="my-set"), LocalTree(tmp_path))
    record, verdict = opened.records("train")
    assert (record.id, record.notes) == ("my-set:train:7", ["trimmed-blanks"])  # type: ignore[union-attr]
    assert (verdict.id, verdict.reason) == ("my-set:train:8", "missing-field")  # type: ignore[union-attr]


def test_the_mix_of_local_copies_on_the_page_is_read_from_each_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "sources.md").read_text("utf-8")
    recipe = page.partition("### A mix of local copies")[2].partition("```yaml\n")[2].partition("```")[0]
    monkeypatch.chdir(tmp_path)
    Path("my-mix.yaml").write_text(recipe, "utf-8")
    for shape in (MEDQA, next(shape for shape in SHAPES if shape.source == "medmcqa")):
        write(tmp_path / "data" / shape.source, shape, [shape.good])
    (tmp_path / "data" / "mine").mkdir()
    (tmp_path / "data" / "mine" / "train.jsonl").write_text('{"question": "Is it?", "answer": "yes"}\n')
    built = curator.build("my-mix.yaml", Runtime(until="ingest"))
    kept = Workspace(built.path).read_stage("ingest").filter("keep")
    assert sorted(kept["source"]) == ["folder", "medmcqa", "medqa"]
    assert "cc-by-4.0" in kept["license"].to_list()


def test_the_page_says_which_files_a_local_copy_has_and_which_columns_a_folder() -> None:
    page = (Path(__file__).resolve().parent.parent / "docs" / "sources.md").read_text("utf-8")
    for source in sources.all_sources():
        assert f"| `{source.name}` | {'<br>'.join(sources.expected_files(source)) or 'see below'} |" in page
    for what, names in columns.USUAL.items():
        assert f"| {what} | {', '.join(f'`{name}`' for name in names)} |" in page


@pytest.mark.parametrize("name", [*sources.names(), "hub:ORG/NAME"])
def test_a_source_tells_of_itself(name: str) -> None:
    told = sources.explain(name)
    assert told.startswith(f"name             {name}\n") and "\n\n" in told
    assert told.rstrip().endswith(("}", "]", '"', "'", "says another.", "ct angiography")), told[-80:]


def mine(path: Path, **options: object) -> sources.Opened:
    return sources.open_source(SourceChoice(name="folder", data_dir=str(path), **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "content, says",
    [
        ("q,a\nWhich?,A\n", "train.csv has no column for the question: it has 'q', 'a', expected one of question, "),
        (
            "question,note\nWhich?,A\n",
            "train.csv has no column for the answer: it has 'question', 'note', expected one of",
        ),
    ],
)
def test_a_file_without_a_question_or_an_answer_is_one_line(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "train.csv").write_text(content)
    with pytest.raises(SourceError) as told:
        list(mine(tmp_path).records("train"))
    assert says in str(told.value) and "columns: {" in str(told.value) and "\n" not in str(told.value)


def test_a_column_that_the_recipe_names_need_not_be_a_usual_one(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("q,A,B,k\nWhich?,one,two,B\n")
    mapped = {"question": "q", "answer_label": "k", "options": ["A", "B"]}
    (record,) = mine(tmp_path, columns=mapped).records("train")
    assert isinstance(record, Record) and (record.question, record.answer) == ("Which?", "two")
    with pytest.raises(SourceError, match="no column 'Q'; it has .*check `columns` in the recipe"):
        list(mine(tmp_path, columns={**mapped, "question": "Q"}).records("train"))


@pytest.mark.parametrize(
    "name, content, place",
    [
        ("train.csv", 'question,answer\n"two\nlines",yes\nWhich?,\n', {"line": 4}),
        ("train.tsv", "question\tanswer\nWhich?\t\n", {"line": 2}),
        ("train.jsonl", '{"question": "a", "answer": "yes"}\n\n{"question": "b", "answer": ""}\n', {"line": 3}),
        ("train.json", '[{"question": "a", "answer": "yes"}, {"question": "b", "answer": ""}]', {"row": 2}),
    ],
)
def test_a_dropped_row_says_where_it_stands(tmp_path: Path, name: str, content: str, place: dict[str, int]) -> None:
    (tmp_path / name).write_text(content)
    (bad,) = [item for item in mine(tmp_path).records("train") if isinstance(item, Verdict)]
    assert json.loads(bad.evidence) == {"file": name, **place} and bad.reason == "no-answer"


def test_a_limit_is_about_what_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for split in ("train", "test"):
        rows = "".join(f'{{"question": "{split} {i}?", "answer": "yes"}}\n' for i in range(50))
        (tmp_path / f"{split}.jsonl").write_text(rows)
    opened = mine(tmp_path, limit=5)
    assert [len(list(opened.records(split))) for split in ("train", "test")] == [5, 50]
    assert (opened.limit_of("train"), opened.limit_of("test")) == (5, None)
    monkeypatch.setattr("curator.sources.opened.CHEAP_BYTES", 100)
    assert opened.limit_of("test") == 5 and len(list(opened.records("test"))) == 5
    assert len(list(mine(tmp_path, limit=5, splits=["test"]).records("test"))) == 5
