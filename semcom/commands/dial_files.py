"""The files that a ladder leaves: a hybrid for each target, its record, a table and a picture."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semcom.base import output_files
from semcom.channel.channels import make_channel
from semcom.commands.dial_ladder import DialledHybrid, DialledLadder, Plan, target_label
from semcom.commands.dial_settings import PICTURE, RECORD, TABLE
from semcom.commands.dial_state import LadderState
from semcom.evaluation import frames, measures
from semcom.evaluation.snr_gap import Price
from semcom.evaluation.study import Study
from semcom.models import checkpoint
from semcom.report import plots, tables

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]


def write(
    ladder: DialledLadder, files: Mapping[float, Path], state: LadderState, made_by: Mapping[str, object]
) -> Record:
    """Hybrids, table and picture, and at last the record, by which the ladder is finished. files: target ->
    its hybrid's. state: where all is written. made_by: settings and machine."""
    folder = state.folder
    rows = [_row(ladder, rung, files[rung.target]) for rung in ladder.rungs]
    for rung in ladder.rungs:
        config = {**rung.hybrid.config, "dial": _dial(ladder.plan, rung)}
        metrics = {ladder.plan.ask.target_measure: rung.value.value, "bleu": bleu_of(ladder.study, rung)}
        file = state.written_at(files[rung.target])
        checkpoint.save(replace(rung.hybrid, config=config, metrics=metrics), file)
    tables.write_csv(folder / TABLE, [_flat(row) for row in rows])
    plots.plot_dial(curve_of(ladder), folder / PICTURE)
    record = {
        "finished": True,
        **_common(ladder.plan),
        "targets": list(ladder.plan.targets),
        "segments": ladder.plan.dialled.path.segments,
        "points": list(ladder.plan.dialled.path.labels),
        "scan": [asdict(reading) for reading in ladder.scan],
        "hybrids": rows,
        "corpus_name": ladder.plan.corpus.name,
        "corpus_fingerprint": ladder.plan.corpus.fingerprint,
        **made_by,
        "way": ladder.plan.way,
    }
    output_files.write_json(folder / RECORD, record)
    return record


def _common(plan: Plan) -> Record:
    """What no target is quoted without."""
    return {
        "path": plan.dialled.path.kind,
        "measure": plan.ask.target_measure,
        "prefix": plan.target.prefix,
        "snr": plan.ask.reference_snr,
        "channel": str(make_channel(plan.channel)),
        **plan.scoring.record,
        "topics": list(plan.ask.target_topics) or None,
        "run": plan.source,
        **_reference(plan),
    }


def _reference(plan: Plan) -> Record:
    """From which a divergence is."""
    teacher = plan.dialled.teacher
    return {"teacher_checkpoint": teacher.path, "teacher_fingerprint": teacher.fingerprint}


def _dial(plan: Plan, rung: DialledHybrid) -> Record:
    """What a hybrid says of how it was dialled, in plain values."""
    path, reading = plan.dialled.path, rung.found.reading
    return {
        **_common(plan),
        "place": reading.place,
        "segments": path.segments,
        "points": list(path.labels),
        "target": rung.target,
        "validation": reading.value,
        "validation_error": reading.error,
        "validation_sentences": reading.sentences,
        "test": rung.value.value,
        "test_low": rung.value.low,
        "test_high": rung.value.high,
        "test_sentences": len(plan.test),
        "evaluations": len(rung.found.used),
    }


def _row(ladder: DialledLadder, rung: DialledHybrid, file: Path) -> Record:
    """A hybrid's part of the record."""
    row = {**_dial(ladder.plan, rung), "file": str(file), "within": rung.found.within}
    if rung.by_text:
        row["by_text"] = {
            name: {"sentences": count, "value": value} for name, (count, value) in rung.by_text.items()
        }
    price = price_of(ladder, rung)
    row["price"] = None if price is None else frames.plain_values(vars(price))
    row["by_snr_sentences"] = len(ladder.study.measured.encoded)
    row["by_snr"] = _by_snr(ladder, rung)
    return row


def price_of(ladder: DialledLadder, rung: DialledHybrid) -> Price | None:
    """In dB, None where the channel has no SNR or the grid one alone."""
    study = ladder.study
    if len(study.snrs) < 2 or not study.noisy:
        return None
    return study.price(study.pairing.own[target_label(rung.target)])


def _by_snr(ladder: DialledLadder, rung: DialledHybrid) -> Record:
    """SNR -> measure -> value."""
    study = ladder.study
    values = study.values(study.pairing.own[target_label(rung.target)])
    by_snr = {
        f"{snr:g}": {name: float(value[k, 0]) for name, value in values.items()}
        for k, snr in enumerate(study.snrs)
    }
    plain = frames.plain_values(by_snr)
    assert isinstance(plain, dict)
    return plain


def _flat(row: Record) -> Record:
    """A row of the table: nested values under names of their own."""
    flat = {name: value for name, value in row.items() if name not in NESTED}
    flat["topics"] = " ".join(row["topics"] or []) or None
    gap = (row["price"] or {}).get("gap") or {}
    flat |= {f"price_dB{end}": gap.get(name) for end, name in PRICE_ENDS.items()}
    for measure in measures.MEASURES:
        for snr, values in row["by_snr"].items():
            flat[f"{measure.name}_{snr}dB"] = values.get(measure.name)
    return flat


NESTED = ("price", "by_snr", "by_text", "points")
PRICE_ENDS = {"": "value", "_low": "low", "_high": "high"}
"""End of a column's name -> key of an interval."""


def curve_of(ladder: DialledLadder) -> plots.DialCurve:
    study, plan = ladder.study, ladder.plan
    readings = [*ladder.scan, *(reading for rung in ladder.rungs for reading in rung.found.used)]
    # Of a place that was read more than once, that on the most sentences.
    by_place = {r.place: r.value for r in sorted(readings, key=lambda r: (r.place, r.blocks))}
    found = [
        (rung.found.reading.place, rung.target, rung.value, bleu_of(study, rung)) for rung in ladder.rungs
    ]
    reference = study.values(study.pairing.reference)["bleu"][study.at_reference, 0]
    return plots.DialCurve(
        title=f"{plan.target.title}, {plan.target.unit}",
        where=f"{plan.ask.reference_snr:g} dB, {make_channel(plan.channel)}",
        corners=dict(zip(plan.dialled.path.places, plan.dialled.path.labels)),
        readings=list(by_place.items()),
        rungs=found,
        teacher_bleu=float(reference),
    )


def bleu_of(study: Study, rung: DialledHybrid) -> float:
    """Of a hybrid at the reference SNR."""
    own = study.pairing.own[target_label(rung.target)]
    return float(study.values(own)["bleu"][study.at_reference, 0])


def frame_of(record: Record) -> "pd.DataFrame":
    """The table of a ladder, a row a target."""
    return frames.frame_of([_flat(row) for row in record["hybrids"]])
