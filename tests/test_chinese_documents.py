"""Chinese pages say what the English say, block by block, and are set as Chinese is.

Blocks are headings, paragraphs, list items, rows of tables and code. Those of both pages come in the same
order, with the same inline code, numbers, bold words and links; a link leads to the Chinese page and heading
where one exists. Code is the same to the letter but for comments behind ``#``, which are translated and keep
their flags and numbers. A paragraph is one line: a line break is shown as a blank between two characters.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from babel.messages import pofile
from test_documents import LINK, PICTURE, ROOT, anchors, text_of

from semcom.report.catalogue import LOCALE

PAIRS = {
    "README.zh.md": "README.md",
    "docs/zh/guide.md": "DISTILLATION_GUIDE.md",
    "docs/zh/definitions.md": "docs/definitions.md",
    "docs/zh/losses.md": "docs/losses.md",
    "docs/zh/report.md": "docs/report.md",
    "docs/zh/text.md": "docs/text.md",
    "docs/zh/dial.md": "docs/dial.md",
    "docs/zh/demo.md": "docs/demo.md",
}
# Pages that only Chinese readers have.
APART = ["docs/zh/quick-reference.md", "docs/zh/glossary.md"]
PAGES = [*PAIRS, *APART]

CATALOGUE = LOCALE / "zh/LC_MESSAGES/semcom.po"
HAN = "[\u3007\u4e00-\u9fff]"
MARK = "[，。；：、？！（）《》“”]"
LETTER = "[A-Za-z0-9\u0370-\u03ff]"
NUMBER = re.compile(r"(?<![A-Za-z0-9_.])(?<![A-Za-z]-)-?\d+(?:[.,]\d+)*", re.A)
CODE = re.compile(r"(`+)(.+?)\1")
BOLD = re.compile(r"\*\*.+?\*\*")
LATIN_WORDS = 3
ENGLISH = re.compile(r"\b(the|of|and|or|is|are|to|with|from|that|which|by|for|in|on|at)\b")


@dataclass(frozen=True)
class Block:
    kind: str
    text: str


def kind_of(line: str) -> str:
    heading = re.match(r"#+ ", line)
    item = re.match(r" *(-|\d+\.) ", line)
    if heading:
        return f"heading {heading[0].count('#')}"
    if item:
        return f"item at {len(line) - len(line.lstrip())}"
    if line.startswith("|"):
        return "row" if line.strip("|:- ") else "rule"
    return "formula" if line.startswith("    ") else "paragraph"


def blocks(text: str) -> list[Block]:
    """Of a page, in order: lines of one block are joined by a blank, code is kept as it is."""
    found: list[Block] = []
    open_block = in_list = False
    for part in re.split(r"^( *```.*?^ *```\n)", text, flags=re.S | re.M):
        if part.lstrip().startswith("```"):
            found.append(Block("code", part))
            continue
        for line in part.splitlines():
            kind = kind_of(line)
            in_list = kind.startswith("item") or (in_list and line[:1] in ("", " "))
            kind = "paragraph" if in_list and kind == "formula" else kind
            goes_on = open_block and (kind == "paragraph" or (kind == "formula" and found[-1].kind != kind))
            if line.strip() and goes_on:
                found[-1] = Block(found[-1].kind, f"{found[-1].text} {line.strip()}")
            elif line.strip():
                found.append(Block(kind, line.strip()))
            open_block = bool(line.strip()) and not kind.startswith(("heading", "row", "rule"))
        open_block = False
    return found


def body(page: str) -> list[Block]:
    """Without the line of languages, which is the block below the title."""
    first, _, *rest = blocks(text_of(page))
    return [first, *rest]


def cells(block: Block) -> list[str]:
    return re.split(r"(?<!\\)\|", block.text)[1:-1] if block.kind == "row" else [block.text]


# --- what is the same


def led_to(page: str, text: str) -> list[str]:
    """Where the links of ``text`` lead, from the root of the tree."""
    targets = LINK.findall(text) + PICTURE.findall(text)
    places = []
    for target in targets:
        name, hash_sign, heading = target.partition("#")
        path = os.path.normpath(Path(page).parent / name) if name else page
        places.append(target if ":" in target else f"{path}{hash_sign}{heading}")
    return places


def in_chinese(place: str) -> str:
    """The Chinese page and heading that stand for an English one, where they exist."""
    path, hash_sign, heading = place.partition("#")
    chinese = next((page for page, english in PAIRS.items() if english == path), None)
    if chinese is None:
        return place
    if not heading:
        return chinese
    return f"{chinese}{hash_sign}{anchors(text_of(chinese))[anchors(text_of(path)).index(heading)]}"


def without_targets(text: str) -> str:
    return re.sub(r"\]\([^)\s]+\)", "]", text)


def said(text: str) -> dict[str, object]:
    """What a translation keeps: inline code, numbers outside it, names with digits, how many words are bold,
    and the program's message where a cell begins with one."""
    prose = CODE.sub("`", without_targets(text))
    return {
        "message": re.findall(r'^ *["“]([^"”]+)["”]', text),
        "names": sorted(re.findall(r"[A-Za-z]+-?\d+", prose, re.A)),
        "code": {span for _, span in CODE.findall(text)},
        "numbers": sorted(NUMBER.findall(prose)),
        "bold": len(BOLD.findall(prose)),
    }


def commands_and_comments(code: str) -> tuple[list[str], list[str]]:
    """Lines of a block that is marked as Bash or Python, comments apart; of others all is kept as it is."""
    if not re.match(r" *```(bash|python)\n", code):
        return code.splitlines(), []
    lines = [re.split(r"(?:^| +)# ", line, maxsplit=1) for line in code.splitlines()]
    return [line[0] for line in lines], ["".join(line[1:]) for line in lines]


def differences(chinese: Block, english: Block, page: str, of: str) -> list[str]:
    """What of the English block the Chinese one lacks or has otherwise."""
    if chinese.kind != english.kind:
        return [f"{chinese.kind} in the place of {english.kind}"]
    if chinese.kind == "code":
        (ours, our_words), (theirs, their_words) = map(commands_and_comments, (chinese.text, english.text))
        return [*different("code", ours, theirs), *different_comments(our_words, their_words)]
    pieces = [(cells(chinese), cells(english)), (led_to(page, chinese.text), led_to(of, english.text))]
    (our_cells, their_cells), (our_links, their_links) = pieces
    wanted = sorted(map(in_chinese, their_links))
    found = different("links", sorted(our_links), wanted)
    found += different("number of cells", len(our_cells), len(their_cells))
    for ours, theirs in zip(our_cells, their_cells):
        have, want = said(ours), said(theirs)
        found += [line for what in want for line in different(what, have[what], want[what])]
    return found


def different(what: str, have: object, want: object) -> list[str]:
    return [] if have == want else [f"{what}: {have} in the place of {want}"]


def different_comments(ours: list[str], theirs: list[str]) -> list[str]:
    found = []
    for have, want in zip(ours, theirs):
        if bool(have) != bool(want) or (want and not re.search(HAN, have)):
            found.append(f"comment: {have!r} in the place of {want!r}")
        found += different("numbers of a comment", sorted(NUMBER.findall(have)), sorted(NUMBER.findall(want)))
        flags = [re.findall(r"--[a-z][\w-]*", text) for text in (have, want)]
        found += different("flags of a comment", *map(sorted, flags))
    return found


@pytest.mark.parametrize("page", PAIRS)
def test_a_chinese_page_has_what_the_english_one_has(page):
    ours, theirs = body(page), body(PAIRS[page])
    for chinese, english in zip(ours, theirs):
        wrong = differences(chinese, english, page, PAIRS[page])
        assert not wrong, f"{page}: {chinese.text!r}\n{PAIRS[page]}: {english.text!r}\n" + "\n".join(wrong)
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("page", PAIRS)
def test_both_languages_are_linked_below_the_title(page):
    english = PAIRS[page]
    there, back = (os.path.relpath(to, Path(at).parent) for to, at in ((page, english), (english, page)))
    assert blocks(text_of(english))[1].text.startswith(f"English · [中文]({there})")
    assert blocks(text_of(page))[1].text.startswith(f"[English]({back}) · 中文")


def test_every_chinese_page_is_compared_or_apart():
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs/zh").glob("*.md")} <= set(PAGES)


def test_every_chinese_page_is_reached_from_the_chinese_guide_or_readme():
    reached = {
        place.partition("#")[0]
        for page in ("README.zh.md", "docs/zh/guide.md")
        for place in led_to(page, text_of(page))
    }
    assert set(PAGES) <= reached


# --- how Chinese is set


def plain(text: str) -> str:
    """As it is read: of links their words, of inline code a letter, nothing of marks for bold."""
    words = re.sub(r"!?\[([^\]]*)\]\([^)\s]+\)", r"\1", CODE.sub("x", text))
    return re.sub(r"(?<!\\)\*", "", re.sub(r"^(#+|-|\d+\.) +", "", words)).strip()


FAULTS = {
    "a blank is wanted between a character and a letter": f"{HAN}{LETTER}|{LETTER}{HAN}|%{HAN}",
    "no blank between characters, none beside full-width marks": f"{HAN} +{HAN}| +{MARK}|{MARK} +",
    "a full-width mark is wanted beside a character": rf"{HAN} ?[,;:?!]|[,;:?!] ?{HAN}|{HAN}\.",
    "full-width parentheses are wanted beside a character": rf"{HAN} ?\(|\){HAN}",
    "“ ” are wanted": '"',
    "% stands beside its number": r"\d %",
}
TERMS = {
    "发射端": "发送端",
    "混合体": "混合收发对",
    "混合模型": "混合收发对",
    "复数符号": "复符号",
    "令牌": "词元",
}


def faults(text: str) -> list[str]:
    shown = plain(text)
    found = [f"{fault}: {m[0]!r}" for fault, rule in FAULTS.items() for m in re.finditer(rule, shown)]
    found += [f"{term}: {better}" for term, better in TERMS.items() if term in shown]
    return found + bold_not_shown(CODE.sub("x", text))


def test_the_reports_catalogue_has_the_same_terms():
    with CATALOGUE.open("rb") as file:
        chinese = {message.id: message.string for message in pofile.read_po(file)}
    assert not {text for text in chinese.values() if any(term in text for term in TERMS)}
    rows = [[cell.strip() for cell in cells(block)] for block in blocks(text_of("docs/zh/glossary.md"))]
    known = {row[1]: row[0] for row in rows if len(row) == 3 and row[1] in chinese}
    assert len(known) > 20 and known == {english: chinese[english] for english in known}


def bold_not_shown(text: str) -> list[str]:
    """``**`` between a mark inside and a character or letter outside neither begins nor ends bold type."""
    parts = text.split("**")
    word, mark = rf"({HAN}|{LETTER})", rf"({MARK}|[().%])"
    ends = [f"{bold}**{after}" for bold, after in zip(parts[1::2], parts[2::2])]
    begins = [f"{before}**{bold}" for before, bold in zip(parts[0::2], parts[1::2])]
    wrong = [text for text in ends if re.search(rf"{mark}\*\*{word}", text)]
    wrong += [text for text in begins if re.search(rf"{word}\*\*{mark}", text)]
    return [f"bold is not shown: {text!r}" for text in wrong]


def prose(page: str) -> list[str]:
    of_page = [block for block in blocks(text_of(page)) if block.kind not in ("code", "formula", "rule")]
    return [cell for block in of_page for cell in cells(block)]


@pytest.mark.parametrize("page", PAGES)
def test_chinese_is_set_as_chinese(page):
    assert not {text: faults(text) for text in prose(page) if faults(text)}


def english_left(text: str, messages: str) -> list[str]:
    """Runs of Latin words, and English function words; in “ ” the program's messages stay as printed."""
    read = re.sub(r"“([^”]*)”", lambda m: "“”" if f'"{m[1]}"' in messages else m[0], plain(text))
    words = r"[A-Za-z][A-Za-z'’-]*"
    runs = re.findall(rf"{words}(?: {words}){{{LATIN_WORDS},}}", read)
    return runs + ENGLISH.findall(read)


@pytest.mark.parametrize("page", PAGES)
def test_no_english_is_left(page):
    messages = " ".join(" ".join(map(text_of, PAIRS.values())).split())
    assert not {text: english_left(text, messages) for text in prose(page) if english_left(text, messages)}


@pytest.mark.parametrize("page", PAIRS)
def test_headings_and_paragraphs_are_chinese(page):
    kinds = ("heading", "item", "paragraph")
    assert not [b.text for b in body(page) if b.kind.startswith(kinds) and not re.search(HAN, b.text)]


# --- that the rules notice


def test_a_translation_that_keeps_all_passes_and_one_that_does_not_is_told():
    english = Block(
        "item at 0", "- **Power** is 1/2 at -20 dB by `--snr`, 5 % of 2,000; [channels](channels.md#pilots)"
    )
    good = "- 由 `--snr` 给出，-20 dB 时**功率**为 1/2，即 2,000 的 5%；见[信道](../channels.md#pilots)"

    def told(text: str) -> list[str]:
        return differences(Block("item at 0", text), english, "docs/zh/definitions.md", "docs/definitions.md")

    assert not told(good) and not faults(good) and not english_left(good, "")
    for right, wrong, what in (
        ("`--snr`", "信噪比", "code"),
        ("-20", "20", "numbers"),
        ("2,000", "200", "numbers"),
        ("**功率**", "功率", "bold"),
        ("#pilots", "", "links"),
    ):
        assert [line.partition(":")[0] for line in told(good.replace(right, wrong))] == [what]


def test_links_lead_to_the_chinese_heading():
    assert in_chinese("DISTILLATION_GUIDE.md#modes") == "docs/zh/guide.md#模式"
    assert in_chinese("docs/channels.md#pilots") == "docs/channels.md#pilots"


def test_code_is_the_same_but_for_its_comments():
    english = Block("code", "```bash\npython a.py --x 1   # of 2 runs, --lang zh\n```\n")

    def told(text: str) -> list[str]:
        return [line.partition(":")[0] for line in differences(Block("code", text), english, "a", "b")]

    assert not told("```bash\npython a.py --x 1   # 2 次运行，--lang zh\n```\n")
    assert told("```bash\npython a.py --x 2   # 2 次运行，--lang zh\n```\n") == ["code"]
    assert told("```bash\npython a.py --x 1   # 3 次运行，--lang zh\n```\n") == ["numbers of a comment"]
    assert told("```bash\npython a.py --x 1   # 2 次运行\n```\n") == ["flags of a comment"]
    assert "comment" in told("```bash\npython a.py --x 1   # of 2 runs, --lang zh\n```\n")


@pytest.mark.parametrize(
    "text",
    [
        "在6 dB 下",
        "KL值",
        "损失 函数",
        "损失， 以及",
        "损失, 以及",
        "教师(旧)",
        '"教师"',
        "5 %",
        "发射端",
        "**损失。**学生",
        "**损失（旧）**的",
    ],
)
def test_what_is_set_wrongly_is_told(text):
    assert len(faults(text)) >= 1


def test_what_is_set_rightly_passes():
    for text in (
        "在 6 dB 下，KL(教师 ‖ 学生) 为 0.1（95%）",
        "**损失**：“自身前缀”，见[损失](a.md)。**信道**为 x",
    ):
        assert not faults(text)
    assert english_left("这是 a sentence of four words", "") and english_left("教师 and 学生", "")
    assert not english_left("“exists already”（已存在）", '"exists already"')
    assert english_left("“this exists already here”", "")


def test_blocks_are_told_apart():
    page = "# A\n\nb\nc\n- d\n  e\n    - f\n\n    g\n    h\n\ni\n\n    j = k\n    l\n\n"
    page += "| m |\n| --- |\n```\nn\n```\n"
    assert [block.kind for block in blocks(page)] == [
        *("heading 1", "paragraph", "item at 0", "item at 4", "paragraph", "paragraph", "formula", "formula"),
        *("row", "rule", "code"),
    ]
