"""What the doctor found, as text for the console, as a picture and as plain values."""

import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from semcom.base.errors import escape
from semcom.evaluation import frames, sionna_check
from semcom.evaluation.link_checks import FADES, Check, decibels
from semcom.evaluation.link_report import MEASURED_AT, LinkReport
from semcom.report import plots, tables

NO_COUNTERPART = (
    "one fade a batch there, so that its sentences fade together; here each sentence has its own",
    "power over the batch and its padding there: of this checkpoint a sentence has {low:+.1f} to {high:+.1f} "
    "dB about the mean; here each has 1",
    "power only brought down there, when above 1: below, the weights of a transmitter move its SNR; here it "
    "is 1 for all",
)


def sections(found: LinkReport, draws: int, amplitude: float) -> list[str]:
    """draws: how many gains. amplitude: what the receiver expects, over ours."""
    return [
        _transmitter(found),
        _snr(found),
        _fading(found, draws),
        _changing(found, draws),
        _offsets(found, amplitude),
        _sionna(found),
    ]


def failures(off: Sequence[Check]) -> str:
    rows = [
        [c.name, *(f"{value:.4g}" for value in (c.measured, c.theory, c.difference)), f"{c.p:.1g}"]
        for c in off
    ]
    return tables.text(frames.frame_of(rows, ["OFF", "measured", "theory", "difference", "p"]))


def _table(rows: Sequence[Sequence[object]], header: list[str], decimals: int | None = None) -> str:
    cells = [[frames.plain_values(cell) for cell in row] for row in rows]
    return tables.text(frames.frame_of(cells, header), decimals)


def _transmitter(found: LinkReport) -> str:
    t = found.transmitted
    power, padding = t.checks
    positions, loudest = t.padding
    rows: list[list[object]] = [
        ["power per complex symbol, by sentence", *t.power, 1.0, found.verdict(power)],
        [f"amplitude at {positions:,} padded positions", None, None, loudest, 0.0, found.verdict(padding)],
    ]
    if t.active_batches == 0:
        scaled = "not be scaled"
    elif t.active_batches == t.batches:
        scaled = "be scaled"
    else:
        scaled = f"be scaled in {t.active_batches} of its batches"
    whole = " (2 with the padding counted)" if t.active_batches == t.batches else ""
    return (
        f"transmitter\n{_table(rows, ['as sent', 'mean', 'least', 'greatest', 'theory', 'verdict'], 4)}\n"
        f"before scaling: mean square {t.raw_square:.4g} per real dimension; its root is above 1 in "
        f"{t.active_sentences:.0%} of sentences and in {t.active_batches} of {t.batches} batches with their "
        f"padding\nin the public code this transmitter would {scaled}: its real tokens would have "
        f"{t.public_power:.4g} per complex symbol, {decibels(t.public_power):+.2f} dB{whole}"
    )


def _snr(found: LinkReport) -> str:
    rows = [
        [found.label(name), c.theory, c.measured, c.half_width, c.difference, found.verdict(c)]
        for (name, _), c in found.snr.items()
    ]
    return (
        "realised SNR, dB: power sent over noise power before the equaliser, "
        f"{found.symbols:,} complex symbols; OFF beyond {found.tolerance:.3f}\n"
        + _table(rows, ["channel", "nominal", "realised", "± 95 %", "difference", "verdict"])
    )


def _fading(found: LinkReport, draws: int) -> str:
    rows, shares = [], []
    for name, g in found.fading.items():
        label, power, distance = found.label(name), g.power, g.distance
        verdict = found.verdict(power, distance)
        rows.append([label, power.measured, power.half_width, 1.0, distance.measured, distance.p, verdict])
        shares.append([f"{label}, measured", *(float((g.values < x).mean()) for x in FADES)])
        shares.append([f"{label}, {g.law.formula}", *map(float, g.law.cdf(np.array(FADES)))])
    return (
        f"fading: |h|^2 of {draws:,} sentences, one h each\n"
        + _table(rows, ["channel", "E|h|^2", "± 95 %", "theory", "KS distance", "p", "verdict"], 4)
        + "\n\n"
        + _table(shares, ["share of |h|^2 under", *(f"{decibels(x):.0f} dB" for x in FADES)], 4)
        + "\nafter zf the noise of a sentence is N0/|h|^2; under Rayleigh its mean is infinite, so it is "
        "never averaged: count the fades"
    )


def _changing(found: LinkReport, draws: int) -> str:
    rows = [
        [name, c.measured, c.half_width, c.theory, found.verdict(c)] for name, c in found.changing.items()
    ]
    return f"gains from symbol to symbol, and estimated from pilots; {draws:,} sentences\n" + _table(
        rows, ["figure", "measured", "± 95 %", "theory", "verdict"], 4
    )


def _offsets(found: LinkReport, amplitude: float) -> str:
    rows = [
        [found.label(name), c.measured, c.half_width, c.theory, found.verdict(c)]
        for name, c in found.offsets.items()
    ]
    lines = [
        "the public DeepSC code: its X dB, where its power rule acts, are X + offset here "
        f"(its link restated, at {MEASURED_AT:g} dB)",
        _table(rows, ["channel", "offset, dB", "± 95 %", "theory", "verdict"]),
        f"this checkpoint as that code would send it: its X dB are {_sent_there(found)}",
    ]
    if amplitude != 1:
        root = "sqrt(2)" if math.isclose(amplitude, 2**0.5) else f"{amplitude:.4g}"
        lines.append(
            f"the receiver expects {root} times our amplitude, power {amplitude**2:.4g} per complex symbol: "
            "it multiplies what arrives, noise and all, so that SNRs are those of our axis"
        )
    low, high = found.transmitted.public_spread
    differences = ["  " + line.format(low=low, high=high) for line in NO_COUNTERPART]
    return "\n".join([*lines, "no counterpart here:", *differences])


def _sent_there(found: LinkReport) -> str:
    """What X dB of the public code are here for this checkpoint, channels of equal E|h|^2 together."""
    by_power: dict[float, list[str]] = {}
    for name in found.offsets:
        if (link := found.channels[name].public_link) is not None:
            by_power.setdefault(link.power, []).append(name)
    public = decibels(found.transmitted.public_power)
    told: list[str] = []
    for power, names in by_power.items():
        here = "" if told else " here"
        *others, last = names
        together = f"{', '.join(others)} and {last}" if others else last
        told.append(f"X{public + decibels(power):+.2f} dB{here} for {together}")
    return ", ".join(told)


def _sionna(found: LinkReport) -> str:
    if isinstance(found.sionna, str):
        return found.sionna
    here = {c.name: c for c in found.checks}
    rows = [
        [name, here[name].measured, c.measured, c.theory, found.verdict(c)]
        for name, c in found.sionna.items()
    ]
    sionna = f"Sionna {escape(sionna_check.version())}"
    return (
        "beside Sionna, which draws for itself: realised SNR in dB with the same signals, and its gains "
        "(distribution: KS distance)\n" + _table(rows, ["figure", "here", sionna, "theory", "its verdict"], 4)
    )


def picture(found: LinkReport, path: str | Path) -> None:
    """Gains and realised SNRs beside their theory, as a PNG."""
    x = np.logspace(-3, 1, 121)
    curves = {}
    for name, g in found.fading.items():
        below = np.searchsorted(np.sort(g.values), x) / len(g.values)
        curves[found.label(name)] = x.tolist(), below.tolist(), g.law.cdf(x).tolist()
    realised = [
        (
            found.label(name),
            c.theory,
            c.measured if math.isfinite(c.measured) else math.nan,
            math.nan if c.half_width is None else c.half_width,
        )
        for (name, _), c in found.snr.items()
    ]
    plots.plot_link(curves, realised, found.tolerance, path)


def record(found: LinkReport, amplitude: float) -> dict[str, object]:
    """Every figure as plain values, infinities among them."""
    t = found.transmitted
    shares = [
        {
            "channel": name,
            "below_db": round(decibels(x), 6),
            "measured": float((g.values < x).mean()),
            "theory": float(g.law.cdf(np.array([x]))[0]),
        }
        for name, g in found.fading.items()
        for x in FADES
    ]
    figures = {name: value for name, value in asdict(t).items() if name != "checks"}
    return {
        "symbols": found.symbols,
        "transmitter": {**figures, "public_offset_db": decibels(t.public_power)},
        "amplitude": amplitude,
        "gain_shares": shares,
        "offsets_measured_at_db": MEASURED_AT,
        "threshold": found.threshold,
        "checks": [
            {**asdict(c), "difference": c.difference, "verdict": found.verdict(c)} for c in found.checks
        ],
        "without_sionna": found.sionna if isinstance(found.sionna, str) else None,
    }
