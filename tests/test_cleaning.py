"""One cleaning of lines: what goes, what stays, what is counted."""

import unicodedata
from collections import Counter

import pytest

from semcom.base.errors import SemcomError
from semcom.data.cleaning import check_argument, clean, is_cut_into_subwords, is_markup

ZWNJ, ZWJ = "\u200c", "\u200d"


@pytest.mark.parametrize(
    "dirty, expected",
    [
        ("the council &apos;s view &amp; ours", "the council 's view & ours"),
        ("doubly &amp;quot;escaped&amp;quot;", 'doubly "escaped"'),
        ("Moses &#124; &lt; &gt; &#91; &#93;", "Moses | < > [ ]"),
        ("an\x1b[31m escape\x00 and\x7f delete", "an[31m escape and delete"),
        ("right\u202eto\u2066left\u200b and zero width", "righttoleft and zero width"),
        ("a soft\u00adly hyphenated\ufeff word\u2060", "a softly hyphenated word"),
        ("entity &#27;[2J escape &#x202e;", "entity [2J escape"),
        ("tabs\tand\u00a0odd\u2028spaces \r", "tabs and odd spaces"),
        ("one\u2028line\u0085of\x0cwhite\x0bspace", "one line of white space"),
        ("naïve 漢字 🙂 stay", "naïve 漢字 🙂 stay"),
        ("don&#39;t stop", "don't stop"),
        (
            "halves &#55357;&#56832; of one, &#56832;&#55357; of none",
            "halves 😀 of one, \ufffd\ufffd of none",
        ),
        ("&eacute;t&#233; &nbsp;&#x2014;", "été —"),
        ("index.php?a=1&region=2&copy=3", "index.php?a=1&region=2&copy=3"),
        (
            "memcpy(&copy, &reg, n); T &not = x; y&lt8 &#39t",
            "memcpy(&copy, &reg, n); T &not = x; y&lt8 &#39t",
        ),
        ("R&D of AT&T &c. &unknown;", "R&D of AT&T &c. &unknown;"),
        ("  \t ", ""),
        ("", ""),
    ],
)
def test_what_is_no_text_goes(dirty, expected):
    assert clean(dirty) == expected


@pytest.mark.parametrize(
    "tokenised, expected",
    [
        ("a well @-@ known view", "a well-known view"),
        ("state @-@ of @-@ the @-@ art", "state-of-the-art"),
        ("3 @,@ 000 and 1 @.@ 5 and 10 @/@ 12 and 9 @:@ 30", "3,000 and 1.5 and 10/12 and 9:30"),
        ("the low@@ er hou@@ se", "the lower house"),
        ("mail me @ home or a@b.org , @user", "mail me @ home or a@b.org , @user"),
        ("foo@@ bar", "foo@@ bar"),
        ("@-@ begins and ends @-@", "@-@ begins and ends @-@"),
    ],
)
def test_joints_of_tokenisers_are_closed(tokenised, expected):
    counts = Counter()
    assert clean(tokenised, counts) == expected
    assert bool(counts["joints of a tokeniser closed"]) == (tokenised != expected)


@pytest.mark.parametrize("cut, expected", [(12, "the lower house"), (1, "the low@@ er house")])
def test_a_single_joint_is_closed_in_a_file_that_is_cut_so(cut, expected):
    subwords = is_cut_into_subwords(["the low@@ er house"] * cut + ["the house"] * 20)
    assert clean("the low@@ er house", subwords=subwords) == expected


@pytest.mark.parametrize(
    "line, count",
    [("a &amp; b &quot;c&quot; &#39; &amp;lt;", 5), ("R&D &copy &unknown; &#1;", 1), ("none", 0)],
)
def test_entities_are_counted(line, count):
    counts = Counter()
    clean(line, counts)
    assert counts["entities"] == count


MEANT = {
    "Persian, between letters": f"می{ZWNJ}خواهم",
    "Persian, an ending of an abbreviation and of a number": f"PDF{ZWNJ}ها و ۵{ZWNJ}ها و 12{ZWNJ}ها",
    "Persian, the abbreviated year": f"۱۳۵۷ ه{ZWJ}. ش",
    "Hindi, a half letter": f"क्{ZWJ}ष",
    "Hindi, a letter that does not join": f"क्{ZWNJ}ष",
    "Malayalam, a final consonant": f"അവന്{ZWJ} പറഞ്ഞു",
    "Bengali": f"র{ZWJ}্যাব",
    "Mongolian": "\u1828\u180e\u1820",
    "a verse of the Quran": "الرحيم \u06dd",
    "a family": f"👩{ZWJ}👩{ZWJ}👧{ZWJ}👦",
    "a pilot, darker": f"👩🏽{ZWJ}✈\ufe0f",
    "a rainbow flag": f"🏳\ufe0f{ZWJ}🌈",
    "Scotland": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "a keycap": "1\ufe0f\u20e3",
    "an ideographic variant": "葛\U000e0100城市",
    "an emoji of Unicode 15": "\U0001fae8",
    "a Chinese character of Unicode 15": "\U00031350",
}


@pytest.mark.parametrize("text", MEANT.values(), ids=MEANT)
def test_signs_that_carry_meaning_stay(text):
    counts = Counter()
    assert clean(text, counts) == text
    assert not counts.total()


@pytest.mark.parametrize(
    "dirty, expected",
    [
        (f"zero{ZWNJ}width in{ZWJ} Latin", "zerowidth in Latin"),
        (f"可{ZWNJ}以", "可以"),
        (f"می{ZWNJ} خواهم", "می خواهم"),
        (f"{ZWNJ}می{ZWNJ}{ZWNJ}خواهم", f"می{ZWNJ}خواهم".replace(ZWNJ, "")),
        (f"👩{ZWJ} alone", "👩 alone"),
        ("\U000e0067\U000e007ftags without a flag", "tags without a flag"),
        ("x\ufdd0y\uffffz", "xyz"),
        ("bullet \uf0b7 of Word", "bullet of Word"),
    ],
)
def test_the_same_signs_go_where_they_mean_nothing(dirty, expected):
    counts = Counter()
    assert clean(dirty, counts) == expected
    dropped = sum(unicodedata.category(c)[0] == "C" for c in dirty)
    dropped -= sum(unicodedata.category(c)[0] == "C" for c in expected)
    assert counts.total() == dropped > 0


def test_what_was_dropped_is_counted_by_kind():
    counts = Counter()
    clean("a\u200bb\u202ec\x07d\ue000e\ufffdf", counts)
    assert counts == {
        "invisible characters": 2,
        "control characters": 1,
        "characters of private use": 1,
        "characters lost before (U+FFFD) stay": 1,
    }


@pytest.mark.parametrize(
    "number", ["&#" + "1" * 9000 + ";", "&#x" + "f" * 9000 + ";", "&#" + "0" * 5000 + "65;"]
)
def test_an_entity_of_thousands_of_digits_is_no_number(number):
    assert clean(f"one {number} two") == f"one {number} two"


@pytest.mark.parametrize("text", [c * 10_000 for c in "&@<"] + ["<a " * 3000, "&amp;" * 2000, "@-@ " * 2500])
def test_cleaning_takes_no_quadratic_time(text):
    clean(text)
    is_markup(text)


@pytest.mark.parametrize(
    "line",
    [
        '<SPEAKER ID=1 LANGUAGE="DE" NAME="Bösch">',
        "<CHAPTER ID=1>",
        "<P>",
        '<doc id="12" url="https://en.wikipedia.org/wiki?curid=12" title="Anarchism">',
        "</doc>",
        "<p> <hl> </hl>",
        '<?xml version="1.0"?>',
        "<!-- no text -->",
        "<!DOCTYPE text>",
    ],
)
def test_tags_alone_are_markup(line):
    assert is_markup(clean(line))


@pytest.mark.parametrize(
    "line", ["<P> text", "a < b > c", "<3 <3", "x <b>", "< P >", "", "(Applause)", "<<a>>"]
)
def test_text_with_brackets_is_none(line):
    assert not is_markup(line)


def test_an_argument_of_other_bytes_is_refused():
    typed = "caf\udce9 au lait"  # as Python has b"caf\xe9" of a terminal in Latin 1
    with pytest.raises(SemcomError, match="^transmit: holds bytes that are not UTF-8; set the terminal"):
        check_argument(typed, "transmit")
    assert check_argument(" café\u200b &amp; thé ", "transmit") == " café\u200b &amp; thé "
