"""The demo's page in a real browser: type, slide, read what appears; nothing asked for outside, nothing
complained of, fit for a phone; ended by a signal."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from importlib.util import find_spec
from types import SimpleNamespace

import pytest
from cli_support import ROOT, package

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome here"),
    pytest.mark.skipif(
        not (find_spec("gradio") and find_spec("playwright")), reason="pip install -r requirements-demo.txt"
    ),
]
PATIENCE = 240
"""Seconds, on a machine that is busy."""
HOSTILE = "<img src=x onerror=alert(1)>$%7Balert(1)%7D"
TYPED = (
    "<script>alert(1)</script> ${alert(2)} {{alert(3)}} `alert(4)` <img src=//127.0.0.1:9/x onerror=alert(5)>"
)
NOBODY_ASKED = """
import sys
def seen(event, given):
    if event in ("socket.connect", "socket.getaddrinfo"):
        print("OUTSIDE", event, given[1:], file=sys.stderr, flush=True)
sys.addaudithook(seen)
from semcom.commands import cli
sys.exit(cli.run(cli.package, None))
"""
"""The command, telling whom it asks."""
HAS_MOVED = "before => document.querySelector('path.received').getAttribute('d') != before"


@pytest.fixture(scope="module")
def served(teacher, tmp_path_factory):
    """The page of two receivers, one of a hostile name, as a process."""
    folder = tmp_path_factory.mktemp("served")
    other = folder / f"{HOSTILE}.pt"
    shutil.copy(teacher, other)
    command = [sys.executable, "-c", NOBODY_ASKED, "demo", str(teacher), str(other)]
    said = (folder / "said").open("w+")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        command,
        stdout=said,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    end = time.monotonic() + PATIENCE

    def text():
        return (folder / "said").read_text()

    try:
        while not (found := re.search(r"open (http\S+)", text())):
            assert process.poll() is None and time.monotonic() < end, text()
            time.sleep(0.1)
        yield SimpleNamespace(address=found[1], process=process, said=text)
    finally:
        process.kill()
        process.wait()
        said.close()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])


def opened(browser, address, width=1280, **choice):
    """The page, with what it asked for and complained of."""
    context = browser.new_context(viewport={"width": width, "height": 844}, **choice)
    page = context.new_page()
    page.set_default_timeout(1000 * PATIENCE)
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on(
        "console",
        lambda told: page.complaints.append(told.text) if told.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
    page.on("response", lambda got: page.complaints.append(got.url) if got.status >= 400 else None)
    page.goto(address)
    page.wait_for_selector(".receiver")
    return page


def cards(page):
    return page.locator(".sentence .cards").inner_html()


def until_other(page, before):
    """The cards once they are no longer as before."""
    end = time.monotonic() + PATIENCE
    while (now := cards(page)) == before:
        assert time.monotonic() < end, "nothing has changed"
        page.wait_for_timeout(50)
    return now


def asks_nobody_else(page, address):
    return all(url.startswith((address, "data:", "blob:")) for url in page.asked)


def test_a_sentence_is_typed_and_the_noise_moved(served, browser):
    page = opened(browser, served.address)
    first = cards(page)
    page.get_by_label("Sentence").fill("We thank the committee.")
    page.get_by_label("Sentence").press("Enter")
    typed = until_other(page, first)
    assert "committee" in page.locator(".sent").first.inner_text()
    # A tiny untrained teacher says the same whatever it hears; the symbols move.
    faces = page.locator("path.received").first
    before = faces.get_attribute("d")
    page.locator("input[type=range]").first.focus()
    page.keyboard.press("End")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid", "focus is seen"
    page.wait_for_function(HAS_MOVED, arg=before)
    for heading in ("Its fate over SNR", "Symbols on the channel", "Attention of the receiver"):
        assert page.get_by_role("heading", name=heading).is_visible()
    examples = page.locator(".examples button")
    examples.nth(1).click()
    until_other(page, typed)
    assert page.get_by_label("Sentence").input_value() == examples.nth(1).inner_text()
    before = faces.get_attribute("d")
    page.get_by_role("button", name="Other noise").click()
    page.wait_for_function(HAS_MOVED, arg=before)
    assert not page.complaints and asks_nobody_else(page, served.address)


def test_strings_of_strangers_do_nothing(served, browser):
    page = opened(browser, served.address)
    first = cards(page)
    page.get_by_label("Sentence").fill(TYPED)
    page.get_by_label("Sentence").press("Enter")
    until_other(page, first)
    assert "${alert(2)}" in page.locator(".sent").first.inner_text()
    assert "onerror" in page.locator(".receiver .name").nth(1).inner_text()
    assert page.locator(".sentence img, .sentence script").count() == 0
    page.get_by_label("Sentence").fill("a" * 299 + "b")
    page.get_by_label("Sentence").press("Enter")
    page.wait_for_selector(".note.wrong")
    assert not page.complaints and asks_nobody_else(page, served.address)


def test_numbers_that_are_not_allowed_are_told_in_the_page(served, browser):
    page = opened(browser, served.address)
    seed = page.get_by_label("Noise seed")
    for wrong in ("-5", "99999999999999", "1.5"):
        seed.fill(wrong)
        page.locator(".note.wrong", has_text="whole number").wait_for()
        seed.fill("7")
        page.wait_for_selector(".receiver")
    page.locator("input[type=number]").first.fill("")
    page.get_by_role("button", name="Send").click()
    page.locator(".note.wrong", has_text="from −9 to 18").wait_for()
    assert not page.complaints and "Traceback" not in served.said()


def test_chinese_on_a_phone_fits(served, browser):
    page = opened(browser, served.address, width=390, is_mobile=True, color_scheme="dark")
    for language, heading in (("中文", "接收端的注意力"), ("English", "Attention of the receiver")):
        page.get_by_text(language, exact=True).click()
        page.get_by_role("heading", name=heading).wait_for()
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
        assert page.evaluate("document.documentElement.lang") == ("zh" if language == "中文" else "en")
    assert not page.complaints and asks_nobody_else(page, served.address)


def status(address, body=None):
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    try:
        return urllib.request.urlopen(request, timeout=PATIENCE).status
    except urllib.error.HTTPError as error:
        return error.code


def test_nothing_else_is_served(served):
    for path in (
        "gradio_api/file=/etc/passwd",
        "gradio_api/info",
        "gradio_api/upload",
        "gradio_api/startup-events",
    ):
        assert status(f"{served.address}/{path}") == 404
    assert status(f"{served.address}/gradio_api/run/predict", b"{}") == 404
    assert status(f"{served.address}/gradio_api/queue/join", b" " * 70_000) == 413
    assert status(f"{served.address}/gradio_api/queue/join", json.dumps({"fn_index": 0}).encode()) >= 400
    assert served.process.poll() is None


def test_a_port_that_is_taken_is_a_line(served, capsys):
    assert package("demo", "--port", served.address.rpartition(":")[2]) == 2
    assert "leave it out: a free one is chosen" in capsys.readouterr().err


def test_it_asked_nobody_and_ends_by_a_signal(served):
    served.process.send_signal(signal.SIGTERM)
    assert served.process.wait(PATIENCE) == 0
    said = served.said()
    assert said.rstrip().endswith("ended") and "Traceback" not in said
    assert "OUTSIDE" not in said
