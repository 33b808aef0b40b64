"""What a model card says of measurements: rows of a table that ``evaluate`` wrote, or the scores that a
distillation's record closes with. Both are a stranger's until each value is checked."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from semcom.base import json_files
from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, escape, shown
from semcom.commands import run_record
from semcom.commands.card_facts import without_folders
from semcom.commands.measuring import RECEIVER_KNOWS
from semcom.commands.run_record import RunRecord
from semcom.models.checkpoint import Checkpoint
from semcom.report.model_card import METRICS, Measured

MOST_ROWS = 500
MOST_BYTES = 50_000_000
CONDITIONS = {
    "decoding": "decoding",
    "seed": "seed",
    "text_normalization": "text normalisation",
}
"""What a measurement records -> its label on a card."""
SIGNATURES = {"bleu": "bleu_signature", "chrf": "chrf_signature"}
ALWAYS = {
    "SNR": "per complex symbol, before equalisation",
    "length": RECEIVER_KNOWS,
}


def measured(source: Checkpoint, table: str | None) -> Measured | None:
    """Of this checkpoint, if there is something. table: what ``--scores`` names. Raises SemcomError for one
    that has no rows of it."""
    return _of_table(source, table) if table else _of_run(source)


# --- a table of evaluate


def _of_table(source: Checkpoint, table: str) -> Measured:
    given = f"--scores {escape(table)}"
    cure = f"make it with: python -m semcom evaluate {path_word(source.path)} --output scores.csv"
    rows = _rows(table, given, cure)
    ours = [row for row in rows if row.get("fingerprint") == source.fingerprint and _is_overall(row)]
    if not ours:
        raise SemcomError(f"{given}: has no rows of {source.name} ({source.fingerprint}); {cure}")
    first = ours[0]
    text = f"{first.get('corpus')} ({first.get('corpus_fingerprint')})"
    return _measured(ours, text, f"rows of {Path(table).name}", given)


def _rows(table: str, given: str, cure: str) -> list[dict[str, Any]]:
    import pandas as pd

    from semcom.evaluation import frames

    try:
        if Path(table).stat().st_size > MOST_BYTES:
            raise SemcomError(
                f"{given}: has over {MOST_BYTES:,} bytes, which no table of evaluate has; {cure}"
            )
        read = pd.read_csv(table, encoding="utf-8-sig", keep_default_na=False, na_values=[""])
    except (OSError, ValueError) as error:
        why = escape(json_files.problem(error))[:120]
        raise SemcomError(f"{given}: cannot be read ({why}); {cure}") from None
    if missing := sorted(
        {"fingerprint", "channel", "snr", "sentences", "corpus", *METRICS} - {*read.columns}
    ):
        raise SemcomError(f"{given}: has no column {missing[0]}, is it of an older version? {cure}")
    return frames.records(frames.none_where_missing(read))


def _is_overall(row: Mapping[str, Any]) -> bool:
    """Over all topics, each sentence sent once."""
    return not row.get("topic") and not row.get("policy")


# --- a distillation's record


def _of_run(source: Checkpoint) -> Measured | None:
    """Where a finished run's record lies beside its best student."""
    path = Path(source.path)
    if path.name != run_record.BEST or not run_record.is_finished(path.parent):
        return None
    values = RunRecord.read(str(path.parent)).values
    rows = values.get("test_scores")
    scores = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    recorded = {name: values.get(name) for name in (*CONDITIONS, *SIGNATURES.values())}
    common = {**recorded, "split": "test"}
    ours = [{**common, **row} for row in scores if row.get("model") == "student" and _is_overall(row)]
    if not ours:
        return None
    text = f"{values.get('corpus_name')} ({values.get('corpus_fingerprint')})"
    return _measured(ours, text, f"closing scores of the run, in {run_record.FILE}", escape(path.parent))


def _measured(rows: Sequence[Mapping[str, Any]], text: str, of: str, given: str) -> Measured:
    if len(rows) > MOST_ROWS:
        raise SemcomError(f"{given}: has {len(rows):,} rows of it, a card has {MOST_ROWS} at most")
    first = rows[0]
    conditions = {label: first.get(name) for name, label in CONDITIONS.items()}
    signatures = {column: first.get(name) for column, name in SIGNATURES.items()}
    return Measured(
        rows=[_row(row, given) for row in rows],
        text=shown(without_folders(text)),
        split=shown(first.get("split", "unknown")),
        conditions={**_known(conditions), **ALWAYS, "numbers": shown(of)},
        signatures=_known(signatures),
    )


def _known(given: Mapping[str, object]) -> dict[str, str]:
    return {name: shown(value) for name, value in given.items() if value not in (None, "")}


def _row(row: Mapping[str, Any], given: str) -> dict[str, Any]:
    values = {name: row.get(name) for name in METRICS}
    numbers = {"snr": row.get("snr"), "sentences": row.get("sentences")} | {
        name: value for name, value in values.items() if value is not None
    }
    for name, value in numbers.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise SemcomError(
                f"{given}: {name} is {shown(value)}, a finite number is wanted; measure it again"
            )
    return {"channel": shown(row.get("channel", "unknown")), **numbers, **values}
