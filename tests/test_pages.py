"""Each form of a report against expectations written by hand, and against strings that want to be more than
text."""

import base64
import csv
import html.parser
import io
import math
import re
import struct
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy
import pytest
from tables_of_rows import of_rows

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.evaluation.frames import frame_of
from semcom.evaluation.intervals import Interval
from semcom.report import cells, formats, latex, look, page_tables, render, tables
from semcom.report import page as page_module
from semcom.report.document import Answer, Column, Document, Figure, Folded, Section, Styled, Text

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://x onerror=alert(1)>',
    "\\input{/etc/passwd}",
    "\x1b[31m",
    '=HYPERLINK("http://x")',
    "a|b",
    "[a](http://x)",
    "$x$",
    "\u202eabc",
    "**b** _i_ `c` ~d~",
    "* item",
    "# head",
    "1. one",
    "line\nbreak",
    "^^5c&amp;%#~",
    "{{ 7*7 }}",
    "+1",
    "@A1",
    "-2",
)


def curve(place):
    canvas = look.canvas(place)
    canvas.subplots().plot([0, 10], [1.5, -0.5], label="a")
    return canvas


TABLE = of_rows(
    "gaps",
    "Gaps by pair.",
    [Column("pair"), Column("gap", 2), Column("runs"), Column("why")],
    [
        ["teacher", Interval(-1.234, -1.5, 0.001), 5, "it knows less than it was asked to know"],
        ["student", Interval(2, -math.inf, math.inf), None, "–"],
        ["hybrid", -0.001, 12, None],
    ],
    note="Lower is better.",
)


def with_rows(rows):
    """TABLE with other rows."""
    return of_rows(TABLE.name, TABLE.caption, list(TABLE.columns.values()), rows, TABLE.note)


FIGURE = Figure(
    "curve",
    "A fall.",
    "One line that falls.",
    frame_of([[0, 1.5, None], [10, Interval(-0.5, -1, 0.25), "=1+1"]], ["snr", "gap", "note"]),
    curve,
)
PLAIN = Document(
    "Report",
    "en",
    [Answer("It costs much.", beside=["It can be mended."])],
    [Section("first", "First", [Text("Before."), TABLE, FIGURE])],
    [("seed", "7")],
)


def with_block(block, *more):
    return replace(PLAIN, sections=[Section("s", "S", [block, *more])])


def hostile(language="en"):
    """A document with each hostile string in each place where a string can stand."""
    sections = []
    for i, bad in enumerate(HOSTILE):
        table = of_rows(
            f"table_{i}",
            bad,
            [Column(bad), Column(bad, 1), Column("long")],
            [[bad, Interval(1, 0, 2), bad * 20], [bad, None, None]],
            note=bad,
        )
        figure = Figure(f"figure_{i}", bad, bad, frame_of([{bad: bad, "x": 1}]), curve)
        sections.append(Section(f"section_{i}", bad, [Text(bad), table, figure]))
    return Document(
        " ".join(HOSTILE),
        language,
        [Answer(bad) for bad in HOSTILE],
        sections,
        [(bad, bad) for bad in HOSTILE],
    )


@pytest.fixture(scope="module")
def images():
    return render.pictures(PLAIN)


def fake_images(document):
    blank = b'<svg width="3pt" height="3pt" viewBox="0 0 3 3"/>'
    return {name: blank for figure in document.figures() for name in look.file_names(figure.name)}


class Reader(html.parser.HTMLParser):
    VOID = {"meta", "img", "source"}

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.text, self.cells = [], [], [], []
        self.feed(page)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text.append(data)
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def table_of(csv_text):
    return list(csv.reader(io.StringIO(csv_text)))


# HTML


def test_html_says_what_the_document_says(images):
    page = Reader(render.html(PLAIN, images))
    assert page.cells == [
        "pair",
        "gap",
        "runs",
        "why",
        "teacher",
        "−1.23",
        "[−1.50, 0.00]",
        "5",
        "it knows less than it was asked to know",
        "student",
        "2.00",
        "[−∞, ∞]",
        "–",
        "–",
        "hybrid",
        "0.00",
        "",
        "12",
        "–",
        "Item",
        "Value",
        "seed",
        "7",
    ]
    text = " ".join("".join(page.text).split())
    assert text.startswith(
        "Report Report It costs much. It can be mended. Contents First Table 1 Figure 1 "
        "How this report was made First Before. Table 1. Gaps by pair."
    )
    assert "Note: Lower is better." in text and "Figure 1. A fall." in text


def test_html_sets_numbers_right_and_text_left(images):
    page = render.html(PLAIN, images)
    assert [attributes["class"] for attributes in Reader(page).all("td")[:4]] == [
        "number",
        "bounds",
        "number",
        "long",
    ]
    heads = [attributes for attributes in Reader(page).all("th") if attributes.get("scope") == "row"]
    assert [attributes["class"] for attributes in heads[:3]] == ["text"] * 3, "names of rows"
    assert re.search(r"\.number[^{]*{[^}]*text-align: right", page) and "tabular-nums" in page
    assert re.search(r"\nth, td {[^}]*text-align: left", page)


def test_html_counts_tables_and_figures_apart():
    again = with_block(TABLE, FIGURE, replace(TABLE, name="b"), replace(FIGURE, name="c"))
    text = "".join(Reader(render.html(again, fake_images(again))).text)
    assert [
        text.count(label)
        for label in ("Table 1.", "Table 2.", "Table 3.", "Figure 1.", "Figure 2.", "Figure 3.")
    ] == [1, 1, 0, 1, 1, 0]


def test_html_anchors_lead_to_what_is_there(images):
    page = Reader(render.html(PLAIN, images))
    identities = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(identities) == len(set(identities)) and {"first", "table-gaps", "figure-curve"} <= set(
        identities
    )
    anchors = [attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("#")]
    assert anchors == ["#first", "#table-gaps", "#figure-curve", "#how-made"] and {
        anchor[1:] for anchor in anchors
    } <= set(identities)
    assert {
        attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes
    } <= set(identities)


@pytest.mark.parametrize(
    "document", [PLAIN, hostile(), hostile("zh")], ids=["plain", "hostile", "hostile Chinese"]
)
def test_html_needs_nothing_and_runs_nothing(document):
    page = Reader(render.html(document, fake_images(document)))
    assert {"html", "img", "table", "a"} <= {tag for tag, _ in page.tags}
    assert not {"script", "svg", "iframe", "object", "link", "base", "form"} & {tag for tag, _ in page.tags}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert all(attributes.get(name, "data:").startswith("data:") for name in ("src", "srcset"))
        # What is no file beside the page is in it.
        assert re.match(
            r"data:|#|figures/[a-z0-9_-]+\.(svg|png|pdf)$|tables(/[a-z0-9_]+)?\.tex$",
            attributes.get("href", "#"),
        )
    assert "url(" not in render.html(document, fake_images(document)) and "@import" not in render.html(
        document, fake_images(document)
    )
    assert len(page.all("img")) == len(document.figures())
    assert all(
        int(image["width"]) > 0 and int(image["height"]) > 0 and image["alt"] for image in page.all("img")
    )
    policy = next(
        meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert any(meta.get("name") == "viewport" for meta in page.all("meta"))
    assert page.all("html")[0]["lang"] == document.language


def test_html_shows_hostile_strings_as_text_in_every_place():
    page = Reader(render.html(hostile(), fake_images(hostile())))
    text = "".join(page.text)
    for bad in HOSTILE:
        # answer, contents, heading, paragraph, caption, note, figure's caption, two column heads, two cells,
        # provenance twice
        assert text.count(escape(bad)) >= 13, bad
        assert escape(bad) in [image["alt"] for image in page.all("img")]
    assert not re.search(
        "[\x00-\x09\x0b-\x1f\x7f\u202a-\u202e]", render.html(hostile(), fake_images(hostile()))
    )


def test_html_carries_its_pictures_and_data(images):
    page = Reader(render.html(PLAIN, images))
    (image,) = page.all("img")
    assert (image["width"], image["height"], image["alt"]) == ("720", "250", "One line that falls.")
    assert image["src"].startswith("data:image/svg+xml;base64,")
    downloads = {
        a["download"]: base64.b64decode(a["href"].partition("base64,")[2])
        for a in page.all("a")
        if "download" in a
    }
    assert list(downloads) == ["gaps.csv", "curve.csv"]
    assert b"<path" in base64.b64decode(image["src"].partition(",")[2])
    assert downloads["gaps.csv"].decode("utf-8-sig") == formats.csv_of(TABLE) and downloads[
        "gaps.csv"
    ].startswith(b"\xef\xbb\xbf")


def test_each_place_has_its_picture(images):
    page = Reader(render.html(PLAIN, images))
    media = [source["media"] for source in page.all("source")]
    dark, phone = "screen and (prefers-color-scheme: dark)", "(max-width: 37.5rem)"
    assert media == [f"{dark} and {phone}", dark, f"screen and {phone}"], "the closest first"
    shown = [*(source["srcset"] for source in page.all("source")), page.all("img")[0]["src"]]
    assert len(set(shown)) == 4
    files = [attributes["href"] for attributes in page.all("a") if attributes["href"].startswith("figures/")]
    assert {f"figures/{name}" for name in look.file_names("curve")} >= set(files)
    assert [file.rpartition(".")[2] for file in files] == ["svg", "png", "pdf", "pdf"]


def test_pictures_lose_bytes_and_nothing_that_is_seen(images):
    whole = images["curve.svg"]
    slim = page_module.slim(whole)
    assert len(slim) < 0.85 * len(whole) and b"<!--" not in slim and b"metadata" not in slim

    def numbers(svg):
        shapes = ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}path")
        return [float(number) for shape in shapes for number in re.findall(r"-?[0-9.]+", shape.get("d"))]

    assert numbers(slim) == pytest.approx(numbers(whole), abs=0.01)
    scales = [re.findall(rb"scale\([^)]*\)", svg) for svg in (whole, slim)]
    assert scales[0] == scales[1] != []


def test_html_takes_the_png_where_the_svg_is_large(images):
    large = {name: image + b" " * page_module.INLINE_SVG for name, image in images.items()}
    page = Reader(render.html(PLAIN, large | {"curve.png": b"small"}))
    assert page.all("img")[0]["src"] == "data:image/png;base64," + base64.b64encode(b"small").decode()
    assert page.all("source") == [], "which stands on white, in the dark too"


def test_a_page_of_many_figures_stays_small_enough_to_send():
    several = [replace(FIGURE, name=f"f{number}") for number in range(9)]
    document = with_block(*several)
    large = {name: image + b" " * 100_000 for name, image in fake_images(document).items()}
    page = render.html(document, large)
    assert len(page) < 3_000_000
    own = [len(Reader(part).all("source")) for part in re.findall("<picture>.*?</picture>", page, re.S)]
    assert own == [3] * 3 + [0] * 6, "the first ones keep theirs"


def test_html_speaks_the_documents_language():
    text = "".join(Reader(render.html(replace(PLAIN, language="zh"), fake_images(PLAIN))).text)
    assert all(
        word in text
        for word in (
            "目录",
            "表 1：",
            "图 1：",
            "本报告的生成方式",
        )
    )
    assert not any(word in text for word in ("Contents", "Table", "Figure"))


ANSWERED = replace(
    PLAIN,
    answers=[
        Answer(
            "It costs 4.3 BLEU.",
            replace(FIGURE, name="first_curve"),
            of_rows(
                "first",
                "At 12 dB.",
                [Column("pair"), Column("KL", 2)],
                [["a", Styled(Interval(0.5, 0.25, 0.75), bold=True, marks="*", shade=0.4)], ["b", Styled(1)]],
            ),
            before=["The teacher understands little."],
            beside=["Noise alone: 0.20."],
            of="teacher · awgn",
        )
    ],
)


def test_the_answer_comes_first():
    page = Reader(render.html(ANSWERED, fake_images(ANSWERED)))
    text = " ".join("".join(page.text).split())
    assert text.startswith(
        "Report Report teacher · awgn The teacher understands little. It costs 4.3 BLEU. Figure 1. A fall."
    )
    assert text.index("Noise alone") < text.index("Contents") < text.index("Table 2. Gaps by pair.")


def test_a_cell_that_stands_out_does_so_in_each_format():
    page = render.html(ANSWERED, fake_images(ANSWERED))
    within = "<b>0.50<sup>*</sup></b><small>[0.25, 0.75]</small>"
    assert f'<td class="number" style="--shade:0.4">{within}</td>' in re.sub(r">\s+<", "><", page)
    lines = formats.markdown(ANSWERED).splitlines()
    assert r"| a      | **0.50 \[0.25, 0.75\]**\* |" in lines and "**It costs 4.3 BLEU.**" in lines


def test_what_is_folded_can_be_opened_and_found():
    inner = [Text("Rarely asked."), replace(TABLE, name="more")]
    page = Reader(render.html(with_block(Folded("At other SNRs", inner)), {}))
    assert [attributes["class"] for attributes in page.all("details")] == ["section", "folded", "section"]
    assert not any("open" in attributes for attributes in page.all("details"))
    assert "table-more" in [attributes.get("id") for attributes in page.all("figure")]


@pytest.mark.parametrize(
    ("columns", "rows", "is_first", "becomes"),
    [
        (6, 3, True, True),
        (1, 3, True, False),
        (6, 12, False, True),
        (6, 13, False, False),
    ],
    ids=["first", "narrow", "few rows", "many rows"],
)
def test_a_table_becomes_cards_where_a_phone_cannot_show_it(columns, rows, is_first, becomes):
    heads = [Column("pair"), *[Column("KL", 2)] * columns]
    table = of_rows("t", "", heads, [["a", *[Interval(0.5, 0.25, 0.75)] * columns]] * rows)
    assert page_tables.layout_of(table, is_first).as_cards == becomes


def test_a_card_of_a_number_says_of_what():
    columns = [Column("temperature"), *[Column("KL", 2)] * 6]
    rows = [[name, *[Interval(0.5, 0.25, 0.75)] * 6] for name in ("1", "teacher")]
    document = with_block(of_rows("t", "", columns, rows))
    heads = Reader(render.html(document, {})).all("th")
    assert [head.get("data-label") for head in heads if head.get("role") == "rowheader"] == [
        "temperature",
        None,
    ]


# Markdown


def test_markdown_word_for_word():
    assert (
        formats.markdown(PLAIN)
        == r"""# Report

**It costs much.**

It can be mended.

## First

Before.

**Table 1.** Gaps by pair.

| pair    |                   gap |   runs | why                                     |
|:--------|----------------------:|-------:|:----------------------------------------|
| teacher | −1.23 \[−1.50, 0.00\] |      5 | it knows less than it was asked to know |
| student |        2.00 \[−∞, ∞\] |      – | –                                       |
| hybrid  |                  0.00 |     12 | –                                       |

Note: Lower is better.

![One line that falls.](figures/curve.png)

**Figure 1.** A fall.

## How this report was made

| Item   | Value   |
|:-------|:--------|
| seed   | 7       |
"""
    )


def cells_of(line):
    return [cell.strip() for cell in line.strip("| ").split(" | ")]


def unmarked(text):
    """What CommonMark shows of escaped text; None where an unescaped mark would do something."""
    entities_apart = re.sub(r"&\#\d+;", "", text)
    if re.search(
        r"(?<!\\)(?:\\\\)*[`*_\[\]~$|<>@#&]|://|^\s*(?:[-+=]|\d+[.)](?:\s|$))|[\x00-\x1f]", entities_apart
    ):
        return None
    return html.unescape(re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text))


@pytest.mark.parametrize("bad", HOSTILE)
def test_markdown_shows_hostile_strings_as_text(bad):
    document = replace(
        hostile(),
        title=bad,
        answers=[Answer(bad)],
        provenance=[(bad, bad)],
        sections=[hostile().sections[HOSTILE.index(bad)]],
    )
    lines = [line for line in formats.markdown(document).splitlines() if line]
    (
        title,
        sentence,
        section,
        words,
        caption,
        head,
        _,
        row,
        _,
        note,
        picture,
        picture_caption,
        _,
        _,
        _,
        last,
    ) = lines
    texts = [
        title.removeprefix("# "),
        sentence.removeprefix("**").removesuffix("**"),
        section.removeprefix("## "),
        words,
        caption.removeprefix("**Table 1.** "),
        note.removeprefix("Note: "),
        re.fullmatch(r"!\[(.*)\]\(figures/figure_\d+\.png\)", picture)[1],
        picture_caption.removeprefix("**Figure 1.** "),
        *cells_of(last),
    ]
    assert [unmarked(text) for text in texts] == [escape(bad)] * 10
    assert [unmarked(text) for text in cells_of(head)] == [escape(bad), escape(bad), "long"]
    assert [unmarked(text) for text in cells_of(row)] == [
        escape(bad),
        "1.0 [0.0, 2.0]",
        escape(bad * 20),
    ]


def test_markdown_has_no_html_and_every_row_its_cells():
    text = formats.markdown(hostile())
    assert "<" not in text
    for line in text.splitlines():
        assert not line.startswith("|") or line.count("|") in (3, 4)


# CSV


def test_csv_reads_back_to_the_same_numbers():
    header, *rows = table_of(formats.csv_of(TABLE))
    assert header == ["pair", "gap", "gap low", "gap high", "runs", "why"]
    assert [[float(cell) if cell else None for cell in row[1:5]] for row in rows] == [
        [-1.234, -1.5, 0.001, 5],
        [2, -math.inf, math.inf, None],
        [-0.001, None, None, 12],
    ]


def test_csv_of_styled_cells_holds_their_values():
    columns = [Column("pair"), Column("BLEU", 1), Column("KL", 1)]
    rows = [
        [Styled("=a", bold=True), Styled(Interval(1.25, 1, 2), marks="*"), Styled(3.25)],
        ["b", None, Styled(None)],
    ]
    assert table_of(formats.csv_of(of_rows("t", "c", columns, rows))) == [
        ["pair", "BLEU", "BLEU low", "BLEU high", "KL"],
        ["'=a", "1.25", "1", "2", "3.25"],
        ["b", "", "", "", ""],
    ]


def test_csv_of_a_figure_is_its_data():
    assert table_of(formats.csv_of(FIGURE)) == [
        ["snr", "gap", "gap low", "gap high", "note"],
        ["0", "1.5", "", "", ""],
        ["10", "-0.5", "-1", "0.25", "'=1+1"],
    ]


@pytest.mark.parametrize("index, bad", [*enumerate(HOSTILE)])
def test_csv_holds_hostile_strings_as_text(index, bad):
    quoted = "'" + bad if bad[0] in "=+-@" else escape(bad)
    table, figure = hostile().tables()[index], hostile().figures()[index]
    assert table_of(formats.csv_of(table))[:2] == [
        [quoted, quoted, f"{quoted} low", f"{quoted} high", "long"],
        [quoted, "1", "0", "2", "'" + bad * 20 if quoted[0] == "'" else escape(bad * 20)],
    ]
    assert table_of(formats.csv_of(figure)) == [[quoted, "x"], [quoted, "1"]]


def test_csv_with_two_columns_of_one_title_keeps_both():
    assert formats.csv_of(of_rows("t", "", [Column("x"), Column("x")], [[1, 2]])) == "x,x\n1,2\n"


# Console


def test_console_word_for_word():
    assert (
        formats.aligned(TABLE)
        == """pair                     gap    runs  why
-------  -------------------  ------  ---------------------------------------
teacher  −1.23 [−1.50, 0.00]       5  it knows less than it was asked to know
student         2.00 [−∞, ∞]       –  –
hybrid                  0.00      12  –
Lower is better."""
    )


def test_console_shows_hostile_strings_as_text(monkeypatch):
    monkeypatch.setenv("COLUMNS", "1000")
    text = "\n".join(map(formats.aligned, hostile().tables()))
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f\u202e]", text)
    assert all(escape(bad) in text for bad in HOSTILE)


# Decimals by row


def test_every_format_has_a_rows_own_decimals_and_csv_all_of_them():
    columns = [Column("measure"), Column("value", by_row=(4, 2))]
    rows = [["KL", Interval(0.12345, 0.11111, 0.14)], ["BLEU", 31.23456]]
    table = of_rows("mixed", "Two measures.", columns, rows)
    document = with_block(table)
    cells = Reader(render.html(document, fake_images(document))).cells
    assert [cell for cell in cells if cell][2:6] == ["KL", "0.1235", "[0.1111, 0.1400]", "BLEU"]
    assert "31.23" in cells and "31.2346" not in cells
    for text in (formats.markdown(document), "".join(latex.files(document).values()), formats.aligned(table)):
        assert "0.1400" in text and "31.23" in text and "31.234" not in text
    assert "31.23456" in formats.csv_of(table)


# Pictures and files


def test_pictures_have_the_size_that_the_page_gives_them(images):
    assert list(images) == look.file_names("curve")
    assert images["curve.png"].startswith(b"\x89PNG\r\n")
    assert struct.unpack(">II", images["curve.png"][16:24]) == (2 * 720, 499)
    root = ElementTree.fromstring(images["curve.svg"])
    assert (root.get("width"), root.get("height")) == ("540pt", "187.2pt")
    assert b"date" not in images["curve.svg"].lower()


@pytest.mark.draws
def test_a_users_settings_of_matplotlib_change_nothing_and_are_kept(images):
    import matplotlib

    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "savefig.dpi": 30}):
        assert render.pictures(PLAIN) == images
        assert matplotlib.rcParams["font.size"] == 30


@pytest.mark.draws
def test_each_figure_is_drawn_once_a_place(tmp_path):
    drawn = []
    render.write(
        with_block(replace(FIGURE, draw=lambda place: (drawn.append(place), look.canvas(place))[1])), tmp_path
    )
    assert drawn == [look.PAGE, look.PHONE, look.COLUMN, look.TEXT]


def test_write_leaves_every_file_the_page_last(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(
        render,
        "write_atomically",
        lambda path, content: (written.append(path), output_files.write_atomically(path, content)),
    )
    paths = render.write(PLAIN, tmp_path / "new" / "report")
    names = [path.relative_to(tmp_path / "new" / "report").as_posix() for path in paths]
    assert names == [
        "report.html",
        "report.md",
        "tables.tex",
        "tables/gaps.tex",
        "tables/gaps.csv",
        "figures/curve.csv",
        *(f"figures/{name}" for name in look.file_names("curve")),
    ]
    assert (
        sorted(paths)
        == sorted(path for path in (tmp_path / "new").rglob("*") if path.is_file())
        == sorted(written)
    )
    assert written[-1] == paths[0]
    content = {name: path.read_bytes() for name, path in zip(names, paths)}
    images = {name: content[f"figures/{name}"] for name in look.file_names("curve")}
    assert content["report.html"].decode() == render.html(PLAIN, images)
    assert content["report.md"].decode() == formats.markdown(PLAIN)
    assert {name: content[name].decode() for name in content if name.endswith(".tex")} == latex.files(PLAIN)
    assert content["tables/gaps.csv"].decode() == formats.csv_of(TABLE) and content[
        "figures/curve.csv"
    ].decode() == formats.csv_of(FIGURE)


@pytest.mark.draws
def test_the_same_document_gives_the_same_bytes(tmp_path):
    first, second = render.write(PLAIN, tmp_path / "a"), render.write(PLAIN, tmp_path / "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]


def test_a_report_half_written_has_no_page(tmp_path):
    render.write(PLAIN, tmp_path)
    (tmp_path / "figures" / "curve.svg").unlink()
    (tmp_path / "figures" / "curve.svg").mkdir()
    with pytest.raises(SemcomError, match="curve.svg"):
        render.write(PLAIN, tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_document_that_cannot_be_shown_harms_no_earlier_report(tmp_path):
    page, *_ = render.write(PLAIN, tmp_path)
    with pytest.raises(ValueError, match="curve"):
        render.write(with_block(replace(FIGURE, data=frame_of([{"x": math.nan}]))), tmp_path)
    assert page.exists()


# What cannot be shown


@pytest.mark.parametrize(
    "document, message",
    [
        (with_block(with_rows([["a", math.nan, 1, ""]])), "table gaps: NaN"),
        (with_block(with_rows([["a", Interval(1, math.nan, 2), 1, ""]])), "table gaps: NaN"),
        (with_block(with_rows([["a", numpy.float32("nan"), 1, ""]])), "table gaps: NaN"),
        (with_block(replace(FIGURE, data=frame_of([{"x": Interval(1, 0, math.nan)}]))), "figure curve: NaN"),
        (
            with_block(replace(TABLE, frame=TABLE.frame.drop(columns="2"))),
            "table gaps: its frame has no column 2",
        ),
        (with_block(replace(TABLE, name="../up")), "table '../up'"),
        (with_block(replace(FIGURE, name="Curve\n")), "figure 'Curve"),
        (with_block(TABLE, replace(FIGURE, name="gaps")), "figure 'gaps'"),
        (replace(PLAIN, sections=[Section("a b", "S", [])]), "section 'a b'"),
        (replace(PLAIN, sections=[Section("a", "S", []), Section("a", "S", [])]), "section 'a'"),
        (replace(PLAIN, language="fr"), "language 'fr': allowed are en, zh"),
    ],
)
@pytest.mark.parametrize(
    "render",
    [formats.markdown, latex.files, lambda document: render.html(document, fake_images(document))],
    ids=["markdown", "latex", "html"],
)
def test_what_cannot_be_shown_is_refused(render, document, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        render(document)


def test_numpys_numbers_are_numbers():
    table = of_rows("t", "", [Column("x", 1), Column("n")], [[numpy.float32(-1.25), numpy.int64(3)]])
    assert "| −1.2 |   3 |" in formats.markdown(with_block(table))
    assert r"-1.2 & 3 \\" in latex.files(with_block(table))["tables/t.tex"]


def test_an_empty_table_still_has_its_head():
    document = with_block(with_rows([]))
    assert Reader(render.html(document, {})).cells[:4] == ["pair", "gap", "runs", "why"]
    assert "| pair   | gap   | runs   | why   |" in formats.markdown(document)
    assert "pair & gap & runs & why" in latex.files(document)["tables/gaps.tex"]
    assert "pair    gap    runs    why" in formats.aligned(document.tables()[0])
    assert formats.csv_of(document.tables()[0]) == "pair,gap,runs,why\n"


def test_the_csv_of_a_chinese_report_begin_with_the_mark_that_excel_wants(tmp_path):
    for language, mark in (("zh", b"\xef\xbb\xbf"), ("en", b"")):
        files = render.write(replace(PLAIN, language=language), tmp_path / language)
        first = {path.read_bytes()[:3] for path in files if path.suffix == ".csv"}
        assert all(begins.startswith(mark) and (begins == mark) == bool(mark) for begins in first) and first
        tables.write_csv(tmp_path / "rows.csv", [{"名": "学生"}], language)
        assert (tmp_path / "rows.csv").read_bytes() == mark + "名\n学生\n".encode()


@pytest.mark.parametrize(
    ("p", "text"),
    [
        (0.0497, "0.0497"),
        (0.04996, "0.04996"),
        (0.0503, "0.050"),
        (0.05, "0.050"),
        (0.0096, "0.0096"),
        (0.0234, "0.023"),
        (0.00049, "<0.001"),
        (0.0, "<0.001"),
        (0.001, "0.001"),
        (1.0, "1.000"),
        (0.9999, "1.000"),
    ],
)
def test_a_p_is_never_shown_on_the_other_side_of_a_threshold(p, text):
    assert cells.p_text(p) == text


def test_a_p_is_shown_so_in_every_format_and_whole_in_csv():
    table = of_rows("t", "", [Column("p", is_p=True)], [[0.0497], [0.00012], [None]])
    document = with_block(table)
    assert formats.aligned(table).split()[2:] == ["0.0497", "<0.001", "–"]
    assert "{$<$0.001}" in latex.files(document)["tables/t.tex"]
    assert "0.0497" in latex.files(document)["tables/t.tex"]
    assert "&#60;0.001" in formats.markdown(document)
    assert "&lt;0.001" in render.html(document, fake_images(document))
    assert formats.csv_of(table).split() == ["p", "0.0497", "0.00012", '""']


def test_a_table_too_wide_for_the_page_keeps_its_first_ranks_and_says_what_is_left_out():
    value = Interval(1234.5678, 1233.1234, 1235.4321)
    heads = [Column("pair"), *(Column(f"measure {rank}", 4, rank=rank) for rank in range(8))]
    wide = of_rows("wide", "All.", heads, [["teacher", *[value] * 8]])
    layout = page_tables.layout_of(wide)
    kept = [head.title for head in layout.heads]
    assert layout.across <= page_tables.SCREEN and 3 < len(kept) < 9
    assert [*kept, *layout.left_out] == [column.title for column in heads]
    page = render.html(with_block(wide), {})
    assert f"Too wide for here: {', '.join(layout.left_out)}. tables/wide.csv has all." in page


@pytest.mark.parametrize(("snr", "as_cards"), [(None, False), (12.0, True)])
def test_numbers_by_snr_are_cards_on_a_phone(snr, as_cards):
    heads = [Column("pair"), *(Column(f"{n}", 2, snr=snr) for n in range(8))]
    layout = page_tables.layout_of(of_rows("by", "By SNR.", heads, [["teacher", *[31.25] * 8]]))
    assert layout.as_cards == as_cards
