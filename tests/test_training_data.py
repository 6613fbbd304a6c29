"""What reaches TRL: prompts, images in their places, order, and one line for every set that cannot be trained on."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets.arrow_writer import ArrowWriter

from tiny_qwen import row, tokenizer, write_set

pytest.importorskip("trl")


from curator import answers, manifest, train
from curator.engines.qwen_processor import load_processor
from curator.errors import CuratorError

sys.path.insert(0, str(train.training_dir()))
import data
from reward import Reward


@pytest.fixture(scope="module")
def processor(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("words")
    tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text('{"min_pixels": 784, "max_pixels": 50176, "patch_size": 14}')
    return load_processor(folder)


def settings(kind: str, folder: Path, **changes: Any) -> Any:
    made = train.SftSettings if kind == "sft" else train.RlvrSettings
    given = {"model": "toy", "dataset": str(folder), "output": "x", "max_prompt_tokens": 1000, "batch": 4, **changes}
    return made.model_validate(given)


def prepared(kind: str, folder: Path, processor: Any, **changes: Any) -> Any:
    wanted = settings(kind, folder, **changes)
    sees = changes.get("model") != "reader"
    return data.prepare(
        data.load(wanted), wanted, kind, processor.tokenizer, processor.image_processor if sees else None
    )


def test_text_and_image_rows_share_their_columns(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(i, images=[1, 0, 2, 0][i % 4]) for i in range(8)])
    found = prepared("rlvr", folder, processor, order="as-is")
    assert [len(r["images"]) for r in found.dataset] == [1, 0, 2, 0, 1, 0, 2, 0]
    assert (found.with_images, found.left_out) == (4, {})
    for r in found.dataset:
        parts = r["prompt"][0]["content"]
        assert sum(part["type"] == "image" for part in parts) == len(r["images"])
        assert set(r) == {"prompt", "images", "id", "options", "answer_label"}


def test_a_set_of_the_hub_is_known_by_the_commit_whose_folder_it_was_read_from(tmp_path: Path) -> None:
    """`datasets` names that folder of its cache by the commit (test_publish_end_to_end holds it to that)."""
    place = tmp_path / ("c" * 40) / "set-train.arrow"
    place.parent.mkdir()
    with ArrowWriter(path=str(place)) as writer:
        writer.write({"id": "a"})
        writer.finalize()
    rows = datasets.Dataset.from_file(str(place))
    assert data.facts(rows, settings("sft", Path("org/set"))) == {"commit": "c" * 40}
    assert data.facts(datasets.Dataset.from_dict({"id": ["a"]}), settings("sft", Path("org/set"))) == {}


def test_images_stand_in_the_order_in_which_the_prompt_shows_them(tmp_path: Path, processor: Any) -> None:
    """Row 2 says "Compare <image 2> with <image 1>": TRL fills places from left to right."""
    folder = write_set(tmp_path, [row(2, images=2), row(3, images=1)])
    found = prepared("rlvr", folder, processor, order="as-is")
    blue_part = [image.getpixel((0, 0))[1] for image in found.dataset[0]["images"]]
    assert blue_part == [90, 0]  # the second picture first


def test_sft_learns_the_trace_and_leaves_out_rows_without(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(0), row(1, reasoning=None), row(2, reasoning="")])
    found = prepared("sft", folder, processor)
    assert found.left_out == {"no trace": 2}
    assert found.dataset[0]["completion"] == [
        {"role": "assistant", "content": answers.format_trace("It is plainly number 0.", "A")}
    ]


def test_prompt_lengths_are_what_the_model_will_read(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(i, images=[1, 0, 2][i % 3]) for i in range(6)])
    found = prepared("rlvr", folder, processor, order="as-is")
    longest = 0
    for r in found.dataset:
        pictures = iter(r["images"])
        turn = [
            {"type": "image", "image": next(pictures)} if part["type"] == "image" else part
            for part in r["prompt"][0]["content"]
        ]
        read = processor.apply_chat_template(
            [[{"role": "user", "content": turn}]], tokenize=True, return_dict=True, add_generation_prompt=True
        )
        longest = max(longest, len(read["input_ids"][0]))
    assert found.longest_prompt == longest


def test_easy_to_hard_is_a_shuffle_then_a_stable_sort(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(i) for i in range(36)])
    found = prepared("rlvr", folder, processor, order="easy-to-hard").dataset["id"]
    passed = [int(name[-3:]) % 9 for name in found]
    assert passed == sorted(passed, reverse=True)
    assert list(found) == list(prepared("rlvr", folder, processor, order="easy-to-hard").dataset["id"])
    first = [name for name, k in zip(found, passed, strict=True) if k == 8]
    assert first != sorted(first)  # shuffled within equals
    other = prepared("rlvr", folder, processor, order="easy-to-hard", seed=1).dataset["id"]
    assert list(other) != list(found)


def test_easy_to_hard_is_the_order_of_releases(tmp_path: Path) -> None:
    """Counts of different numbers of samples too: a release with another order would be another curriculum."""
    table = {"id": list("abcd"), "pass_count": [9, 8, 0, 18], "sample_count": [16, 8, 16, 32]}
    order = data._order(table, settings("rlvr", tmp_path, order="easy-to-hard")).tolist()
    ties = [order.index(row) for row in range(4)]
    assert order == manifest.easy_to_hard(table["pass_count"], table["sample_count"], ties) and order[0] == 1
    assert data.easy_to_hard is manifest.easy_to_hard


def test_weighted_draws_live_questions_more_often(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(i, pass_count=0 if i < 50 else 4) for i in range(100)])
    found = prepared("rlvr", folder, processor, order="weighted").dataset["id"]
    alive = sum(int(name[-3:]) >= 50 for name in found)
    p = np.array([0.5 / 9, 4.5 / 9])
    live = 1 - p**8 - (1 - p) ** 8
    expected = live[1] / live.sum()
    assert alive / 100 == pytest.approx(expected, abs=0.13)


BAD_SETS: list[tuple[str, str, list[dict[str, Any]], dict[str, Any], str]] = [
    ("no traces for SFT", "sft", [row(0, reasoning=None)], {}, "has no reasoning traces (1 rows): build it with `--teacher"),
    ("no keys for RLVR", "rlvr", [row(0, answer_label=None, options=[])], {}, "no row with options and a key (1 rows)"),
    ("too many images", "rlvr", [row(1), row(2, images=2)], {"max_images": 1}, "row toy:train:002 of "),
    ("images for a reader", "rlvr", [row(0, images=1)], {"model": "reader"}, "train a vision-language model, or a text subset"),
    ("a prompt over the limit", "rlvr", [row(0), row(1, question="long " * 99)], {"max_prompt_tokens": 300}, "raise max_prompt"),
    ("a trace over the limit", "sft", [row(0, reasoning="so " * 99)], {"max_response_tokens": 64}, "max_response_tokens"),
    ("no rows of the kind", "rlvr", [row(0)], {"only": "image-text"}, "has no image-text rows (1 rows): use only=all"),
    ("an order without counts", "rlvr", [row(0, sample_count=None)], {"order": "easy-to-hard"}, "needs pass counts, and 1 rows"),
]  # fmt: skip


@pytest.mark.parametrize("what, kind, rows, changes, line", BAD_SETS, ids=[case[0] for case in BAD_SETS])
def test_what_cannot_be_trained_on_is_one_line(
    tmp_path: Path, processor: Any, what: str, kind: str, rows: list[dict[str, Any]], changes: dict[str, Any], line: str
) -> None:
    with pytest.raises(CuratorError) as told:
        prepared(kind, write_set(tmp_path, rows), processor, **changes)
    assert line in str(told.value) and "\n" not in str(told.value)


@pytest.mark.parametrize("only, kept", [("text", 4), ("image-text", 4), ("all", 8)])
def test_one_paradigm_can_be_trained_alone(tmp_path: Path, processor: Any, only: str, kept: int) -> None:
    folder = write_set(tmp_path, [row(i, images=i % 2) for i in range(8)])
    found = prepared("rlvr", folder, processor, only=only)
    assert len(found.dataset) == kept
    assert found.left_out == ({} if only == "all" else {f"not {only}": 4})


def test_rows_over_the_limit_can_be_left_out(tmp_path: Path, processor: Any) -> None:
    folder = write_set(tmp_path, [row(0), row(1, question="long " * 99)])
    found = prepared("rlvr", folder, processor, max_prompt_tokens=300, over_limit="drop")
    assert len(found.dataset) == 1 and found.left_out == {"over the token limits": 1}
    with pytest.raises(CuratorError, match="every row is over"):
        prepared("rlvr", folder, processor, max_prompt_tokens=10, over_limit="drop")


@pytest.mark.parametrize(
    "changes, line", [({"split": "test"}, "split 'test'"), ({"dataset": "nowhere/none"}, "nowhere/none")]
)
def test_a_set_that_is_not_there_is_one_line(
    tmp_path: Path, processor: Any, changes: dict[str, Any], line: str
) -> None:
    folder = write_set(tmp_path, [row(0)])
    with pytest.raises(CuratorError) as told:
        prepared("rlvr", folder, processor, **changes)
    assert line in str(told.value) and "\n" not in str(told.value)


OPTIONS = ["red", "blue"]
RESPONSES = {
    "right": ("<think> it is </think>\n<answer> B </answer>", 1.0),
    "wrong": ("<think> it is </think>\n<answer> A </answer>", 0.0),
    "right without a form": ("The answer is B.", 0.0),
    "both": ("<think> x </think>\n<answer> A or B </answer>", 0.0),
    "empty": ("", 0.0),
    "an empty tag": ("<think> x </think>\n<answer> </answer>", 0.0),
}


@pytest.mark.parametrize("name", RESPONSES)
def test_the_reward_pays_the_key_in_good_form_and_nothing_else(name: str) -> None:
    text, paid = RESPONSES[name]
    turn = [[{"role": "assistant", "content": text}]]
    assert Reward()(completions=turn, options=[OPTIONS], answer_label=["B"]) == [paid]
    assert Reward()(completions=[text], options=[OPTIONS], answer_label=["B"]) == [paid]


def test_unreadable_wrong_and_truncated_are_logged_apart() -> None:
    seen: dict[str, float] = {}
    texts = [text for text, _ in RESPONSES.values()] + [RESPONSES["right"][0]]
    ended = [[5, 2]] * len(RESPONSES) + [[5, 5]]  # the last was cut off before its turn ended
    paid = Reward(end_tokens={2})(
        completions=texts,
        options=[OPTIONS] * 7,
        answer_label=["B"] * 7,
        completion_ids=ended,
        log_metric=seen.__setitem__,
    )
    assert paid == [1, 0, 0, 0, 0, 0, 0]
    assert seen["answers/right"] == pytest.approx(1 / 7)
    assert seen["answers/wrong"] == pytest.approx(1 / 7)
    assert seen["answers/truncated"] == pytest.approx(1 / 7)
    assert seen["answers/unreadable"] == pytest.approx(4 / 7)


def test_the_seeds_reward_has_the_seeds_quirks() -> None:
    """Its answer regex lacks DOTALL, so an answer on its own line is not paid; option text is."""
    reward = Reward("seed-reward")

    def pay(text: str) -> float:
        return reward(completions=[text], options=[OPTIONS], answer_label=["B"])[0]

    assert pay("<think> x </think><answer> blue </answer>") == 1
    assert pay("<think> x </think><answer>\nB\n</answer>") == 0


def test_a_cut_answer_that_the_seed_pays_is_right_and_nothing_else() -> None:
    seen: dict[str, float] = {}
    paid = Reward("seed-reward", {2})(
        completions=["<think> x </think><answer> B </answer>", "<think> x"],
        options=[OPTIONS] * 2, answer_label=["B"] * 2, completion_ids=[[5, 5]] * 2, log_metric=seen.__setitem__,
    )  # fmt: skip
    assert paid == [1, 0]
    shares = {"answers/right": 0.5, "answers/truncated": 0.5, "answers/wrong": 0, "answers/unreadable": 0}
    assert seen == pytest.approx(shares)
