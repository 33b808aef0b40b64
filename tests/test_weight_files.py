"""Weights as safetensors with their JSON, there and back; folders of the hub and their cards; files that a
stranger has changed."""

import json
import math
import re
import shutil
import sys
from dataclasses import replace

import pytest
import torch
from cli_support import package
from public_deepsc import random_state

import semcom
from semcom.base.errors import SemcomError
from semcom.commands.card_facts import without_folders
from semcom.models import checkpoint, weight_files
from semcom.report import model_card

save_file = pytest.importorskip("safetensors.torch").save_file
HOSTILE = (
    "x\n---\n# <img src=x onerror=alert(1)> [a](http://evil) `|` \x1b[31m\u202e: {a: *b} !!python/object"
)


@pytest.fixture
def exported(here, teacher):
    assert package("export", teacher, "--format", "safetensors", "--output", "w.safetensors") == 0
    return here


@pytest.fixture
def hub(here, teacher):
    assert package("export", teacher, "--format", "hub", "--output", "hub", "--license", "mit") == 0
    return here / "hub"


def parts(path):
    loaded = checkpoint.load(path)
    return loaded.fingerprint, loaded.origin, loaded.metrics, loaded.config, loaded.vocabulary.serialized


def test_there_and_back_all_stays(exported, teacher, capsys):
    assert {path.name for path in exported.iterdir() if path.name[0] != "."} == {
        "w.safetensors", "w.json", "w.vocabulary.model"
    }  # fmt: skip
    assert package("import", "w.safetensors", "--output", "back.pt") == 0
    assert parts("back.pt") == parts(teacher)
    ours, theirs = checkpoint.load("back.pt"), checkpoint.load(teacher)
    assert ours.model.architecture == theirs.model.architecture
    for name, tensor in theirs.model.state_dict().items():
        assert torch.equal(tensor, ours.model.state_dict()[name]), name
    assert f"fingerprint {theirs.fingerprint}" in capsys.readouterr().out


def test_word_vocabularies_come_along(here):
    (here / "vocab.json").write_text(json.dumps({"token_to_idx": WORDS_OF_PUBLIC}))
    torch.save(random_state(len(WORDS_OF_PUBLIC)), "their.pth")
    assert package(
        "import", "their.pth", "--vocab-file", "vocab.json", "--output", "t.pt", "--heads", 4
    ) == 0  # fmt: skip
    assert package("export", "t.pt", "--format", "safetensors", "--output", "w.safetensors") == 0
    assert (here / "w.vocabulary.json").read_bytes() == parts("t.pt")[-1]
    assert package("import", "w.safetensors", "--output", "back.pt") == 0
    assert parts("back.pt") == parts("t.pt")


WORDS_OF_PUBLIC = {
    word: place for place, word in enumerate(("<PAD>", "<START>", "<END>", "<UNK>", *"abcdefgh"))
}


def test_names_that_are_taken_are_refused_and_replaced_when_asked(exported, teacher, capsys):
    again = ("export", teacher, "--format", "safetensors", "--output", "w.safetensors")
    (exported / "w.safetensors").unlink()
    assert package(*again) == 2
    assert "--output (its JSON) w.json: exists already" in capsys.readouterr().err
    assert package(*again, "--overwrite") == 0 and (exported / "w.safetensors").exists()
    same = ("export", teacher, "--format", "safetensors", "--output", "x.json")
    assert package(*same) == 2 and "is the same path" in capsys.readouterr().err


def test_python_reads_the_folder_and_the_file(hub, teacher):
    theirs = checkpoint.load(teacher)
    model = semcom.Transceiver.from_pretrained(hub)
    assert checkpoint.fingerprint_of(model) == theirs.fingerprint and not model.training
    whole = semcom.Checkpoint.from_pretrained(hub)
    assert whole.vocabulary.fingerprint == theirs.vocabulary.fingerprint and whole.metrics == theirs.metrics
    with pytest.raises(SemcomError, match="from_pretrained absent: is not there.*hf download"):
        semcom.Transceiver.from_pretrained("absent")


def test_a_folder_is_imported(hub, teacher):
    assert package("import", hub, "--output", "back.pt") == 0
    assert parts("back.pt")[0] == parts(teacher)[0]


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--vocab-file", "v.json"], "--vocab-file v.json: w.safetensors comes with its vocabulary"),
        (["--heads", 4], "--heads 4: w.safetensors comes with its vocabulary and its sizes; leave it out"),
    ],
)
def test_what_the_files_know_is_refused(exported, capsys, flags, line):
    assert package("import", "w.safetensors", "--output", "back.pt", *flags) == 2
    assert line in capsys.readouterr().err


def changed(file, **values):
    record = json.loads(file.read_text())
    for path, value in values.items():
        *above, last = path.split("__")
        inner = record
        for name in above:
            inner = inner[name]
        inner[last] = value
    file.write_text(json.dumps(record))


@pytest.mark.parametrize(
    "values, line",
    [
        ({"architecture__vocab_size": 10**12}, "claims vocab_size 1000000000000, allowed are 1 to 1000000"),
        ({"architecture__channel_dim": 64}, "weights and architecture disagree"),
        ({"architecture__transmitter": {"kind": "os.system"}}, "is of kind os.system"),
        ({"architecture__more": 1}, "broken or not weights that semcom wrote"),
        ({"architecture": [1]}, "broken or not weights that semcom wrote"),
        ({"format": 9}, "format 9 is newer than this program reads"),
        ({"format": "x"}, "format x is newer"),
        ({"fingerprint": "0" * 16}, "w.json speaks of 0000000000000000; give the files of one export"),
        ({"vocabulary__fingerprint": "0" * 16}, "is not the one it was trained with"),
        ({"vocabulary__form": "../../etc/passwd"}, "broken or not weights that semcom wrote"),
        ({"vocabulary": None}, "broken or not weights that semcom wrote"),
    ],
)
def test_a_record_that_was_changed(exported, capsys, values, line):
    changed(exported / "w.json", **values)
    assert package("import", "w.safetensors", "--output", "back.pt") == 2
    error = capsys.readouterr().err
    assert line in error and error.count("\n") == 1 and not (exported / "back.pt").exists()


def test_other_weights_under_the_record(exported, capsys):
    weights = {name: tensor + 1 for name, tensor in checkpoint_of("w.safetensors").items()}
    save_file(weights, "w.safetensors")
    assert package("import", "w.safetensors", "--output", "back.pt") == 2
    assert "its weights have the fingerprint" in capsys.readouterr().err
    save_file({name: tensor / 0 for name, tensor in weights.items()}, "w.safetensors")
    assert package("import", "w.safetensors", "--output", "back.pt") == 2
    assert "no finite numbers" in capsys.readouterr().err


def checkpoint_of(path):
    return weight_files.read(path).model.state_dict()


def test_a_record_that_is_none(exported, capsys, monkeypatch):
    monkeypatch.setattr(weight_files, "MOST_BYTES", 100)
    assert package("import", "w.safetensors", "--output", "back.pt") == 2
    assert "w.json cannot be read (it is larger than 100 bytes)" in capsys.readouterr().err
    (exported / "w.json").write_text("[" * 90)
    assert package("import", "w.safetensors", "--output", "back.pt") == 2
    assert "w.json cannot be read (it is no" in capsys.readouterr().err
    (exported / "w.json").write_text('{"model_type": "bert"}')
    assert package("import", "w.safetensors", "--vocab-file", "v.json", "--output", "back.pt") == 2
    assert "--vocab-file v.json: cannot be read" in capsys.readouterr().err, "taken for public DeepSC's"


def test_files_that_are_missing(hub, capsys):
    (hub / "config.json").rename(hub / "other.json")
    assert package("import", hub, "--output", "back.pt") == 2
    assert "config.json is missing; copy it beside the others" in capsys.readouterr().err
    (hub / "other.json").rename(hub / "config.json")
    (hub / "vocabulary.model").unlink()
    assert package("import", hub, "--output", "back.pt") == 2
    assert "cannot be read" in capsys.readouterr().err
    (hub / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(SemcomError, match="config.json is of another kind of model .bert., wanted is"):
        semcom.Transceiver.from_pretrained(hub)


def test_where_a_checkpoint_is_wanted_it_is_told_to_import(hub, teacher, capsys):
    assert package("export", teacher, "--format", "safetensors", "--output", "w.safetensors") == 0
    for given in ("hub", "w.safetensors"):
        assert package("transmit", "a", "--checkpoints", given) == 2
        line = (
            f"which export wrote; make a checkpoint of it: python -m semcom import {given} --output model.pt"
        )
        assert line in capsys.readouterr().err
    assert package("import", "absent", "--output", "back.pt") == 2
    assert "import absent: no such file" in capsys.readouterr().err


def test_the_folder_itself_may_take_the_checkpoint(hub, monkeypatch):
    monkeypatch.chdir(hub)
    assert package("import", ".", "--output", "model.pt") == 0


def test_a_folder_of_what_is_read_is_not_written_into(here, teacher, capsys):
    (here / "models").mkdir()
    shutil.copy(teacher, here / "models" / "t.pt")
    (here / "models" / "README.md").write_text("mine")
    asked = ["--format", "hub", "--output", "models", "--overwrite"]
    assert package("export", "models/t.pt", *asked) == 2
    assert "--output models: holds models/t.pt, an input of this run" in capsys.readouterr().err
    assert (here / "models" / "README.md").read_text() == "mine"


def test_a_public_model_needs_its_vocabulary(here, capsys):
    torch.save(random_state(12), "their.pth")
    assert package("import", "their.pth", "--output", "back.pt") == 2
    assert "give --vocab-file vocab.json" in capsys.readouterr().err


def test_without_the_library(here, teacher, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)
    for format, output in (("safetensors", "w.safetensors"), ("hub", "folder")):
        assert package("export", teacher, "--format", format, "--output", output) == 2
        assert "install it with: pip install .[safetensors]" in capsys.readouterr().err


def test_what_json_cannot_hold_is_null(here, teacher):
    source = checkpoint.load(teacher)
    odd = replace(source, metrics={"worst": math.inf, "all": (1.0, math.nan)}, config={"t": torch.ones(1)})
    weight_files.write(odd, weight_files.beside("w.safetensors"))
    back = weight_files.read("w.safetensors")
    assert back.metrics == {"worst": None, "all": [1.0, None]} and back.config == {"t": None}


# --- the card


def header_and_text(page):
    import yaml

    _, header, text = re.split(r"^---\n", page, maxsplit=2, flags=re.MULTILINE)
    return yaml.safe_load(header), text


def test_the_card_says_what_is_recorded(hub, teacher):
    source = checkpoint.load(teacher)
    header, text = header_and_text((hub / "README.md").read_text())
    assert header == {
        "license": "mit",
        "language": ["en"],
        "library_name": "semcom",
        "tags": ["semantic-communication", "joint-source-channel-coding"],
    }
    assert "No measurement came with this export." in text and "metrics" not in header
    assert source.fingerprint in text and "trained on the built-in corpus, seed 42" in text
    assert f"{source.metrics['validation_cross_entropy']:.5g} " in text


def test_scores_of_evaluate_are_on_the_card(here, teacher, capsys):
    flags = ("--corpus-size", 120, "--sentences", 3, "--snr", 0, 12, "--split", "all", "--device", "cpu")
    assert package("evaluate", teacher, "--output", "scores.csv", *flags) == 0
    assert package("export", teacher, "--format", "hub", "--output", "hub", "--scores", "scores.csv") == 0
    header, text = header_and_text((here / "hub/README.md").read_text())
    (result,) = header["model-index"][0]["results"]
    assert result["dataset"]["split"] == "all" and "the built-in corpus" in result["dataset"]["name"]
    bleu = [each for each in result["metrics"] if each["type"] == "sacrebleu"]
    assert [each["args"]["snr_db"] for each in bleu] == [0, 12]
    assert bleu[0]["args"]["signature"].startswith("nrefs:1|case:mixed") and bleu[0]["args"]["sentences"] == 3
    assert "nrefs:1&#124;case:mixed" in text and "chrF++" in text and "rows of scores.csv" in text
    said = "".join(capsys.readouterr())
    assert "the card names no licence" in said and "the card has no scores" not in said

    table = (here / "scores.csv").read_text()
    (here / "scores.csv").write_text(table.replace(checkpoint.load(teacher).fingerprint, "0" * 16))
    again = ("export", teacher, "--format", "hub", "--output", "hub2", "--scores")
    assert package(*again, "scores.csv") == 2
    assert "--scores scores.csv: has no rows of" in capsys.readouterr().err
    (here / "old.csv").write_text("model,snr\nx,1\n")
    assert package(*again, "old.csv") == 2
    assert "old.csv: has no column bleu, is it of an older version?" in capsys.readouterr().err
    assert not (here / "hub2").exists()


def test_a_run_brings_its_closing_scores(made_once, here, teacher):
    from cli_support import TINY_TRAINING, distil

    def run(folder):
        flags = ("--steps", 2, "--student-layers", 1, "--output-path", folder / "run", *TINY_TRAINING)
        assert distil("--teacher-checkpoint", teacher, *flags) == 0

    folder = made_once("run_for_a_card", run) / "run"
    assert package("export", folder / "best_student_model.pt", "--format", "hub", "--output", "hub") == 0
    header, text = header_and_text((here / "hub/README.md").read_text())
    record = json.loads((folder / "distillation_config.json").read_text())
    students = [
        row["bleu"] for row in record["test_scores"] if row["model"] == "student" and not row["topic"]
    ]
    metrics = header["model-index"][0]["results"][0]["metrics"]
    assert [m["value"] for m in metrics if m["type"] == "sacrebleu"] == [round(v, 2) for v in students]
    assert "knowledge-distillation" in header["tags"]
    assert "closing scores of the run" in text
    assert str(folder.parent) not in (here / "hub/config.json").read_text() + text


def test_strings_of_strangers_are_text(here, teacher):
    hub_library = pytest.importorskip("huggingface_hub")
    source = checkpoint.load(teacher)
    measured = model_card.Measured(
        [{"channel": HOSTILE, "snr": 1.0, "sentences": 3, "bleu": 1.5, "chrf": None, "exact": 0.25}],
        HOSTILE, HOSTILE, {"decoding": HOSTILE}, {"bleu": HOSTILE},
    )  # fmt: skip
    named = dict.fromkeys(("a", HOSTILE), HOSTILE)
    card = model_card.Card(HOSTILE, "mit", ["en"], [HOSTILE], named, named, named, measured)
    page = model_card.page(card)
    assert source and not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", page)
    assert not re.search(r"(?<!\\)[<`]img|<img|(?<!\\)\]\(http|http://evil", page.split("---\n", 2)[2])
    read = hub_library.ModelCard(page)
    assert read.data.license == "mit" and read.data.library_name == "semcom"
    assert read.data.eval_results[0].metric_value == 1.5 and "## How it was made" in read.text
    assert read.text.count("\n# ") == 1


def test_the_hub_takes_the_header(hub):
    library = pytest.importorskip("huggingface_hub")
    card = library.ModelCard.load(hub / "README.md")
    again = library.ModelCardData(**card.data.to_dict())
    assert again.to_dict() == card.data.to_dict() and card.data.license == "mit"


@pytest.mark.parametrize(
    "given, public",
    [
        ("/home/anna/data/x.en", "x.en"),
        ("trained on /home/anna/x.en, seed 1", "trained on x.en, seed 1"),
        ("train --corpus '/home/anna b/x y.en' --output t.pt", "train --corpus 'x y.en' --output t.pt"),
        (r"C:\Users\anna\x.en", "x.en"),
        ("~/x/t.pt", "t.pt"),
        ("checkpoints/run/t.pt", "checkpoints/run/t.pt"),
        ("../run/t.pt and 1/2", "../run/t.pt and 1/2"),
        ("https://example.org/a/b", "https://example.org/a/b"),
        ({"a": ["/x/y/z", 1, None]}, {"a": ["z", 1, None]}),
    ],
)
def test_folders_of_a_machine_stay_there(given, public):
    assert without_folders(given) == public


@pytest.mark.parametrize(
    "flags, line",
    [
        (["--license", "My Licence"], "--license My Licence: must be an identifier of the hub"),
        (["--format", "deepsc", "--license", "mit"], "--license: belongs to --format hub"),
        (["--scores", "absent.csv"], "--scores absent.csv: cannot be read (No such file"),
    ],
)
def test_flags_that_are_refused(here, teacher, capsys, flags, line):
    assert package("export", teacher, "--output", "hub", "--format", "hub", *flags) == 2
    assert line in capsys.readouterr().err
