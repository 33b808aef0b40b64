"""The HTML report in a real browser: nothing asked for outside, nothing complained of, every picture there,
fit for a phone."""

import base64
import contextlib
import dataclasses
import json
import math
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time

import pytest
from tables_of_rows import of_rows

from semcom.evaluation.frames import frame_of
from semcom.evaluation.intervals import Interval
from semcom.report import look, render
from semcom.report.document import Answer, Column, Document, Figure, Folded, Section, Styled, Text

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.draws,
    pytest.mark.browser,
    pytest.mark.skipif(BROWSER is None, reason="no chromium, chromium-browser or google-chrome here"),
]

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "\\input{/etc/passwd}",
    '=HYPERLINK("http://x")',
    "[a](http://x)",
    "$x$",
    "a|b",
    "x" * 300,
)
SENTENCE = {
    "en": "The receiver knows fewer topics than the transmitter, "
    "so that about one sentence in six loses its meaning.",
    "zh": "接收端掌握的主题少于发送端，因此在深衰落条件下，"
    "大约六分之一的句子会失去原意，其余句子基本不受影响。",
}


def document(language):
    def curve(place):
        canvas = look.canvas(place)
        canvas.subplots().plot([0, 5, 10], [1.2, 0.9, -0.5], marker="o")
        return canvas

    def cloud(place):  # too many points for an SVG in the page
        canvas = look.canvas(place)
        canvas.subplots().scatter(range(4000), [i * i % 997 for i in range(4000)], s=3)
        return canvas

    sentence = SENTENCE[language]
    wide = of_rows(
        "wide",
        sentence,
        [Column("pair"), *(Column(f"{snr} dB", 2) for snr in range(-6, 22, 3)), Column("meaning")],
        [[text, *[Interval(-1.2, -math.inf, 1.4)] * 10, sentence] for text in HOSTILE],
        note=sentence,
    )
    figures = [
        Figure(f"figure_{i}", HOSTILE[i], HOSTILE[i], frame_of([{"x": 1}]), draw)
        for i, draw in enumerate([curve, cloud, curve])
    ]
    return Document(
        f"{HOSTILE[0]} {HOSTILE[-1]}",
        language,
        [Answer(sentence, before=HOSTILE, beside=HOSTILE)],
        [
            Section("first", HOSTILE[1], [Text(sentence), *map(Text, HOSTILE), wide]),
            Section("second", HOSTILE[2], figures),
        ],
        [*zip(HOSTILE, HOSTILE[1:]), ("fingerprint", "9f" * 64)],
    )


ENDS_ARE_3_AND_4 = """import os, sys
for old, new in zip((*map(int, sys.argv[1:3]), 100, 101), (100, 101, 3, 4)):
    os.dup2(old, new)
os.execv(sys.argv[3], sys.argv[3:])"""


class Browser:
    """Chromium by its debugging pipe. complaints: what it logged or threw. requests: addresses it asked
    for."""

    def __init__(self, profile):
        child_in, self.out = os.pipe()
        self.back, child_out = os.pipe()
        self.process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                ENDS_ARE_3_AND_4,
                str(child_in),
                str(child_out),
                BROWSER,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--disable-extensions",
                "--remote-debugging-pipe",
                f"--user-data-dir={profile}",
                "about:blank",
            ],
            pass_fds=(child_in, child_out),
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(child_in)
        os.close(child_out)
        self.number, self.rest, self.session, self.events = 0, b"", None, []
        self.complaints, self.requests = [], []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self.session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")

    def receive(self):
        while b"\0" not in self.rest:
            assert select.select([self.back], [], [], 30)[0], "the browser is silent"
            piece = os.read(self.back, 1 << 20)
            assert piece, "the browser is gone"
            self.rest += piece
        message, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(message)
        match message.get("method"):
            case (
                "Runtime.consoleAPICalled"
                | "Runtime.exceptionThrown"
                | "Log.entryAdded"
                | "Page.javascriptDialogOpening"
            ):
                self.complaints.append(message["params"])
            case "Network.requestWillBeSent":
                self.requests.append(message["params"]["request"]["url"])
        self.events.append(message.get("method"))
        return message

    def __call__(self, method, **parameters):
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters} | (
            {"sessionId": self.session} if self.session else {}
        )
        os.write(self.out, json.dumps(message).encode() + b"\0")
        while (answer := self.receive()).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def open(self, path, width):
        self.complaints.clear()
        self.requests.clear()
        self.events.clear()
        self(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=844,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        self("Page.navigate", url=path.as_uri())
        while "Page.loadEventFired" not in self.events:
            self.receive()
        time.sleep(0.2)  # for what a page does after it is loaded
        self.evaluate("1")

    def evaluate(self, expression):
        answer = self("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def picture(self, path):
        path.write_bytes(base64.b64decode(self("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.out)
        os.close(self.back)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request, tmp_path_factory):
    return render.write(document(request.param), tmp_path_factory.mktemp(request.param))[0]


OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_a_bad_page_is_seen_to_be_bad(browser, tmp_path):
    """The other tests' instruments: they are not blind."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        '<meta name="viewport" content="width=device-width, initial-scale=1"><p style="width:900px">x</p>'
        '<img src="http://127.0.0.1:9/x"><script>console.error("no"); setTimeout(() => nothing())</script>'
    )
    browser.open(bad, 390)
    assert len(browser.complaints) >= 3, "the console's line, the exception and the picture"
    assert "http://127.0.0.1:9/x" in browser.requests
    assert browser.evaluate(OVERFLOW) > 400
    assert browser.evaluate("document.images[0].naturalWidth") == 0


@pytest.mark.parametrize("width", [390, 1200])
def test_the_page_stands_alone_and_fits(browser, page, width):
    browser.open(page, width)
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [page.as_uri()]
    assert browser.evaluate("innerWidth") == width, "a phone does not shrink a desktop's page"
    assert browser.evaluate(OVERFLOW) <= 0
    scrolls = browser.evaluate(
        "[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)"
    )
    assert scrolls == (width > 600), "a wide table scrolls by itself, or is cards on a phone"
    images = browser.evaluate("""Promise.all([...document.images].map(async image => {
        await image.decode(); const box = image.getBoundingClientRect();
        return [image.naturalWidth, image.naturalHeight, box.width, box.height, box.right] }))""")
    assert len(images) == 3
    for natural_width, natural_height, shown_width, shown_height, right in images:
        assert natural_width > 100 and shown_width > 100 and right <= width
        assert natural_width / natural_height == pytest.approx(shown_width / shown_height, rel=0.02)


def test_hostile_strings_are_text(browser, page):
    browser.open(page, 1200)
    text = browser.evaluate("document.body.textContent")
    assert all(string in text for string in HOSTILE)
    assert browser.evaluate("document.title") == f"{HOSTILE[0]} {HOSTILE[-1]}"
    assert browser.evaluate("document.querySelectorAll('script, svg, [onerror], [onload]').length") == 0
    assert browser.evaluate("[...document.images].map(image => image.alt)") == list(HOSTILE[:3])


def test_links_lead_somewhere(browser, page):
    browser.open(page, 1200)
    targets = browser.evaluate(
        "[...document.querySelectorAll('nav a')].map(a => [a.hash, document.querySelector(a.hash)?.tagName])"
    )
    assert targets == [
        ["#first", "DIV"],
        ["#table-wide", "FIGURE"],
        ["#second", "DIV"],
        *([f"#figure-figure_{i}", "FIGURE"] for i in range(3)),
        ["#how-made", "DIV"],
    ]
    downloads = browser.evaluate(
        "Promise.all([...document.querySelectorAll('a[download]')].map(a => [a.download, a.protocol]))"
    )
    assert downloads == [
        ["wide.csv", "data:"],
        *([f"figure_{i}.csv", "data:"] for i in range(3)),
    ]


def test_dark_mode_darkens_the_paper_and_the_pictures(browser, page):
    browser.open(page, 1200)
    look_now = """new Promise(done => setTimeout(done, 200)).then(() => [
        ...[document.body, document.querySelector('.light')].map(
        e => getComputedStyle(e).backgroundColor), document.images[0].currentSrc])"""
    dark_scheme = [{"name": "prefers-color-scheme", "value": "dark"}]
    light = browser.evaluate(look_now)
    browser("Emulation.setEmulatedMedia", features=dark_scheme)
    dark = browser.evaluate(look_now)
    browser("Emulation.setEmulatedMedia", media="print", features=dark_scheme)
    printed = browser.evaluate(look_now)
    browser("Emulation.setEmulatedMedia", media="", features=[])
    white = "rgb(255, 255, 255)"
    assert light == printed and light[:2] == [white, white]
    assert dark[0] != white and dark[2] != light[2]
    assert dark[1] == white, "a picture that has no dark one stands on white"


@pytest.mark.parametrize("width", [390, 1200])
def test_words_and_rules_are_legible(browser, page, width):
    """Sentences in tables wrap at a readable width; numbers stay on one line."""
    browser.open(page, width)
    assert (
        browser.evaluate("Math.min(...[...document.querySelectorAll('td.long')].map(e => e.clientWidth))")
        > 150
    )
    heights = browser.evaluate(
        "[...document.querySelectorAll('td.number')].map(e => { const r = document.createRange(); "
        "r.selectNodeContents(e); "
        "return r.getBoundingClientRect().height })"
    )
    assert max(heights) < 30


def test_a_wide_table_takes_the_width_of_the_page(browser, tmp_path):
    heads = ["发送端", "p（交叉熵）", "BLEU", "KL / 噪声"]
    value = Interval(1234.5678, 1233.1234, 1235.4321)
    rows = [["teacher → encoder", *[value] * 3]] * 3
    table = of_rows("measures", SENTENCE["zh"] * 3, [Column(head, 4) for head in heads], rows)
    small = of_rows("small", SENTENCE["zh"], [Column("p"), Column("n")], [["a", 1]])
    whole = Document("宽表", "zh", [], [Section("first", "一", [table, small])], [("x", "y")])
    page = tmp_path / "wide.html"
    page.write_text(render.html(whole, {}), encoding="utf-8")
    browser.open(page, 1200)
    assert browser.evaluate(OVERFLOW) <= 0
    places = browser.evaluate("""[...document.querySelectorAll('figure .scroll')].map(e => {
        const box = e.getBoundingClientRect();
        return [box.left, box.right, e.scrollWidth - e.clientWidth] })""")
    (left, right, hidden), (left_of_small, right_of_small, _) = places
    assert hidden <= 0 and right - left > 800 > right_of_small - left_of_small
    assert left == left_of_small
    heights = browser.evaluate("[...document.querySelectorAll('thead th')].map(e => e.clientHeight)")
    assert max(heights) == min(heights[:4]) < 40, "short heads stand on one line"
    browser.open(page, 390)
    assert browser.evaluate(OVERFLOW) <= 0


HEADS = ("transmitter → receiver", "BLEU", "KL, nats a token", "price, dB", "p", "seeds")


def answered():
    """A report as it usually is: an answer, a matrix, many numbers, what is folded."""

    def curves(place):
        canvas, panels = look.panels(place, 2)
        for panel in panels:
            panel.plot([0, 6, 12, 18], [9, 20, 28, 31], label="teacher")
        return canvas

    names = ["teacher → teacher", "teacher → decoder student, T=4", "encoder student, T=4, 1 layer → teacher"]
    value = Styled(Interval(33.1, 32.0, 34.25), bold=True, marks="*")
    first = of_rows(
        "first",
        "At 12 dB, with 95 % intervals.",
        [Column(HEADS[0]), *(Column(head, 1) for head in HEADS[1:])],
        [[name, *[value] * 3, 0.012, 3] for name in [*names, "full student, T=4 → full student, T=4"]],
        note=SENTENCE["en"],
    )
    shaded = [[name, *[Styled(Interval(0.5, 0.25, 0.75), shade=0.9)] * 9] for name in names]
    grid = of_rows("grid", "KL.", [Column("transmitter ↓ receiver →"), *[Column(names[1], 2)] * 9], shaded)
    many = of_rows(
        "many", "By SNR.", [Column("pair"), *[Column("12", 2)] * 20], [[name, *[0.25] * 20] for name in names]
    )
    figure = Figure("curves", "BLEU and KL by SNR.", "Two panels.", frame_of([{"x": 1}]), curves)
    answer = Answer(SENTENCE["en"], figure, first, beside=["Another draw: 0.07 [0.06, 0.08]."] * 3)
    sections = [
        Section("matrix", "Transmitter × receiver", [grid, many]),
        Section(
            "other",
            "Others",
            [Text("An x."), Folded("At 6 dB", [Text("Deep."), dataclasses.replace(many, name="deep")])],
        ),
    ]
    return Document("Semantic divergence", "en", [answer], sections, [("seed", "7")])


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    return render.write(answered(), tmp_path_factory.mktemp("usual"))[0]


OPEN_ALL = "document.querySelectorAll('details').forEach(each => { each.open = true })"


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_a_usual_page_fits_every_screen_and_asks_for_nothing(browser, usual, width):
    browser.open(usual, width)
    assert browser.evaluate(OVERFLOW) <= 0
    browser.evaluate(OPEN_ALL)
    assert browser.evaluate(OVERFLOW) <= 0
    assert browser.complaints == []
    assert [url for url in browser.requests if not url.startswith("data:")] == [usual.as_uri()]


def test_the_first_screen_is_the_answer_alone(browser, usual):
    browser.open(usual, 1280)
    browser("Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False)
    bottom, contents = browser.evaluate("""[document.querySelector('.beside').getBoundingClientRect().bottom,
        document.querySelector('nav').getBoundingClientRect().top]""")
    assert bottom <= 800 <= contents


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_first_table_shows_its_numbers_at_once(browser, usual, width):
    browser.open(usual, width)
    places = browser.evaluate("""[...document.querySelectorAll('.answer td')].map(e => {
        const text = document.createRange(), around = e.closest('.scroll').getBoundingClientRect();
        text.selectNodeContents(e);
        const box = text.getBoundingClientRect();
        return [Math.max(0, around.left), box.left, box.right, Math.min(innerWidth, around.right)] })""")
    assert len(places) == 4 * (3 * 2 + 2)
    for left, begins, ends, right in places:
        assert left <= begins < ends <= right + 0.5
    heads = browser.evaluate(
        "[...document.querySelectorAll('.answer tr:last-child [data-label]')].map(e => "
        "getComputedStyle(e, '::before').content)"
    )
    assert heads == ([f'"{head}"' for head in HEADS[1:]] if width == 390 else ["none"] * 5)


@pytest.mark.parametrize("name", ["grid", "many"])
def test_what_does_not_fit_scrolls_beside_its_first_column(browser, usual, name):
    browser.open(usual, 390)
    browser.evaluate(OPEN_ALL)
    first, second, hidden = browser.evaluate(f"""new Promise(done => {{
        const box = document.querySelector('#table-{name} .scroll');
        const places = () => [...box.querySelectorAll('tbody tr:first-child > *')].slice(0, 2).map(
            e => e.getBoundingClientRect().left);
        const before = places();
        box.scrollLeft = 90;
        setTimeout(() => done([[before[0], places()[0]], [before[1], places()[1]],
            box.scrollWidth - box.clientWidth]), 100)}})""")
    assert first[0] == first[1] and second[1] == second[0] - 90 and hidden > 90
    name_width = browser.evaluate(f"document.querySelector('#table-{name} tbody th').clientWidth")
    assert name_width < 0.45 * 390, "numbers have most of the screen"


SEEN = "[...document.querySelectorAll('.within p')].map(e => [e.innerText, e.checkVisibility()])"


@pytest.mark.parametrize("address", ["#other", "#table-deep", "#how-made"])
def test_an_address_opens_what_is_folded(browser, usual, address):
    browser.open(usual, 1280)
    assert browser.evaluate("[...document.querySelectorAll('details')].filter(e => e.open).length") == 0
    browser.evaluate(f"location = '{address}'")
    target = f"document.querySelector('{address}')"
    time.sleep(0.1)
    assert browser.evaluate(f"{target}.checkVisibility()")
    assert 0 <= browser.evaluate(f"{target}.getBoundingClientRect().top") < 844


def test_print_opens_everything(browser, usual):
    browser.open(usual, 1280)
    closed = browser.evaluate(SEEN)
    browser("Emulation.setEmulatedMedia", media="print")
    printed = browser.evaluate(SEEN)
    browser("Emulation.setEmulatedMedia", media="")
    assert not any(seen for _, seen in closed)
    assert all(seen for _, seen in printed) and len(printed) == 2


def test_a_shaded_number_can_be_read_in_the_light_and_in_the_dark(browser, usual):
    for scheme in ("light", "dark"):
        browser("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.open(usual, 1280)
        browser.evaluate(OPEN_ALL)
        ink, shade, paper = browser.evaluate("""(() => {
            const cell = getComputedStyle(document.querySelector('.shaded td'));
            return [cell.color, cell.backgroundColor,
                getComputedStyle(document.body).backgroundColor] })()""")
        assert contrast(ink, over(shade, paper)) > 4.5, "as WCAG asks for"
    browser("Emulation.setEmulatedMedia", features=[])


@pytest.mark.parametrize("width", [390, 1280])
def test_heads_of_a_grid_overprint_nothing(browser, usual, width):
    browser.open(usual, width)
    browser.evaluate(OPEN_ALL)
    overflows = browser.evaluate("""[...document.querySelectorAll('.shaded thead th')].map(e => {
        const text = document.createRange();
        text.selectNodeContents(e);
        return text.getBoundingClientRect().right - e.getBoundingClientRect().right })""")
    assert len(overflows) == 10 and max(overflows) <= 0.5


def parts(colour):
    return [float(part) for part in re.findall(r"[0-9.]+", colour)]


def over(shade, paper):
    *above, share = parts(shade)
    return [share * a + (1 - share) * b for a, b in zip(above, parts(paper))]


def contrast(ink, ground):
    """By WCAG 2.2's definition of relative luminance."""

    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
        return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear))

    ours, theirs = (luminance([c / 255 for c in colour]) + 0.05 for colour in (parts(ink), ground))
    return max(ours, theirs) / min(ours, theirs)
