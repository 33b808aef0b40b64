"""``python -m semcom doctor``: the physical layer against theory, and our SNR axis against that of the public
DeepSC code."""

import logging
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

import numpy as np
import torch

from semcom.base import output_files
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import ChecksFailed, SemcomError, escape
from semcom.base.flags import as_record
from semcom.channel.channels import CHANNELS, Channel
from semcom.channel.settings import ChannelConfig
from semcom.commands.inputs import load_corpus, load_teacher, shipped
from semcom.commands.measuring import described, test_split
from semcom.commands.settings import DoctorSettings
from semcom.data import batching
from semcom.evaluation import link_checks, sionna_check
from semcom.evaluation.link_checks import Check, Gains, Transmitted, decibels
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report import plots, tables

log = logging.getLogger(__name__)

MEASURED_AT = 12.0  # dB; the offset is the same at any
NO_COUNTERPART = (
    "one fade a batch there, so that its sentences fade together; here each sentence has its own",
    "power over the batch and its padding there: of this checkpoint a sentence has {low:+.1f} to {high:+.1f} dB about the mean; here each has 1",
    "power only brought down there, when above 1: below, the weights of a transmitter move its SNR; here it is 1 for all",
)


@dataclass(frozen=True)
class Findings:
    """All that was measured. channels: by name. sionna: its checks by name, or the reason why there are
    none."""

    channels: dict[str, Channel]
    transmitted: Transmitted
    snr: dict[tuple[str, float], Check]
    fading: dict[str, Gains]
    offsets: dict[str, Check]
    sionna: dict[str, Check] | str
    symbols: int

    @property
    def checks(self) -> list[Check]:
        """Every check; Sionna's own under its name."""
        gains = [c for g in self.fading.values() for c in (g.power, g.distance)]
        ours = [*self.transmitted.checks, *self.snr.values(), *gains, *self.offsets.values()]
        theirs = (
            []
            if isinstance(self.sionna, str)
            else [replace(c, name=f"Sionna {c.name}") for c in self.sionna.values()]
        )
        return ours + theirs

    def label(self, channel: str) -> str:
        return self.channels[channel].label

    def verdict(self, *checks: Check) -> str:
        return "OFF" if any(not c.p >= link_checks.threshold(self.checks) for c in checks) else "ok"


def doctor(given: DoctorSettings) -> Findings:
    """Measure, print, and with ``output`` write JSON and a picture. Raises ChecksFailed, once all is written,
    where a check is off.

    Every channel that has a theory is measured, whichever ``given.channel`` names.
    """
    path, output, overwrite = given.checkpoint, given.output, given.outputs.overwrite
    settings, fades, corpus_settings, run = given.evaluation, given.fades, given.corpus, given.run
    draws = fades.draws
    keep_freed_memory()
    measured = with_theory(given.channel)
    picture = output_files.companion("--output", output, ".png") if output else None
    if output and picture:
        outputs: dict[str, str | Path] = {"--output": output, "--output (its picture)": picture}
        inputs = [path or shipped(DEFAULT_TEACHER), *corpus_settings.corpus]
        output_files.check_files(outputs, inputs, overwrite=overwrite)
    device = resolve_device(run.device)
    patient = checkpoint.load(path) if path else load_teacher(None)
    source = load_corpus(corpus_settings, patient.vocabulary)
    encoded = batching.encode(
        test_split(source, settings.sentences, settings.split), patient.vocabulary, leave_out_long=True
    )
    if not encoded:
        raise SemcomError(
            f"--corpus {escape(source.name)}: no test sentence is short enough for {patient.name}; give shorter text"
        )
    found = measure(patient, encoded, settings.snr, draws, measured, run.seed, device)
    log.info(
        f"\n{patient.name}, {described(len(encoded), settings)}, C={patient.model.architecture.channel_dim}, seed {run.seed}; "
        "SNR in dB per complex symbol, before equalisation"
    )
    for section in (
        _transmitter(found),
        _snr(found),
        _fading(found, draws),
        _offsets(found, patient),
        _sionna(found),
    ):
        log.info("\n" + section)
    checks, off = found.checks, link_checks.failing(found.checks)
    if output and picture:
        record = {
            **as_record(fades, corpus_settings, run),
            "snr": settings.snr,
            "sentences": settings.sentences,
            "split": settings.split,
            "rician_k": given.channel.rician_k,
            "checkpoint": patient.path,
            "fingerprint": patient.fingerprint,
            "corpus_name": source.name,
            "corpus_fingerprint": source.fingerprint,
            "sentences_measured": len(encoded),
            **_record(found, patient),
            **environment(device),
            "scipy": metadata.version("scipy"),
            "sionna": None if isinstance(found.sionna, str) else sionna_check.version(),
        }
        output_files.write_json(output, _finite(record))
        level = link_checks.threshold(checks)
        realised = [
            (
                found.label(name),
                c.theory,
                c.measured if math.isfinite(c.measured) else math.nan,
                c.half_width,
            )
            for (name, _), c in found.snr.items()
        ]
        plots.plot_link(_curves(found), realised, link_checks.snr_tolerance(found.symbols, level), picture)
        log.info(f"\nmade {escape(output)} and {escape(picture)}")
    if not off:
        log.info(
            f"\nall {len(checks)} checks hold (on a right link fewer than 1 run in 1,000 has one that fails)"
        )
        return found
    rows = [
        [c.name, *(f"{value:.4g}" for value in (c.measured, c.theory, c.difference)), f"{c.p:.1g}"]
        for c in off
    ]
    found_off = tables.frame_of(rows, ["OFF", "measured", "theory", "difference", "p"])
    log.info("\n" + tables.text(found_off))
    raise ChecksFailed(f"{len(off)} of {len(checks)} checks fail: {'; '.join(c.name for c in off)}")


def with_theory(settings: ChannelConfig) -> list[Channel]:
    """Raises SemcomError for settings that theory does not reach."""
    everyone = [channel.of(settings) for channel in CHANNELS.values()]
    return [channel for channel in everyone if channel.theory is not None]


def measure(
    patient: Checkpoint,
    encoded: Sequence[batching.Encoded],
    snrs: Sequence[float],
    draws: int,
    measured: Sequence[Channel],
    seed: int,
    device: torch.device,
) -> Findings:
    """Every figure of one checkpoint's signals on these sentences, at each of the SNRs in dB; the transmitter
    runs on ``device``."""
    sent = link_checks.transmissions(patient.model, encoded, device)
    snrs = tuple(dict.fromkeys(snrs))
    reason = sionna_check.available()
    return Findings(
        {channel.name: channel for channel in measured},
        link_checks.transmitted(sent),
        link_checks.realised_snr(sent, snrs, measured, seed),
        link_checks.fading(measured, draws, seed),
        link_checks.public_offsets(sent, draws, measured, MEASURED_AT, seed),
        reason or sionna_check.measure(sent, snrs, draws, seed),
        sum(s.symbols for s in sent),
    )


def _transmitter(found: Findings) -> str:
    t = found.transmitted
    power, padding = t.checks
    rows = [
        ["power per complex symbol, by sentence", *t.power, 1.0, found.verdict(power)],
        [
            f"amplitude at {t.padding[0]:,} padded positions",
            None,
            None,
            t.padding[1],
            0.0,
            found.verdict(padding),
        ],
    ]
    scaled = {0: "not be scaled", t.batches: "be scaled"}.get(
        t.active_batches, f"be scaled in {t.active_batches} of its batches"
    )
    whole = " (2 with the padding counted)" if t.active_batches == t.batches else ""
    return (
        f"transmitter\n{_table(rows, ['as sent', 'mean', 'least', 'greatest', 'theory', 'verdict'], 4)}\n"
        f"before scaling: mean square {t.raw_square:.4g} per real dimension; its root is above 1 in {t.active_sentences:.0%} of sentences "
        f"and in {t.active_batches} of {t.batches} batches with their padding\n"
        f"in the public code this transmitter would {scaled}: its real tokens would have {t.public_power:.4g} per complex "
        f"symbol, {decibels(t.public_power):+.2f} dB{whole}"
    )


def _table(rows: Sequence[Sequence[object]], header: Sequence[str], decimals: int | None = None) -> str:
    return tables.text(tables.frame_of(_finite(rows), header), decimals)


def _snr(found: Findings) -> str:
    tolerance = link_checks.snr_tolerance(found.symbols, link_checks.threshold(found.checks))
    rows = [
        [found.label(name), c.theory, c.measured, c.half_width, c.difference, found.verdict(c)]
        for (name, _), c in found.snr.items()
    ]
    return (
        f"realised SNR, dB: power sent over noise power before the equaliser, {found.symbols:,} complex symbols; OFF beyond {tolerance:.3f}\n"
        + _table(rows, ["channel", "nominal", "realised", "± 95 %", "difference", "verdict"])
    )


def _fading(found: Findings, draws: int) -> str:
    rows = [
        [
            found.label(name),
            g.power.measured,
            g.power.half_width,
            1.0,
            g.distance.measured,
            g.distance.p,
            found.verdict(g.power, g.distance),
        ]
        for name, g in found.fading.items()
    ]
    shares = []
    for name, g in found.fading.items():
        shares += [
            [f"{found.label(name)}, measured", *(float((g.values < x).mean()) for x in link_checks.FADES)],
            [f"{found.label(name)}, {g.law.formula}", *map(float, g.law.cdf(np.array(link_checks.FADES)))],
        ]
    return (
        f"fading: |h|^2 of {draws:,} sentences, one h each\n"
        + _table(rows, ["channel", "E|h|^2", "± 95 %", "theory", "KS distance", "p", "verdict"], 4)
        + "\n\n"
        + _table(shares, ["share of |h|^2 under", *(f"{decibels(x):.0f} dB" for x in link_checks.FADES)], 4)
        + "\nafter zf the noise of a sentence is N0/|h|^2; under Rayleigh its mean is infinite, so it is never averaged: count the fades"
    )


def _offsets(found: Findings, patient: Checkpoint) -> str:
    t, amplitude = found.transmitted, patient.model.architecture.amplitude
    rows = [
        [found.label(name), c.measured, c.half_width, c.theory, found.verdict(c)]
        for name, c in found.offsets.items()
    ]
    lines = [
        f"the public DeepSC code: its X dB, where its power rule acts, are X + offset here (its link restated, at {MEASURED_AT:g} dB)",
        _table(rows, ["channel", "offset, dB", "± 95 %", "theory", "verdict"]),
        f"this checkpoint as that code would send it: its X dB are {_sent_there(found)}",
    ]
    if amplitude != 1:
        root = "sqrt(2)" if math.isclose(amplitude, 2**0.5) else f"{amplitude:.4g}"
        lines.append(
            f"the receiver expects {root} times our amplitude, power {amplitude**2:.4g} per complex symbol: it multiplies what arrives, "
            "noise and all, so that SNRs are those of our axis"
        )
    low, high = t.public_spread
    return "\n".join(
        [*lines, "no counterpart here:", *("  " + line.format(low=low, high=high) for line in NO_COUNTERPART)]
    )


def _sent_there(found: Findings) -> str:
    """What X dB of the public code are here for this checkpoint, channels of equal E|h|^2 together."""
    by_power: dict[float, list[str]] = {}
    for name in found.offsets:
        if (link := found.channels[name].public_link) is not None:
            by_power.setdefault(link.power, []).append(name)
    here = decibels(found.transmitted.public_power)
    told = [
        f"X{here + decibels(power):+.2f} dB{'' if i else ' here'} for {' and '.join(names)}"
        for i, (power, names) in enumerate(by_power.items())
    ]
    return ", ".join(told)


def _sionna(found: Findings) -> str:
    if isinstance(found.sionna, str):
        return found.sionna
    here = {c.name: c for c in found.checks}
    rows = [
        [name, here[name].measured, c.measured, c.theory, found.verdict(c)]
        for name, c in found.sionna.items()
    ]
    return (
        "beside Sionna, which draws for itself: realised SNR in dB with the same signals, and its gains (distribution: KS distance)\n"
        + _table(
            rows, ["figure", "here", f"Sionna {escape(sionna_check.version())}", "theory", "its verdict"], 4
        )
    )


def _record(found: Findings, patient: Checkpoint) -> dict[str, object]:
    t = found.transmitted
    shares = [
        {
            "channel": name,
            "below_db": round(decibels(x), 6),
            "measured": float((g.values < x).mean()),
            "theory": float(g.law.cdf(np.array([x]))[0]),
        }
        for name, g in found.fading.items()
        for x in link_checks.FADES
    ]
    figures = {name: value for name, value in asdict(t).items() if name != "checks"}
    return {
        "symbols": found.symbols,
        "transmitter": {**figures, "public_offset_db": decibels(t.public_power)},
        "amplitude": patient.model.architecture.amplitude,
        "gain_shares": shares,
        "offsets_measured_at_db": MEASURED_AT,
        "threshold": link_checks.threshold(found.checks),
        "checks": [
            {**asdict(c), "difference": c.difference, "verdict": found.verdict(c)} for c in found.checks
        ],
        "without_sionna": found.sionna if isinstance(found.sionna, str) else None,
    }


def _finite(value: object) -> object:
    """Neither JSON nor a column's number of decimals has infinities."""
    if isinstance(value, dict):
        return {name: _finite(inner) for name, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _curves(found: Findings) -> dict[str, tuple[list[float], list[float], list[float]]]:
    """Channel -> |h|^2, and the shares below it, measured and of theory."""
    x = np.logspace(-3, 1, 121)
    return {
        found.label(name): (
            x.tolist(),
            (np.searchsorted(np.sort(g.values), x) / len(g.values)).tolist(),
            g.law.cdf(x).tolist(),
        )
        for name, g in found.fading.items()
    }
