"""Public DeepSC state dicts: the same maths after import, the same bits after export; files from
strangers."""

import math
import os
import pickle
from argparse import Namespace
from collections import OrderedDict
from dataclasses import replace
from pathlib import PurePosixPath

import pytest
import torch
from cli_support import distil, package
from public_deepsc import WORDS, Public, batch, positions, random_state, scale_power, vocabulary

from semcom.base.errors import SemcomError
from semcom.models import checkpoint, deepsc_names, deepsc_weights, transceiver
from semcom.models.settings import PARTS
from semcom.models.transformer import TransformerSize

V = 4 + len(WORDS)
SIZES = [
    {},
    {"encoder_layers": 1, "decoder_layers": 3},
    {"d": 8, "d_receiver": 16},
    {"c": 16, "hidden": 256, "wide": 512, "length": 5000},
]


def imported(state, heads=4):
    return deepsc_weights.from_state(state, heads, 0.1, "their.pth")


def refused(state, pattern, heads=4):
    with pytest.raises(SemcomError, match=pattern) as caught:
        imported(state, heads)
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A public checkpoint and its vocabulary in a folder of their own."""
    folder = tmp_path_factory.mktemp("public")
    torch.save(OrderedDict(random_state(V)), folder / "their.pth")
    (folder / "vocab.json").write_text(vocabulary())
    return folder


def bring(folder, *flags, file="their.pth", vocab="vocab.json", output="teacher.pt"):
    return package(
        "import", folder / file, "--vocab-file", folder / vocab, "--output", output, "--heads", 4, *flags
    )


# --- the same maths


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_same_symbols_and_logits(sizes):
    same_symbols_and_logits(sizes, torch.float64, 1e-10)


@pytest.mark.parametrize("sizes", SIZES[:3], ids=str)
def test_same_symbols_and_logits_in_single_precision(sizes):
    same_symbols_and_logits(sizes, torch.float32, 1e-4)


def same_symbols_and_logits(sizes, dtype, tolerance):
    state = random_state(V, **sizes)
    public, model = Public(state, 4, dtype), imported(state).model.to(dtype)
    source, prefix = batch(V)
    mask = source != 0
    symbols = public.symbols(source)
    ours = model.transmitter.channel_encoder(model.transmitter.encoder(source, mask))
    torch.testing.assert_close(ours[mask], symbols[mask], atol=tolerance, rtol=0)

    received = scale_power(5 * symbols) + 0.3 * torch.randn(
        symbols.shape, generator=torch.Generator().manual_seed(2), dtype=dtype
    )
    wanted = public.logits(received, prefix, source)
    state_of_decoder = model.receiver(received / math.sqrt(2), mask, prefix)
    real = prefix != 0
    torch.testing.assert_close(
        model.receiver.project(state_of_decoder)[real], wanted[real], atol=tolerance, rtol=0
    )
    assert wanted[real].std() > 0.1, "logits that all agree would show nothing"


def test_transmitted_signal_is_the_public_one_at_our_power():
    state = random_state(V)
    public, model = Public(state, 4), imported(state).model.double()
    source, _ = batch(V, (7, 7, 7))
    signal, _ = model.transmitter(source, source != 0)
    assert signal.dtype == torch.float64
    for row, raw in zip(signal, public.symbols(source)):
        alone = scale_power(100 * raw)  # loud enough for the public rule to act, on a batch of this sentence
        torch.testing.assert_close(row * math.sqrt(2), alone, atol=1e-9, rtol=0)


def test_sizes_come_from_the_shapes():
    found = imported(
        random_state(
            V,
            d=8,
            d_receiver=16,
            dff=24,
            c=6,
            hidden=20,
            wide=28,
            encoder_layers=1,
            decoder_layers=3,
            length=50,
        )
    )
    a = found.model.architecture
    assert (a.vocab_size, a.channel_dim, a.channel_encoder_hidden, a.channel_decoder_hidden) == (V, 6, 20, 28)
    assert a.transmitter == TransformerSize(1, 8, 4, 24) and a.receiver == TransformerSize(3, 16, 4, 24)
    assert a.amplitude == math.sqrt(2) and found.positions == (50, 50) and not found.rounded


def test_heads_matter():
    state = random_state(V)
    source, _ = batch(V)
    two, four = (imported(state, heads).model.transmitter(source, source != 0)[0] for heads in (2, 4))
    assert (two - four).abs().max() > 1e-3


def test_half_precision_weights_are_taken_and_told(here, theirs, capsys):
    torch.save({name: tensor.half() for name, tensor in random_state(V).items()}, "half.pth")
    assert (
        package("import", "half.pth", "--vocab-file", theirs / "vocab.json", "--output", "t.pt", "--heads", 4)
        == 0
    )
    assert "not float32 and have been converted" in capsys.readouterr().out


# --- what does not fit names the tensor


@pytest.mark.parametrize(
    ("name", "change", "pattern"),
    [
        (
            "decoder.dec_layers.1.src_mha.wk.weight",
            None,
            r"tensor decoder\.dec_layers\.1\.src_mha\.wk\.weight \(16x16\) is missing",
        ),
        ("encoder.embedding.weight", None, r"encoder\.embedding\.weight \(anyxany\) is missing"),
        (
            "channel_decoder.layernorm.bias",
            lambda t: t[:-1],
            r"channel_decoder\.layernorm\.bias has shape 15, expected 16",
        ),
        (
            "decoder.embedding.weight",
            lambda t: t[:-2],
            rf"decoder\.embedding\.weight has shape {V - 2}x16, expected {V}xany",
        ),
        ("dense.weight", lambda t: t.T, r"dense\.weight has shape"),
        (
            "encoder.enc_layers.0.mha.wq.weight",
            lambda t: torch.full_like(t, math.nan),
            r"wq\.weight holds numbers that are not finite",
        ),
        ("encoder.enc_layers.0.mha.wq.bias", lambda t: t.long(), r"wq\.bias holds torch\.int64"),
        (
            "channel_encoder.2.weight",
            lambda t: t[:7],
            r"channel_encoder\.2\.weight sends 7 real dimensions.*even",
        ),
        (
            "encoder.pos_encoding.pe",
            lambda t: t + 0.01,
            r"encoder\.pos_encoding\.pe is not the table of sines and cosines.*differs by 0\.01",
        ),
        (
            "decoder.pos_encoding.pe",
            lambda t: t[..., :8],
            r"decoder\.pos_encoding\.pe is torch\.float32 of shape 1x40x8, .*1xLENGTHx16",
        ),
        (
            "decoder.pos_encoding.pe",
            lambda t: t.long(),
            r"decoder\.pos_encoding\.pe is torch\.int64 of shape 1x40x16, .*floating",
        ),
    ],
)
def test_tensor_that_does_not_fit(name, change, pattern):
    state = random_state(V)
    tensor = state.pop(name)
    if change:
        state[name] = change(tensor)
    refused(state, pattern)


def test_layers_with_a_gap():
    state = {name.replace("enc_layers.1", "enc_layers.2"): tensor for name, tensor in random_state(V).items()}
    refused(state, r"tensors of encoder\.enc_layers\.1 are missing")


def test_more_than_the_architecture_has():
    refused(
        random_state(V) | {"mutual_info.\x1b[31m": torch.zeros(3)},
        r"tensor mutual_info\.\\x1b\[31m has no place in the public architecture",
    )


def test_another_model_altogether():
    refused({"conv1.weight": torch.zeros(3)}, "not a state dict of public DeepSC code .*conv1.weight")
    refused({}, "it holds no tensor")


def test_heads_that_do_not_divide():
    refused(random_state(V), "--heads 3: does not divide the model width 16", heads=3)


def test_positions_of_any_length():
    state = random_state(V)
    for rows in (1, 12, 1500):
        state["encoder.pos_encoding.pe"] = positions(rows, 16)[None]
        assert imported(state).positions == (rows, 40)


# --- the command


def test_import_says_what_it_made_and_what_differs(here, theirs, capsys):
    assert bring(theirs) == 0
    said = capsys.readouterr().out
    assert (
        "2 encoder and 2 decoder layers, D=16, 4 heads, feed-forward 24, C=8" in said
        and "X + 3.01 dB" in said
        and "X + 6.02 dB on Rician" in said
    )
    loaded = checkpoint.load("teacher.pt")
    assert loaded.vocabulary.decode([[9, 6, 4]]) == ["the session."]
    assert loaded.origin["decoder"] == f"imported from {theirs / 'their.pth'}" and loaded.config[
        "imported_positions"
    ] == [40, 40]
    for first, second in zip(
        imported(random_state(V)).model.state_dict().values(), loaded.model.state_dict().values()
    ):
        assert torch.equal(first, second)
    assert loaded.model.architecture.amplitude == math.sqrt(2)


def test_files_of_older_torch(here, theirs):
    torch.save(random_state(V), "old.pth", _use_new_zipfile_serialization=False)
    assert (
        package(
            "import", "old.pth", "--vocab-file", theirs / "vocab.json", "--output", "old.pt", "--heads", 4
        )
        == 0
    )
    assert bring(theirs) == 0
    assert checkpoint.load("old.pt").fingerprint == checkpoint.load("teacher.pt").fingerprint


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model"])
def test_wrapped_state_dict(here, theirs, key):
    torch.save({key: random_state(V), "epoch": 3}, "wrapped.pth")
    assert (
        package(
            "import", "wrapped.pth", "--vocab-file", theirs / "vocab.json", "--output", "t.pt", "--heads", 4
        )
        == 0
    )


class Evil:
    def __reduce__(self):
        return os.system, ("touch ran",)


def _whole_model(path):
    torch.save(torch.nn.Linear(2, 2), path)


def _hostile(path):
    torch.save({"dense.weight": torch.zeros(2), "x": Evil()}, path)


def _hostile_legacy(path):
    torch.save({"dense.weight": torch.zeros(2), "x": Evil()}, path, _use_new_zipfile_serialization=False)


def _hostile_plain(path):
    path.write_bytes(pickle.dumps(Evil()))


def _expanded(path):
    torch.save({"dense.weight": torch.zeros(1).expand(10**12)}, path)


def _numbers(path):
    torch.save({"epoch": 3, "lr": 0.1}, path)


def _text(path):
    path.write_text("not a checkpoint")


def _empty(path):
    path.write_bytes(b"")


def _cut(path):
    torch.save(random_state(V), path)
    path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    ("write", "pattern"),
    [
        (_whole_model, "names code .*torch.nn.modules.*Linear.*never run.*state_dict"),
        (_hostile, "names code"),
        (_hostile_legacy, "names code"),
        (_hostile_plain, "names code"),
        (_expanded, "claim more memory"),
        (_numbers, "not a state dict"),
        (_text, "not a state dict|broken"),
        (_empty, "empty|broken"),
        (_cut, "broken|truncated"),
    ],
)
def test_strangers_files(here, theirs, capsys, write, pattern):
    import re

    write(here / "x.pth")
    assert package("import", "x.pth", "--vocab-file", theirs / "vocab.json", "--output", "t.pt") == 2
    error = capsys.readouterr().err
    assert re.search(pattern, error) and error.count("\n") == 1, error
    assert not os.path.exists("ran") and not os.path.exists("t.pt")


@pytest.mark.parametrize(
    ("flags", "pattern"),
    [
        (["--heads", 3], "--heads 3: does not divide"),
        (["--heads", 0], "--heads 0: must be"),
        (["--dropout", 1], "--dropout 1: must be"),
    ],
)
def test_wrong_flags(here, theirs, capsys, flags, pattern):
    assert (
        package(
            "import", theirs / "their.pth", "--vocab-file", theirs / "vocab.json", "--output", "t.pt", *flags
        )
        == 2
    )
    assert pattern in capsys.readouterr().err and not os.path.exists("t.pt")


def test_wrong_vocabulary(here, theirs, capsys):
    (here / "short.json").write_text(vocabulary(WORDS[:-3]))
    assert (
        package(
            "import", theirs / "their.pth", "--vocab-file", "short.json", "--output", "t.pt", "--heads", 4
        )
        == 2
    )
    assert f"holds {V - 3} words, encoder.embedding.weight" in capsys.readouterr().err
    assert (
        package(
            "import", theirs / "their.pth", "--vocab-file", "absent.json", "--output", "t.pt", "--heads", 4
        )
        == 2
    )
    assert "absent.json: cannot be read" in capsys.readouterr().err


def test_nothing_finished_is_destroyed(here, theirs, capsys):
    assert bring(theirs) == 0
    before = (here / "teacher.pt").read_bytes()
    assert bring(theirs) == 2 and "exists already" in capsys.readouterr().err
    assert (here / "teacher.pt").read_bytes() == before
    assert bring(theirs, "--overwrite") == 0
    assert bring(theirs, "--overwrite", output=theirs / "their.pth") == 2


def test_state_dict_given_where_a_checkpoint_is_wanted(here, theirs, capsys):
    assert package("evaluate", theirs / "their.pth") == 2
    assert "weights of public DeepSC code; import them: python -m semcom import" in capsys.readouterr().err


# --- export


def exported(path, *flags):
    assert package("export", path, "--output", "back.pth", "--overwrite", *flags) == 0
    return torch.load("back.pth", weights_only=True)


def test_goes_back_to_the_bit(here, theirs):
    assert bring(theirs) == 0
    before, after = (
        random_state(V),
        exported("teacher.pt", "--vocab-output", "back.json", "--format", "deepsc"),
    )
    assert before.keys() == after.keys()
    for name, tensor in before.items():
        if name.endswith(".pe"):
            torch.testing.assert_close(after[name], tensor, atol=1e-6, rtol=0)
        else:
            assert torch.equal(after[name], tensor), name
    assert (
        package("import", "back.pth", "--vocab-file", "back.json", "--output", "again.pt", "--heads", 4) == 0
    )
    assert (
        checkpoint.load("again.pt").vocabulary.fingerprint
        == checkpoint.load("teacher.pt").vocabulary.fingerprint
    )


def test_native_model_in_the_public_code(here, theirs, capsys):
    """Its receiver hears there what it heard here, and its transmitter is loud enough for the public power
    rule."""
    assert bring(theirs) == 0
    there = checkpoint.load("teacher.pt")
    native = transceiver.build(replace(there.model.architecture, amplitude=1.0), 3)
    with torch.no_grad():
        native.transmitter.channel_encoder[2].weight *= 0.01
        native.transmitter.channel_encoder[2].bias *= 0.01
    checkpoint.save(
        checkpoint.Checkpoint(native, there.vocabulary, dict.fromkeys(PARTS, "trained here")),
        "native.pt",
    )
    public = Public(exported("native.pt"), 4)
    said = capsys.readouterr().out
    assert "as loud" in said and "0.7071" in said
    native = native.double().eval()
    source, prefix = batch(V, (8, 8, 8))
    signal, _ = native.transmitter(source, source != 0)
    raw = public.symbols(source)
    assert raw.square().mean((1, 2)).sqrt().min() > 1
    for row, sent in zip(signal, raw):
        torch.testing.assert_close(scale_power(sent[None])[0], row * math.sqrt(2), atol=1e-7, rtol=0)
    wanted = native.receiver.project(native.receiver(signal, source != 0, prefix))
    torch.testing.assert_close(
        public.logits(signal * math.sqrt(2), prefix, source), wanted, atol=1e-6, rtol=0
    )


def test_ends_of_unlike_size_come_with_the_lines_that_build_them(here, theirs, capsys):
    torch.save(random_state(V, encoder_layers=2, decoder_layers=1, d=8, d_receiver=16), "odd.pth")
    assert (
        package(
            "import", "odd.pth", "--vocab-file", theirs / "vocab.json", "--output", "odd.pt", "--heads", 4
        )
        == 0
    )
    exported("odd.pt")
    said = capsys.readouterr().out
    assert (
        f"net = DeepSC(2, {V}, {V}, 40, 40, 8, 4, 24)" in said
        and f"net.decoder = Decoder(1, {V}, 40, 16, 4, 24)" in said
    )
    assert "net.channel_encoder = nn.Sequential(nn.Linear(8, 20), nn.ReLU(), nn.Linear(20, 8))" in said
    assert (
        "net.channel_decoder = ChannelDecoder(8, 16, 28)" in said
        and f"net.dense = nn.Linear(16, {V})" in said
    )


def test_positions_for_another_constructor(here, theirs):
    assert bring(theirs) == 0
    state = exported("teacher.pt", "--positions", 77)
    assert state["encoder.pos_encoding.pe"].shape == (1, 77, 16) == state["decoder.pos_encoding.pe"].shape


def test_sentencepiece_models_go_out_with_a_warning(here, teacher, capsys):
    state = exported(teacher)
    assert "warning: its vocabulary is sentencepiece" in capsys.readouterr().out
    model = checkpoint.load(teacher).model
    assert state["encoder.pos_encoding.pe"].shape[1] == model.architecture.vocab_size
    assert package("export", teacher, "--output", "x.pth", "--vocab-output", "x.json") == 2
    assert "sentencepiece vocabulary" in capsys.readouterr().err and not os.path.exists("x.pth")


# --- the amplitude among other models


def test_amplitude_goes_with_the_channel_decoder():
    loud, plain = imported(random_state(V)).model, None
    plain = transceiver.build(replace(loud.architecture, amplitude=1.0, channel_encoder_hidden=12), 1)
    mixed = transceiver.splice(plain, loud, ("channel_decoder",))
    assert (mixed.architecture.amplitude, mixed.architecture.channel_encoder_hidden) == (math.sqrt(2), 12)
    other = transceiver.splice(plain, loud, ("channel_encoder", "decoder"))
    assert (other.architecture.amplitude, other.architecture.channel_encoder_hidden) == (1.0, 20)
    received = torch.randn(1, 3, 8)
    assert torch.equal(mixed.receiver.channel_decoder(received), loud.receiver.channel_decoder(received))
    rebuilt = transceiver.Transceiver(mixed.architecture)
    rebuilt.load_state_dict(mixed.state_dict())
    assert torch.equal(rebuilt.receiver.channel_decoder(received), mixed.receiver.channel_decoder(received))


# --- tables of another machine, sizes without end, models that differ in no weight


def shaken(state):
    """The state with position tables whose last bits another machine computed."""
    generator = torch.Generator().manual_seed(5)
    return state | {
        name: state[name] + 1e-6 * torch.randn(state[name].shape, generator=generator)
        for name in deepsc_names.POSITION_TABLES
    }


def test_position_tables_of_another_machine_are_kept(here, theirs):
    state = shaken(random_state(V))
    torch.save(state, "other.pth")
    assert (
        package(
            "import", "other.pth", "--vocab-file", theirs / "vocab.json", "--output", "other.pt", "--heads", 4
        )
        == 0
    )
    model, public = checkpoint.load("other.pt").model.double(), Public(state, 4)
    source, prefix = batch(V)
    mask = source != 0
    symbols = public.symbols(source)
    ours = model.transmitter.channel_encoder(model.transmitter.encoder(source, mask))
    torch.testing.assert_close(ours[mask], symbols[mask], atol=1e-10, rtol=0)
    assert (ours - Public(random_state(V), 4).symbols(source))[mask].abs().max() > 1e-8, (
        "the tables make a difference"
    )
    logits = model.receiver.project(model.receiver(symbols / math.sqrt(2), mask, prefix))
    torch.testing.assert_close(
        logits[prefix != 0], public.logits(symbols, prefix, source)[prefix != 0], atol=1e-10, rtol=0
    )
    after = exported("other.pt")
    assert all(torch.equal(after[name], state[name]) for name in state)


def test_tables_go_with_the_part_they_belong_to(here, theirs):
    other, plain = imported(shaken(random_state(V))).model, imported(random_state(V, seed=1)).model
    mixed = transceiver.splice(plain, other, ("encoder", "channel_encoder"))
    assert (
        mixed.architecture.transmitter.stored_positions and not mixed.architecture.receiver.stored_positions
    )
    rebuilt = transceiver.Transceiver(mixed.architecture)
    rebuilt.load_state_dict(mixed.state_dict())
    assert torch.equal(
        rebuilt.transmitter.encoder.embedding.positions, other.transmitter.encoder.embedding.positions
    )


def test_too_many_layers_are_refused_before_anything_is_written(here, theirs, capsys):
    assert bring(theirs) == 0
    before = (here / "teacher.pt").read_bytes()
    state = random_state(V, encoder_layers=1)
    one = {name: tensor for name, tensor in state.items() if name.startswith("encoder.enc_layers.0.")}
    state |= {
        name.replace("enc_layers.0", f"enc_layers.{n}"): tensor
        for name, tensor in one.items()
        for n in range(1, 65)
    }
    torch.save(state, "deep.pth")
    assert (
        package(
            "import",
            "deep.pth",
            "--vocab-file",
            theirs / "vocab.json",
            "--output",
            "teacher.pt",
            "--overwrite",
            "--heads",
            4,
        )
        == 2
    )
    assert (
        "has layers 65, at most 64" in capsys.readouterr().err
        and (here / "teacher.pt").read_bytes() == before
    )


def test_one_layer_under_many_names_is_no_model():
    state = random_state(V, d=64, dff=2048, encoder_layers=1)
    one = {name: tensor for name, tensor in state.items() if name.startswith("encoder.enc_layers.0.")}
    refused(
        state
        | {
            name.replace("enc_layers.0", f"enc_layers.{n}"): tensor
            for name, tensor in one.items()
            for n in range(1, 60)
        },
        "its tensors share [0-9,]+ bytes and would be",
    )


def test_fingerprint_tells_heads_and_amplitude():
    state = random_state(V)
    two, four = imported(state, 2).model, imported(state, 4).model
    quiet = transceiver.Transceiver(replace(four.architecture, amplitude=1.0))
    quiet.load_state_dict(four.state_dict())
    prints = {checkpoint.fingerprint_of(model) for model in (two, four, quiet)} | {
        checkpoint.fingerprint_of(m.receiver) for m in (two, four, quiet)
    }
    assert len(prints) == 6
    assert checkpoint.fingerprint_of(imported(state, 4).model) == checkpoint.fingerprint_of(four)


def test_vocabulary_and_checkpoint_exchanged(here, theirs, capsys):
    assert (
        package("import", theirs / "vocab.json", "--vocab-file", theirs / "their.pth", "--output", "t.pt")
        == 2
    )
    error = capsys.readouterr().err
    assert "is not JSON; give the vocab.json of the public code" in error and error.count("\n") == 1


@pytest.mark.parametrize("wrap", ["module.", "state_dict", "legacy"])
def test_every_form_of_public_weights_is_told_to_be_imported(here, theirs, capsys, wrap):
    state = random_state(V)
    state = (
        {f"module.{name}": tensor for name, tensor in state.items()}
        if wrap == "module."
        else {wrap: state}
        if wrap == "state_dict"
        else state
    )
    torch.save(state, "x.pth", _use_new_zipfile_serialization=wrap != "legacy")
    assert package("evaluate", "x.pth") == 2
    error = capsys.readouterr().err
    assert (
        "import" in error
        and "python -m semcom import x.pth --vocab-file vocab.json" in error
        and "semcom train" not in error
    )


def test_what_is_no_public_model_is_told_so(here, theirs, capsys):
    assert bring(theirs) == 0
    capsys.readouterr()
    own = checkpoint.load("teacher.pt").model.state_dict()
    torch.save({"state_dict": {f"student.{name}": tensor for name, tensor in own.items()}}, "own.ckpt")
    for path in ("teacher.pt", "own.ckpt"):
        assert package("import", path, "--vocab-file", theirs / "vocab.json", "--output", "x.pt") == 2
        assert "of this program, which needs no import" in capsys.readouterr().err
    assert package("evaluate", "own.ckpt") == 2
    assert "semcom.models.checkpoint.save(" in capsys.readouterr().err


def test_a_trainers_file_is_imported_and_what_is_left_out_is_said(here, theirs, capsys):
    state = {f"model._orig_mod.{name}": tensor for name, tensor in random_state(V).items()}
    options = Namespace(lr=0.1, data=PurePosixPath("/data"))
    torch.save({"epoch": 3, "state_dict": state, "hyper_parameters": {"options": options}}, "last.ckpt")
    given = ["last.ckpt", "--vocab-file", theirs / "vocab.json", "--output", "x.pt", "--heads", 4]
    assert package("evaluate", "last.ckpt") == 2
    assert "python -m semcom import last.ckpt" in capsys.readouterr().err
    assert package("import", *given) == 0
    out = capsys.readouterr().out
    assert "its weights lie in state_dict.model\n" in out
    assert "left out: epoch, hyper_parameters (argparse.Namespace)\n" in out
    assert bring(theirs) == 0
    assert checkpoint.load("x.pt").fingerprint == checkpoint.load("teacher.pt").fingerprint


# --- students of an imported teacher, and the way back


@pytest.fixture(scope="module")
def sentences(theirs):
    """A pickle of random sentences of the public vocabulary, beside it."""
    generator = torch.Generator().manual_seed(3)
    lengths = torch.randint(5, 12, (400,), generator=generator).tolist()
    rows = [[1, *torch.randint(5, V, (length,), generator=generator).tolist(), 2] for length in lengths]
    (theirs / "train_data.pkl").write_bytes(pickle.dumps(rows))
    return theirs / "train_data.pkl"


@pytest.mark.parametrize(
    "part", ["full", *(pytest.param(part, marks=pytest.mark.slow) for part in ("encoder", "decoder"))]
)
def test_students_of_an_imported_teacher_go_back_to_the_public_code(here, theirs, sentences, capsys, part):
    assert bring(theirs) == 0
    assert (
        distil(
            "--teacher-checkpoint",
            "teacher.pt",
            "--corpus",
            sentences,
            "--distill-part",
            part,
            "--student-layers",
            1,
            "--steps",
            2,
            "--batch-size",
            32,
            "--create-hybrid",
            "--hybrid-output",
            "hybrid.pt",
            "--output-path",
            "run",
            "--device",
            "cpu",
            "--quiet",
        )
        == 0
    )
    assert "warning: teacher.pt was imported" in capsys.readouterr().out
    for file in ("run/best_student_model.pt", "hybrid.pt"):
        loaded = checkpoint.load(file)
        assert loaded.model.architecture.amplitude == math.sqrt(2) and loaded.config[
            "imported_positions"
        ] == [40, 40]
        state = exported(file)
        assert state["encoder.pos_encoding.pe"].shape == (1, 40, 16)
        public, model = Public(state, 4), loaded.model.double()
        source, prefix = batch(V)
        received = torch.randn(
            *source.shape, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64
        )
        ours = model.receiver.project(model.receiver(received / math.sqrt(2), source != 0, prefix))
        torch.testing.assert_close(
            ours[prefix != 0], public.logits(received, prefix, source)[prefix != 0], atol=1e-10, rtol=0
        )
        untouched = torch.equal(
            state["channel_encoder.2.weight"], random_state(V)["channel_encoder.2.weight"]
        )
        assert untouched == (part == "decoder" or (part == "full" and file == "hybrid.pt"))
        if not untouched:  # trained here, so made loud enough for a rule that only scales down
            assert all(
                public.symbols(source[row : row + 1, :length]).square().mean() > 1
                for row, length in enumerate((9, 5, 7))
            )


def test_training_on_keeps_the_amplitude(here, theirs, sentences):
    assert bring(theirs) == 0
    assert (
        package(
            "train",
            "--start-from",
            "teacher.pt",
            "--output",
            "on.pt",
            "--corpus",
            sentences,
            "--steps",
            1,
            "--batch-size",
            32,
            "--device",
            "cpu",
            "--quiet",
        )
        == 0
    )
    after = checkpoint.load("on.pt")
    assert after.model.architecture.amplitude == math.sqrt(2) and after.config["imported_from"] == str(
        theirs / "their.pth"
    )


def test_a_student_checkpoint_of_another_amplitude_is_refused(here, theirs, sentences, capsys):
    assert bring(theirs) == 0
    own = checkpoint.load("teacher.pt")
    native = transceiver.build(replace(own.model.architecture, amplitude=1.0), 3)
    checkpoint.save(checkpoint.Checkpoint(native, own.vocabulary, dict.fromkeys(PARTS, "here")), "native.pt")
    assert (
        distil(
            "--teacher-checkpoint",
            "teacher.pt",
            "--student-checkpoint",
            "native.pt",
            "--student-layers",
            2,
            "--corpus",
            sentences,
            "--distill-part",
            "decoder",
            "--steps",
            1,
            "--output-path",
            "run",
            "--device",
            "cpu",
            "--quiet",
        )
        == 2
    )
    assert "its amplitude is 1, the teacher's 1.41421" in capsys.readouterr().err
