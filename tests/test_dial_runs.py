"""``python -m semcom dial`` of finished runs: the ends of each mode, what was seen and what not, and what the
hybrids are good for."""

import json
import re
from pathlib import Path

import pytest
import torch
from cli_support import TINY_TRAINING, distil, package, refused
from dials import SEEN, distil_runs
from toy import bits, same_bits, spoken, through

from semcom.channel.channels import AWGN
from semcom.commands import dial_ladder
from semcom.commands.dial_path import path_of_run
from semcom.data import batching, corpus
from semcom.data.batching import collate
from semcom.evaluation import path_search
from semcom.models import checkpoint

pytestmark = pytest.mark.usefixtures("here", "few", "no_scores")

DIALLED = ("encoder", "full", "further")
SIZE = 400
AT = ["--corpus-size", SIZE, "--snr", "12", "--device", "cpu", "--quiet"]


@pytest.fixture(scope="module")
def few():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(dial_ladder, "REPLICATES", 200)
        patched.setattr(dial_ladder, "BY_SNR_SENTENCES", 8)
        patched.setattr(path_search, "REPLICATES", 50)
        yield


@pytest.fixture(scope="module")
def runs(made_once, teacher):
    """Folders of finished runs by name."""
    return made_once("dialled_runs", lambda folder: distil_runs(folder, teacher))


@pytest.fixture(scope="module")
def kl_of(teacher):
    """A function of a transceiver, a split and topics: its KL from the teacher at 12 dB on such sentences of
    the built-in corpus, straight from the definition, and how many there are."""
    reference = checkpoint.load(teacher)
    read = corpus.built_in(SIZE).sentences

    @torch.no_grad()
    def kl_of(model, split, topics=None):
        chosen = [s for s in read if s.split == split and (topics is None or s.topic in topics)]
        batch = collate(batching.encode(chosen, reference.vocabulary))
        logs = []
        for m in (reference.model, model):
            received = through(m, batch, AWGN(), 12.0, seed=42)
            states = m.receiver(received, batch.source_mask, batch.target_in)[batch.target_mask]
            logs.append(m.receiver.project(states).double().log_softmax(-1))
        p, q = logs
        return float((p.exp() * (p - q)).sum(-1).mean()), len(batch)

    return kl_of


def dial(run, *flags, targets, to="ladder"):
    flags = [*AT, "--output-path", to, "--target", *targets, *flags]
    return package("dial", run, *flags)


def within_reach(run, kl_of, place=0.45, kind="auto"):
    """The value at a place of the run's path."""
    return float(f"{kl_of(path_of_run(str(run), kind).path.at(place), 'validation')[0]:.4g}")


@pytest.fixture(scope="module")
def ladders(made_once, runs, kl_of, few):
    """A folder with a ladder of one target for each run, and said.txt in it."""

    def make(folder):
        for name in DIALLED:
            with spoken() as lines:
                assert dial(runs / name, targets=[within_reach(runs / name, kl_of)], to=folder / name) == 0
            (folder / name / "said.txt").write_text("\n".join(lines))

    return made_once("ladders_of_runs", make)


def only(folder):
    """The one hybrid of a ladder, and its row in the record."""
    (file,) = Path(folder).glob("hybrid_*.pt")
    (row,) = json.loads((Path(folder) / "ladder.json").read_text())["hybrids"]
    return checkpoint.load(file), row


@pytest.mark.parametrize(
    "name, moved",
    [("encoder", {"transmitter"}), ("full", {"transmitter", "receiver"}), ("further", {"receiver"})],
)
def test_the_ends_that_were_trained_are_dialled(name, moved, runs, ladders, teacher, kl_of):
    hybrid, row = only(ladders / name)
    for split in ("validation", "test"):
        value, count = kl_of(hybrid.model, split)
        assert row[split] == pytest.approx(value, rel=1e-4) and row[f"{split}_sentences"] == count
    assert row["within"] and row["validation"] == pytest.approx(row["target"], rel=0.01)
    theirs = checkpoint.load(teacher)
    ends = {"transmitter", "receiver"}
    if name != "full":  # whose student is of another size
        assert {
            e for e in ends if not same_bits(bits(hybrid.model.end(e)), bits(theirs.model.end(e)))
        } == moved
    dialled = {part for part, said in hybrid.origin.items() if "dialled to place" in said}
    of_end = {"transmitter": {"encoder", "channel_encoder"}, "receiver": {"channel_decoder", "decoder"}}
    assert dialled == set().union(*(of_end[end] for end in moved))
    best = checkpoint.load(runs / name / "best_student_model.pt")
    kept = {key: value for key, value in hybrid.config.items() if key != "dial"}
    assert kept == best.config and hybrid.config["dial"]["run"] == str(runs / name)
    said = (ladders / name / "said.txt").read_text()
    assert ("code of their own" in said) == (name == "full")
    assert ("trained further on" in said) == (name == "further")


def test_on_a_knowledge_path_seen_and_unseen_sentences_are_told_apart(ladders, kl_of):
    hybrid, row = only(ladders / "further")
    topics = {s.topic for s in corpus.built_in(SIZE).sentences}
    assert row["path"] == "knowledge" and row["points"] == ["teacher", "best"]
    said, parts = (ladders / "further/said.txt").read_text(), []
    for name, of_name in (("trained further on", set(SEEN)), ("other text", topics - set(SEEN))):
        value, count = kl_of(hybrid.model, "test", of_name)
        part = row["by_text"][name]
        assert part["value"] == pytest.approx(value, rel=1e-4) and part["sentences"] == count > 0
        parts.append(f"{name} {part['value']:.4g} ({count / row['test_sentences']:.0%} of the sentences)")
    assert f"{row['target']:g}: {', '.join(parts)}" in said


def test_topics_asked_for_are_those_measured(runs, kl_of):
    model = path_of_run(str(runs / "further")).path.at(0.6)
    target = float(f"{kl_of(model, 'validation', SEEN)[0]:.4g}")
    assert dial(runs / "further", "--target-topics", *SEEN, targets=[target]) == 0
    hybrid, row = only("ladder")
    assert row["topics"] == SEEN
    for split in ("validation", "test"):
        value, count = kl_of(hybrid.model, split, SEEN)
        assert row[split] == pytest.approx(value, rel=1e-4) and row[f"{split}_sentences"] == count
    assert row["by_text"].keys() == {"trained further on"}
    table = Path("ladder/ladder.csv").read_text()
    assert ",migration trade," in table


def test_a_further_trained_teacher_has_a_learning_path_too(runs, kl_of):
    target = within_reach(runs / "further", kl_of, 0.8, "learning")
    assert dial(runs / "further", "--path", "learning", targets=[target]) == 0
    _, row = only("ladder")
    assert row["path"] == "learning" and row["points"][0] == "start" and "by_text" not in row


def test_hybrids_are_checkpoints_like_any_other(ladders, teacher):
    sender, receiver = (only(ladders / name)[0] for name in ("encoder", "further"))
    joined = ["--transmitter", sender.path, "--receiver", receiver.path, "--output", "joined.pt"]
    assert package("splice", *joined) == 0
    spliced = checkpoint.load("joined.pt")
    assert same_bits(bits(spliced.model.transmitter), bits(sender.model.transmitter))
    assert same_bits(bits(spliced.model.receiver), bits(receiver.model.receiver))
    assert "dialled to place" in spliced.origin["encoder"] and "dialled to place" in spliced.origin["decoder"]
    on = ["--teacher-checkpoint", teacher, "--student-checkpoint", receiver.path]
    short = [*TINY_TRAINING, "--steps", 2]
    assert distil(*on, *short, "--distill-part", "decoder", "--student-layers", 3, "--output-path", "on") == 0
    start = path_of_run("on", "learning").path.at(0)
    assert same_bits(bits(start.receiver), bits(receiver.model.receiver))
    as_teacher = ["--teacher-checkpoint", sender.path, "--output-path", "of"]
    assert distil(*as_teacher, *short, "--distill-part", "decoder") == 0
    best = checkpoint.load("of/best_student_model.pt")
    assert same_bits(bits(best.model.transmitter), bits(sender.model.transmitter))


def test_a_run_is_not_written_into(runs, capsys):
    refused(capsys, dial(runs / "encoder", targets=[0.1], to=runs / "encoder"), "--output-path", "an input")
    inside = runs / "encoder" / "ladder"
    refused(capsys, dial(runs / "encoder", targets=[0.1], to=inside), "--output-path", "lies inside")


def test_a_run_of_another_teacher_is_refused(runs, capsys):
    other = runs / "further" / "best_student_model.pt"
    line = refused(
        capsys,
        dial(runs / "encoder", "--teacher-checkpoint", other, targets=[0.1]),
        "its teacher had the weights",
        "--teacher-checkpoint",
    )
    assert len(line) <= 500 and not Path("ladder").exists()


def test_a_learning_path_has_no_less_than_it_reaches(runs, capsys):
    line = refused(
        capsys, dial(runs / "encoder", targets=[1e-5]), "--target 1e-05: out of reach", "this learning path"
    )
    low, high = map(float, re.search(r"goes from (\S+) to (\S+) ", line).groups())
    assert 1e-5 < low < high and len(line) <= 500 and not Path("ladder").exists()
