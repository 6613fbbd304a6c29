from __future__ import annotations

from pathlib import Path

import pytest

from curator.errors import UsageError
from curator.recipe import compose, load_recipe, make_recipe, recipe_dir

BAD = {
    "an unknown key": ({"name": "x", "sources": ["a"], "sed": 1}, "no recipe key named 'sed'; did you mean 'seed'"),
    "an unknown key inside": ({"name": "x", "sources": ["a"], "score": {"sampels": 3}}, "did you mean 'samples'"),
    "an unknown key of a source": ({"name": "x", "sources": [{"name": "a", "limt": 3}]}, "did you mean 'limit'"),
    "no sources": ({"name": "x", "sources": []}, "sources"),
    "a source twice": (
        {"name": "x", "sources": [{"name": "folder", "data_dir": "a"}, {"name": "folder", "data_dir": "b"}]},
        "sources: 'folder' is named twice: list its `splits` in one choice, put files into one folder, or make two builds",
    ),
    "no name": ({"sources": ["a"]}, "name"),
    "a name that is a path": ({"name": "../x", "sources": ["a"]}, "letters, digits"),
    "an empty band": ({"name": "x", "sources": ["a"], "select": {"band": [5, 2]}}, "5 to 2 is empty"),
    "a band below nothing": (
        {"name": "x", "sources": ["a"], "select": {"band": [-3, -1]}},
        "-3 to -1 is empty; write it low-high, from 0",
    ),
    "a difficulty that so few samples do not have": (
        {"name": "x", "sources": ["a"], "select": {"difficulty": ["medium"]}, "score": {"samples": 2}},
        "score.samples 2 tells hard and easy apart, and select.difficulty wants medium: draw 3 samples or more",
    ),
    "rows of another source": (
        {"name": "x", "sources": ["phantom"], "expect": {"phantm": 3}},
        "no source named 'phantm'; did you mean 'phantom'? `expect` counts rows of the recipe's own sources.",
    ),
    "fewer rows than none": ({"name": "x", "sources": ["a"], "expect": {"a": -3}}, "expect.a is -3: give at least 0"),
    "a benchmark that there is not": (
        {"name": "x", "sources": ["a"], "decontaminate": {"benchmarks": ["vqarad"]}},
        "no benchmark named 'vqarad'; did you mean 'vqa-rad'?",
    ),
    "sides that no picture has": (
        {"name": "x", "sources": ["a"], "images": {"min_side": 900, "max_side": 100}},
        "images: min_side 900 is over max_side 100",
    ),
    "pixels that no picture has": (
        {"name": "x", "sources": ["a"], "score": {"cascade": [{"min_pixels": 4000, "max_pixels": 3000}]}},
        "score.cascade.0: min_pixels 4000 is over max_pixels 3000",
    ),
    "a column that no record has": (
        {"name": "x", "sources": [{"name": "a", "where": {"lang": "en"}}]},
        "no column named 'lang'; did you mean 'language'?",
    ),
    "a budget below nothing": (
        {"name": "x", "sources": ["a"], "distill": {"token_budget": -5}},
        "distill.token_budget is -5: give at least 1",
    ),
    "a length that no trace has": (
        {"name": "x", "sources": ["a"], "distill": {"min_tokens": 99, "max_trace_tokens": 50}},
        "distill: min_tokens 99 is over max_trace_tokens 50",
    ),
    "a band beyond the samples": (
        {"name": "x", "sources": ["a"], "select": {"band": [1, 99]}},
        "beyond the 16 samples",
    ),
    "a band without samples": (
        {"name": "x", "sources": ["a"], "select": {"band": [2, 9]}, "score": {"samples": 0}},
        "a band of difficulty wants scores",
    ),
    "a difficulty without samples": (
        {"name": "x", "sources": ["a"], "select": {"difficulty": ["hard"]}, "score": {"samples": 0}},
        "a band of difficulty wants scores",
    ),
    "the image's use without blind samples": (
        {"name": "x", "sources": ["a"], "select": {"needs_image": True}},
        "the recipe: select.needs_image wants samples without the images too: set score.blind to true",
    ),
    "rates of counts that stop early": (
        {"name": "x", "sources": ["a"], "select": {"needs_image": True}, "score": {"stop": "exact", "blind": True}},
        "needs_image wants all samples of every question, stop exact draws fewer: take --stop full",
    ),
    "a band learnt from counts that stop early": (
        {"name": "x", "sources": ["a"], "select": {"band": "auto"}, "score": {"stop": "declared"}},
        "band auto wants all samples of every question, stop declared draws fewer: take --stop full",
    ),
    "an order by counts that stop early": (
        {"name": "x", "sources": ["a"], "split": {"order": "easy-to-hard"}, "score": {"stop": "exact"}},
        "order easy-to-hard wants all samples of every question, stop exact draws fewer: take --stop full",
    ),
    "the seed's order of counts that stop early": (
        {"name": "x", "sources": ["a"], "parity": True, "score": {"stop": "declared"}},
        "order easy-to-hard wants all samples of every question, stop declared draws fewer: take --stop full",
    ),
    "an order by counts that nobody takes": (
        {"name": "x", "sources": ["a"], "split": {"order": "easy-to-hard"}, "score": {"samples": 0}},
        "order easy-to-hard wants scores: set samples above 0",
    ),
    "shares that leave nothing": (
        {"name": "x", "sources": ["a"], "split": {"by": "group", "validation": 0.6, "test": 0.5}},
        "split: validation 0.6 and test 0.5 leave nothing to train on",
    ),
    "shares of the source's own splits": ({"name": "x", "sources": ["a"], "split": {"test": 0.1}}, "by: group"),
    "a share that is none": (
        {"name": "x", "sources": ["a"], "split": {"test": -1}},
        "split.test is -1: give at least 0",
    ),
    "a word for a part, with parity": (
        {"name": "x", "sources": ["a"], "parity": True, "score": "full"},
        "the recipe: score is 'full': give a mapping",
    ),
    "an unknown key of a second teacher": (
        {"name": "x", "sources": ["a"], "distill": {"teachers": [{"sampels": 3}]}},
        "no recipe key named 'sampels'; did you mean 'samples'",
    ),
    "a word for a number": ({"name": "x", "sources": ["a"], "seed": "many"}, "seed"),
}


@pytest.mark.parametrize("raw, says", BAD.values(), ids=BAD)
def test_a_wrong_recipe_is_one_line_that_names_the_key(raw: dict, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_recipe(raw)
    assert says in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("part", ["score", "distill"])
def test_a_password_in_a_server_s_address_is_refused_and_never_shown(part: str) -> None:
    raw = {"name": "x", "sources": ["a"], part: {"servers": ["http://me:secret@gpu1:8000/v1"]}}
    with pytest.raises(UsageError, match="what is before '@gpu1:8000/v1'.: set OPENAI_API_KEY") as caught:
        make_recipe(raw)
    assert "secret" not in str(caught.value)


def test_a_recipe_that_is_not_there_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="did you mean 'phantom'.*`curator recipes` lists all"):
        load_recipe("fantom")


@pytest.mark.parametrize("text", ["a: [", "just words", "- a list"])
def test_a_file_that_holds_no_recipe_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(UsageError) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value)


def test_a_file_of_another_encoding_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_bytes("name: ü".encode("utf-16"))
    with pytest.raises(UsageError, match="cannot read"):
        load_recipe(tmp_path / "r.yaml")


@pytest.mark.parametrize("path", sorted(recipe_dir().glob("*.yaml")), ids=lambda path: path.stem)
def test_every_bundled_recipe_is_valid_and_says_what_it_is(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.description


def test_options_are_laid_over_the_source_s_own_recipe() -> None:
    changes = {
        "sources": {"limit": 5, "data_dir": None},
        "select": {"difficulty": ["hard"]},
        "score": {"samples": None},
    }
    recipe = compose(None, ["phantom"], changes)
    assert recipe.sources[0].limit == 5
    assert recipe.select.difficulty == ["hard"]
    assert recipe.score == load_recipe("phantom").score


@pytest.mark.parametrize("recipe, band", [("phantom", (2, 14)), ("pmc-vqa-parity", None)])
def test_a_difficulty_is_refused_where_a_band_decides(recipe: str, band: tuple[int, int] | None) -> None:
    with pytest.raises(UsageError, match="takes the place of --difficulty: give --band alone"):
        compose(recipe, [], {"select": {"difficulty": ["easy"], "band": band}})


def test_no_samples_take_the_recipe_s_band_away() -> None:
    assert compose(None, ["vqa-rad"], {"score": {"samples": 0}}).select.difficulty == ["any"]


def test_a_benchmark_is_any_source_what_was_built_here_or_what_a_file_brings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATOR_HOME", str(tmp_path))
    (tmp_path / "fingerprints").mkdir()
    (tmp_path / "fingerprints" / "ours.parquet").touch()
    raw = {"name": "x", "sources": ["a"]}
    make_recipe({**raw, "decontaminate": {"benchmarks": ["medqa", "hub:org/set", "ours"]}})
    make_recipe({**raw, "decontaminate": {"benchmarks": ["theirs"], "fingerprints": ["theirs.parquet"]}})


def test_other_sources_take_the_recipe_s_expected_rows_away() -> None:
    assert compose("medvlthinker-eval", ["slake"], {}).expect == {}


def test_what_is_neither_recipe_nor_source_is_asked_for() -> None:
    with pytest.raises(UsageError, match="say what to build"):
        compose(None, [], {})


def test_the_digest_follows_the_content() -> None:
    one, same = make_recipe({"name": "x", "sources": ["a"]}), make_recipe({"sources": [{"name": "a"}], "name": "x"})
    assert one.digest() == same.digest() != make_recipe({"name": "x", "sources": ["a"], "seed": 1}).digest()


def test_parity_is_the_seed_s_settings_unless_the_recipe_says_otherwise() -> None:
    raw = {"name": "x", "sources": ["a"], "parity": True}
    recipe = make_recipe(raw)
    assert (recipe.score.prompt, recipe.score.grader) == ("seed", "seed-rollout")
    assert recipe.select.band == (1, 7) and recipe.split.order == "easy-to-hard" and recipe.distill is None
    assert make_recipe({**raw, "select": {"band": [1, 6]}, "distill": {"model": "t"}}).select.band == (1, 6)
    assert make_recipe({**raw, "distill": {"model": "t"}}).distill.prompt == "seed"  # type: ignore[union-attr]
