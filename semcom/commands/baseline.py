"""The verb ``baseline``: what a classical digital link makes of the same sentences, draws and symbols."""

import logging
import shlex
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from semcom.base import output_files, places
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.flag_words import words_of
from semcom.base.flags import as_record
from semcom.base.progress import Progress
from semcom.base.settings import RunConfig
from semcom.channel import sionna_code
from semcom.channel.channels import make_channel
from semcom.commands import baseline_console, baseline_inputs, baseline_record
from semcom.commands.baseline_inputs import Run
from semcom.commands.baseline_settings import MODULATIONS, BaselineSettings
from semcom.commands.measuring import (
    measures_of,
    title_of,
    without_twins,
)
from semcom.commands.settings import EvaluateSettings
from semcom.data.source_code_settings import LANGUAGE_MODEL
from semcom.data.source_codes import SourceCode
from semcom.evaluation import baseline_bounds, channel_states, coded_baseline, frames
from semcom.evaluation.baseline_bounds import Bounded
from semcom.evaluation.baseline_curves import Curve, Row, Schemes, curves, shown_of, told_once
from semcom.evaluation.coded_baseline import CodedLink, Framing, Offered
from semcom.models import language_model_code
from semcom.models.language_model_code import LanguageModelCode
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report import plots, tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


def baseline(settings: BaselineSettings) -> "pd.DataFrame":
    """A row an SNR of each curve: of every scheme, of the schemes chosen, of the bounds.

    Without Sionna, of the bounds alone.
    """
    evaluation = settings.evaluation
    rising = replace(evaluation, snr=tuple(sorted(set(evaluation.snr))))
    with ExitStack() as held:
        return _baseline(replace(settings, evaluation=rising), held)


def _baseline(settings: BaselineSettings, held: ExitStack) -> "pd.DataFrame":
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    picture = _reserved(settings, held)
    compared = baseline_inputs.Compared.of(settings)
    given = baseline_inputs.given_language_model(settings, compared, device)
    sentences = baseline_inputs.sentences_of(settings, compared)
    codes = baseline_inputs.codes_of(settings, compared, sentences.source, given, device)
    run = Run(settings, compared, sentences, make_channel(settings.channel), codes)

    shares = _shares(run)
    baseline_console.show_shares(run, shares)
    bounds = _bounds(run)
    missing = _missing()
    found = [] if missing else _curves(run)
    shown, alike = told_once(shown_of(found))
    rows = _rows(found, shown, bounds)
    baseline_console.show(run, rows)
    baseline_console.show_alike(alike)
    if settings.evaluation.examples:
        baseline_console.show_examples(run, shown or bounds)
    if missing:
        log.info(f"\nbounds alone: {missing}")
    if picture:
        _write(run, rows, shares, picture, missing, device)
    return rows


def _missing() -> str:
    """Why there is no coded link here; empty where there is one."""
    try:
        sionna_code.require()
    except SemcomError as error:
        return str(error)
    return ""


def _lm_file(settings: BaselineSettings) -> Path | None:
    """Where the language model goes that this run trains."""
    trains = LANGUAGE_MODEL in settings.link.source_code and not settings.lm_code
    return (
        output_files.companion("--output", settings.output, ".lm.pt") if settings.output and trains else None
    )


def _reserved(settings: BaselineSettings, held: ExitStack) -> Path | None:
    """Where the picture goes, once all outputs have a place, whose locks go to ``held``."""
    if not settings.output:
        return None
    picture = output_files.companion("--output", settings.output, ".png")
    outputs = plots.outputs(settings.output, picture)
    outputs["--output (its record)"] = output_files.companion("--output", settings.output, ".json")
    if lm_file := _lm_file(settings):
        outputs["--output (its language model)"] = lm_file
    inputs = baseline_inputs.inputs_of(settings)
    places.reserve_files(outputs, inputs, overwrite=settings.outputs.overwrite, held=held)
    return picture


# --- what is measured


def _shares(run: Run) -> "pd.DataFrame":
    """By source code and modulation."""
    modulations = {name: MODULATIONS[name] for name in run.modulations}
    framing, offered = Framing(crc=run.settings.link.crc), run.sentences.test
    return frames.frame_of(
        row for code in run.codes for row in coded_baseline.shares(offered, code, modulations, framing)
    )


def _curves(run: Run) -> list[Curve]:
    link = run.settings.link
    total = 2 * len(run.codes) * len(run.framings) * len(run.modulations)
    found: list[Curve] = []
    with Progress(total, "coded link", quiet=run.settings.run.quiet) as bar:
        for code in run.codes:
            for framing in run.framings:
                validation, test = (
                    _schemes(run, offered, code, framing, bar)
                    for offered in (run.sentences.validation, run.sentences.test)
                )
                found += curves(validation, test, link.adaptation, str(run.channel))
    return found


def _schemes(run: Run, offered: Offered, code: SourceCode, framing: Framing, bar: Progress) -> Schemes:
    """By each modulation."""
    snrs, scoring = run.settings.evaluation.snr, run.sentences.scoring
    over = CodedLink(offered, run.channel, run.settings.run.seed)
    understood = []
    for name in run.modulations:
        bar.name(f"{code.name} {name}{framing.label}")
        bits = MODULATIONS[name]
        understood.append(coded_baseline.understand(offered, code, bits, framing, over, snrs, scoring))
        bar.advance()
    states = _states(run, offered, code, framing)
    return Schemes(code.name, run.modulations, framing, snrs, understood, states)


def _states(run: Run, offered: Offered, code: SourceCode, framing: Framing) -> np.ndarray:
    """[K, N] in dB."""
    snrs, seed = run.settings.evaluation.snr, run.settings.run.seed
    powers = channel_states.powers(run.channel, offered.encoded, offered.channel_dim, seed)
    lengths = [len(bits) for bits in code.encode_all(offered.texts)]
    return channel_states.states(powers, snrs, framing.members(lengths))


def _bounds(run: Run) -> list[Curve]:
    found: list[Curve] = []
    offered, snrs, seed = run.sentences.test, run.settings.evaluation.snr, run.settings.run.seed
    for code in run.codes:
        for framing in (each for each in run.framings if not each.header_bits and not each.resend):
            states = _states(run, offered, code, framing)
            bounded = Bounded(offered, run.channel, snrs, states, seed)
            found += baseline_bounds.curves(bounded, code, framing, run.sentences.scoring)
    return found


def _rows(found: Sequence[Curve], shown: Sequence[Curve], bounds: Sequence[Curve]) -> "pd.DataFrame":
    """All rows; those of curves that tables and pictures show are marked."""
    codes = {curve.rows[0]["source_code"] for curve in shown[:1]}
    beside = [c for c in bounds if not c.rows[0]["packed"] and c.rows[0]["source_code"] in codes]
    # Without a code, bounds are all that there is.
    marked = {curve.label for curve in [*shown, *(beside if shown else bounds)]}
    rows: list[Row] = [
        {**row, "shown": curve.label in marked} for curve in [*found, *bounds] for row in curve.rows
    ]
    return frames.frame_of(rows)


# --- what is written


def _write(
    run: Run, rows: "pd.DataFrame", shares: "pd.DataFrame", picture: Path, missing: str, device: torch.device
) -> None:
    output, settings = str(run.settings.output), run.settings
    scoring = run.sentences.scoring
    tables.write_csv(output, frames.none_where_missing(rows))
    record = {
        "made_by": baseline_record.MADE_BY,
        **as_record(settings.link, settings.training, settings.evaluation, settings.corpus, settings.run),
        **_met(run),
        "like": run.compared.name,
        "corpus_name": run.sentences.source.name,
        "vocabulary_fingerprint": run.compared.vocabulary.fingerprint,
        "source_codes": {code.name: code.fingerprint for code in run.codes},
        "validation_sentences": len(run.sentences.validation.encoded),
        "symbols_by_sentence": _symbols_by_sentence(run.sentences.test),
        "shares": shares,
        "bounds_alone": missing or None,
        **environment(device),
    }
    record_file = output_files.companion("--output", output, ".json")
    output_files.write_json(record_file, frames.plain_values(record))
    made = [output, picture, record_file]
    if lm_file := _lm_file(settings):
        for code in run.codes:
            if isinstance(code, LanguageModelCode):
                language_model_code.write(code, lm_file)
                made.append(lm_file)
    measured = [
        each for each in measures_of(scoring, run.sentences.test.texts) if rows[each.name].notna().any()
    ]
    shown = without_twins(measured, rows)
    titles = {measure.name: title_of(measure, scoring) for measure in shown}
    shown_rows = rows[rows["shown"]]
    plots.plot_by_snr(shown_rows, titles, picture, kinds=baseline_record.kinds_of(shown_rows))
    log.info(f"\nmade {', '.join(escape(each) for each in made)}")
    log.info(f"next: {_evaluated(settings)}")


def _met(run: Run) -> dict[str, object]:
    sentences, settings = run.sentences, run.settings
    return baseline_record.met(
        sentences.test,
        sentences.source.fingerprint,
        settings.evaluation.split,
        run.channel,
        settings.run.seed,
        sentences.scoring,
    )


def _symbols_by_sentence(offered: Offered) -> dict[str, int]:
    """Id -> complex symbols, S·C/2."""
    return {f"{e.sentence.id:016x}": symbols for e, symbols in zip(offered.encoded, offered.symbols)}


def _evaluated(settings: BaselineSettings) -> str:
    """What a person would type to have the transceiver beside these curves."""
    asked = EvaluateSettings(
        checkpoints=("CHECKPOINT" if settings.vocab else settings.like or DEFAULT_TEACHER,),
        baseline=(str(settings.output),),
        evaluation=replace(settings.evaluation, examples=0),
        corpus=settings.corpus,
        channel=settings.channel,
        run=RunConfig(seed=settings.run.seed),
    )
    return shlex.join(["python", "-m", "semcom", "evaluate", *words_of(asked)])
