"""The page in a real browser: filters, pictures, hostile text, no error on its console, nothing fetched."""

from __future__ import annotations

import io
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pyarrow as pa
import pytest
from PIL import Image

from curator import look, report
from curator.builds import Runtime
from curator.decontaminate import REASONS
from curator.recipe import compose
from curator.workspace import Workspace
from openai_server import serve

HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> & </script> \u2028"
QUESTIONS = 60


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A build's tables made by hand, so that every kind of row is there, hostile text included."""
    place = Workspace(tmp_path_factory.mktemp("build"))
    picture = io.BytesIO()
    Image.effect_noise((80, 60), 40).convert("RGB").save(picture, "PNG")
    sha = "a" * 64
    ids = [f"s:train:{i}" for i in range(QUESTIONS)]
    kept = [i % 10 != 9 for i in range(QUESTIONS)]
    funnel = {"stage": "ingest", "rows_in": QUESTIONS, "rows_out": QUESTIONS, "reasons": {}, "note": ""}
    listy = pl.List(pl.String)
    with place:
        ingest = pl.DataFrame(
            {
                "id": ids, "keep": [True] * QUESTIONS, "reason": [""] * QUESTIONS, "evidence": [""] * QUESTIONS,
                "question": [HOSTILE if i == 0 else f"What is shown in film {i}?" for i in range(QUESTIONS)],
                "options": [["Left", HOSTILE], *[["Left", "Right"]] * (QUESTIONS - 1)], "answer_label": ["B"] * QUESTIONS,
                "answer": ["Right"] * QUESTIONS, "answer_type": ["choice"] * QUESTIONS, "flags": [[]] * QUESTIONS,
                "images": [[sha] if i % 2 == 0 else [] for i in range(QUESTIONS)], "source": ["one", "two"] * (QUESTIONS // 2),
                "source_split": ["train"] * QUESTIONS, "license": ["cc0-1.0"] * QUESTIONS, "language": ["en"] * QUESTIONS,
            },
            schema_overrides={"flags": listy, "images": listy, "options": listy},
        )  # fmt: skip
        place.write_stage("ingest", ingest, {"key": "1", "funnel": funnel}, {"held_out": ingest.head(0)})
        with pa.OSFile(str(place.blobs), "wb") as sink:
            schema = pa.schema([("sha256", pa.string()), ("data", pa.large_binary())])
            with pa.ipc.new_file(sink, schema) as writer:
                writer.write_table(pa.table({"sha256": [sha], "data": [picture.getvalue()]}, schema=schema))
        verdicts = {
            "id": ids, "keep": kept, "reason": ["" if k else "duplicate" for k in kept],
            "evidence": ["" if k else json.dumps({"of": ids[0]}) for k in kept],
        }  # fmt: skip
        images = pl.DataFrame({**verdicts, "keep": [True] * QUESTIONS, "reason": [""] * QUESTIONS})
        place.write_stage("images", images, {"key": "2", "funnel": {**funnel, "stage": "images"}}, {})
        pairs = pl.DataFrame({"id_a": [ids[0]], "id_b": [ids[9]], "jaccard": [0.9], "kind": ["near-duplicate"]})
        line = {**funnel, "stage": "dedup", "rows_out": sum(kept), "reasons": {"duplicate": QUESTIONS - sum(kept)}}
        clusters = pl.DataFrame({"cluster": [ids[0]] * 2, "id": [ids[0], ids[9]], "jaccard": [1.0, 0.9]})
        tables = {"pairs": pairs, "clusters": clusters}
        place.write_stage("dedup", pl.DataFrame(verdicts), {"key": "3", "funnel": line}, tables)
        traces = pl.DataFrame(
            {
                "id": [ids[0]], "teacher": [HOSTILE], "index": [0], "reasoning": [HOSTILE], "label": ["A"], "tokens": [9],
                "accepted": [False], "chosen": [False], "reason": ["wrong"], "agreement": [1.0],
            }
        )  # fmt: skip
        place.write_stage("distill", images.head(0), {"key": "4"}, {"traces": traces})
    report.write(place)
    return place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("needs Debian's chromium and chromium-driver (CI installs them)")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--window-size=1200,900",
    ):  # fmt: skip
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driven = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield driven
    driven.quit()


def pages(browser: Any, place: Workspace) -> None:
    browser.get((place.path / "report.html").as_uri())


def cards(browser: Any) -> list[Any]:
    return list(browser.find_elements("tag name", "article"))


def opened(browser: Any) -> None:
    """Open every fold; what some hold comes with the event of it, which the browser sends when it has time."""
    browser.execute_async_script("""
        const [done] = arguments, folds = [...document.querySelectorAll('details:not([open])')];
        const heard = folds.map(one => new Promise(next => one.addEventListener('toggle', next, { once: true })));
        for (const one of folds) one.open = true;
        Promise.all(heard).then(() => done());
    """)


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A phantom build whose solver and teacher are a loopback server, with blind samples."""
    import curator

    home = tmp_path_factory.mktemp("traced")
    with serve(models=("phantom", "teacher")) as server:
        asked = {"model": "phantom", "servers": [server.url], "samples": 4, "blind": True}
        changes = {
            "score": asked,
            "select": {"difficulty": ["easy", "medium"]},
            "distill": {**asked, "model": "teacher", "blind": False, "samples": 3, "min_tokens": 2},
        }
        runtime = Runtime(out=home / "b", store=home / "s.sqlite")
        return Workspace(curator.build(compose("phantom", [], changes), runtime).path)


def test_sample_answers_and_traces_are_shown_with_their_grades(traced: Workspace, browser: Any) -> None:
    from selenium.webdriver.support.ui import Select

    pages(browser, traced)
    Select(browser.find_element("id", "stage")).select_by_value("-")
    opened(browser)
    said = [one.text for one in browser.find_elements("css selector", "article .said")]
    kinds = {text.split()[0].rstrip(":") for text in said}
    assert {"right", "wrong", "chosen", "rejected"} <= kinds
    assert any("without the images" in text for text in said)
    keys = dict(look.life(traced).select("id", "answer_label").iter_rows())
    checked = 0
    for card in cards(browser)[:8]:
        key = keys[card.find_element("tag name", "h3").text]
        for one in card.find_elements("css selector", ".said.right, .said.chosen, .said.wrong"):
            about, kind = one.find_element("tag name", "span").text, one.get_attribute("class").split()[1]
            assert (f"answers {key}" in about) == (kind != "wrong"), (kind, about, key)
            checked += 1
    assert checked > 8
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []


def test_the_figures_are_on_the_page_and_beside_it(traced: Workspace, browser: Any) -> None:
    pages(browser, traced)
    names = {"funnel", "difficulty", "blind", "sources", "traces", "rejected", "lengths"}
    assert {path.stem for path in (traced.path / "figures").glob("*.svg")} == names
    for path in (traced.path / "figures").glob("*.svg"):
        assert ElementTree.fromstring(path.read_text("utf-8")).tag.endswith("svg")
    assert len(browser.find_elements("css selector", "figure svg")) == len(names)
    text = browser.find_element("tag name", "main").text
    facts = (traced.facts("distill") or {})["traces"]
    assert f"{facts['questions_with_trace']} of {facts['questions']} selected questions have a trace" in text


@pytest.mark.parametrize("audit", [0.3, 0.0])
def test_where_drawing_stopped_early_page_figures_and_card_are_of_the_audited_rows(
    tmp_path: Path, audit: float
) -> None:
    import curator
    from curator.difficulty import basis

    with serve(models=("phantom",)) as server:
        asked = {"servers": [server.url], "samples": 8, "stop": "exact", "audit": audit, "blind": True}
        recipe = compose("phantom", [], {"sources": {"limit": 80}, "score": asked})
        place = Workspace(curator.build(recipe, Runtime(out=tmp_path / "b", store=tmp_path / "s.sqlite")).path)
    rows = look.life(place)
    full = rows.filter(pl.col("stop_rule") == "full")
    said = basis(dict(rows["stop_rule"].drop_nulls().value_counts().iter_rows()))
    assert "stopped drawing early (rule exact)" in said
    assert said in (place.path / "report.html").read_text("utf-8")
    assert said in (place.release / "README.md").read_text("utf-8")
    figures = {path.stem: path.read_text("utf-8") for path in (place.path / "figures").glob("*.svg")}
    if not audit:
        assert full.is_empty() and set(figures) == {"funnel"} and "there is no average" in said
        return
    assert 0 < full.height < rows["stop_rule"].count() and f"over {full.height} rows audited in full" in said
    assert all(f", {full.height} rows audited in full" in figures[name] for name in ("difficulty", "sources"))
    pictured = full["blind_sample_count"].count()
    assert f"without the images, {pictured} rows audited in full" in figures["blind"]


def test_leaks_and_clusters_stand_side_by_side(traced: Workspace, browser: Any) -> None:
    pages(browser, traced)
    opened(browser)
    leaks = browser.find_elements("css selector", "#leaks-list .pair")
    kinds = traced.read_stage("decontaminate", "report")["kind"].unique().to_list()
    assert {leak.text.split(",")[0] for leak in leaks} == {REASONS[kind] for kind in kinds}, "the funnel's reasons"
    assert {kind for kind in kinds for leak in leaks if f"how: {kind}" in leak.text} == set(kinds)
    assert all(len(leak.find_elements("css selector", ".sides > div")) == 2 for leak in leaks)
    clusters = traced.read_stage("dedup", "clusters")
    groups = [
        group
        for group in browser.find_elements("css selector", "#pairs-list .pair")
        if group.text.startswith("duplicates")
    ]
    assert len(groups) == min(report.PAIRS, clusters["cluster"].n_unique())
    assert all("(kept)" in group.text for group in groups)


def test_a_page_without_its_rollout_store_shows_no_answers(traced: Workspace, tmp_path: Path) -> None:
    from curator import answered

    rows = look.life(traced)
    assert answered.samples(traced, rows)
    run = json.loads((traced.path / "run.json").read_text())
    (traced.path / "run.json").write_text(json.dumps({**run, "store": str(tmp_path / "none.sqlite")}))
    assert answered.samples(traced, rows) == {} and not (tmp_path / "none.sqlite").exists()
    (tmp_path / "broken.sqlite").write_text("no database at all, but text")
    (traced.path / "run.json").write_text(json.dumps({**run, "store": str(tmp_path / "broken.sqlite")}))
    assert answered.samples(traced, rows) == {}
    (traced.path / "run.json").write_text(json.dumps(run))


def test_the_page_is_one_file_that_fetches_nothing(workspace: Workspace) -> None:
    text = (workspace.path / "report.html").read_text("utf-8")
    assert "default-src 'none'" in text
    assert 'src="http' not in text and 'href="http' not in text
    assert "<script>document.title" not in text


def test_hostile_text_is_shown_as_text_and_nothing_is_logged(workspace: Workspace, browser: Any) -> None:
    pages(browser, workspace)
    first = cards(browser)[0]
    opened(browser)
    assert first.text.count("<script>document.title='owned'</script>") == 4, "question, option, teacher and trace"
    assert browser.title != "owned" and not browser.find_elements("css selector", "article script")
    assert [line for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")] == []


def test_an_image_is_really_shown(workspace: Workspace, browser: Any) -> None:
    pages(browser, workspace)
    image = browser.find_element("css selector", "article img")
    for _ in range(50):
        if browser.execute_script("return arguments[0].complete && arguments[0].naturalWidth", image):
            break
        time.sleep(0.05)
    assert browser.execute_script("return arguments[0].naturalWidth", image) == 80


def test_filters_and_keys(workspace: Workspace, browser: Any) -> None:
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.ui import Select

    pages(browser, workspace)
    count = browser.find_element("id", "count")
    assert count.text == f"{QUESTIONS} questions"
    Select(browser.find_element("id", "source")).select_by_value("two")
    assert count.text == f"{QUESTIONS // 2} questions"
    Select(browser.find_element("id", "reason")).select_by_value("duplicate")
    assert count.text == "6 questions" and all("dropped at dedup: duplicate" in card.text for card in cards(browser))
    Select(browser.find_element("id", "source")).select_by_value("")
    Select(browser.find_element("id", "reason")).select_by_value("")
    Select(browser.find_element("id", "stage")).select_by_value("-")
    assert count.text == f"{QUESTIONS - 6} questions"
    body = browser.find_element("tag name", "body")
    body.send_keys("n")
    assert browser.find_element("id", "page").text.startswith("page 2 of")
    body.send_keys("j")
    assert browser.switch_to.active_element.tag_name == "article"
    browser.switch_to.active_element.send_keys("/")
    find = browser.switch_to.active_element
    assert find.get_attribute("id") == "find"
    find.send_keys("film 12", Keys.ENTER)
    assert count.text == "1 question" and "film 12" in cards(browser)[0].text


def test_the_page_is_bounded_whatever_the_build(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(report._thumbnails(workspace, ["a" * 64])) == {"a" * 64}
    monkeypatch.setattr(report, "IMAGE_BYTES", -1)
    assert report._thumbnails(workspace, ["a" * 64]) == {}
    many = report.ROWS * 3
    dropped = [f"stage{i % 7}" if i > 50 else None for i in range(many)]
    reasons = [f"rare{i}" if i % 1000 == 999 else "often" if at else None for i, at in enumerate(dropped)]
    ids = [f"x:{i}" for i in range(many)]
    rows = pl.DataFrame(
        {"id": ids, "question": ids, "source": ["s"] * many, "dropped_at": dropped, "dropped_for": reasons}
    )
    shown = report._chosen(rows)
    assert shown.height <= report.ROWS + 200
    kinds = ["dropped_at", "dropped_for"]
    assert shown.select(kinds).unique().height == rows.select(kinds).unique().height


def test_it_fits_a_phone(workspace: Workspace, browser: Any) -> None:
    browser.set_window_size(500, 900)  # headless Chromium goes no narrower: the inner page is told 360 below
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    )
    pages(browser, workspace)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 360
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.set_window_size(1200, 900)


def test_the_page_of_real_vqa_rad_opens(real_data: Path, tmp_path: Path, browser: Any) -> None:
    from selenium.webdriver.support.wait import WebDriverWait

    import curator

    changes = {"sources": {"data_dir": str(real_data / "vqa_rad")}, "score": {"samples": 0}}
    result = curator.build(compose("vqa-rad", [], changes), Runtime(out=tmp_path / "vqa-rad"))
    page = result.path / "report.html"
    assert page.stat().st_size < 12_000_000
    browser.get(page.as_uri())
    WebDriverWait(browser, 60).until(cards)  # a busy machine takes its time
    assert "leak-image" in browser.page_source and browser.find_element("id", "leaks").is_displayed()
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
