"""The doctor finds a right link right and a wrong one wrong; what it measures against second derivations."""

import dataclasses
import json
import math
import sys
from dataclasses import replace

import cli_support
import numpy as np
import pytest
import torch
import toy
from cli_support import package
from scipy import stats

from semcom.channel import csi, deepsc_link, doppler, fading, tdl
from semcom.channel.channels import AWGN, Fading, Rayleigh, Rician
from semcom.channel.draws import Draw, sample
from semcom.channel.gains import RicianPower
from semcom.channel.settings import ChannelConfig
from semcom.channel.tdl import TDLA, TDLC, TDLD
from semcom.commands import doctor
from semcom.data import batching
from semcom.evaluation import gain_checks, link_checks, link_report, sionna_check
from semcom.evaluation.link_checks import Check, Sent
from semcom.models import channel_parts, checkpoint, protocols, transceiver

QUICK = ["--sentences", 60, "--draws", 2000, "--corpus-size", 3000, "--snr", 0, 12, "--device", "cpu"]
NOISY = ("awgn", "rayleigh", "rician", "tdl-a", "tdl-c", "tdl-d")
# Transmitter, realised SNRs, fading, offsets, gains by symbol and estimated.
OURS = 2 + 6 * 2 + 5 * 2 + 3 + (2 * 9 + 3 * 6)


@pytest.fixture(autouse=True)
def no_sionna(monkeypatch):
    monkeypatch.setattr(sionna_check, "available", lambda: "no Sionna in this test")


def sent_of(signal, lengths, raw=None):
    """What a transmitter sent: ``signal`` [B, S, C] of sentences of these lengths."""
    encoded = [
        batching.Encoded(e.sentence, [1, *[5] * (length - 2), 2])
        for e, length in zip(toy.encoded(len(lengths)), lengths)
    ]
    batch = batching.collate(encoded)
    return Sent(batch, signal if raw is None else raw, signal)


def unit_signal(sentences=40, tokens=20, width=8):
    signal = torch.randn(sentences, tokens, width, generator=torch.Generator().manual_seed(0))
    return sent_of(channel_parts.normalize_power(signal, torch.ones(sentences, tokens)), [tokens] * sentences)


def wrong(monkeypatch, change, *owners, name="apply"):
    """Replace a function of these classes or of this module by one that ``change`` makes of it; of all
    channels with noise, where none is given."""
    for owner in owners or (AWGN, Fading):
        monkeypatch.setattr(owner, name, change(getattr(owner, name)))


def linked(rician_k=1.0):
    """The channels that the doctor measures."""
    return link_report.with_theory(ChannelConfig(rician_k=rician_k))


# ---- the command


@pytest.mark.draws("png")
def test_a_right_link_is_found_right(teacher, here, capsys):
    assert package("doctor", teacher, *QUICK, "--output", "d.json") == 0
    told = capsys.readouterr().out
    record = json.loads((here / "d.json").read_text())
    assert f"all {OURS} checks hold" in told and "OFF " not in told.replace("OFF beyond", "")
    assert len(record["checks"]) == OURS and {c["verdict"] for c in record["checks"]} == {"ok"}
    assert (here / "d.png").read_bytes().startswith(b"\x89PNG")
    offsets = {c["name"]: c for c in record["checks"] if "offset" in c["name"]}
    for kind, expected in (("awgn", 3.0103), ("rayleigh", 3.0103), ("rician", 6.0206)):
        assert offsets[f"public {kind} offset"]["theory"] == pytest.approx(expected, abs=1e-4)
    assert record["snr"] == [0.0, 12.0] and record["draws"] == 2000 and record["sentences_measured"] == 60
    assert record["torch"] == torch.__version__ and record["scipy"] and record["sionna"] is None
    assert record["amplitude"] == 1 and "times our amplitude" not in told
    assert "no Sionna in this test" in told


def test_the_same_seed_measures_the_same_and_another_seed_does_not():
    def measured(seed):
        checks = [
            *link_checks.realised_snr([unit_signal()], (0.0, 12.0), linked(), seed).values(),
            link_checks.fading(linked(), 1000, seed)["rayleigh"].power,
            *link_checks.public_offsets([unit_signal()], 1000, linked(), 12.0, seed).values(),
        ]
        return [check.measured for check in checks]

    assert measured(1) == measured(1) and not set(measured(1)) & set(measured(2))


def test_noise_three_db_too_strong_is_found(teacher, here, capsys, monkeypatch):
    wrong(monkeypatch, lambda apply: lambda link, signal, draw, snr: apply(link, signal, draw, snr - 3.0103))
    assert package("doctor", teacher, *QUICK, "--output", "d.json") == 1
    told, error = capsys.readouterr()
    record = json.loads((here / "d.json").read_text())
    off = {c["name"]: c["difference"] for c in record["checks"] if c["verdict"] == "OFF"}
    assert sorted(off) == sorted(f"{kind}, {snr} dB" for kind in NOISY for snr in (0, 12))
    assert all(difference == pytest.approx(-3.0103, abs=0.3) for difference in off.values())
    assert error.count("\n") == 1 and f"12 of {OURS} checks fail: awgn, 0 dB; " in error
    assert told.count("OFF\n") == 12 and "checks hold" not in told


def test_a_channel_without_noise_is_found_and_written(teacher, here, capsys, monkeypatch):
    wrong(monkeypatch, lambda apply: lambda link, signal, draw, snr: signal)
    assert package("doctor", teacher, *QUICK, "--output", "d.json") == 1
    checks = {c["name"]: c for c in json.loads((here / "d.json").read_text())["checks"]}
    assert checks["awgn, 0 dB"]["measured"] is None and checks["awgn, 0 dB"]["verdict"] == "OFF"
    assert checks["rayleigh E|h|^2"]["verdict"] == "OFF"


def test_a_transmitter_that_scales_the_batch_is_found(teacher, here, capsys, monkeypatch):
    monkeypatch.setattr(protocols, "normalize_power", lambda x, mask: x * torch.rsqrt(2 * x.square().mean()))
    assert package("doctor", teacher, *QUICK) == 1
    assert "power of 60 sentences" in (error := capsys.readouterr().err) and "padded positions" in error


def test_an_imported_transceiver_tells_its_amplitude(teacher, here, capsys):
    loaded = checkpoint.load(teacher)
    louder = transceiver.Transceiver(dataclasses.replace(loaded.model.architecture, amplitude=2**0.5))
    louder.load_state_dict(loaded.model.state_dict())
    checkpoint.save(dataclasses.replace(loaded, model=louder), "louder.pt")
    assert package("doctor", "louder.pt", *QUICK) == 0
    assert (
        "the receiver expects sqrt(2) times our amplitude, power 2 per complex symbol"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    "flags, words",
    [
        (["missing.pt"], ("missing.pt", "no such file")),
        (["--draws", 10], ("--draws 10", "1000")),
        (["--draws", "many"], ("--draws", "many")),
        (["--snr", 200], ("--snr 200", "-100 to 100")),
        (["--sentences", 0], ("--sentences 0",)),
        (["--rician-k", -1], ("--rician-k -1",)),
        (["--rician-k", 5000], ("--rician-k 5000", "1000", "--rician-k 10")),
        (["--corpus", "missing.txt"], ("--corpus", "missing.txt")),
        (["--device", "abacus"], ("--device abacus",)),
        (["--output", "taken.json"], ("--output taken.json", "--overwrite")),
        (["--output", "pictured.json"], ("pictured.png", "--overwrite")),
        (["--output", "plain.png"], ("plain.png", "same path")),
        (["--output", "."], ("--output .", "folder")),
    ],
)
def test_wrong_input_is_one_line(teacher, here, capsys, flags, words):
    for name in ("taken.json", "pictured.png"):
        (here / name).write_text("mine")
    given = flags if flags[0] == "missing.pt" else [teacher, *flags]
    cli_support.refused(capsys, package("doctor", *given), *words)
    assert sorted(p.name for p in here.iterdir()) == ["pictured.png", "taken.json"]
    assert (here / "taken.json").read_text() == (here / "pictured.png").read_text() == "mine"


def test_the_checkpoint_is_never_written_over(teacher, here, capsys):
    before = teacher.read_bytes()
    cli_support.refused(capsys, package("doctor", teacher, "--output", teacher, "--overwrite"), "is an input")
    assert teacher.read_bytes() == before


# ---- the measurements


def test_power_before_scaling_by_hand():
    """Sentences of mean square 4 and 1/4; with its padding (power 0) the batch has (2·4 + 1/4)/4."""
    raw = torch.tensor([[[2.0, -2.0], [2.0, 2.0]], [[0.5, 0.5], [0.0, 0.0]]])
    signal = raw / torch.tensor([2.0, 0.5])[:, None, None] * 0.5**0.5
    measured = link_checks.transmitted(
        [dataclasses.replace(sent_of(signal, [2, 2], raw), batch=sent_of(signal, [2, 2]).batch)]
    )
    assert measured.power[0] == pytest.approx(0.75), "the second sentence sends one of its two symbols"
    batch = sent_of(signal, [2, 2]).batch
    short = dataclasses.replace(
        batch, lengths=[2, 1], source_mask=torch.tensor([[True, True], [True, False]])
    )
    measured = link_checks.transmitted([Sent(short, raw, signal)])
    assert measured.power == pytest.approx((1, 1, 1)) and measured.padding == (1, 0.0)
    assert measured.raw_square == pytest.approx((4 + 4 + 0.25) / 3)
    assert measured.active_sentences == 0.5 and (measured.active_batches, measured.batches) == (1, 1)
    whole = (2 * 4 + 0.25) / 4
    assert measured.public_power == pytest.approx(2 * (4 + 4 + 0.25) / 3 / whole)
    least, greatest = (10 * math.log10(2 * square / whole / measured.public_power) for square in (0.25, 4))
    assert measured.public_spread == pytest.approx((least, greatest))
    assert [c.p for c in measured.checks] == [1, 1]


def test_a_quiet_transmitter_is_left_alone_by_the_public_rule():
    raw = torch.full((2, 3, 4), 0.25)
    measured = link_checks.transmitted([sent_of(torch.full((2, 3, 4), 0.5**0.5), [3, 3], raw)])
    assert measured.active_batches == 0 and measured.active_sentences == 0
    assert measured.public_power == pytest.approx(2 * 0.25**2)


def test_sound_in_the_padding_and_power_off_by_little_are_found():
    signal = torch.full((2, 3, 4), 0.5**0.5)
    batch = dataclasses.replace(
        sent_of(signal, [3, 3]).batch,
        lengths=[3, 2],
        source_mask=torch.tensor([[True] * 3, [True, True, False]]),
    )
    power, padding = link_checks.transmitted([Sent(batch, signal, signal)]).checks
    assert (power.p, padding.p, padding.measured) == (1, 0, pytest.approx(0.5**0.5))
    assert link_checks.transmitted([sent_of(signal * 1.001, [3, 3])]).checks[0].p == 0
    assert link_checks.transmitted([sent_of(signal * math.nan, [3, 3])]).checks[0].p == 0


def test_the_noise_that_was_drawn_is_the_noise_that_is_measured():
    """Before equalisation the noise is the draw's own, so the SNR follows from the draw without the
    channel."""
    s = unit_signal()
    checks = link_checks.realised_snr([s], (3.0, 9.0), linked(2.0), seed=5)
    for number, ((kind, snr), check) in enumerate(checks.items(), link_checks.FIRST_SNR_DRAW):
        noise = s.batch.draw(AWGN(), 8, seed=5, number=number).noise.double()
        assert check.measured == pytest.approx(
            -10 * math.log10(float(noise.square().mean()) * 10 ** (-snr / 10)), abs=1e-4
        ), kind
        assert check.theory == snr
    assert list(checks) == [(kind, snr) for kind in NOISY for snr in (3.0, 9.0)]


def test_padded_positions_count_for_nothing():
    s = unit_signal()
    lengths = [5 + i % 16 for i in range(40)]
    mask = torch.arange(20)[None] < torch.tensor(lengths)[:, None]
    batch = dataclasses.replace(s.batch, lengths=lengths, source_mask=mask)
    padded = Sent(batch, s.raw, channel_parts.normalize_power(s.raw, mask))
    assert padded.symbols == sum(lengths) * 4
    for check in link_checks.realised_snr([padded], (0.0,), linked(), seed=0).values():
        assert check.measured == pytest.approx(0, abs=4 * check.half_width)


@pytest.mark.parametrize("error_db", [0.5, -0.5])
def test_half_a_decibel_is_found_of_forty_sentences(monkeypatch, error_db):
    s = unit_signal()
    assert link_checks.snr_tolerance(s.symbols, 1e-5) == pytest.approx(0.35, abs=0.03)
    wrong(
        monkeypatch, lambda apply: lambda link, signal, draw, snr: apply(link, signal, draw, snr + error_db)
    )
    checks = list(link_checks.realised_snr([s], (6.0,), linked(), seed=0).values())
    assert len(link_checks.failing(checks)) == len(NOISY)


def test_gains_are_those_that_the_channel_has():
    draw = sample(range(500), [1] * 500, 2, seed=3, number=link_checks.GAIN_DRAW)
    for link in (Rayleigh(), Rician(rician_k=4.0)):
        expected = link.gain(draw, torch.float64).square().sum(1).numpy()
        np.testing.assert_allclose(link_checks.gains(link, 500, seed=3), expected, rtol=1e-9)


def test_a_rician_channel_of_power_two_is_found(monkeypatch):
    wrong(
        monkeypatch,
        lambda gain: lambda link, draw, dtype: gain(link, draw, dtype) * 2**0.5,
        Rician,
        name="gain",
    )
    found = link_checks.fading(linked(), 2000, seed=0)
    assert found["rician"].power.p < 1e-9 and found["rician"].distance.p < 1e-9
    assert found["rayleigh"].power.p > 1e-4 and found["rayleigh"].distance.p > 1e-4


def test_a_fade_shared_by_batches_is_found(monkeypatch):
    def shared(draw):
        return Draw(draw.level, draw.scatter[::100].repeat_interleave(100, 0), draw.noise, draw.own)

    wrong(monkeypatch, lambda apply: lambda link, signal, draw, snr: apply(link, signal, shared(draw), snr))
    assert link_checks.fading(linked(), 2000, seed=0)["rayleigh"].distance.p < 1e-4


@pytest.mark.parametrize("k", [0.0, 1.0, 30.0])
def test_distribution_of_the_gain_against_its_moments_and_rice(k):
    """The integral of 1 - F is the mean, 1; and scipy's Rice distribution of |h| is another way to the
    same."""
    law = RicianPower(k)
    cdf = law.cdf
    x = np.linspace(0, 40, 400_001)
    assert np.trapezoid(1 - cdf(x), x) == pytest.approx(1, abs=1e-6)
    scale = (1 / (2 * (k + 1))) ** 0.5
    rice = stats.rice((2 * k) ** 0.5, scale=scale)
    assert law.spread == pytest.approx((rice.moment(4) - 1) ** 0.5, rel=1e-9)
    np.testing.assert_allclose(
        cdf(np.array([0.1, 0.5, 1, 2])), rice.cdf(np.array([0.1, 0.5, 1, 2]) ** 0.5), rtol=1e-6
    )


def right(checks):
    """Whether p-values and intervals are as those of right links: 1 in 10,000 such samples would fail
    either."""
    covered = np.mean([c.half_width is None or abs(c.difference) <= c.half_width for c in checks])
    return (
        stats.kstest([c.p for c in checks], "uniform").pvalue > 1e-4
        and covered > 0.95 - 4 * (0.05 * 0.95 / len(checks)) ** 0.5
    )


def test_right_links_have_uniform_p_values_and_intervals_that_cover():
    rng = np.random.default_rng(0)
    noise = [rng.normal(size=(2, 300)) / 2**0.5 for _ in range(300)]
    snr = [link_checks.snr_check("", 300 * 4.0, float((n**2).sum()), 300, 10 * math.log10(4)) for n in noise]
    assert right(snr) and not right([dataclasses.replace(c, p=c.p / 4) for c in snr])
    assert not right([dataclasses.replace(c, half_width=c.half_width / 2) for c in snr])
    for k in (0.0, 3.0):
        h = [
            (k / (k + 1)) ** 0.5 + (rng.normal(size=1000) + 1j * rng.normal(size=1000)) / (2 * (k + 1)) ** 0.5
            for _ in range(150)
        ]
        gains = [link_checks.gain_checks("", np.abs(one) ** 2, RicianPower(k)) for one in h]
        assert right([g.power for g in gains]) and right([g.distance for g in gains])
    s = unit_signal(5, 4, 4)
    offsets = [link_checks.public_offsets([s], 200, linked(), 12.0, seed) for seed in range(100)]
    for kind in ("awgn", "rayleigh", "rician"):
        assert right([o[kind] for o in offsets])


def test_a_check_fails_by_the_number_of_checks_beside_it():
    lonely = Check("", 0, 0, 4e-4)
    assert link_checks.failing([lonely]) == [lonely]
    assert link_checks.failing([lonely] + [Check("", 0, 0, 1.0)]) == []
    assert len(link_checks.failing([Check("", 0, 0, math.nan)])) == 1


def test_offsets_against_the_draw_and_whatever_the_amplitude():
    s = unit_signal(5, 4, 4)
    found = link_checks.public_offsets([s], 500, linked(), 12.0, seed=2)
    draw = sample(range(500), [1] * 500, 4, seed=2, number=link_checks.PUBLIC_DRAW)
    noise = 2 * float(draw.noise.double().square().mean()) / (2 * 10**1.2)
    assert found["awgn"].measured == pytest.approx(10 * math.log10(2 / noise) - 12, abs=1e-9)
    fade = float(draw.scatter.double().square().sum(1).mean())
    assert found["rayleigh"].measured == pytest.approx(10 * math.log10(2 * fade / noise) - 12, abs=1e-6)
    for loudness in (0.01, 50.0):
        other = link_checks.public_offsets(
            [Sent(s.batch, s.raw * loudness, s.signal)], 500, linked(), 12.0, seed=2
        )
        assert [c.measured for c in other.values()] == pytest.approx(
            [c.measured for c in found.values()], abs=1e-5
        )


@pytest.mark.parametrize(
    "owner, name, change, off",
    [
        (deepsc_link, "noise_std", lambda std: lambda snr: std(snr) / 2**0.5, {"awgn", "rayleigh", "rician"}),
        (
            deepsc_link,
            "scale_power",
            lambda scale: lambda x: scale(x) / 2**0.5,
            {"awgn", "rayleigh", "rician"},
        ),
        (
            deepsc_link.PublicRician,
            "fades",
            lambda fades: lambda link, scatter: fades(link, scatter) / 2**0.5,
            {"rician"},
        ),
    ],
)
def test_a_wrong_restatement_is_found(monkeypatch, owner, name, change, off):
    wrong(monkeypatch, change, owner, name=name)
    found = link_checks.public_offsets([unit_signal()], 2000, linked(), 12.0, seed=0)
    assert {kind for kind, c in found.items() if c.p < 1e-6} == off
    assert all(abs(c.difference) == pytest.approx(3.01, abs=0.5) for kind, c in found.items() if kind in off)


def test_a_dead_transmitter_is_off_everywhere_and_still_printed(teacher, here, capsys, monkeypatch):
    monkeypatch.setattr(link_checks, "transmissions", lambda *_: [sent_of(torch.zeros(2, 3, 4), [3, 3])])
    assert package("doctor", teacher, *QUICK, "--output", "d.json") == 1
    off = {c["name"] for c in json.loads((here / "d.json").read_text())["checks"] if c["verdict"] == "OFF"}
    assert {
        "power of 2 sentences (12 symbols)",
        "awgn, 0 dB",
        "rician, 12 dB",
        "public awgn offset",
        "public rician offset",
    } <= off


# ---- Sionna

STUB = {
    "__init__.py": "__version__ = {version!r}\n",
    "phy/__init__.py": """
import torch
torch.manual_seed(1234)  # as the real one, which seeds the global generator when it is imported
class _Config:
    seed = 0
config = _Config()
""",
    "phy/channel.py": """
import torch
from sionna.phy import config
class AWGN:
    def __init__(self, device): self.generator = torch.Generator().manual_seed(config.seed)
    def __call__(self, x, no):
        pairs = torch.randn(*x.shape, 2, generator=self.generator) * ({noise} * no / 2) ** 0.5
        return x + torch.view_as_complex(pairs)
class RayleighBlockFading:
    def __init__(self, *antennas, device): self.generator = torch.Generator().manual_seed(config.seed + 1)
    def __call__(self, batch_size, steps):
        h = torch.view_as_complex(torch.randn(batch_size, 2, generator=self.generator) * 0.5 ** 0.5)
        return h.reshape(-1, 1, 1, 1, 1, 1, 1).expand(-1, 1, 1, 1, 1, 1, steps), None
""",
}


@pytest.fixture
def stub(tmp_path, monkeypatch):
    """Install a package named sionna of this version, whose noise is ``noise`` times as strong as asked."""
    # A source written anew within the second, as long as before, would be taken from its compiled form.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def install(version="2.1.0", noise=1.0):
        for name, text in STUB.items():
            path = tmp_path / "stub" / "sionna" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("{version!r}", repr(version)).replace("{noise}", str(noise)))
        for name in [n for n in sys.modules if n.split(".")[0] == "sionna"]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.syspath_prepend(tmp_path / "stub")
        monkeypatch.setattr(sionna_check, "available", AVAILABLE)

    yield install
    for name in [n for n in sys.modules if n.split(".")[0] == "sionna"]:
        del sys.modules[name]


AVAILABLE = sionna_check.available


def test_sionna_stands_beside_ours(teacher, here, capsys, stub):
    stub()
    assert package("doctor", teacher, *QUICK, "--output", "d.json") == 0
    told, record = capsys.readouterr().out, json.loads((here / "d.json").read_text())
    assert f"all {OURS + 6} checks hold" in told and "Sionna 2.1.0" in told and record["sionna"] == "2.1.0"
    names = {c["name"] for c in record["checks"] if c["name"].startswith("Sionna")}
    assert names == {
        f"Sionna {name}"
        for name in (
            "awgn, 0 dB",
            "awgn, 12 dB",
            "rayleigh, 0 dB",
            "rayleigh, 12 dB",
            "rayleigh E|h|^2",
            "rayleigh distribution of |h|^2",
        )
    }


def test_sionna_that_disagrees_is_off(teacher, here, capsys, stub):
    stub(noise=2.0)
    assert package("doctor", teacher, *QUICK) == 1
    error = capsys.readouterr().err
    assert (
        f"4 of {OURS + 6} checks fail: Sionna awgn, 0 dB; Sionna awgn, 12 dB; Sionna rayleigh, 0 dB; Sionna "
        "rayleigh, 12 dB" in error
    )


def test_sionna_leaves_the_global_generator_to_the_user(stub):
    stub()
    torch.manual_seed(0)
    before = torch.get_rng_state()
    assert sionna_check.available() is None and sionna_check.measure([unit_signal()], (0.0,), 1000, seed=0)
    assert torch.equal(torch.get_rng_state(), before)


def test_sionna_of_tensorflow_or_broken_is_told_and_passed_over(tmp_path, stub):
    stub(version="1.2.0")
    assert (
        "Sionna 1.2.0 is not made of PyTorch" in sionna_check.available()
        and ".[phy]" in sionna_check.available()
    )
    stub()
    (tmp_path / "stub" / "sionna" / "phy" / "channel.py").write_text("import h5py_that_is_not_there")
    assert "h5py_that_is_not_there" in sionna_check.available()


def test_without_sionna_a_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(sionna_check, "find_spec", lambda name: None)
    assert "pip install .[phy]" in AVAILABLE()


@pytest.mark.skipif(AVAILABLE() is not None, reason=AVAILABLE() or "")
def test_the_real_sionna_agrees():
    found = sionna_check.measure([unit_signal()], (0.0, 12.0), 5000, seed=0)
    assert len(found) == 6 and not link_checks.failing(list(found.values()))


@pytest.mark.skipif(AVAILABLE() is not None, reason=AVAILABLE() or "")
def test_the_real_sionnas_delay_lines_and_speeds_are_ours():
    lines = [TDLA(), TDLC(delay_spread=100.0), TDLD()]
    found = sionna_check.delay_lines(lines, 3000, seed=0) | sionna_check.moving(Rayleigh(), 3000, seed=0)
    assert len(found) == 3 * 2 + 2 + 3 and not link_checks.failing(list(found.values()))


# ---- gains by symbol, and estimated


def first_place_alone(of):
    def estimate(*given):
        found = of(*given)
        gain = found.gain.clone()
        gain[:, 1:] = 0
        return replace(found, gain=gain)

    return estimate


def test_wrong_gains_and_estimates_are_found(monkeypatch):
    """Each change is of one thing, and the checks of that thing alone are off."""
    channels = linked()

    def off():
        return {
            check.name for check in link_checks.failing([*gain_checks.measure(channels, 2000, 0).values()])
        }

    assert off() == set()
    with monkeypatch.context() as patch:
        wrong(patch, lambda shift: lambda *settings: 1.1 * shift(*settings), doppler, name="shift")
        found = gain_checks.measure(channels, 2000, 0)["rayleigh jakes correlation, 64 symbols apart"]
        assert found.theory == pytest.approx(float(doppler.jakes(65, Rayleigh().shift)[64]))
    with monkeypatch.context() as patch:
        wrong(patch, lambda moving: lambda white, shift: moving(white, 1.1 * shift), doppler, name="moving")
        assert {name.split(",")[0] for name in off() if "correlation" in name} == {
            f"{kind} jakes correlation" for kind in ("rayleigh", "rician")
        }
    with monkeypatch.context() as patch:
        wrong(patch, lambda of: lambda h, draw, noise: of(h, draw, 1.2 * noise), fading, name="heard_of")
        assert {name.split(" error")[0] for name in off()} == {
            f"{kind} {by}" for kind in NOISY[1:] for by in ("least squares", "LMMSE")
        }
    with monkeypatch.context() as patch:
        for name in ("_straight", "_wiener"):
            wrong(patch, first_place_alone, csi, name=name)
        assert off() == {
            f"{kind} {by} error over N0/P, 16 symbols from two places"
            for kind in NOISY[1:]
            for by in ("least squares", "LMMSE")
        }
    with monkeypatch.context() as patch:
        wrong(
            patch,
            lambda of: lambda scatter, taps, symbols, step: of(scatter, taps, symbols, 1.1 * step),
            tdl,
            name="response",
        )
        assert {f"{kind} delay spread, ns" for kind in NOISY[3:]} <= off()


# ---- what is printed


def test_a_transmitter_below_one_is_said_to_be_left_alone(teacher, here, capsys, monkeypatch):
    s = unit_signal()
    monkeypatch.setattr(link_checks, "transmissions", lambda *_: [Sent(s.batch, s.signal * 0.5, s.signal)])
    assert package("doctor", teacher, *QUICK) == 0
    told = capsys.readouterr().out
    assert (
        "in the public code this transmitter would not be scaled: its real tokens would have 0.25 per "
        "complex symbol, -6.02 dB\n" in told
    )
    assert "its X dB are X-6.02 dB here for awgn and rayleigh, X-3.01 dB for rician" in told


def test_the_link_report_is_returned(teacher, here):
    from semcom.base.settings import RunConfig
    from semcom.commands.settings import DoctorSettings
    from semcom.data.settings import CorpusConfig
    from semcom.evaluation.settings import DoctorConfig, EvaluationConfig

    found = doctor.doctor(
        DoctorSettings(
            checkpoint=str(teacher),
            evaluation=EvaluationConfig(snr=(6.0, 6.0), sentences=30),
            fades=DoctorConfig(1000),
            corpus=CorpusConfig(),
            channel=ChannelConfig(rician_k=0.0),
            run=RunConfig(device="cpu"),
        )
    )
    assert list(found.snr) == [(kind, 6.0) for kind in NOISY], "an SNR named twice is measured once"
    np.testing.assert_allclose(found.fading["rician"].values, found.fading["rayleigh"].values)
    assert not link_checks.failing(found.checks)
