"""Tables for papers: their source word for word, that they fit by construction, and that a real TeX
agrees."""

import itertools
import math
import random
import re
import shutil
from dataclasses import replace

import pytest
from tables_of_rows import of_rows
from test_pages import HOSTILE, TABLE, hostile, with_block, with_rows
from typesetting import CLASSES, complaints, needs_tex

from semcom.evaluation.frames import frame_of
from semcom.evaluation.intervals import Interval
from semcom.report import cells, formats, latex, latex_columns, latex_fit, latex_text
from semcom.report.document import Column, Section, Styled, Table
from semcom.report.latex import Printed

NAMES = ("teacher → teacher", "teacher → decoder student, T=4", "encoder student, T=4, 1 layer → teacher")


def with_tables(*shown):
    return with_block(*shown)


def only(table, printed=latex.ALL):
    """The file of a table that is of no paper."""
    return latex.files(with_block(table), printed)[f"tables/{table.name}.tex"]


def compared(names=NAMES, measures=3):
    """A table as the first screen has it: bold for the best, marks of tests, intervals."""
    columns = [Column("pair"), *(Column(title, 2) for title in ("BLEU", "KL", "cross-entropy")[:measures])]
    rows = [
        [name, *(Styled(Interval(31.47 - row, 30.4, 32.66), row == 0, "*" * (row > 0)) for _ in columns[1:])]
        for row, name in enumerate(names)
    ]
    table = of_rows("compared", "Who understands whom.", columns, rows)
    return replace(table, conditions="Built-in corpus, 64 test sentences; AWGN; greedy; seeds 1, 2, 3")


# Word for word


def test_a_table_word_for_word():
    assert (
        only(TABLE)
        == r"""% Report
% \usepackage{booktabs,siunitx}

% gaps: one column of 8 cm at \small; about 223 pt wide
\begin{table}
  \centering\small\sloppy
  \setlength{\tabcolsep}{4pt}
  \sisetup{mode=text,group-minimum-digits=9,table-align-text-post=false}
  \caption{Gaps by pair.}
  \label{tab:gaps}
  \begin{tabular}{@{}lS[table-format=-1.2]S[table-format=2.0]l@{}}
    \toprule
    pair & {gap} & {runs} & why \\
    \midrule
    teacher & -1.23 & 5 & it knows less than it was \\
     & {\scriptsize [$-$1.50, 0.00]} &  & \quad asked to know \\
    \addlinespace
    student & 2.00 & {--} & -- \\
     & {\scriptsize [$-\infty$, $\infty$]} &  &  \\
    \addlinespace
    hybrid & 0.00 & 12 & -- \\
    \bottomrule
  \end{tabular}
  \par\smallskip
  \begin{minipage}{\linewidth}\footnotesize\raggedright Lower is better.\end{minipage}
\end{table}
"""
    )


def test_bold_marks_and_conditions():
    text = only(compared())
    assert r"\bfseries 31.47 & " in text and r"30.47{\textsuperscript{*}} & " in text
    assert r"\caption[{Who understands whom.}]{Who understands whom." in text
    assert "Built-in corpus, 64 test sentences; AWGN; greedy; seeds 1, 2, 3." in text
    assert "detect-weight" in text and "detect-weight" not in only(TABLE)


def test_a_column_without_anything_is_left_out():
    columns = [Column("pair"), Column("remark"), Column("p", is_p=True), Column("x")]
    table = of_rows("t", "c", columns, [["a", "", None, None], ["b", None, None, 1]])
    assert r"pair & {x} \\" in only(table) and "remark" not in only(table)
    assert formats.aligned(table).split()[:2] == ["pair", "x"]


def test_shaded_cells_ask_for_their_package():
    columns = [Column("sender"), Column("receiver", 1)]
    rows = [["a", Styled(Interval(1.5, 1, 2), shade=1.0)], ["b", Styled(-2.0, shade=0.5)], ["c", Styled(3.0)]]
    text = only(of_rows("t", "c", columns, rows))
    assert "S[table-format=-1.1]l}" in text, "no ground over the marks of the number before it"
    assert r"a & \cellcolor[gray]{0.65}1.5 & \cellcolor[gray]{0.65}[1.0, 2.0] \\" in text
    assert r"b & \cellcolor[gray]{0.82}-2.0 & \\" in text and r"c & 3.0 & \\" in text
    assert r"\usepackage{booktabs,siunitx,colortbl}" in text and "colortbl" not in only(TABLE)


def test_no_more_decimals_than_an_interval_supports():
    """Two significant digits of half its width; columns that compare have as many as each other."""
    names = ("bleu", "chrf", "kl", "n", "p")
    columns = {name: Column(name, places) for name, places in zip(names, (2, 2, 4, None, 3))}
    rows = [
        [Interval(31.4712, 20.0, 42.0), Interval(60, 59, 61.4), Interval(0.0512, 0.018, 0.09), 5, 0.0123],
        [Interval(1, 1, 1), Interval(1, 0, math.inf), Interval(0.2, 0.1, 0.3), 6, 0.5],
    ]
    shown = cells.supported(columns, frame_of(rows, names))
    assert [column.places for column in shown.values()] == [1, 1, 3, None, 3]


# Text


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("teacher → student", r"teacher $\to$ student"),
        ("ρ −0.27, p ≥ 0.05", r"$\rho$ $-$0.27, p $\geq$ 0.05"),
        ("0.5 ± 0.1 – 3×", r"0.5 $\pm$ 0.1 -- 3$\times$"),
        (
            "a_b & 5 %, {x}^2~y#$\\",
            r"a\_b \& 5 \%, \{x\}\textasciicircum{}2\textasciitilde{}y\#\$\textbackslash{}",
        ),
        ("--snr ''x''", "-{}-snr '{}'x'{}'"),
        ("[x]", "{[}x]"),
        ("*x", "{*}x"),
        ("café Łódź", r"caf\'{e} \L{}\'{o}d\'{z}"),
        ("model 😀", "model U+1F600"),
        ("\x1b[31m", r"\textbackslash{}x1b[31m"),
        ("教师", "教师"),
    ],
)
def test_text_is_ascii_with_commands(text, source):
    assert latex_text.source(text) == source


def test_a_word_is_broken_where_it_is_wider_than_its_column_alone():
    long = "x" * 60
    assert latex_text.BREAK not in latex_text.source(long)
    parts = latex_text.source(long, 50).split(latex_text.BREAK)
    assert "".join(parts) == long and all(latex_text.width(part) <= 50 for part in parts)
    assert latex_text.BREAK not in latex_text.source("short words only, however many of them", 50)


@pytest.mark.parametrize("text", ["teacher, decoder student", "31.47 [30.40, 32.66]", "WMwm %&@ (BLEU)"])
def test_widths_are_those_of_the_fonts_or_a_little_more(text):
    """By the outlines of Computer Modern, another file than the metrics that widths come from."""
    from matplotlib import get_data_path
    from matplotlib.ft2font import FT2Font, LoadFlags

    font = FT2Font(f"{get_data_path()}/fonts/ttf/cmr10.ttf")
    font.set_size(100 * latex_text.SMALL, 72)
    font.set_text(text.replace(" ", ""), 0, flags=LoadFlags.NO_HINTING)
    drawn = font.get_width_height()[0] / 6400 + text.count(" ") * latex_text.SMALL / 3
    assert drawn <= latex_text.width(text) <= 1.3 * drawn


@pytest.mark.parametrize(
    ("title", "lines"),
    [
        ("p (cross-entropy)", ["p (cross-", "entropy)"]),
        ("KL / noise", ["KL /", "noise"]),
        ("distillation_decoder", ["distillation_", "decoder"]),
        ("BLEU（仅就此模型）", ["BLEU", "（仅就此", "模型）"]),
        ("ꀀꀁ a", ["ꀀꀁ a"]),
        ("sender ↓ receiver →", ["sender ↓", "receiver →"]),
    ],
)
def test_heads_are_as_narrow_as_their_parts(title, lines):
    assert latex_columns.head_lines(title, 38) == lines


# That it fits


@pytest.mark.parametrize(
    ("names", "numbers", "environment", "below"),
    [
        (("teacher", "student"), 2, "table", False),
        (NAMES, 2, "table", True),
        (NAMES, 6, "table*", True),
    ],
)
def test_the_narrowest_way_that_holds_all_columns_is_taken(names, numbers, environment, below):
    columns = [Column("pair"), *(Column(f"m{place}", 2) for place in range(numbers))]
    rows = [[name, *(Interval(31.47, 30.4, 32.66) for _ in range(numbers))] for name in names]
    text = only(of_rows("t", "c", columns, rows))
    assert rf"\begin{{{environment}}}" in text and (r"\scriptsize" in text) == below
    assert text.count("31.47") == numbers * len(names)
    wide = "the text's width" if environment == "table*" else "one column of 8 cm"
    assert f"% t: {wide}" in text


def test_no_line_ends_within_the_brackets_of_an_interval():
    cells = [Interval(5.5, 3.7, math.inf), "> 6"]
    rows = [[name, cell, *[Interval(31.47, 30.4, 32.66)] * 3] for name, cell in zip(NAMES, cells)]
    columns = [Column("pair"), Column("dB", 1), *(Column(f"m{n}", 2) for n in range(3))]
    assert "[3.7,~$\\infty$]" in only(of_rows("t", "c", columns, rows))


def test_columns_of_the_highest_rank_are_left_out_first_and_named():
    ranks = [0, 0, 0, 2, 3, 1, 0, 0, 2, 0, 0, 0]
    columns = [Column("pair"), *(Column(f"measure{place}", 2, rank=rank) for place, rank in enumerate(ranks))]
    table = of_rows("t", "c", columns, [["teacher", *([Interval(31.47, 30.4, 32.66)] * len(ranks))]])
    text = only(table)
    (left_out,) = re.findall(r"% not enough room for: (.*) \(in tables/t.csv\)", text)
    gone = [int(title.removeprefix("measure")) for title in left_out.split("; ")]
    assert gone and all(f"{{measure{place}}}" not in text for place in gone)
    kept = [place for place in range(len(ranks)) if place not in gone]
    assert min(ranks[place] for place in gone) >= max(ranks[place] for place in kept) and 0 not in {
        ranks[place] for place in gone
    }


def test_columns_that_may_not_be_left_out_go_below_each_other():
    columns = [Column("sender"), *(Column(f"receiver {place}", 2) for place in range(20))]
    table = of_rows("grid", "c", columns, [["teacher", *([Interval(31.47, 30.4, 32.66)] * 20)]])
    text = only(table)
    assert text.count(r"\begin{tabular}") == text.count("sender &") > 1
    assert text.count("31.47") == 20 and text.count(r"\begin{table*}") == 1


def test_every_table_fits_whatever_is_in_it():
    """Of random tables: what is set is never wider than its place, and nothing of rank 0 is lost."""
    random.seed(3)
    words = ("teacher", "decoder", "student,", "T=4", "distillation_decoder/best_student_model", "→", "教师")
    for _ in range(40):
        kinds = [random.choice("tnip") for _ in range(random.randint(1, 9))]
        columns = [Column(" ".join(random.choices(words, k=2)), 2, rank=random.randint(0, 2)) for _ in kinds]
        columns[0] = replace(columns[0], rank=0)
        rows = [[_cell(kind, words) for kind in kinds] for _ in range(3)]
        table = of_rows("t", "c", columns, rows)
        fitted = latex_fit.fitted(table)
        for panel in fitted.panels:
            assert (
                sum(column.width for column in panel) + latex_fit.GAP * (len(panel) - 1)
                <= fitted.way.room + 0.1
            )
        assert len(fitted.dropped) <= sum(column.rank > 0 for column in columns)


def _cell(kind, words):
    number = random.uniform(-100, 100)
    return {
        "t": " ".join(random.choices(words, k=random.randint(1, 6))),
        "n": number,
        "i": Styled(Interval(number, number - 1, number + 1), bold=True, marks="†"),
        "p": None,
    }[kind]


def test_a_page_holds_a_table_and_says_what_it_leaves_out():
    text = only(of_rows("t", "Many.", [Column("n"), Column("x", 2)], [[n, n / 7] for n in range(200)]))
    (shown,) = re.findall(r"The first (\d+) of 200 rows", text)
    assert text.count(r"\\") == int(shown) + 1 and 30 < int(shown) < 50


# Which tables, which columns


def test_the_five_of_a_paper_in_one_file_and_each_other_in_its_own():
    shown = [replace(TABLE, name=f"t{place}", in_paper=place % 2 == 0) for place in range(14)]
    document = with_block(*shown)
    written = latex.files(document)
    labels = {name: re.findall(r"\\label{tab:(\w+)}", text) for name, text in written.items()}
    assert labels["tables.tex"] == ["t0", "t2", "t4", "t6", "t8"]
    assert sorted(itertools.chain(*labels.values())) == sorted(table.name for table in shown)
    assert all(labels[latex.file_of(document, table)].count(table.name) == 1 for table in shown)


def test_columns_asked_for_in_their_order():
    names = ("pair", "bleu", "bleu_p", "kl_divergence")
    frame = frame_of([["teacher", 31.5, 0.01, 0.2]], names)
    table = Table("t", "c", {name: Column(name, 2) for name in names}, frame)
    text = only(table, Printed(columns=("kl_divergence", "bleu", "chrf")))
    assert r"pair & {kl\_divergence} & {bleu} \\" in text
    assert "0.01" not in text and "0.01" in only(table)
    # A table that has none of them has what it had.
    assert only(TABLE, Printed(columns=("bleu",))) == only(TABLE)


@pytest.mark.parametrize(
    ("asked", "shown"),
    [((), "0 & 6 & 12 & 15 & 18"), ((3.0, 9.0), "3 & 9"), ((99.0,), "0 & 3 & 6 & 9 & 12 & 15 & 18")],
)
def test_snrs_of_a_table_by_snr(asked, shown):
    ranks = {0: 1, 3: 6, 6: 3, 9: 5, 12: 0, 15: 4, 18: 2}
    columns = {"pair": Column("pair")} | {
        str(snr): Column(f"{snr}", 2, rank=rank, snr=float(snr)) for snr, rank in ranks.items()
    }
    table = Table("t", "c", columns, frame_of([["teacher", *([1.5] * 7)]], list(columns)))
    text = only(table, Printed(snrs=asked))
    assert " & ".join(f"{{{snr}}}" for snr in shown.split(" & ")) in text
    assert ("Not shown: 3, 9 dB." in text) == (asked == ())


# Strangers' strings, other scripts


COMMANDS = {
    *(
        "begin",
        "end",
        "centering",
        "small",
        "sloppy",
        "setlength",
        "tabcolsep",
        "sisetup",
        "caption",
        "label",
    ),
    *("normalfont", "toprule", "midrule", "bottomrule", "addlinespace", "multicolumn", "shortstack", "par"),
    *("smallskip", "medskip", "linewidth", "footnotesize", "scriptsize", "raggedright", "arraybackslash"),
    *("textbackslash", "textasciicircum", "textasciitilde", "textasciigrave", "textbar", "symbol"),
    *("allowbreak", "quad", "hangindent"),
    *r"\{}$&%#_,",
}


def test_hostile_strings_are_balanced_and_call_nothing_foreign():
    text = "".join(latex.files(hostile()).values())
    assert text.isascii()
    text = re.sub(r"(?m)^%.*\n|^  \\label{tab:table_\d+}\n", "", text)
    tokens = re.findall(r"\\([A-Za-z]+|.)|([{}$&%#_^~<>\"|])|[^\\]", text, re.S)
    assert {command for command, _ in tokens if command} <= COMMANDS
    depth, maths = 0, 0
    for _, mark in tokens:
        depth += (mark == "{") - (mark == "}")
        maths += mark == "$"
        # A sign that compares stands in mathematics, or begins a paragraph's column.
        assert depth >= 0 and mark not in set('%#_^~"|') - ({">"} if depth else set())
    assert depth == 0 and maths % 2 == 0
    environments = []
    for verb, name in re.findall(r"\\(begin|end){(\w+\*?)}", text):
        if verb == "begin":
            environments.append(name)
        else:
            assert environments.pop() == name
    assert environments == []
    assert not re.search(r"\\\\\s*[\[*]", text), (
        "a bracket or asterisk after a row's end would be its argument"
    )
    assert r"\input\{" not in text and r"\$x\$" in text


def test_the_packages_that_a_file_needs_are_said():
    def said(table, language="en"):
        return latex.files(replace(with_block(table), language=language))["tables/t.tex"].splitlines()[1]

    named = Table("t", "c", {"m": Column("model")}, frame_of([{"m": "教师模型"}]))
    plain = replace(TABLE, name="t")
    assert said(plain) == r"% \usepackage{booktabs,siunitx}"
    assert r"\usepackage[scheme=plain]{ctex}, with XeLaTeX" in said(named)
    assert r"\usepackage{ctex}, with XeLaTeX" in said(named, "zh")
    russian = Table("t", "c", {"m": Column("model")}, frame_of([{"m": "учитель"}]))
    assert "with XeLaTeX or LuaLaTeX and a font" in said(russian)


# A real TeX

STRANGERS = (
    *HOSTILE,
    "y" * 200,
    "/data/" + "long_folder/" * 20,
    "😀👩‍💻",
    "ρ→∞±×≤",
    "Łódź naïve ß œ “q” ‘s’ …",
)


def strangers_document():
    """Strings in every place of a table, of every shape that a table is set in."""
    shown = []
    for place, bad in enumerate(STRANGERS):
        few, many = Interval(1.5, -2.25, 30), [Interval(31.47, 30.4, 32.66)]
        columns = [Column(bad), *(Column(f"{bad} {n}", 2, rank=n // 8) for n in range(place % 12 + 1))]
        rows = [
            [Styled(bad, True, "†"), *(Styled(few, n == 1, "*†"[: n % 3]) for n in range(place % 12 + 1))]
        ]
        rows.append([bad * 3, *many * (place % 12 + 1)])
        table = of_rows(f"t{place}", f"{bad} {bad}", columns, rows, note=bad * 5)
        shown.append(replace(table, conditions=bad))
    return with_block(*shown, compared(), TABLE, with_rows([]))


@pytest.mark.tex
@needs_tex("pdflatex")
@pytest.mark.parametrize("kind", CLASSES)
def test_tables_compile_and_fit(kind, tmp_path):
    document = strangers_document()
    document = replace(
        document,
        sections=[
            Section("s", "S", [replace(table, name=f"t{n}") for n, table in enumerate(document.tables())])
        ],
    )
    found = complaints(latex.files(document).values(), kind, tmp_path)
    # A dozen heads of two hundred letters are higher than a page.
    assert [complaint for complaint in found if "too large" not in complaint] == []


@pytest.mark.tex
@needs_tex("xelatex", "ctex.sty")
@pytest.mark.parametrize("language", ["en", "zh"])
def test_chinese_compiles_and_fits(language, tmp_path):
    names = ("教师模型 → 解码器学生，温度为四，一层", "模型" * 40, "教师")
    document = replace(
        with_block(replace(compared(names), caption="每个发送端对每个接收端。" * 8, note="说明：" * 60)),
        language=language,
    )
    options = "" if language == "zh" else "[scheme=plain]"
    found = complaints(
        latex.files(document).values(), "IEEEtran", tmp_path, "xelatex", rf"\usepackage{options}{{ctex}}"
    )
    assert found == []


@pytest.mark.tex
@needs_tex("pdflatex")
def test_a_table_that_is_too_wide_is_complained_of(tmp_path):
    wide = "\\begin{table}\\begin{tabular}{l}" + "x" * 300 + "\\end{tabular}\\end{table}"
    assert shutil.which("pdflatex") and complaints([wide], "article", tmp_path)
