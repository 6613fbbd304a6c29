"""The engine that asks servers: right answers from a good one, and the right words about a bad one."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from datetime import UTC, datetime
from urllib.error import HTTPError

import pytest
from PIL import Image

from curator.engines import Failed, Sample, Sampling, ask, openai
from curator.engines.openai import OpenAIEngine, _samples, base_url, data_url, shared_out
from curator.errors import EngineError, UsageError
from curator.recipe import Solver
from openai_server import serve


def picture(width: int = 84, height: int = 56, kind: str = "PNG") -> bytes:
    out = io.BytesIO()
    Image.effect_noise((width, height), 60).convert("RGB").save(out, kind)
    return out.getvalue()


IMAGES = {"one": picture(), "two": picture(56, 84, "JPEG")}


def questions(count: int, samples: int = 16, text: str = "What is number {i}?\nA. x\nB. y\nC. z", images=("one",)):
    sampling = Sampling(max_tokens=64)
    for i in range(count):
        parts = [{"type": "image", "image": at} for at in range(len(images))]
        messages = [{"role": "user", "content": [*parts, {"type": "text", "text": text.format(i=i)}]}]
        yield from ask(f"q{i}", messages, images, sampling, "phantom", range(samples))


def engine(*urls: str, **settings) -> OpenAIEngine:
    return OpenAIEngine(Solver(model="phantom", servers=list(urls)), "phantom", **{"patience": 5.0, **settings})


def drawn(one: OpenAIEngine, requests) -> dict[tuple[str, int], Sample | Failed]:
    answers = list(one.generate(requests, IMAGES.__getitem__))
    one.close()
    found = {(answer.request_id, answer.index): answer for answer in answers}
    assert len(found) == len(answers), "a request was answered twice"
    return found


def test_every_request_is_answered_once_and_pictures_travel_once_per_question():
    with serve() as server:
        found = drawn(engine(server.url), questions(30, images=("one", "two")))
    assert len(found) == 30 * 16
    assert len(server.calls) == 30
    assert server.calls[0]["images"] == [IMAGES["one"], IMAGES["two"]]
    assert server.calls[0]["body"]["n"] == 16
    assert all(answer.text.endswith("</answer>") for answer in found.values() if "<answer>" in answer.text)
    assert {answer.finish_reason for answer in found.values()} == {"stop"}
    assert all(answer.completion_tokens >= 1 for answer in found.values())


def test_samples_of_one_response_say_that_they_belong_together():
    with serve() as server:
        answers = list(engine(server.url).generate(questions(1, 5), IMAGES.__getitem__))
    assert [(a.index, a.siblings) for a in answers] == [(0, 4), (1, 3), (2, 2), (3, 1), (4, 0)]


FAULTS = ["429", "500", "garbage", "shape", "endless", "drop", "fewer"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_fails_now_and_then_costs_no_sample(fault, deadline):
    with serve(faults={fault: 0.3}) as server:
        faulty = drawn(engine(server.url, patience=60), questions(12))
    with serve() as server:
        well = drawn(engine(server.url), questions(12))
    assert faulty.keys() == well.keys()
    assert not any(isinstance(answer, Failed) for answer in faulty.values())
    if fault != "fewer":  # choices that did not come are asked for with seeds of their own
        assert {k: a.text for k, a in faulty.items()} == {k: a.text for k, a in well.items()}


def test_a_server_that_hangs_is_given_up_on_and_asked_again():
    with serve(faults={"hang": 0.2}) as server:
        found = drawn(engine(server.url, timeout=0.5, patience=60), questions(10, 4))
    assert len(found) == 40
    assert not any(isinstance(answer, Failed) for answer in found.values())


def test_waits_are_read_from_headers_as_a_number_a_duration_and_a_date():
    from email.utils import formatdate

    from curator.engines.limits import refused, seconds, until_reset

    def after(value: str) -> float | None:
        return refused({"Retry-After": value})

    assert after("7") == 7
    assert after("1e9") == 600
    assert after("soon") is None and refused({}) is None
    assert after("nan") is None
    assert 20 < after(formatdate(time.time() + 30, usegmt=True)) <= 31
    assert refused({"retry-after-ms": "1500", "Retry-After": "9"}) == 1.5
    assert (seconds("6m0.5s"), seconds("20ms"), seconds("1h"), seconds("1 hour")) == (360.5, 0.02, 600, None)
    assert 5 < seconds(datetime.fromtimestamp(time.time() + 9, UTC).isoformat()) <= 9
    tokens = {"x-ratelimit-remaining-tokens": "900", "x-ratelimit-reset-tokens": "2s"}
    assert (until_reset(tokens, 500), until_reset(tokens, 1000)) == (None, 2)
    requests = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "250ms"}
    assert until_reset({**tokens, **requests}, 500) == 0.25
    assert until_reset({"x-ratelimit-remaining-requests": "?"}, 1) is None


def test_a_server_with_nothing_left_is_not_asked_until_it_has():
    """Thirty calls where five fit into each third of a second: after the first burst hardly one is refused."""
    with serve(allowed=5, window=0.3) as server:
        started = time.monotonic()
        found = drawn(engine(server.url, choices=1), questions(30, 1))
        seconds = time.monotonic() - started
    assert len(found) == 30 and not any(isinstance(answer, Failed) for answer in found.values())
    assert seconds > 5 * 0.3 - 0.3
    assert server.refused <= 25 + 8


def test_a_success_does_not_end_the_rest_that_a_server_asked_for():
    with serve(delay=0.1, faults={"429": 0.5}, retry_after="1") as server:
        started = time.monotonic()
        found = drawn(engine(server.url, patience=60), questions(3, 1))
    asked_again = [at for at in server.asked_at if at - server.asked_at[0] > 0.3]
    assert len(found) == 3 and time.monotonic() - started > 1
    assert asked_again and min(asked_again) - server.asked_at[0] > 1


def test_one_server_down_of_two_is_no_matter():
    with serve() as first, serve() as second:
        one = engine(first.url, second.url)
        second.http.server_close()
        found = drawn(one, questions(20))
    assert len(found) == 320 and not any(isinstance(answer, Failed) for answer in found.values())


def test_two_servers_share_the_work_within_their_room():
    with serve(delay=0.02) as first, serve(delay=0.02) as second:
        found = drawn(engine(first.url, second.url), questions(80))
    assert len(found) == 80 * 16
    assert min(len(first.calls), len(second.calls)) > 20
    assert max(first.most_at_once, second.most_at_once) <= 21


def test_a_prompt_that_is_too_long_fails_alone():
    with serve() as server:
        requests = [*questions(10, 2), *questions(1, 2, "TOO-LONG {i}\nA. x\nB. y", ())]
        requests[-2:] = [
            type(r)("long", r.messages, r.images, r.sampling, r.model, r.index, r.prompt) for r in requests[-2:]
        ]
        found = drawn(engine(server.url), requests)
    failed = {key for key, answer in found.items() if isinstance(answer, Failed)}
    assert failed == {("long", 0), ("long", 1)}
    assert "maximum context length" in found["long", 0].why


def test_an_unreadable_image_fails_alone():
    with serve() as server:
        one = engine(server.url)
        requests = [*questions(2, 2), *ask("bad", [{"role": "user", "content": [{"type": "image", "image": 0}]}], ["gone"],
                                           Sampling(), "phantom", [0])]  # fmt: skip
        found = drawn(one, requests)
    assert isinstance(found["bad", 0], Failed) and len(found) == 5


def test_what_nobody_foresaw_in_a_thread_ends_the_run(deadline):
    def read(name: str) -> bytes:
        raise RuntimeError("a bug")

    with serve() as server, pytest.raises(RuntimeError, match="a bug"):
        list(engine(server.url).generate(questions(1), read))


def test_when_everything_is_refused_it_is_the_settings():
    with serve() as server, pytest.raises(EngineError, match="refuses every call"):
        drawn(engine(server.url), questions(40, 2, "TOO-LONG {i}", ()))


def test_a_server_that_dies_ends_the_run_with_what_to_do_and_keeps_what_came():
    with serve(delay=0.01) as server:
        one, came = engine(server.url, patience=1.0), []
        with pytest.raises(EngineError, match="run the same command again"):
            for answer in one.generate(questions(2000, 1), IMAGES.__getitem__):
                came.append(answer)
                if len(came) == 50:
                    server.http.shutdown()
                    server.http.server_close()
    assert len(came) >= 50 and not any(isinstance(answer, Failed) for answer in came)


def test_no_server_at_all_is_one_line():
    with pytest.raises(EngineError, match=r"no server answers: http://127\.0\.0\.1:9/v1: Connection refused"):
        engine("http://127.0.0.1:9")


def test_a_wrong_key_is_one_line_that_does_not_show_it(monkeypatch):
    with serve(key="right") as server:
        monkeypatch.setenv("OPENAI_API_KEY", "wrong-and-secret")
        with pytest.raises(EngineError, match="the key in OPENAI_API_KEY was refused") as error:
            engine(server.url)
        assert "secret" not in str(error.value)
        monkeypatch.delenv("OPENAI_API_KEY")
        with pytest.raises(EngineError, match="set OPENAI_API_KEY"):
            engine(server.url)
        monkeypatch.setenv("OPENAI_API_KEY", "right")
        assert len(drawn(engine(server.url), questions(1, 2))) == 2


@pytest.mark.parametrize(
    "url, sent, with_own",
    [
        ("https://api.openai.com/v1", "openai", "openai"),
        ("http://api.openai.com/v1", None, "own"),
        ("http://127.0.0.1:8000/v1", "openai", "own"),
        ("http://[::1]:8000/v1", "openai", "own"),
        ("http://localhost:8000/v1", "openai", "own"),
        ("https://gpu1.example.org/v1", "openai", "own"),
        ("http://gpu1:8000/v1", None, "own"),
        ("http://10.0.0.7:8000/v1", None, "own"),
        ("http://127.0.0.1.example.org/v1", None, "own"),
        ("https://api.openai.com.example.org/v1", "openai", "own"),
    ],
)
def test_a_key_goes_over_no_plain_http_to_another_machine_unless_it_is_that_servers(monkeypatch, url, sent, with_own):
    class Wire:
        def open(self, request, timeout):
            seen.append(request.get_header("Authorization"))
            raise HTTPError(url, 401, "no", None, None)  # type: ignore[arg-type]

    seen: list[str | None] = []
    monkeypatch.setattr(openai, "_opener", lambda url: Wire())
    monkeypatch.setenv("OPENAI_API_KEY", "openai")
    monkeypatch.delenv("CURATOR_API_KEY", raising=False)
    with pytest.raises(EngineError) as refused:
        engine(url)
    unsent = "set CURATOR_API_KEY (OPENAI_API_KEY is not sent over plain http)."
    assert str(refused.value).endswith("the key in OPENAI_API_KEY was refused." if sent else unsent)
    monkeypatch.setenv("CURATOR_API_KEY", "own")
    with pytest.raises(EngineError, match="was refused"):
        engine(url)
    assert seen == [key and f"Bearer {key}" for key in (sent, with_own)]


def test_a_model_that_is_not_served_names_the_nearest():
    with serve(models=("phantoms", "other")) as server, pytest.raises(UsageError, match="did you mean 'phantoms'"):
        engine(server.url)


@pytest.mark.parametrize(
    "given, url",
    [
        ("http://gpu1:8000", "http://gpu1:8000/v1"),
        ("http://gpu1:8000/", "http://gpu1:8000/v1"),
        ("gpu1:8000", "http://gpu1:8000/v1"),
        ("https://api.x.ai/v1", "https://api.x.ai/v1"),
        ("https://host/openai/v1/chat/completions", "https://host/openai/v1"),
    ],
)
def test_addresses_as_people_write_them(given, url):
    assert base_url(given) == url


def test_an_address_that_is_none():
    with pytest.raises(UsageError, match="is no address"):
        base_url("ftp://x")


@pytest.mark.parametrize("given", ["http://me:SECRET@gpu1:8000", "me:SECRET@gpu1:8000", "http://me:SEC/RET@gpu1:8000"])
def test_an_address_with_a_password_is_refused_and_not_shown(given):
    with pytest.raises(UsageError, match="set OPENAI_API_KEY instead") as error:
        engine(given)
    assert "SEC" not in str(error.value)


def test_images_are_brought_within_the_limits_before_they_travel():
    def size(url: str) -> tuple[str, tuple[int, int]]:
        import base64

        head, data = url.split(",", 1)
        return head, Image.open(io.BytesIO(base64.b64decode(data))).size

    big = picture(1000, 500, "JPEG")
    assert size(data_url(big, 784, 1024 * 1024)) == ("data:image/jpeg;base64", (1000, 500))
    head, (width, height) = size(data_url(big, 784, 100_000))
    assert head == "data:image/jpeg;base64" and width * height <= 100_000 and width % 28 == height % 28 == 0


def test_tokens_are_shared_out_over_choices():
    assert shared_out(9, [100], [False], 64) == [9]
    assert shared_out(99, [100], [False], 64) == [64]
    assert shared_out(130, [40, 40, 160], [True, False, False], 80) == [80, 10, 40]
    assert shared_out(0, [40, 0], [False, True], 80) == [10, 80]
    assert shared_out(0, [400], [False], 80) == [80]


@pytest.mark.parametrize("told, count", [((10**400, 10**400), (2**31 - 1, 64)), ((-5, -5), (0, 1))])
def test_counts_that_cannot_be_are_brought_within_what_can(told, count):
    usage = dict(zip(("prompt_tokens", "completion_tokens"), told, strict=True))
    raw = json.dumps({"choices": [{"message": {"content": "A"}}], "usage": usage}).encode()
    (sample,) = _samples(list(questions(1, 1)), raw)
    assert (sample.prompt_tokens, sample.completion_tokens) == count


def test_a_follow_up_wave_can_wait_for_what_is_in_flight():
    """None means: nothing to draw until something has finished."""
    with serve(delay=0.01) as server:
        one, seen = engine(server.url), Counter()

        def requests():
            waves = list(questions(6, 9))
            for start in (0, 3, 6):
                yield from (r for r in waves if start <= r.index < start + 3)
                while sum(seen.values()) < 6 * (start + 3):
                    yield None

        for answer in one.generate(requests(), IMAGES.__getitem__):
            seen[answer.request_id] += 1
        one.close()
    assert seen == dict.fromkeys([f"q{i}" for i in range(6)], 9)
    assert len(server.calls) == 18
