"""A word vocabulary and pickled ids from the command line: train, evaluate, distil and analyse with what
public DeepSC code left."""

import csv
import dataclasses
import json
import pickle
from collections import Counter

import pytest
from cli_support import TINY_TRAINING, analyse, distil, package, refused, train_tiny_teacher
from toy import word_json, word_vocabulary

from semcom.commands import transmit as transmit_module
from semcom.data import corpus
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import BOS, EOS
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation.scores import through_channel
from semcom.models import checkpoint

KNOWN = 150


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """vocab.json, a teacher of its words, a pickle of 400 sentences and the same sentences as text."""
    folder = tmp_path_factory.mktemp("words")
    everything = word_vocabulary([""])
    lines = [everything.normalize(s.text) for s in corpus.built_in(600).sentences]
    counts = Counter(word for line in lines for word in line.replace(".", "").split())
    words = word_vocabulary(["", *(word for word, _ in counts.most_common(KNOWN))])
    (folder / "vocab.json").write_text(
        json.dumps(word_json(["", *(word for word, _ in counts.most_common(KNOWN))]))
    )
    train_tiny_teacher(folder, "--vocab", folder / "vocab.json", "--corpus-size", 400)
    ids = words.encode([line for line in lines if 4 <= len(line.split()) <= 30])[:400]
    (folder / "test_data.pkl").write_bytes(pickle.dumps([[BOS, *row, EOS] for row in ids]))
    (folder / "test_data.txt").write_text("\n".join(words.decode(ids)))
    return folder


MEASURE = ("--snr", 6, "--quiet", "--device", "cpu", "--split", "all")


def rows(path):
    return list(csv.DictReader(path.open()))


def test_a_teacher_learns_words(folder, capsys):
    loaded = checkpoint.load(folder / "tiny_teacher.pt")
    assert isinstance(loaded.vocabulary, WordVocabulary) and len(loaded.vocabulary) == KNOWN + 5
    assert loaded.model.architecture.vocab_size == KNOWN + 5 == loaded.config["vocab_size"]
    assert loaded.config["vocabulary_fingerprint"] == loaded.vocabulary.fingerprint
    assert (
        loaded.config["corpus_fingerprint"] == corpus.built_in(400, vocabulary=loaded.vocabulary).fingerprint
    )


def test_a_pickle_is_measured_as_the_same_sentences_in_text_are(folder, here, capsys):
    for suffix in ("pkl", "txt"):
        assert (
            package(
                "evaluate",
                folder / "tiny_teacher.pt",
                "--corpus",
                folder / f"test_data.{suffix}",
                "--output",
                f"{suffix}.csv",
                "--examples",
                2,
                *MEASURE,
            )
            == 0
        )
        out = capsys.readouterr().out
        assert (
            "sentences of the whole corpus (--split all)" in out
            and "warning: " in out
            and "UNK already" in out
        )
        assert out.count("sent  ") == 2
    first, second = rows(here / "pkl.csv"), rows(here / "txt.csv")
    assert first[0].pop("corpus").endswith(".pkl") and second[0].pop("corpus").endswith(".txt")
    assert {row.pop("corpus") for row in first[1:]} != {row.pop("corpus") for row in second[1:]}
    assert first == second and int(first[0]["sentences"]) == len(
        set((folder / "test_data.txt").read_text().split("\n"))
    )
    reference = (folder / "test_data.txt").read_text().split("\n")
    shown = [line.removeprefix("sent").strip() for line in out.splitlines() if line.startswith("sent  ")]
    assert set(shown) <= set(reference)


def test_split_chooses_the_sentences(folder, here, capsys):
    command = [
        "evaluate",
        folder / "tiny_teacher.pt",
        "--corpus",
        folder / "test_data.pkl",
        "--snr",
        6,
        "--quiet",
        "--output",
    ]
    assert package(*command, "default.csv") == 0 and package(*command, "test.csv", "--split", "TEST") == 0
    assert " test sentences, awgn" in (out := capsys.readouterr().out) and "--split all" not in out
    assert rows(here / "default.csv") == rows(here / "test.csv")
    loaded = checkpoint.load(folder / "tiny_teacher.pt")
    pickled = CorpusConfig(corpus=(str(folder / "test_data.pkl"),), corpus_size=None)
    whole = corpus.read(pickled, loaded.vocabulary)
    assert int(rows(here / "test.csv")[0]["sentences"]) == len(whole.split("test")) < len(whole) / 5
    refused(capsys, package(*command, "x.csv", "--split", "train"), "--split", "test", "all")


def test_the_hash_split_of_an_imported_models_pickle_is_warned_of(folder, here, capsys):
    loaded = checkpoint.load(folder / "tiny_teacher.pt")
    checkpoint.save(
        dataclasses.replace(loaded, config={**loaded.config, "imported_from": "theirs.pth"}), "imported.pt"
    )
    command = ["evaluate", "imported.pt", "--snr", 6, "--quiet", "--corpus"]
    said = "warning: imported.pt was imported"
    assert package(*command, folder / "test_data.pkl") == 0
    out = capsys.readouterr().out
    (line,) = [line for line in out.splitlines() if line.startswith(said)]
    assert (
        "the hash split means nothing to a model trained elsewhere: measure it on its own test_data.pkl with "
        "--split all" in line
    )
    for quiet in ([folder / "test_data.pkl", "--split", "all", "--sentences", 5], [folder / "test_data.txt"]):
        assert package(*command, *quiet) == 0 and said not in capsys.readouterr().out
    assert package("evaluate", folder / "tiny_teacher.pt", *command[2:], folder / "test_data.pkl") == 0
    assert "was imported" not in capsys.readouterr().out


def test_unknown_words_are_told_in_one_line(folder, here, capsys):
    lines = ["the \x1b[31m zyzzyva \u6f22 quokka council 5"] * 2 + [
        f"the zyzzyva of the report {'a' * n}" for n in range(1, 300)
    ]
    (here / "odd.txt").write_text("\n".join(lines))
    assert (
        package("evaluate", folder / "tiny_teacher.pt", "--corpus", "odd.txt", "--sentences", 2, *MEASURE)
        == 0
    )
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "does not know" in line]
    assert (
        line.startswith("warning: the vocabulary does not know ")
        and " kinds; most often: zyzzyva, " in line
        and f", {'a' * 40}" not in line
    )
    known = checkpoint.load(folder / "tiny_teacher.pt").vocabulary
    (here / "known.txt").write_text(
        "\n".join(f"the of the of {word}" for (word,) in map(known.decode, ([[i]] for i in range(5, 60))))
    )
    assert package("evaluate", folder / "tiny_teacher.pt", "--corpus", "known.txt", *MEASURE) == 0
    assert "the vocabulary knows every word" in capsys.readouterr().out


def test_a_student_is_distilled_and_analysed_on_a_pickle(folder, here, capsys):
    pickled, teacher = folder / "test_data.pkl", folder / "tiny_teacher.pt"
    assert (
        distil(
            "--teacher-checkpoint",
            teacher,
            "--corpus",
            pickled,
            "--distill-part",
            "decoder",
            "--student-layers",
            1,
            "--steps",
            3,
            "--batch-size",
            32,
            "--quiet",
            "--device",
            "cpu",
        )
        == 0
    )
    student = here / "checkpoints/distillation_decoder/best_student_model.pt"
    assert checkpoint.load(student).vocabulary.fingerprint == checkpoint.load(teacher).vocabulary.fingerprint
    capsys.readouterr()
    assert (
        analyse(
            "--no-report", "--split", "all", "--sentences", 10, "--snr", 6, "--reference-snr", 6, "--quiet"
        )
        == 0
    )
    results = json.loads((here / "semantic_analysis_results.json").read_text())
    assert (
        results["settings"]["split"] == "all"
        and results["settings"]["corpus"] == [str(pickled)]
        and results["sentences"] == 10
    )
    assert "10 sentences of the whole corpus (--split all)" in capsys.readouterr().out


def test_beside_pieces_all_are_measured_on_the_text_of_the_words(folder, teacher, here, capsys):
    assert (
        analyse(
            teacher,
            folder / "tiny_teacher.pt",
            "--teacher-checkpoint",
            teacher,
            "--corpus",
            folder / "test_data.pkl",
            "--no-report",
            "--split",
            "all",
            "--sentences",
            10,
            "--snr",
            6,
            "--reference-snr",
            6,
            "--quiet",
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "pickled sentences read" in out and "of another vocabulary" in out


def test_a_pickle_without_its_vocabulary_is_refused(folder, teacher, here, capsys):
    pickled = folder / "test_data.pkl"
    for verb, *command in (
        (package, "evaluate", teacher),
        (distil, "--teacher-checkpoint", teacher),
        (analyse, teacher),
        (package, "vocab", "--output", "v.model"),
        (package, "train", "--output", "t.pt", *TINY_TRAINING),
    ):
        refused(
            capsys,
            verb(*command, "--corpus", pickled),
            "test_data.pkl",
            "ids of a word vocabulary",
            "semcom import CHECKPOINT.pth --vocab-file vocab.json --output teacher.pt",
        )
    assert not list(here.glob("[!.]*.*"))


def test_a_broken_vocabulary_is_refused(folder, here, capsys):
    (here / "v.json").write_text('{"token_to_idx": {"<PAD>": 0, "a": "b"}}')
    refused(
        capsys,
        package("train", "--vocab", "v.json", "--output", "t.pt", *TINY_TRAINING),
        "--vocab v.json",
        '"a" is "b", not a whole number',
    )


def test_transmit_shows_the_words_sent_and_meets_the_draw_of_their_normal_form(
    folder, here, capsys, monkeypatch
):
    met, received = [], through_channel
    monkeypatch.setattr(
        transmit_module,
        "through_channel",
        lambda model, batch, meeting: (met.append(batch.sentences[0].id), received(model, batch, meeting))[1],
    )
    for text in ("This is a XYLOPHONE, today.", "this is a xylophone today."):
        assert (
            package(
                "transmit", text, "--checkpoints", folder / "tiny_teacher.pt", "--snr", 6, "--device", "cpu"
            )
            == 0
        )
        out = capsys.readouterr().out
        assert f"sent: {text}" in out and "in words: this is a UNK" in out
    assert met == [corpus.make_sentence("this is a xylophone today.").id] * 2
