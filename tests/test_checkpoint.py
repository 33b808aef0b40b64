"""Checkpoints: to the bit and back, and what a stranger may send instead of one."""

import copy
import errno
import io
import os
import pickle
import stat
import warnings
import zipfile

import pytest
import torch
from toy import bits, collated, same_bits, size, spoken, through, transceiver

from semcom.base.errors import SemcomError
from semcom.channel.channels import Rayleigh
from semcom.commands import inputs
from semcom.data.piece_vocabulary import train_vocabulary
from semcom.data.vocabulary_files import read_vocabulary
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint, load, save
from semcom.models.settings import PARTS

ORIGIN = {part: f"trained, {part}" for part in PARTS}
METRICS, CONFIG = (
    {"loss": 1.5, "epoch": 3},
    {"corpus": "the built-in corpus", "topics": ["trade"], "lr": 1e-3, "steps": None},
)


@pytest.fixture(scope="module")
def model(vocabulary):
    return transceiver(size(2, 16), size(1, 24, 3, 20), vocab_size=len(vocabulary), dropout=0.1)


@pytest.fixture
def saved(tmp_path, model, vocabulary):
    path = tmp_path / "teacher.pt"
    save(Checkpoint(model, vocabulary, ORIGIN, METRICS, CONFIG), path)
    return path


@pytest.fixture
def tampered(saved):
    """The saved checkpoint with ``change`` made to what it holds, and with no digest that would tell."""

    def tampered(change):
        payload = torch.load(saved, weights_only=True)
        payload.pop("digest")
        change(payload)
        torch.save(payload, saved)
        return saved

    return tampered


def records(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def repack(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


def refused(path, message):
    with pytest.raises(SemcomError, match=message) as error:
        load(path, "--teacher-checkpoint")
    text = str(error.value)
    assert text.startswith("--teacher-checkpoint ") and path.name in text and "\n" not in text
    return text


# Round trip


def test_round_trip_to_the_bit(saved, model, vocabulary, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    loaded = load("teacher.pt")
    assert same_bits(bits(loaded.model), bits(model)) and loaded.model.architecture == model.architecture
    assert not loaded.model.training and loaded.vocabulary.serialized == vocabulary.serialized
    assert (loaded.origin, loaded.metrics, loaded.config) == (ORIGIN, METRICS, CONFIG)
    batch = collated(6)
    with torch.no_grad():
        states = [
            m.receiver(through(m, batch, Rayleigh(), 3.0), batch.source_mask, batch.target_in)
            for m in (model, loaded.model)
        ]
    assert torch.equal(*states)


def test_same_model_same_file(saved, model, vocabulary):
    first = saved.read_bytes()
    save(load(saved), saved)
    assert saved.read_bytes() == first


def test_holds_plain_things_only(saved, vocabulary):
    payload = torch.load(saved, weights_only=True)
    assert set(payload) == {*checkpoint.DIGESTED, "digest"}
    assert (
        payload["vocabulary"]["model"].dtype == torch.uint8
        and payload["vocabulary"]["fingerprint"] == vocabulary.fingerprint
    )

    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(k, str) and plain(v) for k, v in value.items())
        return (
            all(map(plain, value))
            if isinstance(value, list)
            else value is None or isinstance(value, (str, int, float, torch.Tensor))
        )

    assert plain(payload)


# Saving


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_full_disk_leaves_the_previous_checkpoint(saved, model, vocabulary, monkeypatch, function):
    before = saved.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, function, full)
    with pytest.raises(
        SemcomError, match="teacher.pt: cannot be written.*No space left.*unharmed; free some space"
    ):
        save(Checkpoint(transceiver(seed=9, vocab_size=400), vocabulary, ORIGIN), saved)
    assert saved.read_bytes() == before and os.listdir(saved.parent) == [saved.name]


def test_permissions_and_links(saved, model, vocabulary):
    link = saved.with_name("link.pt")
    link.symlink_to(saved.name)
    before = os.umask(0o026)
    try:
        save(Checkpoint(transceiver(seed=9, vocab_size=400), vocabulary, ORIGIN), link)
        save(Checkpoint(model, vocabulary, ORIGIN), saved.with_name("new.pt"))
    finally:
        os.umask(before)
    assert link.is_symlink() and not same_bits(bits(load(saved).model), bits(model))
    assert stat.S_IMODE(saved.with_name("new.pt").stat().st_mode) == 0o640


# What is not a checkpoint


def test_missing_names_the_remedy(tmp_path):
    with pytest.raises(
        SemcomError,
        match=r"--teacher-checkpoint .*none.pt: no such file; make one with: python -m semcom train",
    ):
        load(tmp_path / "none.pt", "--teacher-checkpoint")
    refused(tmp_path, "is a folder")


def test_a_path_that_was_meant_needs_no_remedy(saved):
    near = saved.with_name(saved.name.replace(".pt", "s.pt"))
    for flag in ("checkpoint", "--teacher-checkpoint"):
        with pytest.raises(SemcomError) as missing:
            load(near, flag)
        assert str(missing.value).endswith(f"no such file; did you mean {saved}?")


@pytest.mark.parametrize("flag", ["--checkpoints", "checkpoint"])
def test_a_missing_shipped_teacher_is_told_by_the_flag_of_the_verb(flag, monkeypatch, tmp_path):
    monkeypatch.setattr(inputs, "shipped", lambda path: tmp_path / path)
    with pytest.raises(SemcomError) as missing:
        inputs.load_teacher(None, flag)
    message = str(missing.value)
    assert message.startswith(f"{flag} ") and "make one with: python -m semcom train" in message


@pytest.mark.parametrize("cut", [0, 10, 0.5, 0.99, -1])
def test_truncated(saved, cut):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(cut * len(content)) if isinstance(cut, float) else cut])
    refused(saved, "empty" if cut == 0 else "truncated")


def test_one_flipped_bit_of_the_weights(saved, model):
    content, weights = (
        bytearray(saved.read_bytes()),
        model.receiver.decoder.projection.weight.detach().numpy().tobytes(),
    )
    content[content.index(weights) + 100] ^= 1
    saved.write_bytes(content)
    refused(saved, "damaged")


# Digests and numbers


def changed_within(saved, change):
    """The file written anew, whole as an archive, with its digest as it was."""
    payload = torch.load(saved, weights_only=True)
    change(payload)
    torch.save(payload, saved)
    return saved


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["weights"]["receiver.decoder.projection.bias"].add_(1),
        lambda p: p["architecture"].update(amplitude=2.0),
        lambda p: p["architecture"]["transmitter"].update(num_heads=4),
        lambda p: p["origin"].update(encoder="elsewhere"),
        lambda p: p["metrics"].update(loss=1.4),
        lambda p: p["config"].update(topics=[]),
        lambda p: p["vocabulary"]["model"].add_(1),
        lambda p: p.update(digest="0" * 64),
        lambda p: p.update(digest=0),
    ],
)
def test_contents_that_their_digest_is_not_of(saved, change):
    assert "make it again" in refused(changed_within(saved, change), "damaged, its digest")


def test_a_file_without_a_digest_loads_with_a_line_once(tampered):
    path = tampered(lambda payload: None)
    with spoken() as lines:
        first, second = load(path), load(os.path.relpath(path))
    assert same_bits(bits(first.model), bits(second.model))
    assert [line for line in lines if "carries no digest" in line] == lines and len(lines) == 1
    save(first, path.with_name("again.pt"))
    with spoken() as lines:
        load(path.with_name("again.pt"))
    assert lines == []


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    "name", ["transmitter.encoder.embedding.table.weight", "receiver.decoder.projection.bias"]
)
def test_weights_that_are_no_numbers(tampered, model, vocabulary, tmp_path, number, name):
    def spoil(payload):
        payload["weights"][name].view(-1)[-1] = number

    text = refused(tampered(spoil), "no finite numbers")
    assert name in text and ("NaN" if number != number else "infinity") in text
    broken = copy.deepcopy(model)
    broken.state_dict()[name].view(-1)[0] = number
    with pytest.raises(SemcomError, match=f"new.pt: not written.*{name}"):
        save(Checkpoint(broken, vocabulary, ORIGIN), tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module._orig_mod.", "model.", "student.module."])
def test_a_prefix_of_a_trainer_among_the_weights(tampered, model, prefix):
    def wrap(payload):
        payload["weights"] = {prefix + name: tensor for name, tensor in payload["weights"].items()}

    assert same_bits(bits(load(tampered(wrap)).model), bits(model))


@pytest.mark.parametrize("beside", ["ema.", "extra.x.", "b."])
def test_weights_that_are_left_out_are_named_once(tampered, model, beside):
    def double(payload):
        first = {"a." + name: tensor for name, tensor in payload["weights"].items()}
        others = {beside + name: tensor + 1 for name, tensor in payload["weights"].items()}
        # An average is left out wherever it stands.
        payload["weights"] = others | first if beside == "ema." else first | others

    path = tampered(double)
    with spoken() as lines:
        assert same_bits(bits(load(path).model), bits(model))
        load(path)
    (line,) = [line for line in lines if "left out" in line]
    assert "its weights lie in a; left out: " + beside.split(".")[0] in line and "tensors)" in line


@pytest.mark.parametrize("names", [slice(None), slice(1)], ids=["all", "one"])
def test_weights_that_are_whole_numbers(tampered, names):
    def cast(payload):
        for name in list(payload["weights"])[names]:
            payload["weights"][name] = payload["weights"][name].to(torch.uint8)

    assert "allowed are float32, float16, bfloat16" in refused(tampered(cast), "its weights .* are uint8")


def test_weights_of_half_the_bits_load(tampered, model):
    def cast(payload):
        payload["weights"] = {name: tensor.bfloat16() for name, tensor in payload["weights"].items()}

    loaded = bits(load(tampered(cast)).model)
    assert same_bits(loaded, {name: tensor.bfloat16().float() for name, tensor in bits(model).items()})


def test_a_compiled_model_is_saved_under_its_own_names(model, vocabulary, tmp_path):
    compiled = torch.compile(copy.deepcopy(model))
    assert next(iter(compiled.state_dict())).startswith("_orig_mod.")
    save(Checkpoint(compiled, vocabulary, ORIGIN), tmp_path / "c.pt")
    assert same_bits(torch.load(tmp_path / "c.pt", weights_only=True)["weights"], bits(model))
    assert same_bits(bits(load(tmp_path / "c.pt").model), bits(model))


def test_lists_within_lists_are_counted(tampered):
    def nest(payload):
        inner = []
        for _ in range(40):
            inner = [inner, inner]
        payload["config"]["nested"] = inner

    refused(tampered(nest), "not a semcom checkpoint .ValueError")


@pytest.mark.parametrize("value", [torch.zeros(100_000), "x" * 100_000], ids=["a tensor", "a text"])
def test_what_is_referred_to_again_and_again_counts_each_time(tampered, value):
    repeated = [value] * 5_000
    refused(tampered(lambda payload: payload["config"].update(repeated=repeated)), "checkpoint .ValueError")


def test_one_name_twice_never_loads_other_weights(saved):
    contents = records(saved)
    root = next(iter(contents)).split("/")[0]
    name = max((n for n in contents if "/data/" in n), key=lambda n: len(contents[n]))
    for other in (name, name.replace("data", "DATA")):
        with zipfile.ZipFile(saved, "w") as archive, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for each, content in [*contents.items(), (other, bytes(len(contents[name])))]:
                archive.writestr(each, content)
        assert root in refused(saved, "two records named alike")


def foreign_files():
    def packed(value):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        return buffer.getvalue()

    yield "text", b"not a checkpoint at all\n" * 100
    yield "pickle", pickle.dumps({"format": 1})
    yield "legacy", pickle.dumps(0x1950A86A20F9469CFC6C) + pickle.dumps({"format": 1})
    yield "state dict", packed(torch.nn.Linear(2, 2).state_dict())
    yield "dict", packed({"model": torch.zeros(3), "epoch": 3})
    yield "list", packed([1, 2])
    yield "format only", packed({"format": 1})
    yield "tensor", packed(torch.zeros(3))


@pytest.mark.parametrize("content", [pytest.param(c, id=n) for n, c in foreign_files()])
def test_foreign_files(tmp_path, content):
    path = tmp_path / "foreign.pt"
    path.write_bytes(content)
    refused(path, "not a semcom checkpoint")


def test_a_zip_of_something_else(tmp_path):
    repack(tmp_path / "photos.pt", {"photo.jpg": bytes(100)})
    refused(tmp_path / "photos.pt", "not a semcom checkpoint")


def test_newer_format(tampered):
    refused(
        tampered(lambda p: p.update(format=checkpoint.FORMAT + 1)),
        rf"format {checkpoint.FORMAT + 1} is newer.*update the program",
    )


# Malice


class Bomb:
    """Would create a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


class Exec(Bomb):
    def __reduce__(self):
        return eval, (f"open({str(self.path)!r}, 'w')",)


@pytest.mark.parametrize("kind", [Bomb, Exec])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("wrapping", ["bare", "legacy", "saved", "record"])
def test_code_is_not_run(saved, tmp_path, kind, protocol, wrapping):
    side_effect = tmp_path / "owned"
    payload = {**torch.load(saved, weights_only=True), "config": kind(side_effect)}
    if wrapping == "bare":
        saved.write_bytes(pickle.dumps(kind(side_effect), protocol))
    elif wrapping == "record":
        contents = records(saved)
        name = next(n for n in contents if n.endswith("data.pkl"))
        repack(saved, {**contents, name: pickle.dumps(kind(side_effect), protocol)})
    else:
        torch.save(
            payload, saved, pickle_protocol=protocol, _use_new_zipfile_serialization=wrapping == "saved"
        )
    text = refused(
        saved, "refused, it names code" if wrapping in ("saved", "record") else "not a semcom checkpoint"
    )
    assert not side_effect.exists() and (wrapping in ("bare", "legacy") or "alone" in text)


def test_a_second_pickle_is_refused(saved):
    contents = records(saved)
    repack(saved, {**contents, "evil/data.pkl": pickle.dumps(1)})
    refused(saved, "not a semcom checkpoint")


@pytest.mark.parametrize("end", [None, "transmitter", "receiver"])
@pytest.mark.parametrize("value", [0, -1, 10**9, 2**70, True, 2.5, "8", None])
def test_impossible_sizes(tampered, end, value):
    name = "channel_dim" if end is None else "layers"
    path = tampered(
        lambda p: (p["architecture"] if end is None else p["architecture"][end]).update({name: value})
    )
    assert name in refused(path, "claims .* allowed are 1 to")


@pytest.mark.parametrize(
    "sizes", [{"d_model": 8192, "num_heads": 1}, {"dff": 65_536, "layers": 64}, {"d_model": 15}]
)
def test_sizes_that_the_weights_do_not_have(tampered, sizes):
    refused(
        tampered(lambda p: p["architecture"]["receiver"].update(sizes)),
        "weights and architecture disagree at receiver",
    )


@pytest.mark.parametrize("change", [{"num_heads": 7}, {"num_heads": 200}])
def test_heads_that_do_not_divide_the_width(tampered, change):
    refused(tampered(lambda p: p["architecture"]["transmitter"].update(change)), "not a semcom checkpoint")


@pytest.mark.parametrize("dropout", ["much", -1.0, 1.0, float("nan"), None])
def test_impossible_dropout(tampered, dropout):
    refused(tampered(lambda p: p["architecture"].update(dropout=dropout)), "not a semcom checkpoint")


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p["weights"].popitem(),
        lambda p: p["weights"].update(more=torch.zeros(2)),
        lambda p: p.pop("vocabulary"),
        lambda p: p.update(weights=[1]),
        lambda p: p["architecture"].pop("receiver"),
        lambda p: p["architecture"].update(more=1),
        lambda p: p.update(origin=None),
        lambda p: p["weights"].update({next(iter(p["weights"])): "text"}),
    ],
    ids=[
        "weight missing",
        "weight added",
        "no vocabulary",
        "weights a list",
        "no receiver",
        "unknown size",
        "no origin",
        "weight a text",
    ],
)
def test_other_contents(tampered, change):
    refused(tampered(change), "not a semcom checkpoint")


def test_expanded_tensors(tampered):
    def expand(payload):
        name = "receiver.decoder.projection.weight"
        payload["weights"][name] = torch.zeros(1, 1).expand(payload["weights"][name].shape)

    refused(tampered(expand), "not a semcom checkpoint")


def test_tensors_that_share_one_memory_claim_too_much(tampered):
    def share(payload):
        memory = torch.zeros(max(t.numel() for t in payload["weights"].values()))
        payload["weights"] = {n: memory[: t.numel()].view(t.shape) for n, t in payload["weights"].items()}

    refused(tampered(share), "claim more memory than the file holds")


def test_a_storage_shorter_than_it_claims(saved):
    contents = records(saved)
    longest = max((n for n in contents if "/data/" in n), key=lambda n: len(contents[n]))
    repack(saved, {**contents, longest: contents[longest][:8]})
    refused(saved, "not a semcom checkpoint|damaged|broken")


@pytest.mark.parametrize("name", ["data/0", "bomb", "data.pkl"])
def test_a_deflated_bomb_is_refused_before_it_is_unpacked(saved, monkeypatch, name):
    contents = records(saved)
    root = next(iter(contents)).split("/")[0]
    repack(saved, {**contents, f"{root}/{name}": bytes(64 << 20)}, zipfile.ZIP_DEFLATED)
    assert saved.stat().st_size < 1 << 20
    unpacked = [0]
    read = zipfile.ZipExtFile.read

    def counted(*arguments):
        found = read(*arguments)
        unpacked[0] += len(found)
        return found

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counted)
    refused(saved, "not a semcom checkpoint")
    assert unpacked[0] < 8 << 20


def test_escapes_in_metadata_are_spelled_out(tampered):
    text = refused(tampered(lambda p: p["architecture"].update(channel_dim="\x1b[2J")), "claims channel_dim")
    assert "\x1b" not in text


# Vocabularies


def test_another_vocabulary(tampered, sentences):
    other = train_vocabulary([s.text for s in sentences[::-1]][:300], 400)
    text = refused(
        tampered(
            lambda p: p["vocabulary"].update(
                model=torch.frombuffer(bytearray(other.serialized), dtype=torch.uint8)
            )
        ),
        "its vocabulary .* is not the one",
    )
    assert other.fingerprint in text


def test_a_broken_vocabulary(tampered):
    refused(
        tampered(lambda p: p["vocabulary"].update(model=torch.zeros(50, dtype=torch.uint8))),
        "its vocabulary: not a sentencepiece model",
    )


def test_two_vocabularies_do_not_meet(model, vocabulary, sentences):
    other = train_vocabulary([s.text for s in sentences[::-1]][:300], 400)
    mine, theirs = (
        Checkpoint(model, v, ORIGIN, path=p) for v, p in ((vocabulary, "mine.pt"), (other, "theirs.pt"))
    )
    checkpoint.check_same_vocabulary(mine, Checkpoint(model, read_vocabulary(vocabulary.serialized), ORIGIN))
    with pytest.raises(
        SemcomError, match=f"mine.pt has .*{vocabulary.fingerprint}.*theirs.pt has .*{other.fingerprint}"
    ):
        checkpoint.check_same_vocabulary(mine, theirs)
