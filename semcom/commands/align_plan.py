"""What an alignment is asked for: two ends that join, pilots, sentences to measure on, a folder."""

import logging
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semcom import __version__
from semcom.base import output_files, places
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.base.places import Place
from semcom.base.progress import Progress
from semcom.channel.channels import make_channel
from semcom.commands import alignment_files, chosen_way
from semcom.commands.align_settings import ALIGNMENT, AlignSettings
from semcom.commands.inputs import SECONDS_UNSHOWN, load_corpus, split_of
from semcom.commands.measuring import (
    REFERENCE_PREFERRED,
    foreign_splits,
    languages_of,
    nearest,
    scoring_of,
    tell_losses,
    test_split,
    texts_of,
)
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.data import batching, kept_corpora
from semcom.data.batching import Encoded
from semcom.data.corpus import Corpus
from semcom.data.encoded_corpus import EncodedCorpus, encode_corpus
from semcom.distillation.aligner_settings import EQUAL_C, NEED_TEXTS, WAYS
from semcom.evaluation.alignment import Plan
from semcom.evaluation.alignment_parts import Parts
from semcom.evaluation.pilots import Ends, chosen_pilots
from semcom.evaluation.scores import Meeting
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Prepared:
    """Ends, what they are measured on, and where it is written. settings: with the corpus that is read. way:
    the line about what decodes. parts: what an earlier run that was stopped has finished."""

    settings: AlignSettings
    sender: Checkpoint
    listener: Checkpoint
    plan: Plan
    corpus: Corpus
    way: str
    place: Place
    parts: Parts


def prepare(settings: AlignSettings, device: torch.device, held: ExitStack) -> Prepared:
    """All that can be refused is refused here. Locks go to ``held``."""
    sender = checkpoint.load(settings.transmitter, "--transmitter")
    listener = checkpoint.load(settings.receiver, "--receiver")
    _check_ends(settings, sender, listener)
    settings = replace(settings, corpus=corpus_of_runs(settings.corpus, [sender.config, listener.config]))
    place = _place(settings)
    inputs = [settings.transmitter, settings.receiver, *settings.corpus.corpus]
    output_files.check_outputs({"--output-path": place.path}, inputs)
    _check_no_input_inside(Path(place.path), inputs)
    (place,) = places.reserve([place], held)
    source = load_corpus(settings.corpus, listener.vocabulary, quiet=settings.run.quiet)
    models = [(c.name, c.config) for c in (sender, listener)]
    for line in foreign_splits(models, settings.corpus, settings.evaluation.split):
        log.info(line)
    plan, way = _plan(settings, sender, listener, source, device)
    parts = Parts(unfinished_of(place), _key(settings, sender, listener, plan, source))
    output_files.clear_temporaries(unfinished_of(place), lambda name: True)
    return Prepared(settings, sender, listener, plan, source, way, place, parts)


def unfinished_of(place: Place) -> Path:
    """Where finished parts are kept: beside the output, which may be set aside or replaced."""
    return place.real.with_name(f".{place.real.name}.measured")


def _key(
    settings: AlignSettings, sender: Checkpoint, listener: Checkpoint, plan: Plan, source: Corpus
) -> dict[str, object]:
    """All that each part depends on, in plain values."""
    meeting = plan.meeting
    return {
        **as_record(settings.tuning, settings.channel),
        "ends": [sender.fingerprint, listener.fingerprint],
        "corpus": source.fingerprint,
        "sentences": [e.sentence.id for e in plan.test],
        "pilots": list(plan.counts),
        "pilot_choice": settings.pilot_choice,
        "map_snr": settings.map_snr,
        "snr": list(meeting.snrs),
        "seed": meeting.seed,
        "batch": meeting.batch_size,
        "search": [meeting.search.key, meeting.search.compiled],
        "scoring": meeting.scoring.key,
        "device": str(meeting.device),
        "threads": torch.get_num_threads(),
        "versions": [__version__, torch.__version__],
    }


def _check_ends(settings: AlignSettings, sender: Checkpoint, listener: Checkpoint) -> None:
    checkpoint.check_same_vocabulary(sender, listener)
    if listener.model.architecture.aligner is not None:
        raise SemcomError(
            f"--receiver {listener.name}: stands behind an aligner already; give the checkpoint that it was "
            "made of"
        )
    ours, theirs = (c.model.architecture.channel_dim for c in (sender, listener))
    refused = [way for way in settings.by if way in EQUAL_C]
    if ours != theirs and refused:
        others = " ".join(way for way in WAYS if way not in EQUAL_C)
        raise SemcomError(
            f"--by {refused[0]}: needs one signal width C, {sender.name} has {ours} and {listener.name} "
            f"{theirs}; ways that change it: {others}"
        )


def _place(settings: AlignSettings) -> Place:
    path, overwrite = settings.output_path, settings.outputs.overwrite
    place = Place("--output-path", path or ALIGNMENT, path is not None, overwrite, folder=True)
    return replace(place, own=alignment_files.OWN)


def _check_no_input_inside(folder: Path, inputs: Sequence[str]) -> None:
    """Raise SemcomError for an input that would be set aside or replaced with the folder."""
    whole = os.path.join(os.path.realpath(folder), "")
    for path in inputs:
        if os.path.realpath(path).startswith(whole):
            raise SemcomError(
                f"--output-path {escape(folder)}: holds {escape(path)}, an input of this alignment; name "
                "another"
            )


def _plan(
    settings: AlignSettings, sender: Checkpoint, listener: Checkpoint, source: Corpus, device: torch.device
) -> tuple[Plan, str]:
    evaluation, vocabulary = settings.evaluation, listener.vocabulary
    chosen = test_split(source, evaluation.sentences, evaluation.split)
    test = batching.encode(chosen, vocabulary, leave_out_long=True)
    if len(test) < 2:
        raise SemcomError(
            f"{escape(source.name)}: {len(test)} {evaluation.split} sentences to measure on, at least 2 are "
            "wanted; give a larger --corpus-size or --sentences"
        )
    scoring = scoring_of(evaluation, source.language, texts_of(test), languages_of([sender, listener]))
    tell_losses(vocabulary, texts_of(test), scoring)
    pairs = [listener.model] * (2 * len(settings.by) * len(settings.pilots) * settings.draws + 4)
    search, way = chosen_way.search_for(evaluation, pairs, chosen_way.target_tokens(test), device)
    snrs = tuple(sorted(set(evaluation.snr)))
    meeting = Meeting(
        make_channel(settings.channel),
        snrs,
        settings.run.seed,
        device,
        evaluation.eval_batch_size,
        settings.run.quiet,
        search=search,
        scoring=scoring,
    )
    plan = Plan(
        Ends(sender.model, listener.model),
        settings.by,
        tuple(sorted(settings.pilots)),
        _pilots(settings, source, listener),
        _texts(settings, source, listener),
        test,
        vocabulary,
        meeting,
        nearest(snrs, REFERENCE_PREFERRED),
        settings.tuning,
        settings.map_snr == "range",
    )
    return plan, way


def _pilots(settings: AlignSettings, source: Corpus, listener: Checkpoint) -> list[list[Encoded]]:
    """Of each draw, as many as the largest number asked for."""
    train, most = split_of(source, "train"), max(settings.pilots)
    drawn = [
        chosen_pilots(
            settings.pilot_choice,
            train,
            listener.vocabulary,
            most,
            seed=settings.run.seed,
            number=number,
        )
        for number in range(settings.draws)
    ]
    if min(map(len, drawn)) < most:
        raise SemcomError(
            f"--pilots {most}: the training split has {len(drawn[0]):,} sentences short enough; give fewer, "
            "or a larger --corpus-size"
        )
    return drawn


def _texts(settings: AlignSettings, source: Corpus, listener: Checkpoint) -> Sequence[Encoded]:
    """The training split, where a way needs it."""
    if not set(settings.by).intersection(NEED_TEXTS):
        return ()
    train = split_of(source, "train")

    def encoded() -> EncodedCorpus:
        with Progress(len(train), "encoding", quiet=settings.run.quiet, delay=SECONDS_UNSHOWN) as bar:
            return encode_corpus(train, listener.vocabulary, bar.advance)

    return kept_corpora.encoding_of(source, listener.vocabulary, encoded)
