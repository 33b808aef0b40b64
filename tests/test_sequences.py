"""Sequence-level distillation: each sentence's decoding is its own whoever is decoded beside it; the cache is
trusted for nothing else."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from test_processes import Thread
from toy import CPU, C, Numbers, V, encoded, size, spoken, transceiver

from semcom.base import json_files, locks, output_files
from semcom.base.distributed import ALONE
from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN, Rayleigh, Rician
from semcom.channel.draws import sample
from semcom.data.batching import Encoded, collate
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS
from semcom.distillation import sequence_level
from semcom.distillation.objectives import DistillationObjective, TransceiverObjective
from semcom.distillation.sequence_level import Decoding, teacher_sentences
from semcom.distillation.settings import DistillationConfig
from semcom.distillation.trainer import fit
from semcom.distillation.training_settings import TrainingConfig
from semcom.distillation.transfer_settings import TransferConfig
from semcom.evaluation.scores import Entrant, Meeting, decode, score
from semcom.models.architecture import Architecture
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search, beam, greedy, length_limit
from semcom.models.transceiver import Transceiver

RAYLEIGH, RANGE, GREEDY = Rayleigh(), (-6.0, 18.0), Search()
SENTENCES = encoded(30, 1, 12)


def teacher(eos_bias=4.0, vocabulary="v", width=16):
    """Untrained, but sharp and of about the sentences' lengths."""
    model = transceiver(size(1, width), size(1, width), seed=1)
    with torch.no_grad():
        model.receiver.decoder.projection.weight.mul_(3)
        model.receiver.decoder.projection.bias[EOS] = eos_bias
    return Checkpoint(model, SimpleNamespace(fingerprint=vocabulary), {})


TEACHER = teacher()


def decoded(
    folder,
    *,
    by=TEACHER,
    sentences=SENTENCES,
    channel=RAYLEIGH,
    snr_range=RANGE,
    search=GREEDY,
    seed=3,
    together=ALONE,
):
    """What ``teacher_sentences`` returns, and the lines it says."""
    with spoken() as lines:
        found, record = teacher_sentences(
            Decoding(by, channel, snr_range, search, seed),
            sentences,
            folder=folder,
            device=CPU,
            quiet=True,
            together=together,
        )
    exact = sum(e.target == e.source[1:-1] for e in found) / len(found)
    assert record["exact"] == exact
    return found, lines


def targets(found):
    return [e.target for e in found]


@torch.no_grad()
def alone(e, search, *, by=TEACHER, channel=RAYLEIGH, snr_range=RANGE, seed=3):
    """The decoding of one sentence, its draw taken from the channel itself."""
    model = by.model
    draw = sample([e.sentence.id], [len(e.source)], C, seed=seed, number=0)
    snr = snr_range[0] + (snr_range[1] - snr_range[0]) * draw.level.item()
    source, mask = torch.tensor([e.source]), torch.ones(1, len(e.source), dtype=torch.bool)
    received = channel.apply(model.transmitter(source, mask)[0], draw, snr)
    if search.width == 1:
        return greedy(model.receiver, received, mask)[0]
    return beam(model.receiver, received, mask, search.width, search.length_penalty)[0]


@pytest.mark.parametrize("search", [GREEDY, Search(3, 0.5)], ids=str)
def test_targets_are_the_decodings_of_each_sentence_alone(tmp_path, monkeypatch, search):
    monkeypatch.setattr(sequence_level, "SENT_TOGETHER", 7)
    found, lines = decoded(tmp_path, search=search)
    assert targets(found) == [alone(e, search) for e in SENTENCES]
    assert [(e.sentence, e.source) for e in found] == [(e.sentence, e.source) for e in SENTENCES]
    assert len({len(e.target) for e in found}) > 3, "the decodings should differ in length"
    assert any(len(e.target) > len(e.source) for e in found) and any(
        len(e.target) < len(e.source) - 2 for e in found
    )
    assert len(lines) == 1 and str(search) in lines[0] and "30 training sentences, 0 (0.0%)" in lines[0]


def test_each_sentence_meets_the_snr_of_its_draw(tmp_path):
    """At the ends of the range, and under another seed, other words arrive."""
    found = [
        targets(decoded(tmp_path, **choice)[0])
        for choice in (
            {},
            {"snr_range": (-6.0, -6.0)},
            {"snr_range": (18.0, 18.0)},
            {"seed": 4},
            {"channel": AWGN()},
        )
    ]
    assert all(first != second for place, first in enumerate(found) for second in found[:place])


def test_sentences_that_arrive_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Search,
        "__call__",
        lambda self, receiver, received, mask: [
            e.source[1:-1] if place % 3 else []
            for place, e in enumerate(sorted(SENTENCES, key=lambda e: (-len(e.source), e.sentence.id)))
        ],
    )
    found, lines = decoded(tmp_path)
    assert (
        sum(e.target == e.source[1:-1] for e in found) == 20
        and "30 training sentences, 20 (66.7%) of them exactly" in lines[0]
    )


def test_an_empty_decoding_is_an_empty_target(tmp_path):
    found, _ = decoded(tmp_path, by=teacher(1e9))
    assert targets(found) == [[]] * len(SENTENCES)
    batch = collate(found)
    assert (
        batch.target_in.tolist() == [[BOS]] * 30
        and batch.target_out.tolist() == [[EOS]] * 30
        and batch.target_mask.all()
    )
    assert targets(decoded(tmp_path, by=teacher(1e9))[0]) == [[]] * len(SENTENCES)


def test_endless_decodings_leave_a_position_for_eos(tmp_path):
    long = encoded(1, MAX_POSITIONS - 2, MAX_POSITIONS - 2)
    by = teacher(-1e9, width=8)
    found, _ = decoded(tmp_path, by=by, sentences=SENTENCES[:3] + long)
    assert [len(e.target) for e in found] == [length_limit(len(e.source)) for e in SENTENCES[:3]] + [
        MAX_POSITIONS - 1
    ]
    batch = collate(found)
    assert batch.target_in.shape == (4, MAX_POSITIONS)
    terms = TransceiverObjective(by.model, RAYLEIGH, RANGE)(batch, batch.draw(AWGN(), C, seed=0, number=1))
    assert torch.isfinite(terms["ce"][0])
    assert targets(decoded(tmp_path, by=by, sentences=SENTENCES[:3] + long)[0]) == targets(found)


def no_search(monkeypatch):
    def fail(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(Search, "__call__", fail)


def kept(folder):
    return sorted(path for path in folder.iterdir() if path.suffix != ".lock")


def test_another_run_waits_while_the_teacher_decodes(tmp_path, monkeypatch):
    plain, seen = sequence_level._decode, []

    def watched(*given):
        (file,) = tmp_path.glob(".teacher_sentences_*.lock")
        path = tmp_path / file.name.removeprefix(".").removesuffix(".lock")
        with pytest.raises(SemcomError, match="is writing there"), locks.hold("cache", path):
            pass
        seen.append(path)
        return plain(*given)

    monkeypatch.setattr(sequence_level, "_decode", watched)
    decoded(tmp_path)
    (path,) = kept(tmp_path)
    assert seen == [path]
    with locks.hold("cache", path):
        pass
    dead = tmp_path / f".{path.name}.abcdefgh.tmp"
    dead.write_text("")
    decoded(tmp_path)
    assert not dead.exists() and len(seen) == 1


def test_a_second_run_reads_what_the_first_kept(tmp_path, monkeypatch):
    first, (fresh,) = decoded(tmp_path / "new" / "cache")
    (path,) = kept(tmp_path / "new" / "cache")
    assert f"kept in {path}" in fresh and "greedy decoding" in fresh
    content = path.read_bytes()
    no_search(monkeypatch)
    again, (line,) = decoded(tmp_path / "new" / "cache")
    assert again == first and f"read from {path}" in line and "30 training sentences, 0 (0.0%)" in line
    assert path.read_bytes() == content and kept(path.parent) == [path]


def test_the_order_of_the_sentences_changes_no_decoding(tmp_path, monkeypatch):
    first, _ = decoded(tmp_path / "a")
    backwards, _ = decoded(tmp_path / "b", sentences=SENTENCES[::-1])
    assert backwards == first[::-1]
    (a,), (b,) = kept(tmp_path / "a"), kept(tmp_path / "b")
    assert a.name == b.name and a.read_bytes() == b.read_bytes()
    no_search(monkeypatch)
    assert decoded(tmp_path / "a", sentences=SENTENCES[::-1])[0] == first[::-1]


def test_the_file_says_what_it_holds(tmp_path):
    found, _ = decoded(tmp_path, search=Search(2))
    stored = json.loads(kept(tmp_path)[0].read_text())
    assert stored["key"] | {"sentences": 0} == {
        "format": 1,
        "teacher": TEACHER.fingerprint,
        "architecture": TEACHER.model.architecture.to_dict(),
        "vocabulary": "v",
        "sentences": 0,
        "channel": {"kind": "rayleigh", "rician_k": 1.0, "equalizer": "zf"},
        "snr_range": [-6.0, 18.0],
        "search": {"width": 2, "length_penalty": 1.0},
        "seed": 3,
    }
    assert stored["pieces"] == {str(e.sentence.id): " ".join(map(str, e.target)) for e in found}


def nudged():
    by = teacher()
    with torch.no_grad():
        by.model.transmitter.encoder.layers[0].attention.query.weight[0, 0] += 1e-6
    return by


def with_other_heads():
    """The same weights, and so the same fingerprint, read by one head."""
    other = Transceiver(Architecture(V, size(1, 16, 1), size(1, 16, 1), C, 0.0)).eval()
    other.load_state_dict(TEACHER.model.state_dict())
    return Checkpoint(other, TEACHER.vocabulary, {})


@pytest.mark.parametrize(
    "change",
    [
        {"by": nudged()},
        {"by": with_other_heads()},
        {"by": teacher(vocabulary="w")},
        {"sentences": SENTENCES[:-1]},
        {"sentences": SENTENCES[:-1] + encoded(1, seed=9)},
        {"channel": Rician()},
        {"channel": Rician(rician_k=2.0)},
        {"channel": Rayleigh("mmse")},
        {"snr_range": (-6.5, 18.0)},
        {"snr_range": (-6.0, 17.5)},
        {"search": Search(2)},
        {"search": Search(1, 0.5)},
        {"seed": 4},
        {},
    ],
    ids=lambda change: "-".join(change) or "format",
)
def test_whatever_it_depends_on_makes_another_file(tmp_path, monkeypatch, change):
    decoded(tmp_path)
    before = {path: path.read_bytes() for path in kept(tmp_path)}
    if not change:
        monkeypatch.setattr(sequence_level, "FORMAT", sequence_level.FORMAT + 1)
    found, (line,) = decoded(tmp_path, **change)
    assert "kept in" in line and len(kept(tmp_path)) == 2
    assert all(path.read_bytes() == content for path, content in before.items())
    assert targets(found)[::4] == [
        alone(e, **{"search": GREEDY, **{k: v for k, v in change.items() if k != "sentences"}})
        for e in change.get("sentences", SENTENCES)[::4]
    ]


def of_pieces(change):
    """A file like the one kept, one sentence's decoding changed."""

    def mangle(content):
        stored = json.loads(content)
        stored["pieces"][str(SENTENCES[5].sentence.id)] = change
        return json.dumps(stored)

    return mangle


def stored_with(**change):
    return lambda content: json.dumps({**json.loads(content), **change})


def without_a_sentence(content):
    stored = json.loads(content)
    del stored["pieces"][str(SENTENCES[5].sentence.id)]
    return json.dumps(stored)


def of_another_seed(content):
    stored = json.loads(content)
    return json.dumps({**stored, "key": {**stored["key"], "seed": 4}})


BROKEN = {
    "empty": lambda content: "",
    "truncated": lambda content: content[: len(content) // 2],
    "no JSON": lambda content: "decodings",
    "no UTF-8": lambda content: b"\xff\xfe\xfa",
    "a list": lambda content: "[]",
    "nested": lambda content: "[" * 100_000,
    "no key": stored_with(key=None),
    "another key": of_another_seed,
    "no pieces": stored_with(pieces=[]),
    "a sentence less": without_a_sentence,
    "a sentence more": lambda content: of_pieces("")(content).replace('"pieces": {', '"pieces": {"1": "4", '),
    "no number": of_pieces("4 five"),
    "no string": of_pieces([4, 5]),
    "a null": of_pieces(None),
    "beyond the vocabulary": of_pieces(f"4 {V}"),
    "negative": of_pieces("4 -1"),
    "huge": of_pieces("9" * 5000),
    "an eos inside": of_pieces(f"4 {EOS} 5"),
    "too long": of_pieces(" ".join(["4"] * (length_limit(len(SENTENCES[5].source)) + 1))),
}


def digested_anew(content):
    """With the digest of what the file now holds, so that more than the digest has to be looked at."""
    try:
        stored = json.loads(content)
        return json.dumps(json_files.digested({"key": stored["key"], "pieces": stored["pieces"]}))
    except (ValueError, TypeError, RecursionError):
        return content


@pytest.mark.parametrize("digest", [str, digested_anew], ids=["", "digested"])
@pytest.mark.parametrize("mangle", BROKEN.values(), ids=BROKEN)
def test_a_file_not_to_be_trusted_is_made_again(tmp_path, mangle, digest):
    first, _ = decoded(tmp_path)
    (path,) = kept(tmp_path)
    content = path.read_text()
    mangled = mangle(content)
    mangled = mangled if isinstance(mangled, bytes) else digest(mangled)
    assert mangled != content
    path.write_bytes(mangled if isinstance(mangled, bytes) else mangled.encode())
    again, (warning, line) = decoded(tmp_path)
    assert again == first and path.read_text() == content and kept(tmp_path) == [path]
    assert (
        warning.startswith(f"warning: {path}: ")
        and "\n" not in warning
        and len(warning) < 400
        and "kept in" in line
    )


def test_the_longest_decoding_is_no_reason_for_distrust(tmp_path, monkeypatch):
    decoded(tmp_path)
    (path,) = kept(tmp_path)
    limit = length_limit(len(SENTENCES[5].source))
    path.write_text(digested_anew(of_pieces(" ".join(["4"] * limit))(path.read_text())))
    no_search(monkeypatch)
    assert decoded(tmp_path)[0][5].target == [4] * limit


def test_without_a_place_to_keep_them_the_run_goes_on(tmp_path):
    (tmp_path / "taken").write_text("")
    found, (warning, line) = decoded(tmp_path / "taken")
    assert targets(found) == [alone(e, GREEDY) for e in SENTENCES]
    assert warning.startswith("warning: ") and "cannot be written" in warning and "kept in" not in line
    assert (tmp_path / "taken").read_text() == ""


class Together(Thread):
    """One of several processes; the main one's answers go through what they gather."""

    def from_main(self, make, *arguments):
        return self.gather(make(*arguments) if self.is_main else None)[0]


class Counted(Search):
    """A search that notes how many sentences each thread has it decode."""

    counts: dict = {}

    def __call__(self, receiver, received, source_mask):
        self.counts[threading.get_ident()] = self.counts.get(threading.get_ident(), 0) + len(received)
        return super().__call__(receiver, received, source_mask)


@pytest.mark.parametrize("count", [2, 6])
def test_several_processes_share_the_decoding_and_get_the_same(tmp_path, monkeypatch, count):
    """Of 6 processes, one has no batch."""
    monkeypatch.setattr(sequence_level, "SENT_TOGETHER", 6)
    monkeypatch.setattr(Counted, "counts", {})
    expected, _ = decoded(tmp_path / "one")
    shared, barrier = [None] * count, threading.Barrier(count)
    touched = []
    read, write = json_files.read, output_files.write_json
    monkeypatch.setattr(json_files, "read", lambda *given: touched.append("read") or read(*given))
    monkeypatch.setattr(output_files, "write_json", lambda *given: touched.append("written") or write(*given))

    def act(rank):
        return decoded(tmp_path / "many", search=Counted(), together=Together(rank, shared, barrier))

    with ThreadPoolExecutor(count) as pool:
        results = list(pool.map(act, range(count)))
        assert sorted(Counted.counts.values()) == {2: [12, 18], 6: [6] * 5}[count]
        assert all(found == expected for found, _ in results)
        assert [len(lines) for _, lines in results] == [1] + [0] * (count - 1) and touched == [
            "read",
            "written",
        ]
        (one,), (many,) = kept(tmp_path / "one"), kept(tmp_path / "many")
        assert one.name == many.name and one.read_text() == many.read_text()
        no_search(monkeypatch)
        monkeypatch.delattr(Counted, "__call__")
        touched.clear()
        again = list(pool.map(act, range(count)))
    assert all(found == expected for found, _ in again) and touched == ["read"]
    assert [["read from" in line for line in lines] for _, lines in again] == [[True]] + [[]] * (count - 1)


MIXED = [replace(e, target=target) for e, target in zip(SENTENCES, [[4, 5, 6] * 7, [], [9], None, [7] * 3])]
"""Targets longer and shorter than what was sent, an empty one, and the source's own."""


def summed_cross_entropy(model, e, channel, snr, draw):
    """Of one sentence: nats over target tokens, computed without a batch."""
    source, mask = torch.tensor([e.source]), torch.ones(1, len(e.source), dtype=torch.bool)
    received = channel.apply(model.transmitter(source, mask)[0], draw, snr)
    pieces = e.source[1:-1] if e.target is None else e.target
    logits = model.receiver.project(model.receiver(received, mask, torch.tensor([[BOS, *pieces]])))[0]
    return F.cross_entropy(logits, torch.tensor([*pieces, EOS]), reduction="sum").item()


@torch.no_grad()
def test_cross_entropy_of_other_targets_against_each_sentence_alone():
    model, batch = TEACHER.model, collate(MIXED)
    total, rows = TransceiverObjective(model, RAYLEIGH, RANGE)(
        batch, batch.draw(AWGN(), C, seed=0, number=1)
    )["ce"]
    expected = 0.0
    for e in MIXED:
        draw = sample([e.sentence.id], [len(e.source)], C, seed=0, number=1)
        expected += summed_cross_entropy(
            model, e, RAYLEIGH, RANGE[0] + (RANGE[1] - RANGE[0]) * draw.level, draw
        )
    assert rows == batch.target_tokens == 22 + 1 + 2 + len(MIXED[3].source) - 1 + 4
    assert total.item() == pytest.approx(expected, rel=1e-5)


@torch.no_grad()
def test_distillation_on_other_targets_is_the_sum_of_its_sentences():
    """Signals are compared at source tokens, all else at target tokens."""
    objective = DistillationObjective(
        [TEACHER.model],
        transceiver(size(1), size(1)),
        RAYLEIGH,
        RANGE,
        DistillationConfig(scales=(1, 2)),
        TransferConfig(feature_weight=0.5, cross_weight=0.5),
        seed=0,
    ).train()
    terms, *alone = (
        objective(batch, batch.draw(AWGN(), C, seed=0, number=1))
        for batch in [collate(MIXED), *(collate([e]) for e in MIXED)]
    )
    assert {"signal", "decoder", "scales", "cross_receiver"} <= terms.keys()
    for name, (total, rows) in terms.items():
        parts = [part[name] for part in alone]
        assert rows == sum(count for _, count in parts), name
        assert float(total) == pytest.approx(sum(float(value) for value, _ in parts), rel=1e-4), name
    sent, said = sum(len(e.source) for e in MIXED), sum(e.target_tokens for e in MIXED)
    assert sent != said and terms["signal"][1] == sent and terms["kd"][1] == terms["decoder"][1] == said


@torch.no_grad()
def test_analysis_means_over_the_targets_and_scores_what_was_sent():
    model, snrs = TEACHER.model, (0.0, 12.0)
    meeting = Meeting(RAYLEIGH, snrs, 3, CPU, 2, quiet=True)
    plain = decode(Entrant("a", model), [replace(e, target=None) for e in MIXED], Numbers(), meeting)
    for snr, found, without in zip(snrs, decode(Entrant("a", model), MIXED, Numbers(), meeting), plain):
        expected = [
            summed_cross_entropy(
                model, e, RAYLEIGH, snr, sample([e.sentence.id], [len(e.source)], C, seed=3, number=0)
            )
            for e in MIXED
        ]
        assert found.token_sums["nats"] == pytest.approx(expected, rel=1e-4)
        assert found.pieces == without.pieces
        row, plain_row = score(found, MIXED, meeting.scoring), score(without, MIXED, meeting.scoring)
        assert row["cross_entropy"] == pytest.approx(sum(expected) / collate(MIXED).target_tokens, rel=1e-4)
        assert {**row, "cross_entropy": 0} == {**plain_row, "cross_entropy": 0}


def test_training_learns_the_targets_and_counts_them():
    """Whatever is sent, the target is the same two pieces: soon nothing else is said."""
    sentences = [Encoded(e.sentence, e.source, [5, 6]) for e in encoded(64, 3, 9)]
    model = transceiver(size(1), size(1))
    result = fit(
        TransceiverObjective(model, RAYLEIGH, RANGE),
        sentences,
        encoded(8, seed=1),
        TrainingConfig(batch_tokens=48, epochs=8, lr=1e-2),
        width=C,
        device=CPU,
        seed=0,
        quiet=True,
        on_epoch=lambda *_: None,
    )
    assert [epoch.target_tokens for epoch in result.history] == [64 * 3] * 8 and result.steps == 8 * 4, (
        "16 targets of 3 tokens a step"
    )
    assert result.padding == 0 and result.history[-1].parts["ce"] < 0.1 < 2 < result.history[0].parts["ce"]
    batch = collate(encoded(10, 3, 9, seed=2))
    assert (
        greedy(
            model.eval().receiver, model.transmitter(batch.source, batch.source_mask)[0], batch.source_mask
        )
        == [[5, 6]] * 10
    )
