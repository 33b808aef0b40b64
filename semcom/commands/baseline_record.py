"""The record beside a baseline's curves, and whether they may stand beside other models."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from semcom.base import json_files
from semcom.base.errors import SemcomError, escape
from semcom.base.output_files import companion
from semcom.channel.channels import Channel
from semcom.data.batching import Encoded
from semcom.evaluation import measures
from semcom.evaluation.baseline_curves import FIXED
from semcom.evaluation.coded_baseline import Offered
from semcom.evaluation.scheme_choice import ADAPTATIONS
from semcom.evaluation.text_scoring import TextScoring

if TYPE_CHECKING:
    import pandas as pd

MADE_BY = "python -m semcom baseline"
AGREE = {
    "corpus_fingerprint": "--corpus",
    "split": "--split",
    "channel": "--channel",
    "seed": "--seed",
    "sentences_measured": "--sentences",
    "sentences_digest": "--sentences",
    "symbols": "C",
    "bleu_signature": "--bleu-tokenizer",
    "text_normalization": "--text-normalization",
}
"""What two measurements have alike that stand in one picture -> what changes it."""


NUMBERS = ("snr", *(measure.name for measure in measures.alone()))


def digest_of(encoded: Sequence[Encoded]) -> str:
    """16 hexadecimal digits over the ids of the sentences, whatever their order."""
    ids = sorted(e.sentence.id for e in encoded)
    return hashlib.sha256(b"".join(each.to_bytes(8, "little") for each in ids)).hexdigest()[:16]


def met(
    offered: Offered, corpus_fingerprint: str, split: str, channel: Channel, seed: int, scoring: TextScoring
) -> dict[str, object]:
    """What ``AGREE`` compares."""
    # A coded link equalises in its own way.
    of_channel = {name: value for name, value in channel.key.items() if name != "equalizer"}
    return {
        "corpus_fingerprint": corpus_fingerprint,
        "split": split,
        "channel": of_channel,
        "seed": seed,
        "sentences_measured": len(offered.encoded),
        "sentences_digest": digest_of(offered.encoded),
        "symbols": sum(offered.symbols),
        "channel_dim": offered.channel_dim,
        **{name: scoring.record[name] for name in ("bleu_signature", "text_normalization")},
    }


@dataclass(frozen=True)
class Baseline:
    """path: of its CSV. rows: its curves. record: the JSON beside them."""

    path: str
    rows: "pd.DataFrame"
    record: Mapping[str, Any]

    @property
    def shown(self) -> "pd.DataFrame":
        """The rows of the curves that tables and pictures show."""
        return self.rows[self.rows["shown"]]

    def check(self, ours: Mapping[str, object], snrs: Sequence[float]) -> None:
        """Raise SemcomError where the curves are not of what was measured here: ``met``."""
        for name, flag in AGREE.items():
            if self.record.get(name) != ours[name]:
                theirs = escape(self.record.get(name))[:60]
                raise SemcomError(
                    f"--baseline {escape(self.path)}: is of {name.replace('_', ' ')} {theirs}, here is "
                    f"{escape(ours[name])[:60]} ({flag}); measure both alike"
                )
        missing = [f"{snr:g}" for snr in snrs if snr not in set(self.rows["snr"])]
        if missing:
            raise SemcomError(
                f"--baseline {escape(self.path)}: has no {', '.join(missing)} dB; give --snr "
                f"{' '.join(f'{snr:g}' for snr in sorted(set(self.rows['snr'])))}"
            )


def read(path: str) -> Baseline:
    """What ``baseline --output`` wrote. Raises SemcomError for anything else."""
    import pandas as pd

    beside = companion("--baseline", path, ".json")
    try:
        record = json_files.read(beside)
        rows = pd.read_csv(path, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
        rows = rows.astype({name: float for name in NUMBERS if name in rows})
    except (OSError, ValueError) as error:
        missing = error.filename if isinstance(error, OSError) and error.filename else path
        raise SemcomError(
            f"--baseline {escape(missing)}: cannot be read ({escape(json_files.problem(error))[:120]}); "
            f"make it with: {MADE_BY} --output {escape(path)}"
        ) from None
    if not isinstance(record, dict) or record.get("made_by") != MADE_BY or not _are_curves(rows):
        raise SemcomError(
            f"--baseline {escape(path)}: is no table of a baseline; make one with: "
            f"{MADE_BY} --output FILE.csv"
        )
    return Baseline(path, rows, record)


def _are_curves(rows: "pd.DataFrame") -> bool:
    """Whether a table has curves to show, each with a BLEU at the SNRs of all."""
    named = ["model", "source_code", "adaptation"]
    if {*named, "snr", "bleu", "shown"} - set(rows.columns) or rows["shown"].dtype != bool:
        return False
    shown = rows[rows["shown"]]
    every = shown["model"].nunique() * shown["snr"].nunique()
    whole = len(shown) == every and not shown.duplicated(["model", "snr"]).any()
    numbers = np.isfinite(shown[["snr", "bleu"]].to_numpy(float)).all()
    return bool(len(shown) and whole and numbers and shown[named].notna().all(axis=None))


def kinds_of(rows: "pd.DataFrame") -> dict[str, object]:
    """Of each curve its kind in a picture: its source code, or that it is a bound."""
    coded = rows["adaptation"].isin((*ADAPTATIONS, FIXED))
    return dict(zip(rows["model"], rows["source_code"].where(coded, "bound")))
