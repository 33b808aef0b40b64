"""The tables of the study of the dial, from the results that it left."""

import json
import shlex
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy import stats

from benchmarks.harness import commit
from semcom.evaluation import intervals

MARGIN = 1.0
"""Of equivalence, in BLEU."""


def report(folder: Path, seeds: int, argv: Sequence[str]) -> str:
    parts = [
        f"`python benchmarks/dial_study.py {shlex.join(argv)}` at {commit()}, torch {torch.__version__}",
        _accuracy(folder),
        _grown(folder),
        _same_amount(folder),
        _both_ends(folder),
    ]
    return "\n\n".join(part for part in parts if part)


def _read(folder: Path, part: str) -> pd.DataFrame:
    files = sorted((folder / "results").glob(f"{part}_seed*.json"))
    return pd.DataFrame([row for file in files for row in json.loads(file.read_text())])


def _markdown(frame: pd.DataFrame, title: str) -> str:
    return f"**{title}**\n\n{frame.to_markdown(index=False)}" if len(frame) else ""


def _accuracy(folder: Path) -> str:
    found = pd.concat([_read(folder, f"a_{part}") for part in ("decoder", "encoder", "full")])
    if found.empty:
        return ""
    rows = []
    for (part, target), group in found.groupby(["part", "target"], sort=False):
        there = group.dropna(subset=["test"]) if "test" in group else group.iloc[:0]
        if there.empty:
            rows.append({"part": part, "asked": f"{target:g}", "reached on test, by seed": "out of reach"})
            continue
        off, allowed = there["off"].abs(), np.maximum(0.05, there["half_width"])
        rows.append(
            {
                "part": part,
                "asked": f"{target:g}",
                "reached on test, by seed": ", ".join(f"{value:.4g}" for value in there["test"]),
                "off, mean": f"{there['off'].mean():+.1%}",
                "off, largest": f"{off.max():.1%}",
                "within max(5 %, half-width)": f"{(off <= allowed).sum()} of {len(there)}",
                "evaluations": f"{there['evaluations'].mean():.1f}",
            }
        )
    return _markdown(pd.DataFrame(rows), "(a) Asked and reached")


GROWN_SHOWN = {
    "kl_divergence": "KL",
    "agreement_rate": "agreement",
    "entropy": "entropy",
    "calibration_error": "calibration error",
    "kl_calibrated": "calibrated KL",
    "kl_worst_share": "worst 5 %",
    "bleu_6": "BLEU 6 dB",
    "bleu_12": "BLEU 12 dB",
}


def _grown(folder: Path) -> str:
    found = _read(folder, "b_grown")
    if found.empty or "model" not in found:
        return ""
    found = found.dropna(subset=["model"])
    rows = []
    for steps, group in found.groupby("steps"):
        wide = group.pivot(index="seed", columns="model")
        row = {"steps": steps, "KL asked": f"{group['asked'].mean():.3f}"}
        for name, title in GROWN_SHOWN.items():
            told = intervals.paired(wide[name]["dialled"].tolist(), wide[name]["grown"].tolist())
            row[title] = f"{wide[name]['grown'].mean():.4g} ({told:+.3f})"
        rows.append(row)
    title = "(b) Grown receivers, and in brackets dialled less grown at equal KL (mean ± 95 % half-width)"
    return _markdown(pd.DataFrame(rows), title)


def _same_amount(folder: Path) -> str:
    found = _read(folder, "c_same_amount")
    if found.empty:
        return ""
    parts = []
    for matched, group in found.dropna(subset=["model"]).groupby("matched", sort=False):
        shown = {"bleu_6": "BLEU 6 dB", "bleu_12": "BLEU 12 dB", "kl_divergence": "KL"}
        shown |= {"kl_calibrated": "calibrated KL", "kl_worst_share": "worst 5 %", "entropy": "entropy"}
        rows = []
        for model, of_model in group.groupby("model", sort=False):
            means = {title: f"{of_model[name].mean():.4g}" for name, title in shown.items()}
            rows.append({"kind": model, "seeds": len(of_model), **means})
        parts.append(_markdown(pd.DataFrame(rows), f"(c) The same {matched}: means over seeds"))
        parts.append(_equivalence(group, str(matched)))
    return "\n\n".join(part for part in parts if part)


def _equivalence(group: pd.DataFrame, matched: str) -> str:
    """Two one-sided tests (Schuirmann 1987) of the paired difference in BLEU at 6 dB."""
    wide = group.pivot(index="seed", columns="model", values="bleu_6").dropna()
    rows, p_values = [], []
    for one, other in combinations(wide.columns, 2):
        apart = (wide[one] - wide[other]).to_numpy()
        if len(apart) < 2:
            continue
        error = apart.std(ddof=1) / len(apart) ** 0.5
        sided = [stats.t.sf((MARGIN + sign * apart.mean()) / error, len(apart) - 1) for sign in (1, -1)]
        p_values.append(max(sided))
        told = intervals.paired(wide[one].tolist(), wide[other].tolist())
        rows.append(
            {"pair": f"{one} less {other}", "BLEU at 6 dB": f"{told:+.2f}", "p of no difference": told.p}
        )
    no_difference = intervals.holm([row.pop("p of no difference") for row in rows])
    for row, p, different in zip(rows, intervals.holm(p_values), no_difference):
        row |= {
            "p (equivalent within 1 BLEU, Holm)": f"{p:.3f}",
            "p (no difference, Holm)": f"{different:.3f}",
        }
        row["verdict"] = "equivalent" if p < 0.05 else "different" if different < 0.05 else "undecided"
    return _markdown(pd.DataFrame(rows), f"(c) Equivalence at equal {matched}, paired over seeds")


def _both_ends(folder: Path) -> str:
    found = _read(folder, "d_both_ends")
    if found.empty:
        return ""
    rows = []
    for (measure, snr), group in found.groupby(["measure", "snr"], sort=False):
        row = {"measure": measure, "SNR": f"{snr:g} dB"}
        for part in ("transmitter", "receiver", "interaction", "total"):
            value = intervals.estimate([ends[0] for ends in group[part]])
            row[part] = f"{value:.3f}"
        row["seeds whose interval leaves out 0"] = sum(
            ends[1] > 0 or ends[2] < 0 for ends in group["interaction"]
        )
        rows.append(row)
    return _markdown(pd.DataFrame(rows), "(d) A transmitter's and a receiver's 0.2, alone and together")
