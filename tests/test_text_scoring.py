"""Scores of text in any script: a model that gives back every sentence has BLEU 100, chrF 100 and all
sentences exact, by every vocabulary; and by which tokeniser texts of each language are scored."""

import unicodedata
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import sacrebleu
from toy import spoken, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.commands import measuring
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.examples_table import table
from semcom.commands.measuring import tell_losses
from semcom.commands.sweep_report import comparable
from semcom.data.batching import Encoded
from semcom.data.corpus import Sentence
from semcom.data.languages import LANGUAGES, language_of
from semcom.data.piece_vocabulary import train_vocabulary
from semcom.data.settings import NORMALIZATIONS
from semcom.evaluation import measures, text_metrics, text_scoring
from semcom.evaluation.results import Measured, PairResult
from semcom.evaluation.study import Study
from semcom.evaluation.text_scoring import TextScoring, scored_alike, scoring_for

FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
JOINERS = "fa"  # sentencepiece's nmt_nfkc turns its zero-width non-joiners into blanks: they cannot come back
TEXTS = {
    "en": "The committee agreed that the report of 1998 was late.",
    "de": "Der Ausschuß fürchtet, daß die größere Maßnahme später kommt.",
    "vi": "Ủy ban đã đồng ý rằng báo cáo này đến muộn hơn dự kiến.",
    "ru": "Комитет согласился, что доклад пришёл слишком поздно.",
    "el": "Η επιτροπή συμφώνησε ότι η έκθεση άργησε πολύ φέτος.",
    "ar": "وافقت اللجنة على أن التقرير قد تأخر كثيرا هذا العام",
    "fa": "کمیته می\u200cگوید که گزارش‌ها خیلی دیر رسیده\u200cاند و باید خوانده شوند",
    "he": "הוועדה הסכימה כי הדוח הגיע מאוחר מדי השנה",
    "hi": "समिति ने कहा कि यह न्\u200dयायिक रिपोर्ट बहुत देर से आई है",
    "th": "คณะกรรมการเห็นด้วยว่ารายงานนี้มาช้าเกินไป น้ำท่วม",
    "zh": "委员会同意，这份报告（１９９８年）来得太晚了。",
    "ja": "委員会は報告が遅すぎたことにﾊﾝｶｸ同意しました。",
    "ko": "위원회는 보고서가 너무 늦게 나왔다는 데 동의했습니다.",
    "km": "គណៈកម្មការបានយល់ព្រមថារបាយការណ៍នេះមកយឺតពេក",
    "lo": "ຄະນະກໍາມະການເຫັນດີວ່າບົດລາຍງານນີ້ມາຊ້າເກີນໄປ",
    "my": "ကော်မတီသည် ဤအစီရင်ခံစာ အလွန်နောက်ကျသည်ဟု သဘောတူသည်။",
    "bo": "ཚོགས་ཆུང་གིས་སྙན་ཞུ་འདི་ཕྱི་དྲགས་པར་མོས་མཐུན་བྱས་སོ། །",
    "emoji": f"our 👨\u200d👩\u200d👧 waves a {FLAG} and a ❤\ufe0f flag 👍🏽 today",
    "decomposed": unicodedata.normalize("NFD", "Le député a réclamé à São Tomé une été à Åse."),
    "ligatures": "The ﬁrst oﬃcer paid ½ of １２３ ㎏ in № Ⅷ at ２０ ℃…",
}
SHORT = {"zh": "好的", "en": "Yes indeed."}


@pytest.fixture(scope="module")
def vocabularies():
    texts = [*TEXTS.values(), *SHORT.values()] * 30
    words = [word for text in texts[: len(TEXTS)] for word in text.split()] * 3
    return {name: train_vocabulary([*texts, *words], 720, name) for name in NORMALIZATIONS}


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
@pytest.mark.parametrize("script", TEXTS)
def test_what_comes_back_whole_has_all_points(script, normalization, vocabularies):
    sent, vocabulary = TEXTS[script], vocabularies[normalization]
    understood = vocabulary.decode(vocabulary.encode([sent]))
    scoring = scoring_for([sent], language_of([sent]))
    assert scoring.too_short([sent]) == 0
    bleu = text_metrics.bleu_of(scoring.bleu_statistics(understood, [sent]).sum(0))
    chrf = text_metrics.chrf_of(scoring.chrf_statistics(understood, [sent]).sum(0))
    whole = (normalization, script) != ("nmt_nfkc", JOINERS)
    assert scoring.exact(understood, [sent]).tolist() == [[whole]]
    assert (bleu == pytest.approx(100)) == whole and (chrf == pytest.approx(100)) == whole
    as_written = understood == [sent]
    assert scoring.exact_as_written(understood, [sent]).tolist() == [[as_written]]
    if normalization == "identity":
        assert as_written


def test_some_of_these_do_not_come_back_as_written(vocabularies):
    def changed(normalization):
        vocabulary = vocabularies[normalization]
        again = vocabulary.decode(vocabulary.encode(list(TEXTS.values())))
        return {name for name, back in zip(TEXTS, again) if back != TEXTS[name]}

    assert changed("identity") == set()
    assert {"decomposed"} <= changed("nfc") < changed("nfkc") < changed("nmt_nfkc")
    assert {"zh", "ja", "ligatures"} <= changed("nfkc") and JOINERS in changed("nmt_nfkc") - changed("nfkc")


@pytest.mark.parametrize(
    "normalization, ours, theirs, same",
    [
        ("nfkc", "ﬁn ½", "fin 1⁄2", True),
        ("nfkc", "a´b", "a \u0301b", True),
        ("nfc", "ﬁn", "fin", False),
        ("nfc", "e\u0301", "é", True),
        ("identity", "e\u0301", "é", False),
        ("nfkc", "a\u200cb", "a b", False),
    ],
)
def test_texts_are_compared_in_one_form(normalization, ours, theirs, same):
    scoring = TextScoring(normalization=normalization)
    assert scoring.exact([ours], [theirs]).tolist() == [[same]]
    assert scoring.exact([theirs], [ours]).tolist() == [[same]]
    assert scoring.exact_as_written([ours], [theirs]).tolist() == [[False]]


# chrF beside sacrebleu


def damaged(texts):
    """Two texts of three without two characters in the middle."""
    halves = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]
    return [first + second[2 * bool(i % 3) :] for i, (first, second) in enumerate(halves)]


@pytest.mark.parametrize("words", [True, False])
def test_sums_have_sacrebleus_chrf(words):
    references = [*TEXTS.values(), "", "a", *SHORT.values()]
    hypotheses = [*damaged(list(TEXTS.values())), "b", "", "A", "Yes."]
    metric = sacrebleu.CHRF(word_order=2 if words else 0)
    statistics = text_metrics.chrf_statistics(hypotheses, references, words)
    assert statistics.shape == (len(references), len(text_metrics.CHRF_COLUMNS))
    assert text_metrics.chrf_of(statistics.sum(0)) == metric.corpus_score(hypotheses, [references]).score
    weights = np.array([[1] * len(references), [i % 4 for i in range(len(references))]])
    twice = [i for i, times in enumerate(weights[1]) for _ in range(times)]
    expected = [
        metric.corpus_score([hypotheses[i] for i in chosen], [[references[i] for i in chosen]]).score
        for chosen in (range(len(references)), twice)
    ]
    assert text_metrics.chrf_of(weights @ statistics) == pytest.approx(expected, rel=1e-12)
    assert expected[0] != pytest.approx(expected[1], abs=0.1)


def test_nothing_has_no_chrf():
    assert text_metrics.chrf_of(np.zeros((2, 24))).tolist() == [0, 0]
    assert text_metrics.chrf_statistics([], []).shape == (0, 24)


def test_words_count_in_chrf_of_scripts_with_blanks_alone():
    assert "nw:2" in text_metrics.chrf_signature(True) and "nw:0" in text_metrics.chrf_signature(False)
    counts = text_metrics.chrf_statistics(["a b c"], ["a b d"], words=False)[0]
    assert counts[18:].tolist() == [0] * 6 and counts[:3].tolist() == [3, 3, 2]


def test_chinese_bleu_is_of_characters():
    sent, understood = ["委员会同意这份报告"], ["委员会同意那份报告"]
    scoring = scoring_for(sent, "zh")
    statistics = scoring.bleu_statistics(understood, sent)[0]
    assert statistics[:3].tolist() == [9, 9, 8]
    assert scoring.bleu(understood, sent) == sacrebleu.corpus_bleu(understood, [sent], tokenize="zh").score
    assert scoring.bleu(understood, sent) > 30 and TextScoring().bleu(understood, sent) == 0


# By which tokeniser


@pytest.mark.parametrize("script", TEXTS)
def test_the_tokeniser_follows_the_language(script, monkeypatch):
    monkeypatch.setattr(text_scoring, "is_installed", lambda tokenizer: tokenizer != "ja-mecab")
    language = LANGUAGES.get(script, LANGUAGES["und"])
    found = scoring_for([TEXTS[script]], language_of([TEXTS[script]]))
    undivided = language.characters_a_word is not None
    expected = {"zh": "zh"}.get(script, "char" if undivided else "13a")
    assert (found.tokenizer, found.words) == (expected, not undivided)
    assert found.instead_of == ("ja-mecab" if script == "ja" else "")


def test_japanese_has_its_own_words_where_they_are_installed(monkeypatch):
    monkeypatch.setattr(text_scoring, "is_installed", lambda _: True)
    assert scoring_for(["報告が遅すぎた"], "ja") == TextScoring("ja-mecab", words=False)


def test_without_them_a_line_says_so(monkeypatch):
    monkeypatch.setattr(text_scoring, "is_installed", lambda tokenizer: tokenizer == "13a")
    (line,) = scoring_for(["報告が遅すぎた"], "ja").lines_about(["報告が遅すぎた"])
    assert "ja-mecab is not installed" in line and "sacrebleu[ja]" in line
    with pytest.raises(SemcomError, match=r"--bleu-tokenizer ko-mecab: .*pip install 'sacrebleu\[ko\]'"):
        scoring_for(["x"], tokenizer="ko-mecab")


@pytest.mark.parametrize(
    "language, recorded, texts, expected",
    [
        ("und", ["zh"], ["1998 2000"], "zh"),
        ("en", ["zh"], ["We agree."], "13a"),
        ("und", ["zh", "en"], ["1998"], "13a"),
        ("und", [None, 7, "xx", "th"], ["1998"], "char"),
        ("und", [], ["Voilà tout", "委员会同意这份报告"], "zh"),
        ("und", [], ["Voilà tout"] * 19 + ["委员会同意这份报告"], "13a"),
        ("en", [], ["We agree."] * 8 + ["委员会同意这份报告"] * 2, "zh"),
        ("de", [], ["委员会同意这份报告"], "zh"),
        ("en", [], ["We agree."] * 9 + ["委员会同意这份报告"], "13a"),
        ("und", [], ["ꊿꂷꃅꄿꐨꐥꌅꅍꀂꏽꐯꒈꃅꐥꌐ"], "char"),
        ("und", [], ["የሰው፡ልጅ፡ሁሉ፡ሲወለድ፡ነጻና"], "char"),
        ("und", [], ["የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና"], "13a"),
    ],
)
def test_what_the_text_does_not_tell_the_models_do(language, recorded, texts, expected):
    assert scoring_for(texts, language, recorded=recorded).tokenizer == expected


def test_what_is_asked_for_is_taken():
    found = scoring_for(["委员会"], "zh", tokenizer="char", normalization="identity")
    assert found == TextScoring("char", words=False, normalization="identity")
    assert found.record["text_normalization"] == "identity" and "tok:char" in found.record["bleu_signature"]
    assert "tok:char" in str(found) and "nw:0" in str(found)
    assert found.key == {"tokenizer": "char", "words": False, "normalization": "identity"}


@pytest.mark.parametrize("language", SHORT)
def test_a_line_says_where_there_is_no_4_gram(language):
    short, long = [SHORT[language]], [TEXTS[language]]
    scoring = scoring_for(long, language)
    assert not scoring.lines_about(long * 3 + short)
    (line,) = scoring.lines_about(long * 2 + short)
    assert line.startswith("1 of 3 sentences have fewer than four words") and scoring.tokenizer in line


# Scores of several records


def record(tokenizer="13a", **other):
    return {"bleu_signature": text_metrics.bleu_signature(tokenizer), "text_normalization": "nfkc", **other}


@pytest.mark.parametrize(
    "records, alike",
    [
        ([record(), record()], True),
        ([record(), record("zh")], False),
        ([record(), record(text_normalization="identity")], False),
        ([record("zh"), {}, {"bleu_signature": None}], True),
        ([record(), {"bleu_signature": "nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.4.0"}], True),
        ([record("zh"), {"bleu_signature": "nrefs:1|tok:13a|version:2.4.0"}], False),
    ],
)
def test_bleu_stands_beside_bleu_of_the_same_words_alone(records, alike):
    assert scored_alike(records) == alike


def test_runs_of_a_sweep_stand_without_bleu_of_other_words():
    rows = [{"run": name, "bleu": 30.0, **record(words)} for name, words in (("a", "13a"), ("b", "zh"))]
    assert comparable(rows[:1] * 2) == rows[:1] * 2
    with spoken() as lines:
        left = comparable(rows)
    assert [row["bleu"] for row in left] == [None, None] and [row["run"] for row in left] == ["a", "b"]
    assert lines == [
        "warning: BLEU is left out: it is not of the same words in all runs (13a, nfkc; zh, nfkc)"
    ]


@pytest.mark.parametrize("others, shown", [("13a", True), ("zh", False)])
def test_runs_of_an_example_stand_without_bleu_of_other_words(others, shown):
    scores = pd.DataFrame(
        [
            {"model": model, "snr": snr, "topic": "", "bleu": 31.0 + snr}
            for model in ("teacher", "student")
            for snr in (0.0, 6.0)
        ]
    )
    values = {"output_path": "run", "best_loss": 1.5, "compression_ratio": 2.0}
    outcomes = [SimpleNamespace(record=record(words, **values), scores=scores) for words in ("13a", others)]
    text = table([DistilSettings()] * 2, outcomes)
    assert ("BLEU 6" in text and " 37" in text and "tok:13a" in text) == shown
    assert ("BLEU is left out" in text) != shown and text.count("1.5") >= 2


# What a vocabulary cannot carry


@pytest.mark.parametrize("normalization", NORMALIZATIONS)
def test_a_line_tells_what_no_receiver_can_give_back(normalization, vocabularies):
    with spoken() as lines:
        tell_losses(vocabularies[normalization], list(TEXTS.values()), TextScoring())
        tell_losses(word_vocabulary(["one"]), ["one two"], TextScoring())
    told = [line for line in lines if "1 of 20 sentences cannot come back whole" in line]
    assert len(told) == len(lines) == (normalization == "nmt_nfkc")
    assert all("U+200C ZERO WIDTH NON-JOINER; " in line and "BLEU is 93.40" in line for line in told)


def test_words_lost_and_examples_are_told_in_one_form():
    scoring = TextScoring()
    encoded = [Encoded(Sentence(i, text), []) for i, text in enumerate(("ﬁve ½ cups", "two cups"))]
    pieces = [["five 1⁄2 cups", "too cups"]]
    key = SimpleNamespace(key=0)
    found = PairResult(np.zeros((1, 2, 1)), pieces)
    measured = Measured([0.0], encoded, {0: found}, {}, scoring)
    study = Study(SimpleNamespace(), measured, "awgn", True, 0.0, 1, 1, list)
    assert study.texts(key) == ["five 1⁄2 cups", "too cups"] and study.sent_texts[0] == "five 1⁄2 cups"
    sent, understood = ["ﬁve ½ cups", "two cups"], {"a": ["five 1⁄2 cups", "too cups"]}
    assert measuring.examples(sent, understood, scoring).splitlines() == [
        "sent  ﬁve ½ cups",
        "a     =",
        "sent  two cups",
        "a     too cups",
    ]


@pytest.mark.parametrize(("as_written", "shown"), [([1.0, 0.5], False), ([1.0, 0.25], True)])
def test_a_table_of_the_same_numbers_is_not_shown_twice(as_written, shown):
    rows = pd.DataFrame({"exact": [1.0, 0.5], "exact_as_written": as_written})
    found = measuring.without_twins(measures.alone(), rows)
    left_out = [measure.name for measure in measures.alone() if measure not in found]
    assert left_out == ([] if shown else ["exact_as_written"])
