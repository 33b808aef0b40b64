"""The built-in corpus: reproducible, varied, grammatical, and telling by topic."""

import hashlib
import lzma
import math
import re
from collections import Counter, defaultdict
from itertools import islice

import pytest

from semcom.data.parliament import TOPICS, sentences
from semcom.data.parliament.english import PLURAL, SINGULAR, article, conjugate, finite, plural

FIRST_THOUSAND = "a33d38f0fd85a564317e2aa7287d1cb8afe47a38936c30a7ec7a3bfeff128519"


def taken(number, **choice):
    return list(islice(sentences(**choice), number))


def bare_words(text):
    return [word for word in (token.strip('.,?;:"()').lower() for token in text.split()) if word]


@pytest.fixture(scope="module")
def corpus():
    return taken(60_000)


@pytest.fixture(scope="module")
def frequencies(corpus):
    return Counter(word for text, _ in corpus for word in bare_words(text))


def test_first_thousand_are_fixed():
    digest = hashlib.sha256("\n".join(f"{topic}\t{text}" for text, topic in taken(1000)).encode())
    assert digest.hexdigest() == FIRST_THOUSAND


def test_prefix_and_seed(corpus):
    assert taken(3000) == corpus[:3000]
    assert taken(100, seed=1) != corpus[:100]


def test_topics_are_known():
    assert len(TOPICS) >= 12 and all(topic.isalpha() and topic.islower() for topic in TOPICS)


def test_stream_of_a_topic_does_not_depend_on_the_choice(corpus):
    narrow = TOPICS[2], TOPICS[7]
    for topic in narrow:
        alone = [text for text, _ in taken(1500, topics=(topic,))]
        beside = [text for text, named in taken(3000, topics=narrow) if named == topic]
        among_all = [text for text, named in corpus if named == topic][:1500]
        # Only a sentence that another topic has said before may be left out.
        assert len(set(alone) & set(beside)) >= 1490 and len(set(alone) & set(among_all)) >= 1490
        assert alone[:200] == beside[:200] == among_all[:200]


def test_distinct_and_of_every_topic(corpus):
    assert len({text for text, _ in corpus}) == 60_000
    assert {topic for _, topic in corpus} == set(TOPICS)


def test_three_topics_suffice():
    assert len({text for text, _ in taken(60_000, topics=TOPICS[:3])}) == 60_000


def test_lengths(corpus):
    lengths = [len(text.split()) for text, _ in corpus]
    assert min(lengths) >= 4 and max(lengths) <= 30
    assert 12.5 <= sum(lengths) / len(lengths) <= 16


def test_form(corpus):
    for text, _ in corpus:
        assert text.isascii() and text[0].isupper() and text[-1] in ".?"
        assert "  " not in text and "$" not in text and "~" not in text and " ," not in text


def test_zipf(frequencies):
    assert 2000 <= len(frequencies) <= 9000
    ordered = [count for _, count in frequencies.most_common()]
    assert 0.35 <= sum(ordered[:100]) / sum(ordered) <= 0.70
    points = [
        (math.log(rank), math.log(ordered[rank - 1])) for rank in (10, 20, 50, 100, 200, 500, 1000, 2000)
    ]
    x_mean, y_mean = (sum(axis) / len(points) for axis in zip(*points))
    slope = sum((x - x_mean) * (y - y_mean) for x, y in points) / sum((x - x_mean) ** 2 for x, _ in points)
    assert -1.3 <= slope <= -0.6


@pytest.mark.slow
def test_information(corpus):
    text = "\n".join(text for text, _ in corpus)
    assert 8 * len(lzma.compress(text.encode(), preset=9)) / len(text) >= 1.2


def test_indefinite_articles(corpus):
    for text, _ in corpus[::3]:
        for said, following in re.findall(r"\b([Aa]n?) ([a-zA-Z-]+)", text):
            assert said.lower() == article(following), text


def test_topic_is_told_by_the_words(corpus):
    known, unseen = corpus[:5000], corpus[20_000:21_000]
    counts = defaultdict(Counter)
    for text, topic in known:
        counts[topic].update(bare_words(text))
    totals = {topic: sum(counter.values()) for topic, counter in counts.items()}

    def guess(text):
        return max(
            TOPICS,
            key=lambda topic: sum(
                math.log((counts[topic][word] + 0.1) / (totals[topic] + 400)) for word in bare_words(text)
            ),
        )

    assert sum(guess(text) == topic for text, topic in unseen) >= 600


@pytest.mark.parametrize(
    "pattern, least, most",
    [
        (r"\b(not|no|never|neither|cannot)\b|n't\b", 0.10, 0.40),
        (r"\?$", 0.08, 0.25),
        (r"\d|\b(two|three|four|ten|twenty|million)\b", 0.08, 0.40),
        (r"\b(19|20)\d\d\b", 0.02, 0.25),
        (
            r"\b\d+ (January|February|March|April|May|June|July|August|September|October|November"
            r"|December)\b",
            0.005,
            0.1,
        ),
        (r"\b(because|although|if|when|whereas|since|unless)\b", 0.08, 0.40),
        (r"\b(Mr|Mrs|Ms|Commissioner) [A-Z]", 0.05, 0.35),
    ],
)
def test_shares(corpus, pattern, least, most):
    sample = corpus[::3]
    found = sum(1 for text, _ in sample if re.search(pattern, text))
    assert least <= found / len(sample) <= most


@pytest.mark.parametrize(
    "base, third, past, participle, gerund",
    [
        ("take", "takes", "took", "taken", "taking"),
        ("ban", "bans", "banned", "banned", "banning"),
        ("label", "labels", "labelled", "labelled", "labelling"),
        ("apply", "applies", "applied", "applied", "applying"),
        ("destroy", "destroys", "destroyed", "destroyed", "destroying"),
        ("veto", "vetoes", "vetoed", "vetoed", "vetoing"),
        ("die of", "dies of", "died of", "died of", "dying of"),
        ("free", "frees", "freed", "freed", "freeing"),
        ("catch", "catches", "caught", "caught", "catching"),
        ("audit", "audits", "audited", "audited", "auditing"),
        ("permit", "permits", "permitted", "permitted", "permitting"),
        ("seal", "seals", "sealed", "sealed", "sealing"),
        ("call for", "calls for", "called for", "called for", "calling for"),
        ("tow", "tows", "towed", "towed", "towing"),
    ],
)
def test_verbs(base, third, past, participle, gerund):
    assert conjugate(base) == (base, third, past, participle, gerund)


@pytest.mark.parametrize(
    "one, many",
    [
        ("policy", "policies"),
        ("day", "days"),
        ("box", "boxes"),
        ("crisis", "crises"),
        ("tomato", "tomatoes"),
        ("code of practice", "codes of practice"),
        ("recovery plan for cod", "recovery plans for cod"),
        ("tax cut", "tax cuts"),
    ],
)
def test_plurals(one, many):
    assert plural(one) == many


def test_articles():
    assert [article(word) for word in ("union", "hour", "unfair", "European", "opt-out", "university")] == [
        "a",
        "an",
        "an",
        "a",
        "an",
        "a",
    ]


def test_agreement():
    be, go = conjugate("be"), conjugate("go")
    assert finite(be, SINGULAR, "past", True) == ("was", "") and finite(be, PLURAL, "present", False) == (
        "are",
        "",
    )
    assert finite(go, SINGULAR, "present", False) == ("", "goes") and finite(
        go, PLURAL, "present", False
    ) == ("", "go")
    assert finite(go, SINGULAR, "present", True) == ("does", "go") and finite(
        go, PLURAL, "perfect", True
    ) == ("have", "gone")
