"""Words, their kinds and their losses against sentences made by hand and a second count of the multisets."""

import random
from collections import Counter
from itertools import islice

import numpy as np
import pytest

from semcom.data import parliament
from semcom.evaluation import english_words, lost_words
from semcom.report.catalogue import translation
from semcom.report.sections import lost_words as lost_words_section

BUILT_IN = [text for text, _ in islice(parliament.sentences(), 1500)]
POOL = "the The THE council Council No no May may 2006 two not don't rule on and in I fisheries".split()


def made_up(seed, count=300, longest=12):
    rng = random.Random(seed)
    return [" ".join(rng.choices(POOL, k=rng.randint(0, longest))) for _ in range(count)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("The council, at last, agreed!", "The council at last agreed"),
        ("1,200.5 tonnes for 12:30 in 94/55/EC", "1,200.5 tonnes for 12:30 in 94/55 EC"),
        ("up 25%, or -3.5% (Rule 87(1)).", "up 25 or 3.5 Rule 87 1"),
        ("In 2006, 1999. 2000-2006", "In 2006 1999 2000-2006"),
        ("Don't sell my father's twenty-one boats", "Don't sell my father's twenty-one boats"),
        (
            "the farmers' and 'quoted' -- no-man's-land - e-mails",
            "the farmers and quoted no-man's-land e-mails",
        ),
        ("snake_case and/or U.S. [COM(1999)344", "snake case and or U S COM 1999 344"),
        ("", ""),
        ("... – “ ”", ""),
    ],
)
def test_words_of_english(text, expected):
    assert english_words.words(text) == expected.split()


def test_words_of_scripts_without_blanks_are_characters():
    assert english_words.words("我们支持2006年的报告（第3次）。") == [
        "我",
        "们",
        "支",
        "持",
        "2006",
        "年",
        "的",
        "报",
        "告",
        "第",
        "3",
        "次",
    ]
    assert english_words.words("カード・語、ひら𠀀") == ["カ", "ー", "ド", "語", "ひ", "ら", "𠀀"]
    assert english_words.words("한국어 문장") == ["한국어", "문장"], "Korean parts its words"
    assert english_words.words("ที่นี่ 5 ບາດ") == ["ที่", "นี่", "5", "ບ", "າ", "ດ"], "not Thai, nor Lao"


@pytest.mark.parametrize(
    "one, other",
    [
        ("don’t", "don't"),
        ("cafe\u0301", "café"),
        ("ﬁsh", "fish"),
        ("by\u2011catch", "by-catch"),
        ("２００６", "2006"),
        ("½", "1⁄2"),
    ],
)
def test_one_word_has_one_spelling(one, other):
    assert english_words.words(one) == english_words.words(other) == [other]


def test_signs_within_a_letter_part_no_word():
    assert english_words.words("हिन्दी भाषा") == ["हिन्दी", "भाषा"]


def kind_of(word, before="so"):
    return english_words.kinds([before, word])[-1]


def test_each_rule():
    for kind, examples in {
        "number": "7 1,200.5 CO2 10th A5-0108 one Twelve hundred third half dozen twenty-one two-thirds "
        "one's millions",
        "negation": "not No never None nothing nobody Nobody's nowhere neither nor cannot without don't "
        "Isn't won't can't NOT",
        "name": "Germany Mr Council Iran's The May European Über É",
        "function": "the of and because we I I'm I've it's they'll himself does been would which whenever s",
        "content": "fisheries notable nonetheless half-hearted first-class one-sided no-fly farmer's",
    }.items():
        for word in examples.split():
            assert kind_of(word) == kind, word


def test_the_first_word_is_no_name():
    assert english_words.kinds(["Germany", "and", "Germany"]) == ["content", "function", "name"]
    assert english_words.kinds(["The", "May", "may", "The"]) == ["function", "name", "function", "name"]
    assert english_words.kinds(["One", "Nobody"]) == ["number", "negation"], (
        "numbers and negations come before names, at every place"
    )


def test_no_before_a_digit_is_no_negation():
    assert english_words.kinds(english_words.words("Amendment No 62 has no friends. No! No one")) == [
        "content",
        "name",
        "number",
        "function",
        "negation",
        "content",
        "negation",
        "negation",
        "number",
    ]
    assert (
        english_words.kinds(english_words.words("no 7"))[0] == "negation"
        and english_words.kinds(["No", "two"])[0] == "negation"
    )
    assert english_words.kinds(["No", "7"])[0] == "content"
    assert english_words.kinds([]) == []


def test_the_lists_are_in_order():
    assert list(lost_words_section.RULES) == list(lost_words_section.KINDS) == list(lost_words.KINDS)
    listed = [english_words.NUMBER_WORDS, english_words.NEGATIONS, english_words.FUNCTION_WORDS]
    assert all(
        word == word.lower() and english_words.words(word) == [word] for some in listed for word in some
    )
    assert sum(map(len, listed)) == len(frozenset.union(*listed)), (
        "a word in two lists belongs to the first: in the second it misleads"
    )
    rule = lost_words_section.RULES["negation"]
    for word in (
        "not",
        "no",
        "never",
        "none",
        "nothing",
        "nobody",
        "nowhere",
        "neither",
        "nor",
        "cannot",
        "without",
    ):
        assert word in rule and word in translation("zh").gettext(rule)


def marked(sent, understood):
    return [word for word, gone in zip(english_words.words(sent), lost_words.lost(sent, understood)) if gone]


@pytest.mark.parametrize(
    "sent, understood, expected",
    [
        ("the council adopts the report", "the council rejects the report", "adopts"),
        ("the council adopts the report", "report the adopts Council, the!", ""),
        ("the council adopts", "the the the council council", "adopts"),
        ("It is 1,200 and not 12", "It is 1.200 and 12", "1,200 not"),
    ],
)
def test_lost_words(sent, understood, expected):
    assert marked(sent, understood) == expected.split()


def test_which_of_equal_words_is_lost():
    assert lost_words.lost("the a the b the", "x the b the") == [True, True, False, False, False], (
        "by alignment"
    )
    assert lost_words.lost("the a the b the", "x b the") == [True, True, True, False, False]
    assert lost_words.lost("the the the", "the") == [False, True, True], "else the later ones"
    assert lost_words.lost("no friend of No", "No") == [True, True, True, False], "its own form comes first"
    assert lost_words.lost("No friend of no", "no") == [True, True, True, False]
    assert lost_words.lost("No friend of no", "NO") == [False, True, True, True]
    # The first No is a name, the second a negation: the earlier of one form arrives first, whatever an
    # alignment would say.
    assert lost_words.lost("On No 7 No", "7 no No") == [True, False, False, False]
    assert lost_words.lost("On No 7 No", "7 No") == [True, False, False, True]


def counted_loss(sent, understood):
    a, b = (Counter(word.lower() for word in english_words.words(text)) for text in (sent, understood))
    return a - b, b - a


@pytest.mark.parametrize("sents, understood", [(made_up(0), made_up(1)), (BUILT_IN[:-1], BUILT_IN[1:])])
def test_losses_are_those_of_multisets(sents, understood):
    sent = lost_words.Sent(sents)
    loss = sent.loss(understood)
    flags = sent.lost(understood)
    assert loss.lost.tolist() == [flag for of_one in flags for flag in of_one]
    for index, (gone, new) in enumerate(counted_loss(*pair) for pair in zip(sents, understood)):
        assert Counter(w.lower() for w, flag in zip(sent.words[index], flags[index]) if flag) == gone
        assert flags[index] == lost_words.lost(sents[index], understood[index])
        assert loss.in_all()[index].tolist() == [gone.total(), len(english_words.words(sents[index]))]
        assert loss.added()[index].tolist() == [new.total(), len(english_words.words(understood[index]))]
    assert 0 < loss.lost.mean() < 1


def test_tallies_are_counts_of_each_class():
    sents, understood = made_up(2), made_up(3)
    sent = lost_words.Sent(sents)
    loss, bands = (
        sent.loss(understood),
        lost_words.frequency_bands(lost_words.count(made_up(4)[:3]), edges=(2, 5)),
    )
    for tallies, class_of in [
        (loss.by_kind(), lambda i, j: english_words.kinds(sent.words[i])[j]),
        (loss.by(sent.by_frequency(bands)), lambda i, j: bands(sent.words[i][j].lower())),
    ]:
        for i, of_one in enumerate(sent.lost(understood)):
            for name, tally in tallies.items():
                flags = [flag for j, flag in enumerate(of_one) if class_of(i, j) == name]
                assert tally[i].tolist() == [sum(flags), len(flags)]
        assert all(tally.dtype.kind == "i" and tally.shape == (300, 2) for tally in tallies.values())
        assert (sum(tallies.values()) == loss.in_all()).all(), "classes part the words without a rest"


def rate(tally):
    """Share of words lost (or added) in a tally [N, 2]."""
    lost, total = np.asarray(tally).reshape(-1, 2).sum(0)
    return lost / total


def test_rates_of_kinds_combine_to_the_rate_in_all():
    loss = lost_words.Sent(BUILT_IN[:-1]).loss(BUILT_IN[1:])
    kinds = loss.by_kind()
    assert tuple(kinds) == lost_words.KINDS
    total = sum(tally[:, 1].sum() for tally in kinds.values())
    weighted = sum(rate(tally) * tally[:, 1].sum() for tally in kinds.values()) / total
    assert weighted == pytest.approx(rate(loss.in_all()), rel=1e-12)
    assert rate(loss.in_all()) == loss.lost.mean()


@pytest.mark.parametrize("sents", [made_up(5), BUILT_IN[:300]])
def test_the_order_of_the_words_understood_does_not_count(sents):
    rng = random.Random(6)
    understood = [
        " ".join(rng.sample(both, k=rng.randint(0, len(both))))
        for both in (english_words.words(a + " " + b) for a, b in zip(sents, made_up(7)))
    ]
    shuffled = [" ".join(rng.sample(text.split(), len(text.split()))) for text in understood]
    assert shuffled != understood
    sent = lost_words.Sent(sents)
    ours, theirs = sent.loss(understood), sent.loss(shuffled)
    for a, b in zip(
        [ours.in_all(), ours.added(), *ours.by_kind().values()],
        [theirs.in_all(), theirs.added(), *theirs.by_kind().values()],
    ):
        np.testing.assert_array_equal(a, b)


def test_identity_loses_nothing_and_silence_loses_all():
    sent = lost_words.Sent(BUILT_IN)
    for same in (BUILT_IN, [text.upper() for text in BUILT_IN], [text.rstrip(".?!") for text in BUILT_IN]):
        loss = sent.loss(same)
        assert not loss.lost.any() and not loss.added()[:, 0].any()
    silence = sent.loss([""] * len(BUILT_IN))
    assert silence.lost.all() and not silence.added().any()
    assert {kind: rate(tally) for kind, tally in silence.by_kind().items()} == dict.fromkeys(
        lost_words.KINDS, 1.0
    )


def test_nothing_sent_counts_no_word():
    loss = lost_words.Sent(["", "..."]).loss(["", "two words"])
    assert loss.in_all().tolist() == [[0, 0], [0, 0]] and loss.added().tolist() == [[0, 0], [2, 2]]
    assert lost_words.Sent([]).loss([]).in_all().shape == (0, 2)


def test_one_text_a_sentence_is_wanted():
    for ask in (lost_words.Sent(["a", "b"]).loss, lost_words.Sent(["a", "b"]).lost):
        with pytest.raises(ValueError, match="1 texts understood of 2"):
            ask(["a"])


def test_kinds_of_the_built_in_corpus():
    sent = lost_words.Sent(BUILT_IN)
    by_kind = {
        kind: {w.lower() for ws, ks in zip(sent.words, sent.kinds) for w, k in zip(ws, ks) if k == kind}
        for kind in lost_words.KINDS
    }
    assert {"2012", "two", "first"} <= by_kind["number"] and {"not", "cannot", "never", "without"} <= by_kind[
        "negation"
    ]
    assert {"germany", "council", "mr"} <= by_kind["name"] and {"the", "that", "is", "which"} <= by_kind[
        "function"
    ]
    assert {"directive", "gas", "research"} <= by_kind["content"]
    shares = np.bincount(sent.by_kind.codes) / len(sent.sentence)
    assert 0.3 < shares[lost_words.KINDS.index("function")] < 0.6 and min(shares) > 0.01
    assert set(map(lost_words.length_band, sent.lengths)) == set(lost_words.LENGTH_BANDS[:4]), "4 to 30 words"


def test_bands_of_frequency():
    counts = {"b": 5, "a": 5, "c": 9, "d": 1, "f": 1, "e": 1, "gone": 0}
    bands = lost_words.frequency_bands(counts, edges=(2, 4))
    assert bands.names == ("1–2", "3–4", "rarer", "unseen")
    assert {word: bands(word) for word in [*counts, "new"]} == {
        "c": "1–2",
        "a": "1–2",
        "b": "3–4",
        "d": "3–4",
        "e": "rarer",
        "f": "rarer",
        "gone": "unseen",
        "new": "unseen",
    }
    many = lost_words.frequency_bands({f"w{rank}": 20_000 - rank for rank in range(1, 10_002)})
    assert many.names == ("1–100", "101–1000", "1001–10000", "rarer", "unseen")
    assert [many(f"w{rank}") for rank in (1, 100, 101, 1000, 1001, 10_000, 10_001)] == [
        "1–100",
        "1–100",
        "101–1000",
        "101–1000",
        "1001–10000",
        "1001–10000",
        "rarer",
    ]


def test_counts_are_of_words_in_lower_case():
    assert lost_words.count(["The rule, the Rule.", "2006: the"]) == {"the": 3, "rule": 2, "2006": 1}


def test_bands_of_length():
    assert [lost_words.length_band(n) for n in (0, 1, 9, 10, 14, 15, 19, 20, 30, 31, 99)] == [
        "1–9",
        "1–9",
        "1–9",
        "10–14",
        "10–14",
        "15–19",
        "15–19",
        "20–30",
        "20–30",
        "31+",
        "31+",
    ]
