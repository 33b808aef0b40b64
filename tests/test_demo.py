"""The demo without its page: what is asked and refused, what is shown, who may ask the server."""

import asyncio
import html
import json
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from cli_support import ROOT, package
from test_heard_sentence import SENTENCE, models

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.channel.settings import ChannelConfig
from semcom.commands import demo, demo_answers, demo_examples, demo_models, demo_server
from semcom.commands.demo_answers import Answers
from semcom.commands.demo_settings import DemoSettings
from semcom.commands.dial_stops import Stops
from semcom.commands.thinned_receiver import thinned
from semcom.evaluation.heard_sentence import Heard, hear
from semcom.evaluation.parting import Parting
from semcom.evaluation.path_stops import Stop
from semcom.models import checkpoint
from semcom.report import look, sentence_page, sentence_pictures

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>",
    '"><svg onload=alert(1)>',
    "${alert(1)}",
    "{{constructor}}",
    "`a`",
    "\u202eback\x1b[31m",
)


@pytest.fixture(scope="module")
def answers():
    return Answers(models(0.0, 0.3), ChannelConfig())


def text_of(fragment):
    return re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", " ", fragment)))


# --- what is asked


def test_an_answer_says_what_hear_says(answers):
    _, cards, pictures = answers.answer(SENTENCE, "awgn", 6, 3, 0, "en")
    for heard in hear(answers.models, SENTENCE, AWGN(), 6.0, 3):
        assert heard.label in cards and heard.text in text_of(cards).replace("  ", " ")
        assert f"{heard.lost} of {len(heard.marked)} words lost" in text_of(cards)
    for heading in ("Where they part", "Its fate over SNR", "Symbols on the channel", "Attention"):
        assert heading in pictures


def test_each_circumstance_changes_it(answers):
    asked = {"channel": "awgn", "snr": 0, "seed": 3, "stop": 0, "language": "en"}
    first = answers.answer(SENTENCE, **asked)
    assert answers.answer(SENTENCE, **asked) == first
    for change in ({"channel": "rayleigh"}, {"snr": 12.5}, {"seed": 4}, {"language": "zh"}):
        assert answers.answer(SENTENCE, **{**asked, **change}) != first


def test_in_chinese_no_english_is_left(answers):
    _, cards, pictures = answers.answer(SENTENCE, "awgn", 6, 3, 0, "zh")
    words = set(re.findall(r"[A-Za-z]{2,}", text_of(cards + pictures)))
    sent = set(re.findall(r"[a-z]+", SENTENCE.lower()))
    known = {word for c in answers.models.values() for word in c.vocabulary.spelled(range(len(c.vocabulary)))}
    assert words - known - sent <= {"chrF", "dB", "unk", "UNK"}


@pytest.mark.parametrize(
    "change, words",
    [
        ({"text": " \u200b"}, "Type a sentence"),
        ({"text": None}, "Type a sentence"),
        ({"text": "a" * 301}, "301 characters, 300 are allowed"),
        ({"text": "we " * 100 + "a"}, "too long"),
        ({"channel": "smoke"}, "no such channel"),
        ({"channel": ["awgn"]}, "no such channel"),
        ({"snr": float("nan")}, "from −9 to 18"),
        ({"snr": 1e9}, "from −9 to 18"),
        ({"snr": "6"}, "from −9 to 18"),
        ({"seed": -1}, "whole number"),
        ({"seed": 1.5}, "whole number"),
        ({"seed": True}, "whole number"),
    ],
)
def test_what_is_not_allowed_is_told(answers, change, words):
    given = {"text": SENTENCE, "channel": "awgn", "snr": 6, "seed": 3, "stop": 0, "language": "en", **change}
    _, cards, pictures = answers.answer(**given)
    assert words in text_of(cards) and 'class="note wrong"' in cards and pictures == ""


def test_a_dial_or_language_that_there_is_not_is_the_first(answers):
    usual = answers.answer(SENTENCE, "awgn", 6, 3, 0, "en")
    assert answers.answer(SENTENCE, "awgn", 6, 3, 10**9, {"x": 1}) == usual


def test_a_fault_is_told_on_the_console_and_not_to_the_visitor(answers, monkeypatch, caplog):
    monkeypatch.setattr(demo_answers, "hear", lambda *given: 1 / 0)
    _, cards, _ = answers.answer(SENTENCE, "awgn", 6, 3, 0, "en")
    assert "console says what" in text_of(cards) and "Zero" not in cards
    assert "ZeroDivisionError" in caplog.text


def test_curves_are_computed_once(answers, monkeypatch):
    answers.answer(SENTENCE, "awgn", 1, 9, 0, "en")
    monkeypatch.setattr(demo_answers, "fate", None)
    assert "polyline" in answers.answer(SENTENCE, "awgn", 2, 9, 0, "en")[2]


def test_a_machine_that_is_too_busy_leaves_the_curve_out(answers, monkeypatch):
    monkeypatch.setattr(demo_answers, "SECONDS", -1)
    assert "too busy" in answers.answer(SENTENCE, "awgn", 1, 9, 0, "en")[2]


def test_one_receiver_parts_from_none():
    alone = Answers(models(0.0), ChannelConfig())
    assert "second receiver" in alone.answer(SENTENCE, "awgn", 6, 3, 0, "en")[2]


def stops_of(made):
    stops = [Stop(k / 2, ("start", "best"), 0.6 - k / 5, 10.0 + k, c) for k, c in enumerate(made.values())]
    return Stops(next(iter(made.values())), "learning", stops, 7, 12.0, "awgn", "")


def test_the_dial_moves_one_receiver_alone():
    made = models(0.0, 0.1, 0.4)
    dialled = Answers({"a": made["n0.0"]}, ChannelConfig(), stops_of(made))
    for stop, name in enumerate(made):
        reading, cards, _ = dialled.answer(SENTENCE, "awgn", 6, 3, stop, "en")
        assert f"{50 * stop} % of the way KL 0.{6 - 2 * stop}0 BLEU {10 + stop}.0" in text_of(reading)
        texts = [one.text for one in hear({"a": made["n0.0"], "b": made[name]}, SENTENCE, AWGN(), 6.0, 3)]
        assert all(text in text_of(cards) for text in texts) and "dialled hybrid" in cards
    assert "调节" in dialled.answer(SENTENCE, "awgn", 6, 3, 0, "zh")[1]


def test_a_sentence_that_parts_them_is_the_first(answers):
    alike = Answers({"a": (c := models(0.0)["n0.0"]), "b": c}, ChannelConfig())
    assert alike.first_seen(["we", SENTENCE], 3) == (["we", SENTENCE], 6.0)
    texts = ["we", SENTENCE, "we support"]
    found, snr = answers.first_seen(texts, 3)
    first = hear(answers.models, found[0], AWGN(), snr, 3)
    assert first[0].text != first[1].text and sorted(found) == sorted(texts)


def test_what_the_dial_says_does_not_choose_the_first_sentence():
    made = models(0.0, 0.1, 0.4)
    c = made["n0.0"]
    alike = Answers({"a": c, "b": c}, ChannelConfig(), stops_of(made))
    assert alike.first_stop == 1
    assert alike.first_seen(["we", SENTENCE], 3) == (["we", SENTENCE], 6.0)


def test_what_a_clone_shows_first_is_understood_differently():
    cast = demo_models.cast_of((str(ROOT / "checkpoints/teacher.pt"),), torch.device("cpu"))
    (c,) = cast.models.values()
    both = Answers({"teacher": c, "fewer": thinned(c)}, ChannelConfig())
    texts, snr = both.first_seen(demo_examples.examples([c.vocabulary]), 42)
    teachers, other = hear(both.models, texts[0], AWGN(), snr, 42)
    assert teachers.text != other.text and teachers.lost < other.lost


def test_a_clone_has_two_receivers(monkeypatch, here, teacher, caplog):
    monkeypatch.setattr(demo_models, "load_teacher", lambda path, flag: checkpoint.load(teacher))
    cast = demo_models.cast_of((), torch.device("cpu"))
    assert list(cast.models) == ["teacher", "teacher, a layer less"] and cast.runs == ()
    two = [c.model.receiver.size.layers for c in cast.models.values()]
    assert two[0] == two[1] + 1


def test_the_dial_takes_the_teacher_that_stands_there(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO")
    teacher = replace(models(0.0)["n0.0"], path="elsewhere.pt")
    record = {"teacher_checkpoint": "gone.pt", "teacher_fingerprint": teacher.fingerprint}
    (tmp_path / "distillation_config.json").write_text(json.dumps(record))
    monkeypatch.setattr(demo_models, "stops_of_run", lambda *where, teacher: teacher)
    cast = demo_models.Cast({"a": teacher}, (str(tmp_path),))
    assert demo_models.path_of(cast, AWGN()) == "elsewhere.pt"
    other = replace(teacher, model=models(0.3)["n0.3"].model)
    assert demo_models.path_of(demo_models.Cast({"a": other}, cast.runs), AWGN()) is None
    assert "gone.pt is not there; name its file too" in caplog.text and "--teacher" not in caplog.text


# --- what is shown


def heard(label="a", text="we thank", sent="we support it", weight=1.0):
    marked = tuple((word, word in text.split()) for word in sent.split())
    said = tuple((word, word in sent.split()) for word in text.split())
    lost = sum(not arrived for _, arrived in marked)
    signal = np.array([[1 + 1j, -1j], [0.5, 2]])
    attention = np.array([[weight, 0.0], [0.25, 0.75]])
    return Heard(
        label,
        sent,
        text,
        marked,
        said,
        lost,
        50.0,
        signal,
        signal + 0.1,
        attention,
        ("we", " thank"),
        ("we", "</s>"),
    )


def test_words_are_marked_where_they_stand():
    shown = sentence_page.receivers([heard()], "en")
    assert re.findall("<s [^>]*>(.*?)</s>", shown) == ["support", "it"]
    assert re.findall("<mark [^>]*>(.*?)</mark>", shown) == ["thank"]
    assert "2 of 3 words lost" in text_of(shown)
    assert "every word arrived" in sentence_page.receivers([heard(text="we support it")], "en")


def test_the_text_is_whole_whatever_its_words_are():
    parts = sentence_page._parts("我们 支持，这份", [("我们", True), ("这份", False), ("X", False)])
    assert parts == (("我们", False), (" 支持，", False), ("这份", True), (" ", False), ("X", True))
    assert sentence_page._parts("…", []) == (("…", False),)


@pytest.mark.parametrize("text", HOSTILE)
def test_strings_of_strangers_are_escaped(text):
    one = heard(label=text, text=text, sent=text)
    one = Heard(
        **{
            **vars(one),
            "marked": ((text, False),),
            "said": ((text, False),),
            "pieces": (text,) * 2,
            "symbols": (text,) * 2,
        }
    )
    expected = Parting(text, 1, True, (text, "b"), {text: np.array([0.5, 0.2])}, {text: text})
    table = pd.DataFrame({"model": [text] * 2, "snr": [0.0, 6.0], "arrived": [0.1, 0.9]})
    shown = "".join(
        [
            sentence_page.receivers([one], "en"),
            sentence_page.parting(expected, [0], "en"),
            sentence_page.constellations([one], "en"),
            sentence_page.attentions([one], "en"),
            sentence_page.fate(table, 6, 8, "en"),
            sentence_page.note(text, "wrong"),
            sentence_page.heading(text, text),
        ]
    )
    assert not re.search(r"[$`{}]|<script|<img|\x1b|\u202e| onload=(?!alert)", shown)
    assert set(re.findall(r"<([a-z0-9]+)", shown)) <= ALLOWED


ALLOWED = set(
    "div section header span svg circle rect path p s mark h1 h3 q table thead tr th td i b figure "
    "figcaption g polyline text title".split()
)


def test_symbols_of_one_transmitter_are_drawn_once():
    assert sentence_page.constellations([heard("a"), heard("b")], "en").count("<figure>") == 1
    other = replace(heard("c"), received=heard().received + 1)
    both = sentence_page.constellations([heard("a"), other], "en")
    assert both.count("<figure>") == 2 and "across" in both, "side by side"


def test_symbols_stand_where_they_are():
    picture = sentence_pictures.constellation(np.array([0, 1, 1j]), np.array([0, 1, 1j]))
    points = [tuple(map(float, point)) for point in re.findall(r"M([\d.]+) ([\d.]+)h0", picture.sent)]
    centre = sentence_pictures.FACE / 2
    assert points[0] == (centre, centre)
    assert points[1][0] - centre == pytest.approx(picture.unit, abs=0.1) and points[1][1] == centre
    assert centre - points[2][1] == pytest.approx(picture.unit, abs=0.1), "upwards"


def test_few_far_symbols_do_not_shrink_the_rest():
    many = np.full(1000, 1 + 0j)
    many[0] = 1000
    assert sentence_pictures.constellation(many, many).unit > 50


def test_attention_is_shaded_by_its_largest():
    drawn = sentence_pictures.grid(np.array([[0.5, 0.01], [0.25, 0.25]]), ("a", " "), ("x", "y"))
    assert [(cell.piece, cell.symbol, cell.shade) for cell in drawn.cells] == [
        ("a", "x", 1.0),
        (" ", "x", 0.5),
        (" ", "y", 0.5),
    ]
    assert [name.text for name in drawn.rows] == ["a", "␣"]
    assert not sentence_pictures.grid(np.ones((2, 90)) / 90, ("a", "b"), ("x",) * 90).columns, "too narrow"


def test_curves_are_to_scale():
    drawn = sentence_pictures.curves({"a": [(-6, 0.0), (0, 50.0), (6, 100.0)]}, 3)
    (line,) = drawn.lines
    (x0, y0), (x1, y1), (x2, y2) = line.points
    assert x1 - x0 == pytest.approx(x2 - x1) and y0 - y1 == pytest.approx(y1 - y2) and y0 > y2
    assert drawn.here == pytest.approx((x1 + x2) / 2)
    assert [text for _, text in drawn.snrs] == ["−6", "0", "6"]


def test_both_grounds_have_the_palette_of_the_pictures():
    css = sentence_page.css()
    for ink in (look.LIGHT, look.DARK):
        assert all(colour in css for colour in ink.all)
    assert not re.search(r"url\(|@import|https?:", css)


# --- sentences to click


def test_examples_are_those_that_a_vocabulary_knows(vocabulary):
    found = demo_examples.examples([vocabulary])
    assert found and not set(found) & set(demo_examples.SENTENCES["zh"])
    knows_all = SimpleNamespace(unknown_share=lambda texts: 0.0, encode=lambda texts: [list(texts[0])])
    both = demo_examples.examples([knows_all])
    assert len(both) == 2 * demo_examples.SHOWN and set(both) & set(demo_examples.SENTENCES["zh"])
    shared = demo_examples.examples([knows_all, vocabulary])
    assert shared and not set(shared) & set(demo_examples.SENTENCES["zh"]), "all have to know it"


# --- who may ask the server


QUESTION = b'{"fn_index": 0, "data": ["we", "awgn", 6, 1, 0, null]}'


def ask(method, path, host="127.0.0.1:7860", hosts=("127.0.0.1", "localhost"), body=QUESTION, **headers):
    """Status of the answer; 200 where it was let through, its body whole."""
    parts = [{"body": body[:9], "more_body": True}, {"body": body[9:]}]

    async def receive():
        return parts.pop(0)

    async def app(scope, receive, send):
        assert method != "POST" or (await receive())["body"] == body
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    sent = []

    async def send(message):
        sent.append(message)

    given = [(b"host", host.encode())]
    given += [(name.replace("_", "-").encode(), str(value).encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "path": path, "headers": given}
    asyncio.run(demo_server.Gate(app, hosts)(scope, receive, send))
    assert dict(sent[0]["headers"])[b"content-security-policy"]
    return sent[0]["status"]


@pytest.mark.parametrize(
    "method, path, status",
    [
        ("GET", "/", 200),
        ("HEAD", "/", 200),
        ("GET", "/assets/index.js", 200),
        ("GET", "/gradio_api/queue/data", 200),
        ("GET", "/gradio_api/file=/etc/passwd", 404),
        ("GET", "/file=/etc/passwd", 404),
        ("GET", "/assets/../../etc/passwd", 404),
        ("GET", "/gradio_api/info", 404),
        ("GET", "/gradio_api/proxy=http://127.0.0.1/", 404),
        ("POST", "/gradio_api/upload", 404),
        ("POST", "/gradio_api/run/predict", 404),
        ("POST", "/gradio_api/call/answer", 404),
        ("POST", "/", 404),
        ("PUT", "/gradio_api/queue/join", 405),
        ("POST", "/gradio_api/queue/join", 411),
    ],
)
def test_what_the_page_asks_for_is_open_alone(method, path, status):
    assert ask(method, path) == status


def test_what_is_sent_is_bounded():
    assert ask("POST", demo_server.ASKED, content_length=1000) == 200
    assert ask("POST", demo_server.ASKED, content_length=10**6) == 413
    assert ask("POST", demo_server.ASKED, content_length="many") == 411


FILE = b'{"path": "/etc/passwd", "meta": {"_type": "gradio.FileData"}}'


@pytest.mark.parametrize(
    "body",
    [b'{"data": [%s]}' % FILE, b'{"data": [[%s]]}' % FILE, b'{"data": {"a": 1}}', b"[1]", b"", b"[" * 60_000],
)
def test_what_gradio_takes_for_a_file_does_not_reach_it(body):
    assert ask("POST", demo_server.ASKED, body=body, content_length=len(body)) == 422


@pytest.mark.parametrize("host, status", [("localhost:1", 200), ("evil.example:7860", 421), ("", 421)])
def test_a_foreign_name_that_leads_here_is_refused(host, status):
    assert ask("GET", "/", host=host) == status


def test_names_of_a_server():
    assert demo_server.hosts_of("127.0.0.1")[0] == "127.0.0.1" and demo_server.hosts_of("0.0.0.0") == ()
    assert (
        demo_server.host_name("[::1]:7860") == "::1" and demo_server.host_name("LocalHost:1") == "localhost"
    )
    assert demo_server.is_local("127.0.0.2") and not demo_server.is_local("127.evil.example")
    with demo_server.listening("127.0.0.1", None) as found:
        assert demo_server.address("0.0.0.0", found) == f"http://127.0.0.1:{found.getsockname()[1]}"


def test_a_free_port_is_found_beside_one_that_is_taken():
    with (
        demo_server.listening("127.0.0.1", None) as first,
        demo_server.listening("127.0.0.1", None) as second,
    ):
        ports = first.getsockname()[1], second.getsockname()[1]
        assert ports[0] != ports[1] and all(ports)
        with pytest.raises(SemcomError, match=f"--port {ports[0]}: .*leave it out"):
            demo_server.listening("127.0.0.1", ports[0])


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(SemcomError, match="--host .*leave it out"):
        demo_server.listening(host, None)


# --- the command


def test_too_many_receivers_and_odd_hosts_are_refused():
    with pytest.raises(SemcomError, match="7 are given, 6 at most"):
        DemoSettings(checkpoints=("a.pt",) * 7)
    with pytest.raises(SemcomError, match="--host"):
        DemoSettings(host="a/b")
    with pytest.raises(SemcomError, match="--port 0"):
        DemoSettings(port=0)


def test_without_gradio_a_line_says_how_to_get_it(monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: None)
    assert package("demo") == 2
    assert "pip install .[demo]" in capsys.readouterr().err


def test_what_is_no_run_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(demo, "find_spec", lambda name: True)
    assert package("demo", tmp_path) == 2
    assert "no run of distillation.py there" in capsys.readouterr().err
    assert package("demo", tmp_path / "none.pt") == 2
    assert "none.pt" in capsys.readouterr().err
