"""The verb ``align``: two ends that never met, joined by what is learned from pilots, and what that gains."""

import logging
import time
from collections.abc import Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from semcom.base import places, signals
from semcom.base.advice import path_word
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import InterruptedRun, escape
from semcom.commands import alignment_files
from semcom.commands.align_plan import Prepared, prepare
from semcom.commands.align_settings import ALIGNMENT_FILES, AlignSettings
from semcom.commands.measuring import RECEIVER_KNOWS, described, labels
from semcom.distillation.aligner_settings import GENIE, TUNED
from semcom.evaluation import alignment, frames
from semcom.evaluation.alignment import LEAST_DRAWS, NONE, Found
from semcom.evaluation.intervals import Interval
from semcom.report import tables
from semcom.report.sections.alignment import PAIRS, Alignment, way_told

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FEW_DRAWS = f"fewer than {LEAST_DRAWS} draws of pilots: intervals are over sentences alone"


def align(settings: AlignSettings) -> "pd.DataFrame":
    """A row a way, number of pilots and SNR, as in alignment.csv, its intervals as cells."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    with ExitStack() as held:
        prepared = prepare(settings, device, held)
        _announce(prepared)
        found = _measured(prepared)
        told = _told(prepared, found)
        # What is there already is set aside, or replaced, when all is measured.
        places.make_room([prepared.place])
        alignment_files.write(prepared, found, told)
        places.publish([prepared.place])
        prepared.parts.discard()
    _show(prepared, told, started)
    return told.rows


def _measured(prepared: Prepared) -> Found:
    parts = prepared.parts
    if parts.known:
        log.info(f"going on with {parts.known} finished parts of a run that was stopped")
    try:
        return alignment.measure(prepared.plan, parts)
    except KeyboardInterrupt as interrupt:
        kept = f"{parts.known} finished parts are kept, from which the same command goes on"
        left = f"interrupted; {escape(prepared.place.path)} is as it was; {kept}"
        raise InterruptedRun(left, signals.number_of(interrupt)) from None


def _announce(prepared: Prepared) -> None:
    plan = prepared.plan
    ways = ", ".join(map(way_told, plan.ways))
    counts = " ".join(map(str, plan.counts))
    log.info(
        f"joining the transmitter of {prepared.sender.name} and the receiver of {prepared.listener.name}: "
        f"{ways}; {counts} pilots of the training split ({prepared.settings.pilot_choice}), draws of them: "
        f"{len(plan.pilots)}"
    )
    covered = ", ".join(f"{100 * share:.1f} %" for share in alignment_files.covered_by(plan).values())
    log.info(f"pieces of the pilots make up {covered} of the text that is measured")
    if not plan.ends.join:
        log.warning(
            "the ends have two signal widths C: without a map there is no pair, so neither gain nor recovery"
        )
    if getattr(plan.meeting.channel, "equalizer", "") == "zf" and set(plan.ways).difference(TUNED, (NONE,)):
        log.warning(
            "after zero forcing a deep fade's noise outweighs all other pilots in a least squares fit; give "
            "--equalizer mmse"
        )


def _told(prepared: Prepared, found: Found) -> Alignment:
    plan, settings = prepared.plan, prepared.settings
    one, other = labels([settings.transmitter, settings.receiver])
    return Alignment(
        transmitter=one,
        receiver=other,
        rows=frames.frame_of(alignment.rows(found)),
        at=plan.saved_at,
        channel=str(plan.meeting.channel),
        sentences=len(plan.test),
        draws=len(plan.pilots),
        of_range=plan.of_range,
        signature=str(plan.meeting.scoring.record["bleu_signature"]),
    )


# --- the end


def _show(prepared: Prepared, told: Alignment, started: float) -> None:
    folder = prepared.place.path
    pairs = [alignment_files.pair_file(way) for way in prepared.plan.ways if way != NONE]
    lines = [
        *table_of(prepared, told),
        "",
        f"made {escape(folder)}: {', '.join([*ALIGNMENT_FILES, *pairs])}; "
        f"{time.monotonic() - started:,.0f} s in all",
        f"next: python semantic_analysis.py --alignment {path_word(folder)}",
    ]
    log.info("\n".join(lines))


def table_of(prepared: Prepared, told: Alignment) -> list[str]:
    """Lines: gains at one SNR, of what pairs they are, and how they are to be read."""
    plan = prepared.plan
    rows = told.rows[told.rows["snr"] == told.at].to_dict("records")
    first, measured_on = rows[0], described(told.sentences, prepared.settings.evaluation)
    known = [f"{name} {first[column]:.2f}" for column, name in PAIRS.items() if first[column] is not None]
    titles = ["way", "pilots", "symbols", "BLEU", "gain [95 %]", "recovery", "own gain", "repeating"]
    cells = [
        [
            _way(row["way"]),
            row["pilots"],
            f"{row['symbols']:,.0f}",
            _plain(row["bleu"], 2),
            "-" if row["gain"] is None else _gain(row["gain"]),
            _plain(row["recovery"], 2),
            _plain(row["own_gain"], 2, signed=True),
            _plain(row["repeated_gain"], 2, signed=True),
        ]
        for row in rows
    ]
    return [
        f"\nBLEU at {told.at:g} dB, {told.channel}; {measured_on}; {plan.meeting.search}; {RECEIVER_KNOWS}",
        f"{plan.meeting.scoring}",
        *known,
        tables.text(frames.frame_of(cells, titles)),
        "own gain: the same map on the receiver's own pair, which is denoising; repeating: no map, the "
        "pilots' symbols spent on sending data again, combined by maximum ratio",
        *([FEW_DRAWS] if told.draws < LEAST_DRAWS else []),
        *_by_snr(told.rows),
    ]


def _by_snr(rows: "pd.DataFrame") -> list[str]:
    """Lines: BLEU at each SNR, and in brackets the gain; none where there is one SNR, which is told above."""
    records = rows.to_dict("records")
    if len({row["snr"] for row in records}) == 1:
        return []
    first = records[0]
    once = [row for row in records if (row["way"], row["pilots"]) == (first["way"], first["pilots"])]
    cells = [
        {"pair": name, "snr": row["snr"], "bleu": _plain(row[column], 2)}
        for column, name in PAIRS.items()
        for row in once
        if row[column] is not None
    ]
    cells += [
        {"pair": f"{_way(row['way'])}, {row['pilots']} pilots", "snr": row["snr"], "bleu": _with_gain(row)}
        for row in records
        if row["way"] != NONE
    ]
    return ["\nBLEU by SNR in dB, the gain in brackets", tables.pivot(cells, "pair", "snr", "bleu")]


def _with_gain(row: Mapping[Any, Any]) -> str:
    gain = "" if row["gain"] is None else f" ({row['gain'].value:+.2f})"
    return f"{_plain(row['bleu'], 2)}{gain}"


def _way(way: str) -> str:
    """As it is typed."""
    return f"{way} (genie)" if way in GENIE else way


def _gain(cell: Interval) -> str:
    return f"{cell.value:+.2f} [{cell.low:.2f}, {cell.high:.2f}]"


def _plain(cell: Interval | None, places: int, signed: bool = False) -> str:
    """Its value alone."""
    return "-" if cell is None else format(cell.value, f"{'+' if signed else ''}.{places}f")
