"""The verb ``dial``: hybrids whose divergence from the teacher is the one asked for."""

import logging
import math
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from semcom import __version__
from semcom.base import output_files, places
from semcom.base.advice import path_word
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.base.places import Place
from semcom.channel.settings import ChannelConfig
from semcom.commands import chosen_way, dial_files, dial_ladder
from semcom.commands.dial_files import price_of
from semcom.commands.dial_ladder import DialledLadder, FurtherText, Plan, target_label
from semcom.commands.dial_path import Dialled, path_between, path_of_run
from semcom.commands.dial_settings import CODE_DRIFT, LADDER, LADDER_FILES, DialSettings
from semcom.commands.dial_state import LadderState, own_files, resumed
from semcom.commands.inputs import check_topics, load_corpus, read_corpus, split_of
from semcom.commands.measuring import (
    RECEIVER_KNOWS,
    foreign_splits,
    languages_of,
    scoring_of,
    texts_of,
)
from semcom.commands.recorded_corpus import corpus_of_runs, recorded_corpus
from semcom.commands.run_record import is_finished
from semcom.data import batching
from semcom.data.batching import Encoded
from semcom.data.corpus import Corpus, Sentence
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation import frames
from semcom.evaluation.settings import TargetConfig
from semcom.evaluation.snr_gap import Price
from semcom.models.checkpoint import fingerprint_of
from semcom.report import tables

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Outcome:
    """What a dial left. hybrids: target -> file. table: a row a target, as in ladder.csv."""

    folder: Path
    hybrids: dict[float, Path]
    record: dict[str, object]
    table: "pd.DataFrame"


# Seven arguments: a run, its targets, and what these are values of; callers name all but two.
def dial(
    source: str,
    targets: Sequence[float],
    *,
    output_path: str,
    measure: str = "kl_divergence",
    reference_snr: float = 12.0,
    channel: str = "awgn",
    overwrite: bool = False,
) -> Outcome:
    """``python -m semcom dial``: a hybrid for each of the ``targets``, of the finished run in the folder
    ``source``.

    measure, reference_snr, channel: what the targets are values of; for other settings make ``DialSettings``
    and call ``run``. Raises SemcomError with the line that the command would print.
    """
    settings = DialSettings(source=source, target=tuple(targets), output_path=output_path)
    asked = TargetConfig(target_measure=measure, reference_snr=reference_snr)
    outputs = replace(settings.outputs, overwrite=overwrite)
    return run(replace(settings, ask=asked, channel=ChannelConfig(channel=channel), outputs=outputs))


def run(settings: DialSettings) -> Outcome:
    """Search the path for the targets, measure what is found on test sentences, write a hybrid for each."""
    started = time.monotonic()
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    dialled, source = _dialled(settings)
    settings = replace(settings, corpus=corpus_of_runs(settings.corpus, [dialled.made]))
    plan = plan_of(settings, dialled, source, device)
    if dialled.made.get("distill_part") == "full":
        log.warning(CODE_DRIFT)
    folder = Path(settings.output_path or LADDER)
    files = {target: folder / f"hybrid_{target_label(target)}.pt" for target in plan.targets}
    inputs = [dialled.teacher.path, dialled.best.path, *settings.corpus.corpus]
    inputs += [path for path in (settings.source, settings.from_) if path]
    output_files.check_outputs({"--output-path": folder}, inputs)
    _check_no_input_inside(folder, inputs)
    named, overwrite = settings.output_path is not None, settings.outputs.overwrite
    place = Place("--output-path", folder, named, overwrite, folder=True, own=own_files(folder))
    with ExitStack() as held:
        place, state = resume_or_begin(plan, place, held)
        ladder, outcome = make(plan, state, files, record_of(settings, device))
        places.publish([place])
        state.folder = outcome.folder
        state.finish()
    show(ladder, outcome, started)
    return outcome


def _check_no_input_inside(folder: Path, inputs: Sequence[str]) -> None:
    """Raise SemcomError for an input that would be set aside or replaced with the folder."""
    whole = os.path.join(os.path.realpath(folder), "")
    for path in inputs:
        if os.path.realpath(path).startswith(whole):
            raise SemcomError(
                f"--output-path {escape(folder)}: holds {escape(path)}, an input of this ladder; name another"
            )


def _dialled(settings: DialSettings) -> tuple[Dialled, str]:
    """What is dialled, and its name."""
    if settings.source is not None:
        dialled = path_of_run(settings.source, settings.path, settings.teacher_checkpoint)
        if not is_finished(settings.source):
            log.warning(f"{escape(settings.source)}: the run is unfinished; it is dialled as it is")
        return dialled, settings.source
    assert settings.from_ and settings.to  # the settings hold to it
    dialled = path_between(settings.from_, settings.to, settings.teacher_checkpoint)
    return dialled, f"{settings.from_} to {settings.to}"


def plan_of(settings: DialSettings, dialled: Dialled, source: str, device: torch.device) -> Plan:
    """With the sentences, read and encoded."""
    check_topics(settings.ask.target_topics)
    vocabulary = dialled.teacher.vocabulary
    read = load_corpus(settings.corpus, vocabulary, quiet=settings.run.quiet)
    models = [(c.name, c.config) for c in (dialled.teacher, dialled.best)]
    for line in foreign_splits(models, settings.corpus):
        log.info(line)
    validation = _encoded(read, "validation", settings.ask, vocabulary)
    test = _encoded(read, "test", settings.ask, vocabulary, settings.evaluation.sentences)
    senders, tokens = [dialled.teacher.model], chosen_way.target_tokens(test)
    plan = Plan(
        dialled,
        source,
        tuple(sorted(settings.target)),
        settings.ask,
        settings.channel,
        *chosen_way.decided(settings.evaluation, senders, tokens, device),
        validation,
        test,
        read,
        _further_text(settings, dialled),
        scoring_of(settings.evaluation, read.language, texts_of(test), languages_of([dialled.teacher])),
        settings.run.seed,
        device,
        settings.run.quiet,
    )
    _announce(plan)
    return plan


def _encoded(
    read: Corpus, split: str, ask: TargetConfig, vocabulary: Vocabulary, most: int | None = None
) -> list[Encoded]:
    """At least two: of a single one there is no standard error."""
    encoded = batching.encode(_chosen(read, split, ask)[:most], vocabulary, leave_out_long=True)
    if len(encoded) < 2:
        raise SemcomError(
            f"{escape(read.name)}: {len(encoded)} {split} sentences to measure on, at least 2 are wanted; "
            "give a larger --corpus-size or --sentences, or more --target-topics"
        )
    return encoded


def _further_text(settings: DialSettings, dialled: Dialled) -> FurtherText:
    """Of the run's record, which is checked value by value."""
    made = dialled.made
    topics = made.get("topics_seen")
    if isinstance(topics, list):
        return FurtherText(topics=frozenset(topic for topic in topics if isinstance(topic, str)))
    learned = recorded_corpus(made)
    if dialled.path.kind != "knowledge" or learned is None or not learned.corpus:
        return FurtherText()
    whole = replace(learned, corpus_size=settings.corpus.corpus_size)
    text = read_corpus(whole, dialled.teacher.vocabulary)
    return FurtherText(ids=frozenset(text.sentences.ids.tolist()))


def _chosen(read: Corpus, split: str, ask: TargetConfig) -> list[Sentence]:
    """Of the topics asked for, in an order that has nothing to do with what they say."""
    sentences: Sequence[Sentence] = split_of(read, split)
    if ask.target_topics:
        sentences = [sentence for sentence in sentences if sentence.topic in ask.target_topics]
    if not sentences:
        raise SemcomError(
            f"--target-topics {' '.join(ask.target_topics)}: no {split} sentence of {escape(read.name)} is "
            "of these; leave it out"
        )
    return sorted(sentences, key=lambda sentence: sentence.id)


def _announce(plan: Plan) -> None:
    dialled = plan.dialled
    log.info(
        f"dialling {escape(plan.source)}: {dialled.path.kind} path ({' → '.join(dialled.path.labels)}), "
        f"divergence from {dialled.teacher.name}\n"
        f"targets {' '.join(map(target_label, plan.targets))}: {plan.where}"
    )
    if len(plan.targets) > 1:
        log.info("the hybrids of one ladder are measured on the same sentences: they are not independent")


def resume_or_begin(plan: Plan, place: Place, held: ExitStack) -> tuple[Place, LadderState]:
    """The place reserved, and the state of the same ladder that was left unfinished there, or an empty one,
    which makes room for its outputs as soon as it has some."""
    key = key_of(plan)
    (begun,) = places.reserve([replace(place, resume=True)], held)
    if found := resumed(begun.working, key, place.overwrite):
        readings = f"going on with {len(found.readings)} readings"
        log.info(f"{escape(place.path)}: an unfinished ladder, {readings}")
        found.written_at = begun.within
        return begun, found
    anew = place.reserved()
    make_room = partial(places.make_room, [anew])
    return anew, LadderState(anew.working, key, make_room=make_room, written_at=anew.within)


def key_of(plan: Plan) -> dict[str, object]:
    """All that the readings of a path depend on, in plain values."""
    path = plan.dialled.path
    return {
        "target": list(plan.targets),
        **as_record(plan.ask, plan.channel),
        "snr": list(plan.evaluation.snr),
        "sentences": plan.evaluation.sentences,
        "eval_batch_size": plan.evaluation.eval_batch_size,
        "beam_width": plan.evaluation.beam_width,
        "length_penalty": plan.evaluation.length_penalty,
        "scoring": plan.scoring.key,
        "seed": plan.seed,
        "corpus": plan.corpus.fingerprint,
        "semcom": __version__,
        "teacher": plan.dialled.teacher.fingerprint,
        "path": [path.kind, *map(fingerprint_of, path.snapshots)],
        "device": str(plan.device),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }


def make(
    plan: Plan, state: LadderState, files: Mapping[float, Path], made_by: Mapping[str, object]
) -> tuple[DialledLadder, Outcome]:
    """Search, measure, write where the ``state`` is. files: target -> its hybrid's. made_by: settings and
    machine."""
    scan, found = dial_ladder.search(plan, state)
    ladder = dial_ladder.climb(plan, scan, found, state.cache)
    record = dial_files.write(ladder, files, state, made_by)
    folder = next(iter(files.values())).parent
    return ladder, Outcome(folder, dict(files), record, dial_files.frame_of(record))


def record_of(settings: DialSettings, device: torch.device) -> dict[str, object]:
    groups = (settings.ask, settings.evaluation, settings.corpus, settings.channel, settings.run)
    return {
        "settings": {
            "source": settings.source,
            "from": settings.from_,
            "to": settings.to,
            "path": settings.path,
            "target": list(settings.target),
            **as_record(*groups),
        },
        "environment": environment(device),
    }


# --- the end


def show(ladder: DialledLadder, outcome: Outcome, started: float) -> None:
    lines = [
        *table_of(ladder),
        "",
        *(f"made {escape(file)}" for file in outcome.hybrids.values()),
        f"the ladder is in {escape(outcome.folder)}: {', '.join(LADDER_FILES)}; "
        f"{time.monotonic() - started:,.0f} s in all",
        f"next: python semantic_analysis.py --runs {path_word(outcome.folder)}",
    ]
    log.info("\n".join(lines))


def table_of(ladder: DialledLadder) -> list[str]:
    """Lines: what was asked for and what was reached, and of what these are values."""
    plan = ladder.plan
    tested = f"{len(plan.test):,} test sentences"
    return [
        f"\n{plan.target.title}: asked and reached; {plan.where}, on {tested}; {RECEIVER_KNOWS}",
        _table(ladder),
        *_by_text(ladder),
        f"BLEU and price on {len(ladder.study.measured.encoded):,} of them; {plan.scoring}",
    ]


def _table(ladder: DialledLadder) -> str:
    study, rows = ladder.study, []
    for rung in ladder.rungs:
        own = study.pairing.own[target_label(rung.target)]
        price = price_of(ladder, rung)
        rows.append(
            [
                target_label(rung.target),
                f"{rung.found.reading.value:.4g}",
                f"{rung.value.value:.4g} [{rung.value.low:.3g}, {rung.value.high:.3g}]",
                f"{rung.found.reading.place:.4f}",
                f"{study.values(own)['bleu'][study.at_reference, 0]:.2f}",
                _price_told(price),
            ]
        )
    theirs = study.values(study.pairing.reference)["bleu"][study.at_reference, 0]
    rows.append(["teacher", "", "", "", f"{theirs:.2f}", ""])
    bleu = f"BLEU {study.reference_snr:g} dB"
    titles = ["asked", "validation", "test [95 %]", "place", bleu, "price, dB [95 %]"]
    return tables.text(frames.frame_of(rows, titles))


def _price_told(price: Price | None) -> str:
    if price and price.gap:
        return f"{price.gap:.2f}"
    return f"above {price.at_least:.1f}" if price and math.isfinite(price.at_least) else ""


def _by_text(ladder: DialledLadder) -> list[str]:
    """On a knowledge path, what the student was trained further on and other text apart."""
    lines = []
    for rung in ladder.rungs:
        parts = [
            f"{name} {value:.4g} ({count / len(ladder.plan.test):.0%} of the sentences)"
            for name, (count, value) in rung.by_text.items()
        ]
        lines += [f"{target_label(rung.target)}: {', '.join(parts)}"] if parts else []
    return lines
