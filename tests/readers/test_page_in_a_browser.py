"""The page of a reader in a real browser, where there is one: what clicks, keys and a crash leave behind."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from readers_kit import tiny_study

from napari_sslmaps.readers.study import PAGES, Question

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
websocket = pytest.importorskip("tornado.websocket")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1366,700")
HELPERS = """
const wait = ms => new Promise(done => setTimeout(done, ms));
const press = key => document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const button = (at, row) => document.querySelectorAll(".ask")[row].querySelectorAll("button")[at];
const seen = more => ({ focus, answers: { ...state.answers[trial().id] }, ...more });
$("go").click();
"""
READY = 'document.readyState === "complete" && typeof S === "object" && !$("go").disabled'


class Visit:
    """Visits to one page by one browser, whose profile stays; each ends with its death."""

    def __init__(self, page: Path, profile: Path) -> None:
        self.page, self.profile = page, profile

    def __call__(self, steps: str) -> dict:
        """Go on with the page, run steps on it, return what they return, and kill the browser."""
        port = self.profile / "DevToolsActivePort"
        port.unlink(missing_ok=True)
        given = (*FLAGS, "--remote-debugging-port=0", f"--user-data-dir={self.profile}", self.page.as_uri())
        with subprocess.Popen(
            [BROWSER, *given], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        ) as browser:
            try:
                return asyncio.run(_walked(port, steps))
            finally:
                os.killpg(browser.pid, signal.SIGKILL)


async def _walked(port: Path, steps: str) -> dict:
    connection = await websocket.websocket_connect(_address(port), max_message_size=2**26)

    async def told(expression: str) -> Any:
        asked = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        await connection.write_message(json.dumps({"id": 1, "method": "Runtime.evaluate", "params": asked}))
        result = json.loads(await asyncio.wait_for(connection.read_message(), 60))["result"]
        assert "exceptionDetails" not in result, result
        return result["result"]["value"]

    try:
        while not await told(READY):
            await asyncio.sleep(0.05)
        return await told(f"(async () => {{ {HELPERS} {steps} }})()")
    finally:
        connection.close()
        await connection.read_message()  # none is left: it is closed


def _address(port: Path) -> str:
    """Return where the browser listens to what is asked of its page, once it does."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with suppress(OSError, ValueError, IndexError):
            number = port.read_text().split()[0]
            with urlopen(f"http://127.0.0.1:{number}/json/list") as answer:
                return next(one for one in json.load(answer) if one["type"] == "page")["webSocketDebuggerUrl"]
        time.sleep(0.1)
    raise TimeoutError("the browser does not listen")


def visit_of(tmp_path: Path, design: str, **options) -> Visit:
    study = tiny_study(tmp_path / "study", design, **options)
    page = tmp_path / "study" / PAGES / f"reader-{study.readers[0].code}.html"
    return Visit(page, tmp_path / "profile")


def test_after_a_crash_answers_are_there_and_keys_go_on_at_the_first_open_one(tmp_path):
    visit = visit_of(tmp_path, "rating")
    first = visit("press('4'); press('2'); await wait(200); return seen();")
    assert list(first["answers"].values()) == [4, 2]
    again = visit("const before = seen(); press('5'); return { before, after: seen() };")
    assert (again["before"]["answers"], again["before"]["focus"]) == (first["answers"], 2)
    assert list(again["after"]["answers"].values()) == [4, 2, 5]


TWO = (Question("marks", "Does it mark it?"), Question("smooth", "Is it smooth?"))


def test_of_two_questions_each_has_its_own_buttons_with_its_number(tmp_path):
    told = visit_of(tmp_path, "pairwise", asked=TWO)(
        "const rows = [...document.querySelectorAll('.ask')].map(one => one.textContent);"
        "button(1, 1).click(); press('b'); return seen({ rows });"
    )
    assert told["rows"] == ["1.A is betterEqualB is better", "2.A is betterEqualB is better"]
    assert told["answers"] == {"smooth/": "=", "marks/": "B"}


def test_of_two_questions_about_sets_each_has_a_best_and_a_worst(tmp_path):
    told = visit_of(tmp_path, "best-worst", asked=TWO)(
        "const rows = [...document.querySelectorAll('.panel:last-child .ask')].map(one => one.textContent);"
        "press('a'); press('b'); press('c'); press('a'); const end = seen({ rows, done: complete(trial()) });"
        "return end;"
    )
    assert told["rows"] == ["1.bestworst", "2.bestworst"]
    assert told["answers"] == {"marks/best": "A", "marks/worst": "B", "smooth/best": "C", "smooth/worst": "A"}
    assert told["done"]


def test_a_line_has_no_handle_before_it_is_answered_and_its_middle_can_be_chosen(tmp_path):
    visual = (Question("marks", "Does it mark it?", "no", "yes", "visual"),)
    told = visit_of(tmp_path, "rating", asked=visual)(
        "const line = () => document.querySelector('.ask input'); const before = line().className;"
        "line().click(); return seen({ before, after: line().className });"
    )
    assert (told["before"], told["after"]) == ("open", "")
    assert list(told["answers"].values()) == [50]


def test_next_is_in_view_whatever_is_asked(tmp_path):
    many = tuple(Question(f"q{n}", "Does the map mark what you would look at? " * 3) for n in range(4))
    told = visit_of(tmp_path, "pairwise", asked=many)(
        "await wait(100); const main = document.querySelector('main');"
        "return { tall: main.scrollHeight - main.clientHeight };"
    )
    assert told["tall"] <= 1


def test_after_the_last_screen_enter_saves(tmp_path):
    told = visit_of(tmp_path, "pairwise", images=1, readers=1)(
        "for (const _ of S.trials) { press('a'); press('Enter'); }"
        "const said = $('words').textContent, saving = document.activeElement.id;"
        "document.activeElement.click(); return { said, saving, after: $('words').textContent };"
    )
    assert told["saving"] == "save2"
    assert told["after"].startswith("Saved as answers-")


def test_undo_brings_back_what_an_answer_had_emptied(tmp_path):
    told = visit_of(tmp_path, "best-worst")(
        "const all = []; press('a'); press('b'); focus = 1; press('a'); all.push(seen().answers);"
        "press('u'); all.push(seen().answers); press('u'); all.push(seen().answers); return all;"
    )
    best, worst = "/best", "/worst"
    short = [{name[name.index("/") :]: value for name, value in one.items()} for one in told]
    assert short == [{worst: "A"}, {best: "A", worst: "B"}, {best: "A"}]


def test_the_page_shows_whether_a_letter_is_the_best_or_the_worst(tmp_path):
    told = visit_of(tmp_path, "best-worst")(
        "const next = () => [...document.querySelectorAll('.ask button.next')].map(one => one.textContent);"
        "const before = next(); press('a'); return [before, next()];"
    )
    assert [set(one) for one in told] == [{"best"}, {"worst"}]


def test_what_is_answered_stands_below_the_middle_of_its_map(tmp_path):
    told = visit_of(tmp_path, "rating")(
        "await wait(100);"
        "const middle = one => { const box = one.getBoundingClientRect(); return box.x + box.width / 2; };"
        "const panels = [...document.querySelectorAll('.panel')];"
        "return panels.map(panel => [...panel.querySelectorAll('.view, .ask')].map(middle));"
    )
    assert all(abs(at - panel[0]) <= 1 for panel in told for at in panel)
