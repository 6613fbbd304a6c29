"""The local engine: a sample depends on its seed alone, greedy equals stock `generate`, and bad folders are told plainly."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from curator.engines import Failed, Sample, Sampling, ask, choose, open_engine
from curator.engines.model import folder_hash, identify
from curator.engines.openai import fitted
from curator.engines.sampling import is_looping, pick, uniforms
from curator.engines.transformers import TransformersEngine
from curator.errors import EngineError, MissingExtra, NetworkError, UsageError
from curator.recipe import Solver
from tiny_qwen import make_model


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 255, (84, 112 if seed % 2 else 84, 3), dtype=np.uint8)
    Image.fromarray(noise).save(out, "PNG")
    return out.getvalue()


IMAGES = {str(i): picture(i) for i in range(5)}


def question(i: int, samples: int, sampling: Sampling):
    """Question i has i % 3 images."""
    count = i % 3
    parts = [{"type": "image", "image": at} for at in range(count)] + [
        {"type": "text", "text": "What is shown? " * (i + 1)}
    ]
    images = [str((i + at) % 5) for at in range(count)]
    return ask(f"q{i}", [{"role": "user", "content": parts}], images, sampling, "m", range(samples))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_model(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def engine(folder) -> TransformersEngine:
    return TransformersEngine(folder, "m")


def drawn(engine: TransformersEngine, requests) -> dict[tuple[str, int], Sample | Failed]:
    answers = list(engine.generate(requests, IMAGES.__getitem__))
    found = {(answer.request_id, answer.index): answer for answer in answers}
    assert len(found) == len(answers)
    return found


def test_a_sample_does_not_depend_on_its_batch(engine, monkeypatch):
    sampling = Sampling(max_tokens=24, max_pixels=9408)
    requests = [request for i in range(9) for request in question(i, 6, sampling)]
    together = drawn(engine, requests)
    assert len(together) == 54
    assert len({answer.text for answer in together.values()}) > 50, "samples of one question differ"
    monkeypatch.setattr(engine, "rows", 7)
    small = drawn(engine, requests)
    assert {key: answer.text for key, answer in small.items()} == {key: answer.text for key, answer in together.items()}
    monkeypatch.setattr(engine, "prefill", 100)
    narrow = drawn(engine, requests)
    assert {key: answer.text for key, answer in narrow.items()} == {
        key: answer.text for key, answer in together.items()
    }
    alone = drawn(engine, [requests[13]])
    assert alone[requests[13].id, requests[13].index] == together[requests[13].id, requests[13].index]


def test_pictures_go_through_the_model_a_few_at_a_time(engine, monkeypatch):
    """A batch of single answers to many large pictures must not take the memory of all of them at once."""
    seen: list[int] = []
    handle = engine.model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    monkeypatch.setattr(engine, "prefill", 400)
    try:
        sampling = Sampling(max_tokens=2, max_pixels=9408)
        assert len(drawn(engine, [request for i in range(9) for request in question(i, 1, sampling)])) == 9
    finally:
        handle.remove()
    longest = max(len(engine._prepare(question(i, 1, sampling)[0], IMAGES.__getitem__).ids) for i in range(9))
    assert max(seen) <= max(400, longest)


def test_greedy_equals_stock_generate(engine):
    from curator.engines.qwen_processor import encode

    sampling = Sampling(temperature=0, max_tokens=24, max_pixels=9408, stop=())
    found = drawn(engine, [request for i in range(9) for request in question(i, 1, sampling)])
    for i in range(9):
        (request,) = question(i, 1, sampling)
        text = engine.tokenizer.apply_chat_template(request.messages, tokenize=False, add_generation_prompt=True)
        pictures = [Image.open(io.BytesIO(IMAGES[name])) for name in request.images]
        inputs = encode(engine.processor, [text], [pictures], min_pixels=784, max_pixels=9408)
        out = engine.model.generate(**inputs, do_sample=False, max_new_tokens=24)
        new = out[0][inputs["input_ids"].shape[1] :]
        assert found[f"q{i}", 0].text == engine.tokenizer.decode(new, skip_special_tokens=True)
        assert found[f"q{i}", 0].prompt_tokens == inputs["input_ids"].shape[1]


def test_a_stop_string_ends_a_sample_and_stays_in_it(engine):
    letters = tuple("abcdefghijklmnopqrstuvwxyz")
    stopped = drawn(engine, question(0, 16, Sampling(max_tokens=40, stop=letters)))
    ended = [answer for answer in stopped.values() if answer.text[-1:] in letters]
    assert len(ended) > 8 and all(answer.finish_reason == "stop" for answer in ended)
    assert not any(c in letters for answer in stopped.values() for c in answer.text[:-1])


def test_a_stop_string_may_span_tokens(engine):
    greedy = Sampling(temperature=0, max_tokens=24, stop=())
    text = drawn(engine, question(4, 1, greedy))["q4", 0].text
    pairs = [text[i : i + 2] for i in range(2, len(text) - 2) if text[i : i + 2].isascii()]
    assert pairs, "the random model says something in ASCII"
    (stopped,) = drawn(engine, question(4, 1, replace(greedy, stop=(pairs[0],)))).values()
    assert stopped.text == text[: text.index(pairs[0]) + 2] and stopped.finish_reason == "stop"


def test_the_token_limit_cuts_and_says_so(engine):
    cut = drawn(engine, question(1, 4, Sampling(max_tokens=3, stop=())))
    assert {(answer.finish_reason, answer.completion_tokens, answer.truncated) for answer in cut.values()} == {
        ("length", 3, True)
    }
    longer = drawn(engine, question(1, 4, Sampling(max_tokens=9, stop=())))
    assert all(longer[key].text.startswith(answer.text.rstrip("\ufffd")) for key, answer in cut.items()), "same seed"


def test_a_prompt_over_the_models_length_fails_alone(engine, monkeypatch):
    monkeypatch.setattr(engine, "context", 200)
    sampling = Sampling(max_tokens=8)
    found = drawn(engine, [*question(0, 2, sampling), *question(12, 2, sampling), *question(3, 2, sampling)])
    assert isinstance(found["q12", 0], Failed) and "the model reads 200" in found["q12", 1].why
    assert isinstance(found["q0", 1], Sample) and isinstance(found["q3", 1], Sample)


def test_an_image_that_cannot_be_read_fails_alone(engine):
    sampling = Sampling(max_tokens=4)
    bad = ask("bad", [{"role": "user", "content": [{"type": "image", "image": 0}]}], ["gone"], sampling, "m", [0])
    found = drawn(engine, [*question(1, 1, sampling), *bad])
    assert isinstance(found["bad", 0], Failed) and isinstance(found["q1", 0], Sample)


def test_out_of_memory_halves_the_batch_says_so_and_loses_nothing(engine, monkeypatch, capsys):
    """The allocator is made to refuse more than five rows, as a GPU would."""
    import torch

    sampling = Sampling(max_tokens=6)
    requests = [request for i in range(4) for request in question(i, 5, sampling)]
    before = drawn(engine, requests)

    def refuse(module, args, kwargs):
        if kwargs["input_ids"].shape[0] > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    handle = engine.model.register_forward_pre_hook(refuse, with_kwargs=True)
    monkeypatch.setattr(engine, "rows", engine.rows)
    try:
        assert drawn(engine, requests) == before
        assert engine.rows <= 5
        assert "out of memory: going on with" in capsys.readouterr().err
        handle.remove()
        handle = engine.model.register_forward_pre_hook(
            lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("CUDA out of memory")), with_kwargs=True
        )
        with pytest.raises(EngineError, match="out of memory with a single sample"):
            drawn(engine, requests)
    finally:
        handle.remove()


def test_text_models_answer_and_refuse_pictures(folder, tmp_path):
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    from tiny_qwen import tokenizer

    words = tokenizer()
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, eos_token_id=words.eos_token_id, bos_token_id=None, max_position_embeddings=512,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    words.save_pretrained(tmp_path)
    engine = TransformersEngine(tmp_path, "text")
    sampling = Sampling(temperature=0, max_tokens=8, stop=())
    found = drawn(engine, [*question(0, 2, sampling), *question(1, 1, sampling), *question(3, 2, sampling)])
    assert "reads no images" in found["q1", 0].why
    for i in (0, 3):
        text = engine.tokenizer.apply_chat_template(
            [{"role": "user", "content": "What is shown? " * (i + 1)}], tokenize=False, add_generation_prompt=True
        )
        ids = engine.tokenizer(text, return_tensors="pt", add_special_tokens=False)
        ids.pop("token_type_ids", None)
        out = engine.model.generate(**ids, do_sample=False, max_new_tokens=8)[0][ids["input_ids"].shape[1] :]
        assert found[f"q{i}", 0].text == engine.tokenizer.decode(out, skip_special_tokens=True)


# -- model folders and names ---------------------------------------------------------------------------------------------


def solver(**settings) -> Solver:
    return Solver(engine="transformers", **settings)


def test_a_folder_is_known_by_its_content(folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    assert identify(solver(model=str(copy))) == f"copy@{folder_hash(folder)[:16]}"
    (copy / "README.md").write_text("words decide nothing")
    assert folder_hash(copy) == folder_hash(folder)
    config = json.loads((copy / "generation_config.json").read_text())
    (copy / "generation_config.json").write_text(json.dumps({**config, "eos_token_id": 1}))
    assert folder_hash(copy) != folder_hash(folder)


@pytest.mark.parametrize(
    "broken", ["empty", "no weights", "no such", "a file", "cut weights", "bad config", "no tokenizer"]
)
def test_a_model_folder_that_is_none_is_one_line(broken, folder, tmp_path):
    path = tmp_path / "model"
    if broken == "a file":
        path.write_text("")
    elif broken != "no such":
        shutil.copytree(folder, path)
        removed = {"empty": "*", "no weights": "*.safetensors", "no tokenizer": "tokenizer*"}.get(broken)
        for file in path.glob(removed) if removed else ():
            file.unlink()
        if broken == "cut weights":
            weights = path / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:5000])
        if broken == "bad config":
            (path / "config.json").write_text('{"model_type": "no_such_model"}')
    with pytest.raises(UsageError) as error:
        open_engine(solver(model=str(path)))
    assert "\n" not in str(error.value) and "model" in str(error.value)


def test_a_base_model_without_chat_template_is_one_line(folder, tmp_path):
    path = tmp_path / "base"
    shutil.copytree(folder, path)
    for file in path.glob("chat_template*"):
        file.unlink()
    settings = json.loads((path / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(UsageError, match="no chat template: a base model cannot answer"):
        open_engine(solver(model=str(path)))


def test_code_in_a_model_folder_is_not_run(folder, tmp_path):
    path = tmp_path / "sly"
    shutil.copytree(folder, path)
    config = json.loads((path / "config.json").read_text())
    config |= {"model_type": "sly", "auto_map": {"AutoConfig": "sly.Sly", "AutoModelForCausalLM": "sly.Sly"}}
    (path / "config.json").write_text(json.dumps(config))
    (path / "sly.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Sly: pass\n")
    with pytest.raises(UsageError):
        open_engine(solver(model=str(path)))
    assert not (tmp_path / "ran").exists()


def test_a_hub_model_without_a_network_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        NetworkError, match=r"no network, and no/such-model is not in the Hub's cache: run again with a network$"
    ):
        identify(solver(model="no/such-model"), offline=True)
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert identify(solver(model="no/such", revision=commit), offline=True) == f"no/such@{commit}"


def test_engines_choose_themselves(monkeypatch):
    import curator.engines as engines

    assert choose(Solver(servers=["http://x"])) == "openai"
    assert choose(Solver(engine="openai")) == "openai"
    assert choose(Solver(engine="transformers", servers=["http://x"])) == "transformers"
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"pip install 'medvl-curator\[local\]'"):
        choose(Solver())
    with pytest.raises(MissingExtra, match=r"medvl-curator\[vllm\]"):
        choose(Solver(engine="vllm"))


# -- the sampling itself -------------------------------------------------------------------------------------------------


def test_uniform_numbers_are_uniform_and_do_not_repeat():
    seeds = np.arange(20_000, dtype=np.uint64) * np.uint64(7919)
    u = np.stack([uniforms(seeds, step) for step in range(8)])
    assert u.min() >= 0 and u.max() < 1
    assert len(np.unique(u)) == u.size
    assert abs(u.mean() - 0.5) < 0.005 and abs(u.var() - 1 / 12) < 0.002
    assert np.abs(np.corrcoef(u) - np.eye(8)).max() < 0.03, "steps are independent"
    near = np.corrcoef(uniforms(seeds, 0)[:-1], uniforms(seeds, 0)[1:])[0, 1]
    assert abs(near) < 0.03, "neighbouring seeds are independent"


def test_tokens_are_drawn_with_their_probabilities():
    import torch

    p = torch.tensor([0.5, 0.25, 0.15, 0.1, 0.0])
    u = (np.arange(10_000) + 0.5) / 10_000
    counts = torch.bincount(pick(p.log().expand(10_000, -1), 1.0, 1.0, u), minlength=5) / 10_000
    assert torch.allclose(counts, p, atol=1e-3)
    nucleus = torch.bincount(pick(p.log().expand(10_000, -1), 1.0, 0.7, u), minlength=5) / 10_000
    assert torch.allclose(nucleus, torch.tensor([2 / 3, 1 / 3, 0, 0, 0]), atol=1e-3)
    sharp = torch.bincount(pick(p.log().expand(10_000, -1), 0.5, 1.0, u), minlength=5) / 10_000
    assert torch.allclose(sharp, p**2 / (p**2).sum(), atol=1e-3)
    assert set(pick(p.log().expand(10_000, -1), 0.0, 1.0, u).tolist()) == {0}


@given(st.integers(1, 64), st.integers(300, 600), st.integers(0, 200))
@settings(max_examples=50, deadline=None)
def test_a_phrase_over_and_over_is_a_loop(period, length, lead):
    phrase = list(range(period))
    tokens = list(range(1000, 1000 + lead)) + (phrase * (length // period + 1))[:length]
    assert is_looping(tokens)
    assert not is_looping([*tokens[:-10], 99_999, *tokens[-9:]])
    assert not is_looping(list(range(length)))


def test_sizes_sent_to_servers_are_those_of_qwen():
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    for width, height in [(84, 112), (1000, 500), (28, 28), (30, 900), (1024, 1024), (35, 35)]:
        for low, high in [(784, 9408), (56 * 56, 100_000), (784, 1 << 20)]:
            assert fitted(width, height, low, high)[::-1] == smart_resize(height, width, 28, low, high)
