"""The vllm engine with real vLLM on CPU and the phantom model, in an environment of its own: python3 scripts/vllm_env.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest

if find_spec("vllm") is None:
    pytest.skip("vLLM is not installed here; `python3 scripts/vllm_env.py` makes it", allow_module_level=True)

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")

from curator import phantom
from curator.answers import render
from curator.engines import Failed, Sample, Sampling, ask
from curator.engines.vllm import VLLMEngine
from curator.errors import EngineError, UsageError
from curator.recipe import Score
from curator.records import Record
from curator.rollouts import RolloutStore

ROOT = Path(__file__).resolve().parent.parent.parent
SAMPLING = Sampling(max_tokens=64, max_pixels=9408)
pytestmark = pytest.mark.vllm


@pytest.fixture(scope="session")
def engine():
    made = VLLMEngine(phantom.model_dir(), "phantom", slots=64)
    yield made
    made.close()


def requests(records, samples: int, sampling: Sampling = SAMPLING):
    return [
        request
        for record in records
        for request in ask(record.id, render(record), record.images, sampling, "phantom", range(samples))
    ]


def drawn(engine, wanted, images) -> dict[tuple[str, int], Sample | Failed]:
    answers = list(engine.generate(wanted, images.__getitem__))
    found = {(answer.request_id, answer.index): answer for answer in answers}
    assert len(found) == len(answers) == len(wanted)
    return found


def test_greedy_answers_equal_those_of_transformers_on_200_questions(engine, questions):
    from curator.engines.transformers import TransformersEngine

    records, images = questions
    greedy = Sampling(temperature=0, max_tokens=64, max_pixels=9408)
    ours = drawn(engine, requests(records, 1, greedy), images)
    theirs = drawn(TransformersEngine(phantom.model_dir(), "phantom"), requests(records, 1, greedy), images)
    different = [key for key in ours if ours[key].text != theirs[key].text]
    assert not different, [(ours[key], theirs[key]) for key in different[:3]]
    for key, one in ours.items():
        other = theirs[key]
        assert (one.finish_reason, one.prompt_tokens, one.completion_tokens) == (
            other.finish_reason, other.prompt_tokens, other.completion_tokens,
        )  # fmt: skip


def test_samples_do_not_depend_on_the_schedule(engine, questions, monkeypatch):
    records, images = questions
    wanted = requests(records[:40], 16)
    first = drawn(engine, wanted, images)
    monkeypatch.setattr(engine, "slots", 8)
    other = drawn(engine, [*wanted[320:], *wanted[:320]], images)
    assert {key: answer.text for key, answer in first.items()} == {key: answer.text for key, answer in other.items()}
    assert len({answer.text for answer in first.values()}) > 30
    assert all(answer.text.endswith("</answer>") for answer in first.values() if "</answer>" in answer.text)


def test_the_samples_of_a_short_question_share_its_prompt(engine, questions, monkeypatch):
    records, images = questions
    step, finished = engine._llm.llm_engine.step, []

    def noting():
        outputs = step()
        finished.extend(output for output in outputs if output.finished)
        return outputs

    monkeypatch.setattr(engine._llm.llm_engine, "step", noting)
    engine._forget()
    drawn(engine, requests(records[:1], 16), images)
    cached = sorted(output.num_cached_tokens for output in finished)
    assert cached[0] == 0 and cached[1] * 2 > len(finished[0].prompt_token_ids)


def test_the_token_limit_cuts_and_says_so(engine, questions):
    records, images = questions
    cut = drawn(engine, requests(records[:4], 2, Sampling(max_tokens=3, max_pixels=9408)), images)
    assert {(a.finish_reason, a.completion_tokens) for a in cut.values()} == {("length", 3)}


def test_what_cannot_be_asked_fails_alone(engine, questions):
    records, images = questions
    long = Record(id="long", question="word " * 40_000, options=["x", "y"])
    gone = Record(id="gone", question="What?", options=["x", "y"], images=["nowhere"])
    found = drawn(engine, requests([records[0], long, gone, records[1]], 2), images)
    failed = {key[0] for key, answer in found.items() if isinstance(answer, Failed)}
    assert failed == {"long", "gone"}
    assert "the model reads 32768" in found["long", 0].why


def test_a_stream_that_is_left_early_leaves_nothing_behind(engine, questions):
    records, images = questions
    wanted = requests(records[:30], 8)
    answers = engine.generate(wanted, images.__getitem__)
    next(answers)
    answers.close()
    assert len(drawn(engine, requests(records[50:54], 4), images)) == 16
    found = drawn(engine, wanted, images)  # what was still to be made ready as well
    assert not [answer for answer in found.values() if isinstance(answer, Failed)]


def test_a_request_that_vllm_could_not_start_is_sent_once_more(engine, questions, monkeypatch):
    records, images = questions
    wanted = requests(records[:4], 4)
    before = drawn(engine, wanted, images)
    step, marked = engine._llm.llm_engine.step, []

    def broken():
        outputs = step()
        for output in outputs:
            if output.finished and len(marked) < 3:
                marked.append(output.request_id)
                output.outputs[0].finish_reason = "error"
        return outputs

    monkeypatch.setattr(engine._llm.llm_engine, "step", broken)
    assert drawn(engine, wanted, images) == before and len(marked) == 3


APART = """
import json, sys
from pathlib import Path
from curator import phantom
from curator.engines import Sampling, ask
from curator.engines.vllm import VLLMEngine

folder = Path(sys.argv[1])
engine = VLLMEngine(phantom.model_dir(), "phantom", slots=64, check=False)
core, sent = engine._llm.llm_engine.engine_core, []
add = core.add_request

def counted(request):
    sent.extend(feature.mm_hash for feature in request.mm_features or () if feature.data is not None)
    add(request)

core.add_request = counted
asked = json.loads((folder / "asked.json").read_text())
sampling = Sampling(max_tokens=64, max_pixels=9408)
wanted = [r for id, messages, images in asked for r in ask(id, messages, images, sampling, "phantom", range(8))]

def texts():
    answers = engine.generate(wanted, lambda name: (folder / name.replace("/", "_")).read_bytes())
    return {f"{answer.request_id} {answer.index}": answer.text for answer in answers}

first, once = texts(), list(sent)
core.reset_mm_cache()  # it forgets, as it does when its memory for pictures is full
found = {"first": first, "again": texts(), "once": once, "sent": sent}
(folder / "found.json").write_text(json.dumps(found))
engine.close()
"""


def test_an_engine_in_a_process_of_its_own_is_sent_each_picture_once(engine, questions, tmp_path):
    records, images = questions
    for name, data in images.items():
        (tmp_path / name.replace("/", "_")).write_bytes(data)
    records = records[:12]
    (tmp_path / "asked.json").write_text(json.dumps([(r.id, render(r), r.images) for r in records]))
    here = {f"{id} {at}": answer.text for (id, at), answer in drawn(engine, requests(records, 8), images).items()}
    environment = os.environ | {"VLLM_ENABLE_V1_MULTIPROCESSING": "1"}
    subprocess.run([sys.executable, "-c", APART, str(tmp_path)], cwd=ROOT, env=environment, check=True, timeout=300)
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["first"] == found["again"] == here
    assert len(found["once"]) == len(set(found["once"])) == len({name for record in records for name in record.images})
    assert len(found["sent"]) > len(found["once"]), "what it has forgotten is sent again"


def test_a_wave_waits_for_what_is_in_flight(engine, questions):
    records, images = questions
    seen: list[Sample | Failed] = []

    def waves():
        yield from requests(records[:3], 2)
        while len(seen) < 6:
            yield None
        yield from (r for r in requests(records[:3], 5) if r.index >= 2)

    for answer in engine.generate(waves(), images.__getitem__):
        seen.append(answer)
    assert len(seen) == 15


# vLLM has one set of process groups in a process: from here on the shared engine is not used any more.


def test_the_self_check_finds_nothing_wrong_here_and_turns_the_cache_off_where_it_does(questions, capsys, monkeypatch):
    records, images = questions
    pictured = [record for record in records if record.images][:6]
    wanted = requests(pictured, 2)
    engine = VLLMEngine(phantom.model_dir(), "phantom", slots=16)
    try:
        assert engine.disagreements(requests(pictured, 1, Sampling(temperature=0, max_tokens=32, max_pixels=9408)),
                                    images.__getitem__) == 0  # fmt: skip
        engine.unchecked = True
        before = drawn(engine, wanted, images)
        assert not engine.unchecked and "prefix cache" not in capsys.readouterr().err
        engine.unchecked = True
        monkeypatch.setattr(engine, "disagreements", lambda requests, read_image: len(requests))
        after = drawn(engine, wanted, images)
        assert "going on without it" in capsys.readouterr().err
        assert not engine._llm.llm_engine.vllm_config.cache_config.enable_prefix_caching
        assert {k: a.text for k, a in before.items()} == {k: a.text for k, a in after.items()}
    finally:
        engine.close()


def test_out_of_memory_halves_the_sequences_says_so_and_loses_nothing(questions, capsys, monkeypatch):
    """vLLM is made to run out once, as a GPU would, with samples in flight."""
    import torch

    records, images = questions
    engine = VLLMEngine(phantom.model_dir(), "phantom", slots=16, check=False)
    try:
        wanted = requests(records[:12], 8)
        before = drawn(engine, wanted, images)
        steps = 0
        step = engine._llm.llm_engine.step

        def refuse():
            nonlocal steps
            steps += 1
            if steps == 20:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return step()

        monkeypatch.setattr(engine._llm.llm_engine, "step", refuse)
        after = drawn(engine, wanted, images)
        assert steps == 20 and engine.slots == 8
        assert "out of memory: going on with 8 sequences at once" in capsys.readouterr().err
        assert {key: answer.text for key, answer in after.items()} == {key: a.text for key, a in before.items()}
        monkeypatch.setattr(engine._llm.llm_engine, "step", refuse)
        steps = 19
        with pytest.raises(EngineError, match="does not fit this machine's memory"):
            list(engine.generate(wanted, images.__getitem__))
    finally:
        engine.close()


@pytest.mark.parametrize("broken", ["no chat template", "no weights"])
def test_a_model_folder_that_is_none_is_one_line(broken, tmp_path):
    import shutil

    path = tmp_path / "model"
    shutil.copytree(phantom.model_dir(), path)
    for file in path.glob("chat_template*" if broken == "no chat template" else "*.safetensors"):
        file.unlink()
    with pytest.raises(UsageError) as error:
        VLLMEngine(path, "m", slots=8)
    assert "\n" not in str(error.value)
    assert broken != "no chat template" or "a base model cannot answer" in str(error.value)


SCORE = """
import json, sys
from pathlib import Path
import polars as pl
from types import SimpleNamespace
from curator import phantom
from curator.recipe import Score
from curator.score import score
folder, store, out = map(Path, sys.argv[1:])
rows = pl.read_parquet(folder / "rows.parquet")
runtime = SimpleNamespace(store=store, rollouts=None, offline=True, replicas=1, ray=None)
print("scoring", flush=True)
scored = score(rows, Score(engine="vllm", stop="exact", **phantom.SOLVER), runtime=runtime,
               read_image=lambda name: (folder / name.replace("/", "_")).read_bytes())
scored.columns.join(scored.scores.select("id", "rollouts_key"), on="id").write_parquet(out)
"""


def test_kill_9_in_the_middle_and_the_same_command_again(questions, tmp_path):
    import polars as pl

    records, images = questions
    for name, data in images.items():
        (tmp_path / name.replace("/", "_")).write_bytes(data)
    names = ("id", "question", "options", "answer_label", "answer_type", "images", "flags")
    pl.DataFrame([{name: getattr(r, name) for name in names} for r in records]).write_parquet(tmp_path / "rows.parquet")

    def start(store: str, out: str) -> subprocess.Popen:
        command = [sys.executable, "-c", SCORE, str(tmp_path), str(tmp_path / store), str(tmp_path / out)]
        return subprocess.Popen(command, cwd=ROOT, env=dict(os.environ))

    def held(store: str) -> dict[tuple[str, int], str]:
        with RolloutStore(tmp_path / store) as found:
            return {(row["key"], row["idx"]): row["text"] for row in found.rows()}

    process = start("killed.sqlite", "killed.parquet")
    for _ in range(1200):
        time.sleep(0.1)
        if (tmp_path / "killed.sqlite").exists() and len(held("killed.sqlite")) > 100:
            break
        assert process.poll() is None
    process.send_signal(signal.SIGKILL)
    process.wait()
    acknowledged = held("killed.sqlite")
    assert len(acknowledged) > 100
    assert start("killed.sqlite", "killed.parquet").wait(300) == 0
    after = held("killed.sqlite")
    assert after.items() >= acknowledged.items()
    counted = pl.read_parquet(tmp_path / "killed.parquet")
    # Equal questions share their samples.
    wanted = counted.group_by("rollouts_key").agg(pl.col("sample_count").max())["sample_count"].sum()
    assert len(after) == wanted, "nothing was drawn that does not count"

    runtime = SimpleNamespace(store=tmp_path / "killed.sqlite", rollouts=None, offline=True, replicas=1, ray=None)
    from curator.score import score

    full = score(
        pl.read_parquet(tmp_path / "rows.parquet"), Score(engine="vllm", **phantom.SOLVER), runtime=runtime,
        read_image=images.__getitem__,
    )  # fmt: skip
    assert full.columns["difficulty"].to_list() == counted["difficulty"].to_list()
    assert counted["sample_count"].sum() < full.columns["sample_count"].sum()
