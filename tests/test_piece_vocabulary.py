"""Vocabularies of pieces in any script: what they make of text, what they say of themselves, files that are
not what they should be."""

import io
import json
import os
import random
import re
import unicodedata
from itertools import islice

import pytest
import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from toy import spoken, transceiver, word_json, word_vocabulary

from semcom.base.errors import SemcomError
from semcom.commands import vocabulary as verb
from semcom.data import parliament, vocabulary_files
from semcom.data.corpus import Corpus, Sentences, make_sentence
from semcom.data.piece_vocabulary import PieceVocabulary, train_vocabulary
from semcom.data.settings import NORMALIZATIONS
from semcom.data.vocabulary import BOS, EOS, PAD, UNK
from semcom.data.vocabulary_files import read_vocabulary
from semcom.models import checkpoint

PERSIAN = "می\u200cروم به خانه و باز می\u200cگردم فردا شب"
HINDI = "क्\u200dष और त्र के लिए विज्ञान न्\u200dयाय"
FLAG = "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"
EMOJI = f"family 👨\u200d👩\u200d👧 and {FLAG} ❤\ufe0f"
FORMS = "caf\u0065\u0301 ﬁve ½ ３４ ㎏ Ⅷ ﾊﾝｶｸ"
ENGLISH = [text for text, _ in islice(parliament.sentences(parliament.TOPICS), 100)]
TEXTS = [PERSIAN, HINDI, EMOJI, FORMS, "新华社北京电 今年经济增长", "한국어 문장입니다"]


@pytest.fixture(scope="module")
def of_normalization():
    return {name: train_vocabulary(TEXTS * 20 + ENGLISH, 500, name) for name in NORMALIZATIONS}


def test_pieces_are_spelled_with_the_blanks_they_begin_with(of_normalization):
    vocabulary = of_normalization["nfkc"]
    (ids,) = vocabulary.encode([ENGLISH[0]])
    assert (
        "".join(vocabulary.spelled(ids)) == f" {ENGLISH[0]}"
        and len(set(map(len, vocabulary.spelled(ids)))) > 1
    )
    assert vocabulary.spelled([PAD, BOS, EOS, UNK]) == ["<pad>", "<s>", "</s>", "<unk>"]
    assert word_vocabulary(["we", "report"]).spelled([BOS, 4, 5, UNK]) == ["<s>", "we", "report", "<unk>"]


def back(vocabulary, text):
    return vocabulary.decode(vocabulary.encode([text]))[0]


@pytest.mark.parametrize("name", NORMALIZATIONS)
def test_normalization_is_recorded_and_shown(name, of_normalization):
    made = of_normalization[name]
    assert made.normalization == name and str(made).endswith(f", {name}")
    again = read_vocabulary(made.serialized)
    assert again.normalization == name and again.encode(TEXTS) == made.encode(TEXTS)
    assert len({v.fingerprint for v in of_normalization.values()}) == len(NORMALIZATIONS)


@pytest.mark.parametrize("name", ["nfkc", "nfc", "identity"])
@pytest.mark.parametrize("text", [PERSIAN, HINDI, EMOJI])
def test_joiners_and_tags_come_back(name, text, of_normalization):
    assert back(of_normalization[name], text) == text


def test_what_each_makes_of_other_forms(of_normalization):
    composed, compatible = (unicodedata.normalize(form, FORMS) for form in ("NFC", "NFKC"))
    assert len({FORMS, composed, compatible}) == 3
    expected = {"identity": FORMS, "nfc": composed, "nfkc": compatible, "nmt_nfkc": compatible}
    assert {name: back(made, FORMS) for name, made in of_normalization.items()} == expected
    assert back(of_normalization["nmt_nfkc"], PERSIAN) == PERSIAN.replace("\u200c", " ")


@pytest.mark.parametrize("language", ["zh", "und"])
def test_language_is_recorded(language):
    made = train_vocabulary(TEXTS * 20 + ENGLISH, 500, language=language)
    assert read_vocabulary(made.serialized).language == language
    assert (f", {language}, nfkc" in str(made)) == (language != "und")


def test_a_foreign_model_says_what_it_can():
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 20 + ENGLISH),
        model_writer=model,
        vocab_size=500,
        byte_fallback=True,
        pad_id=0,
        bos_id=1,
        eos_id=2,
        unk_id=3,
        normalization_rule_name="nmt_nfkc_cf",
        minloglevel=2,
    )
    described = sentencepiece_model_pb2.ModelProto.FromString(model.getvalue())
    described.trainer_spec.accept_language[:] = ["zh", "ja"]
    vocabulary = read_vocabulary(described.SerializeToString())
    assert (vocabulary.language, vocabulary.normalization) == ("und", "nmt_nfkc_cf")


def test_share_of_bytes(of_normalization):
    made = of_normalization["nfkc"]
    assert made.unknown_share(TEXTS[4:5]) < 0.05 and made.unknown_share([]) == 0
    (pieces,) = made.encode(["ਪੰਜਾਬੀ"])  # six characters of three bytes behind one blank
    assert len(pieces) == 19 and made.unknown_share(["ਪੰਜਾਬੀ"]) == 18 / 19


def test_rare_characters_are_pieces_where_characters_are_words():
    texts = ["今年经济增长", "北京新华社电", "经济电", "今年北京", "增长新华社", "北京经济"] * 600 + [
        "龘靐齉"
    ]
    assert 3 / sum(map(len, texts)) < 0.0005
    share = {
        code: train_vocabulary(texts, 276, language=code).unknown_share(["龘靐齉"]) for code in ("zh", "und")
    }
    assert share["zh"] == 0 < share["und"]


def test_share_of_unknown_words():
    vocabulary = word_vocabulary(["the", "session"])
    assert vocabulary.unknown_share(["the session", "the end"]) == 1 / 4 and vocabulary.unknown_share([]) == 0
    assert vocabulary.normalization == "words" and vocabulary.language == "und"


def test_a_checkpoint_keeps_what_its_vocabulary_says(tmp_path, of_normalization):
    made = of_normalization["nfc"]
    model = transceiver(vocab_size=len(made))
    checkpoint.save(checkpoint.Checkpoint(model, made, {}, {}, {}), tmp_path / "a.pt")
    assert checkpoint.load(tmp_path / "a.pt").vocabulary.normalization == "nfc"


def test_the_verb_tells_what_cannot_come_back(of_normalization):
    with spoken() as lines:
        texts = Sentences.of(make_sentence(text) for text in (PERSIAN, "新华社北京电", FORMS))
        verb.tell_fit(of_normalization["nmt_nfkc"], Corpus("two", texts[:2]))
        verb.tell_fit(of_normalization["nfkc"], Corpus("three", texts))
    warned = [line for line in lines if line.startswith("warning")]
    assert len(warned) == 1 and "1 of 2" in warned[0] and "U+200C" in warned[0] and "nfkc" in warned[0]
    assert sum("pieces each" in line for line in lines) == 2


# Files


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_words_in_any_encoding_of_json(encoding):
    text = json.dumps(word_json(["the", "café"]), ensure_ascii=False)
    assert read_vocabulary(text.encode(encoding)).decode([[4, 5]]) == ["the café"]


def test_a_file_that_is_too_large_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(vocabulary_files, "LARGEST", 1000)
    (tmp_path / "large").write_bytes(b"{" + b" " * 1000)
    with pytest.raises(SemcomError, match="--vocab .*large: over .* MB"):
        vocabulary_files.bytes_of(tmp_path / "large", "--vocab")
    with pytest.raises(SemcomError, match="theirs: over"):
        read_vocabulary(b" " * 1001, "theirs")


def test_what_is_no_file_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(SemcomError, match="no regular file"):
            vocabulary_files.bytes_of(path, "--vocab")
    with pytest.raises(IsADirectoryError):
        vocabulary_files.bytes_of(tmp_path, "--vocab")


def test_a_cut_model_is_refused(of_normalization):
    whole = of_normalization["nfkc"].serialized
    with pytest.raises(SemcomError, match="theirs: not a sentencepiece model"):
        PieceVocabulary(whole[:-3], "theirs")


@pytest.mark.parametrize("asked, says", [(3000, "largest size"), (300, "use at least")])
def test_the_size_that_is_advised_trains_and_the_largest_is_the_last_that_does(asked, says):
    rng = random.Random(1)
    frequency = [1 / (rank + 1) for rank in range(1500)]
    texts = ["".join(chr(0x4E00 + i) for i in rng.choices(range(1500), frequency, k=15)) for _ in range(90)]
    with pytest.raises(SemcomError, match=says) as refused:
        train_vocabulary(texts, asked, language="zh")
    advised = int(re.findall(r"--size (\d+)", str(refused.value))[-1])
    assert len(train_vocabulary(texts, advised, language="zh")) == advised
    if asked > advised:
        with pytest.raises(SemcomError):
            train_vocabulary(texts, advised + 1, language="zh")
