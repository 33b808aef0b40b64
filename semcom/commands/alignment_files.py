"""The files of an alignment: record, table, picture and joined pairs; and the record read again."""

import math
from dataclasses import asdict
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from semcom.base import json_files, output_files
from semcom.base.device import environment
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.commands.align_settings import PICTURE, RECORD, TABLE
from semcom.commands.chosen_way import RECORDED
from semcom.commands.measuring import RECEIVER_KNOWS
from semcom.commands.splice import made_of
from semcom.distillation.aligner_settings import GENIE
from semcom.evaluation import frames, text_metrics
from semcom.evaluation.alignment import Case, Found, Plan
from semcom.evaluation.intervals import Interval
from semcom.evaluation.pilots import covered_text
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS, RECEIVER_PARTS, TRANSMITTER_PARTS
from semcom.models.transceiver import Transceiver
from semcom.report import plots, tables
from semcom.report.look import with_print
from semcom.report.sections import alignment
from semcom.report.sections.alignment import Alignment

if TYPE_CHECKING:
    import pandas as pd

    from semcom.commands.align_plan import Prepared

OWN = (RECORD, TABLE, *with_print(PICTURE), "aligned_*.pt")
"""What an alignment writes in its folder."""
TUNED_PARTS = {"decoder": RECEIVER_PARTS, "surrogate": RECEIVER_PARTS, "encoder": TRANSMITTER_PARTS}
"""Of the ways without an aligner, what they change."""
TOLD = ("transmitter", "receiver", "at", "channel", "sentences", "draws", "of_range", "signature")
INTERVALS = (
    "bleu",
    "unaligned",
    "gain",
    "gain_over_sentences",
    "recovery",
    "recovery_over_sentences",
    "own",
    "senders",
    "own_aligned",
    "own_gain",
    "repeated",
    "repeated_gain",
)


def pair_file(way: str) -> str:
    """Of the pair that was joined in this way."""
    return f"aligned_{way}.pt"


def write(prepared: "Prepared", found: Found, told: Alignment) -> None:
    """Joined pairs, table, picture and, last, the record."""
    folder = prepared.place.working
    for way, model in found.kept.items():
        checkpoint.save(_joined(prepared, found, way, model), folder / pair_file(way))
    tables.write_csv(folder / TABLE, _with_conditions(prepared, told))
    panels, kinds = alignment.panels_of(told.rows, str), alignment.kinds_of(told.rows, str)
    plots.save(alignment.drawn(panels, kinds, str), folder / PICTURE)
    record = {
        "finished": True,
        **{name: getattr(told, name) for name in TOLD},
        "rows": told.rows,
        "by_draw": by_draw(found),
        "covered_text": covered_by(prepared.plan),
        **_made_by(prepared),
    }
    output_files.write_json(folder / RECORD, frames.plain_values(record))


def _with_conditions(prepared: "Prepared", told: Alignment) -> "pd.DataFrame":
    """As the table has it: each row with what no score is quoted without."""
    plan = prepared.plan
    common: dict[str, Any] = {
        "genie": told.rows["way"].isin(GENIE),
        "map": "range" if plan.of_range else "each",
        "draws": told.draws,
        "channel": told.channel,
        "sentences": told.sentences,
        "split": prepared.settings.evaluation.split,
        "seed": plan.meeting.seed,
        "decoding": str(plan.meeting.search),
        **plan.meeting.scoring.record,
    }
    table = frames.flat(told.rows)
    for name in INTERVALS:
        for end in (f"{name} low", f"{name} high"):
            if end not in table:
                at = list(table).index(name if end.endswith("low") else f"{name} low")
                table.insert(at + 1, end, None)
    for name, value in common.items():
        table[name] = value
    return table


def covered_by(plan: Plan) -> dict[int, float]:
    """Number of pilots -> share of the measured text whose pieces they hold, a mean of the draws."""
    return {
        count: fmean(covered_text(drawn[:count], plan.test) for drawn in plan.pilots) for count in plan.counts
    }


def by_draw(found: Found) -> list[dict[str, object]]:
    """BLEU of each draw of pilots, of the foreign ends joined and of the receiver's own pair behind the
    same map."""
    return [
        {
            **asdict(case),
            "symbols": found.symbols[case.pilots][case.draw],
            "bleu": bleu_of(sums),
            "own_aligned": bleu_of(found.own_aligned[case]) if case in found.own_aligned else None,
        }
        for case, sums in found.aligned.items()
    ]


def bleu_of(sums: np.ndarray) -> float:
    """[N, 10] by sentence."""
    return float(text_metrics.bleu_of(sums.sum(0)))


def _joined(prepared: "Prepared", found: Found, way: str, model: Transceiver) -> Checkpoint:
    """As a checkpoint that says where each part came from."""
    sender, listener, plan = prepared.sender, prepared.listener, prepared.plan
    low, high = min(plan.meeting.snrs), max(plan.meeting.snrs)
    where = f"{low:g} to {high:g} dB" if plan.of_range else f"{plan.saved_at:g} dB"
    channel = str(plan.meeting.channel)
    learned = f"{way}, {max(plan.counts)} pilots received at {where}, {channel}"
    origin = {part: learned for part in model.parts()}
    for part in PARTS:
        source = sender if part in TRANSMITTER_PARTS else listener
        changed = f"; {learned}" if part in TUNED_PARTS.get(way, ()) else ""
        origin[part] = f"{source.name}: {source.origin[part]}{changed}"
    made = made_of(sender, listener, RECEIVER_PARTS)
    how = {"way": way, "pilots": max(plan.counts), "received_at": where, "channel": channel}
    kept = Case(way, max(plan.counts), 0, plan.saved_at)
    metrics = {"bleu": bleu_of(found.aligned[kept])}
    return Checkpoint(model, listener.vocabulary, origin, metrics, {**made, "alignment": how})


def _made_by(prepared: "Prepared") -> dict[str, object]:
    """Settings, fingerprints and machine: what repeats it."""
    settings, sender, listener = prepared.settings, prepared.sender, prepared.listener
    asked = as_record(settings.tuning, settings.evaluation, settings.corpus, settings.channel, settings.run)
    return {
        "sender": sender.path,
        "sender_fingerprint": sender.fingerprint,
        "listener": listener.path,
        "listener_fingerprint": listener.fingerprint,
        "corpus_name": prepared.corpus.name,
        "corpus_fingerprint": prepared.corpus.fingerprint,
        "note": RECEIVER_KNOWS,
        RECORDED: prepared.way,
        "settings": {
            **{name: getattr(settings, name) for name in ("transmitter", "receiver", "by", "pilots")},
            **{name: getattr(settings, name) for name in ("pilot_choice", "draws", "map_snr")},
            **asked,
        },
        "environment": environment(prepared.plan.meeting.device),
    }


def read(folder: str) -> Alignment:
    """Raises SemcomError for a folder without a record of a finished alignment."""
    path = Path(folder) / RECORD
    try:
        return _checked(json_files.read(path))
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = escape(json_files.problem(error)) if isinstance(error, (OSError, json_files.NotJSON)) else ""
        why = why or "it is no record of an alignment"
        raise SemcomError(
            f"--alignment {escape(folder)}: {RECORD} there cannot be read ({why}); give the folder of a "
            "finished python -m semcom align"
        ) from None


def _checked(record: Any) -> Alignment:
    """Each value of the type that it has to be."""
    if not isinstance(record, dict) or record.get("finished") is not True:
        raise json_files.NotJSON("it is no record of a finished alignment")
    kinds = (str, str, float, str, int, int, bool, str)
    told = {name: _of(kind, record[name]) for name, kind in zip(TOLD, kinds)}
    rows = [_row(row) for row in _of(list, record["rows"])]
    if not any(row["snr"] == told["at"] for row in rows):
        raise json_files.NotJSON("it has no row of the SNR that it names")
    return Alignment(rows=frames.frame_of(rows), **told)


def _row(row: Any) -> dict[str, Any]:
    numbers = {name: _of(float, row[name]) for name in ("pilots", "symbols", "snr")}
    values = {name: _interval(row[name]) for name in INTERVALS}
    return {"way": _of(str, row["way"]), **numbers, "pilots": int(numbers["pilots"]), **values}


def _interval(value: Any) -> Interval | None:
    """An end without bound is null."""
    if value is None:
        return None
    low, high = value["low"], value["high"]
    ends = (-math.inf if low is None else _of(float, low), math.inf if high is None else _of(float, high))
    return Interval(_of(float, value["value"]), *ends)


def _of(kind: type, value: Any) -> Any:
    """Whole numbers are numbers too."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise json_files.NotJSON(f"{escape(str(value)[:40])} stands where a {kind.__name__} is wanted")
    return value
