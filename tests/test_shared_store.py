"""What runs of a sweep share: made once, read back as it was, made again where it is damaged."""

import json
import threading
import time
from dataclasses import replace

import pytest
import torch
import toy
from cli_support import TINY_TRAINING

from semcom.base import output_files
from semcom.base.errors import SemcomError
from semcom.base.flags import settings_of
from semcom.base.shared_store import SharedStore
from semcom.commands import teacher_decodings
from semcom.commands.distil import distil
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.parsers import distillation_parser
from semcom.commands.run_data import data_of_run
from semcom.data import corpus
from semcom.data.settings import CorpusConfig
from semcom.evaluation import scores
from semcom.models import checkpoint


def get(store, depends_on, make):
    return store.get("thing", depends_on, make, lambda value: {"value": value}, lambda plain: plain["value"])


def never():
    raise AssertionError("made again")


def test_a_thing_is_made_once_and_another_key_is_another_thing(tmp_path):
    assert get(SharedStore(tmp_path), {"seed": 1}, lambda: [0.1, 1e-300]) == [0.1, 1e-300]
    assert get(SharedStore(tmp_path), {"seed": 1}, never) == [0.1, 1e-300]
    assert get(SharedStore(tmp_path), {"seed": 2}, lambda: "other") == "other"
    assert get(SharedStore(None), {"seed": 1}, lambda: "own") == "own"


@pytest.mark.parametrize("damage", ["cut", "bit", "foreign", "empty"])
def test_a_damaged_entry_is_made_again(tmp_path, damage):
    get(SharedStore(tmp_path), {"seed": 1}, lambda: "first")
    (file,) = tmp_path.glob("thing_*.json")
    whole = file.read_bytes()
    if damage == "foreign":
        get(SharedStore(tmp_path), {"seed": 2}, lambda: "other")
        (other,) = {*tmp_path.glob("thing_*.json")} - {file}
        file.write_bytes(other.read_bytes())
    else:
        changed = {"cut": whole[:-3], "bit": whole.replace(b"first", b"firsu"), "empty": b""}
        file.write_bytes(changed[damage])
    with toy.spoken() as lines:
        assert get(SharedStore(tmp_path), {"seed": 1}, lambda: "first") == "first"
    assert "not to be trusted" in lines[0] and file.read_bytes() == whole


def test_whoever_finds_a_thing_being_made_waits_for_it(tmp_path):
    made, found = [], []

    def slowly():
        made.append(1)
        time.sleep(0.3)
        return "once"

    threads = [
        threading.Thread(target=lambda: found.append(get(SharedStore(tmp_path), {}, slowly)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["once"] * 3 and len(made) == 1


def test_a_full_disk_keeps_no_run_from_going_on(tmp_path, monkeypatch):
    def full(path, content):
        raise SemcomError("no space left")

    monkeypatch.setattr(output_files, "write_atomically", full)
    with toy.spoken() as lines:
        assert get(SharedStore(tmp_path), {}, lambda: "made") == "made"
    assert lines == ["warning: no space left; this run goes on, others make it themselves"]


def test_the_splits_of_a_corpus_are_those_that_it_makes(tmp_path, vocabulary, monkeypatch):
    settings = CorpusConfig(corpus_size=400, topics=("trade", "energy"))
    with toy.spoken() as said:
        made = data_of_run(settings, vocabulary)
        kept = data_of_run(settings, vocabulary, str(tmp_path))
        monkeypatch.setattr(corpus, "built_in", never)
        read = data_of_run(settings, vocabulary, str(tmp_path))
    assert made == kept == read and len(said) == 3 and len(set(said)) == 1
    assert json.dumps(made.record) == json.dumps(read.record)


def test_runs_that_share_have_the_bits_of_those_that_do_not(teacher, here, monkeypatch):
    words = ["--teacher-checkpoint", str(teacher), "--distill-part", "decoder", "--steps", "3"]
    words += ["--create-hybrid", "--save-every", "0", *TINY_TRAINING]
    settings = settings_of(DistilSettings, distillation_parser().parse_args(words))
    decoded = []
    decode = teacher_decodings.decode

    def counted(entrant, *others):
        decoded.append(entrant.label)
        return decode(entrant, *others)

    monkeypatch.setattr(teacher_decodings, "decode", counted)

    def made(name, shared):
        files = replace(settings.files, output_path=name, hybrid_output=f"{name}/hybrid.pt")
        outcome = distil(replace(settings, files=files, shared=shared))
        weights = checkpoint.load(outcome.student).model.state_dict()
        return outcome.scores, weights, outcome.record["best_loss"]

    alone, first, second = made("alone", None), made("first", "shared"), made("second", "shared")
    assert decoded == ["teacher"] * 2, "alone, and for both that share"
    for shared in (first, second):
        assert shared[0].equals(alone[0]) and shared[2] == alone[2]
        assert all(torch.equal(shared[1][name], weights) for name, weights in alone[1].items())


def test_one_pair_under_two_names_is_scored_once(teacher, here, monkeypatch):
    decoded = []
    decode = scores.decode
    monkeypatch.setattr(scores, "decode", lambda e, *o: decoded.append(e.label) or decode(e, *o))
    words = ["--teacher-checkpoint", str(teacher), "--distill-part", "decoder", "--steps", "3"]
    settings = settings_of(
        DistilSettings, distillation_parser().parse_args([*words, "--create-hybrid", *TINY_TRAINING])
    )
    found = distil(settings).scores.set_index("model")
    assert decoded == ["student"]
    assert found.loc["hybrid"].reset_index(drop=True).equals(found.loc["student"].reset_index(drop=True))
