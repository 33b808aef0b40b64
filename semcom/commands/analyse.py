"""The verb behind ``semantic_analysis.py``: find runs, measure who diverges from whom, write the divergence
report."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import torch

from semcom.base import distributed, output_files, places
from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import escape
from semcom.base.places import Place
from semcom.channel.channels import make_channel
from semcom.channel.settings import is_noisy
from semcom.commands import alignment_files, analysis_console, analysis_report, analysis_results, chosen_way
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.analysis_report import RESULTS
from semcom.commands.analysis_results import Analysis, Record, record_of
from semcom.commands.inputs import load_corpus, load_teacher, shipped
from semcom.commands.ladders import found_under
from semcom.commands.measuring import (
    foreign_splits,
    labels,
    scoring_of,
    tell_losses,
    test_split,
    texts_of,
    validation_split,
)
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.commands.runs import Found, by_teacher, history, load_group
from semcom.data import batching, corpus, fit
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import Vocabulary
from semcom.data.word_vocabulary import WordVocabulary
from semcom.evaluation import bootstrap, calibration, measures, pair_matrix, yardsticks
from semcom.evaluation.dialled import DIAL
from semcom.evaluation.pairs import Pairing, Run, pair_up
from semcom.evaluation.results import Measured
from semcom.evaluation.scores import Meeting
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report import compose, render
from semcom.report.document import Document
from semcom.report.sections.alignment import Alignment

log = logging.getLogger(__name__)

REPORT = "checkpoints/report"
CACHE = "checkpoints/cache"
TEXT_MEASURES = ("bleu", "chrf", "exact", "exact_as_written")
"""Of a checkpoint whose tokens do not compare."""
Groups = dict[str | None, list[Found]]
"""The file of a teacher -> the checkpoints made from it."""


def _places(settings: AnalysisSettings) -> list[Place]:
    """Of the results, and of the report if it is wanted."""
    output, folder = settings.files.output, settings.report.report_dir
    overwrite = settings.outputs.overwrite
    named = output is not None and not settings.keep_earlier
    wanted = [Place("--output", output or RESULTS, named, overwrite, folder=False)]
    if not settings.report.no_report:
        named = folder is not None and not settings.keep_earlier
        place = Place("--report-dir", folder or REPORT, named, overwrite, folder=True)
        wanted.append(replace(place, own=analysis_report.own_files(Path(place.path))))
    return wanted


def analyse(settings: AnalysisSettings) -> list[Record]:
    """Divergence of each run's best student (or of each given checkpoint) from its teacher; the report, or
    records alone."""
    with ExitStack() as held:
        return _analyse(settings, held)


def _analyse(settings: AnalysisSettings, held: ExitStack) -> list[Record]:
    keep_freed_memory()
    device = resolve_device(settings.run.device)
    together = distributed.join(device)
    alignments = together.from_main(_alignments, settings)
    groups, used, whole, test, scoring, reserved = together.from_main(_prepare, settings, held)
    evaluation, way = together.from_main(_decided, settings, groups, test, device)
    settings = replace(settings, corpus=used, evaluation=evaluation)
    analysis = Analysis(settings, whole, len(test), device, scoring, way, alignments=alignments)
    for teacher_file, group in groups.items():
        teacher, runs = together.from_main(load_group, teacher_file, group, settings.files.teacher_checkpoint)
        others = together.from_main(_other_teachers, groups, teacher_file)
        _warn_of_unknown(analysis, teacher, runs)
        for channel in settings.channels:
            meeting = Meeting(
                make_channel(channel),
                settings.snrs,
                settings.run.seed,
                device,
                settings.evaluation.eval_batch_size,
                settings.run.quiet,
                together,
                analysis.search,
                scoring,
            )
            _measure_group(analysis, teacher, runs, others, test, meeting)
    if together.is_main:
        # What was dialled was not trained itself; the run it comes from has the epochs.
        trained = [found for group in groups.values() for found in group if DIAL not in found.made]
        histories = {found.label: history(found) for found in trained}
        _publish(analysis, {label: epochs for label, epochs in histories.items() if epochs}, reserved)
    return analysis.records


def _alignments(settings: AnalysisSettings) -> list[Alignment]:
    return [alignment_files.read(folder) for folder in settings.files.alignment]


def _decided(
    settings: AnalysisSettings, groups: Groups, test: Sequence[corpus.Sentence], device: torch.device
) -> tuple[EvaluationConfig, str]:
    """With what ``--compile`` comes to for so many pairs, and the line about it."""
    teacher = load_teacher(next(iter(groups)))
    pairs = len(settings.channels) * sum(len(group) + 1 for group in groups.values())
    tokens = chosen_way.target_tokens(batching.encode(test, teacher.vocabulary, leave_out_long=True))
    return chosen_way.decided(settings.evaluation, [teacher.model] * pairs, tokens, device)


def _prepare(
    settings: AnalysisSettings, held: ExitStack
) -> tuple[Groups, CorpusConfig, corpus.Corpus, list[corpus.Sentence], TextScoring, list[Place]]:
    """Checkpoints by the file of their teacher, the sentences to measure on and how they are scored, the
    places of results and report; all that can be refused is refused here. Locks go to ``held``."""
    analysis_report.check_columns(settings.report.columns)
    given = _given(settings)
    groups = by_teacher(given, settings.files.teacher_checkpoint)
    teachers = [shipped(path or DEFAULT_TEACHER) for path in groups]
    wanted = _places(settings)
    used = corpus_of_runs(settings.corpus, [found.made for found in given])
    inputs = [*(found.path for found in given), *teachers, *used.corpus, *settings.files.alignment]
    output_files.check_outputs({place.flag: place.path for place in wanted}, inputs)
    reserved = places.reserve(wanted, held)
    whole = load_corpus(used, _word_vocabulary(groups), quiet=settings.run.quiet)
    evaluation = settings.evaluation
    for line in foreign_splits(
        [(escape(found.label), found.made) for found in given], used, evaluation.split
    ):
        log.info(line)
    test = test_split(whole, evaluation.sentences, evaluation.split)
    made = [found.made.get("language") for found in given]
    scoring = scoring_of(evaluation, whole.language, [sentence.text for sentence in test], made)
    return groups, used, whole, test, scoring, reserved


def _given(settings: AnalysisSettings) -> list[Found]:
    """The checkpoints named, or those of all finished runs and ladders."""
    paths = settings.checkpoints
    if not paths:
        return found_under(settings.files.runs)
    return [Found(label, path, checkpoint.load(path).config) for label, path in zip(labels(paths), paths)]


def _other_teachers(groups: Groups, teacher_file: str | None) -> list[Run]:
    """Those of the other groups."""
    files = [path for path in groups if path != teacher_file]
    loaded = {path: load_teacher(path) for path in files}
    return [Run(str(path or DEFAULT_TEACHER), teacher, teacher.config) for path, teacher in loaded.items()]


def _warn_of_unknown(analysis: Analysis, teacher: Checkpoint, runs: Sequence[Run]) -> None:
    """Of vocabularies of pieces; one of words had its line when the corpus was read."""
    vocabularies = {c.vocabulary.fingerprint: c.vocabulary for c in (teacher, *(r.checkpoint for r in runs))}
    texts = analysis.corpus.sentences.texts
    for vocabulary in vocabularies.values():
        if not isinstance(vocabulary, WordVocabulary):
            for line in fit.lines_about(vocabulary, texts, analysis.settings.corpus.corpus):
                log.info(line)


def _measure_group(
    analysis: Analysis,
    teacher: Checkpoint,
    runs: Sequence[Run],
    others: Sequence[Run],
    test: Sequence[corpus.Sentence],
    meeting: Meeting,
) -> None:
    """A teacher and its runs through one channel. others: teachers that may be its yardsticks."""
    native = [run for run in runs if _joins(teacher, run.checkpoint)]
    study = _measure(analysis, teacher, native, others, test, meeting)
    analysis.studies.append(study)
    analysis.teachers.append(teacher)
    analysis.records += [record_of(run, teacher, study) for run in native]
    replicates = analysis.settings.report.replicates
    analysis.other_vocabularies += [
        _measure_alone(run, test, meeting, replicates) for run in runs if run not in native
    ]


def _word_vocabulary(groups: Groups) -> WordVocabulary | None:
    """The first one of words among the checkpoints: all are then measured on the text that it makes of the
    corpus."""
    known: set[object] = set()
    for teacher_file, group in groups.items():
        vocabulary = load_teacher(teacher_file).vocabulary
        for found in (None, *group):
            if found and found.made.get("vocabulary_fingerprint") in known:
                continue
            if found:
                vocabulary = checkpoint.load(found.path).vocabulary
            if isinstance(vocabulary, WordVocabulary):
                return vocabulary
            known.add(vocabulary.fingerprint)
    return None


def _joins(teacher: Checkpoint, other: Checkpoint) -> bool:
    return (
        teacher.vocabulary.fingerprint == other.vocabulary.fingerprint
        and teacher.model.architecture.channel_dim == other.model.architecture.channel_dim
    )


def _measure(
    analysis: Analysis,
    teacher: Checkpoint,
    runs: Sequence[Run],
    others: Sequence[Run],
    test: Sequence[corpus.Sentence],
    meeting: Meeting,
) -> Study:
    settings = analysis.settings
    who = pair_up(teacher, runs, settings.report.matrix)
    yardsticks.add(who, teacher, others, noisy=is_noisy(meeting.channel.name))
    if settings.report.no_report:
        asked = (who.reference, who.noise, *who.own.values())
        who.pairs = list({pair.key: pair for pair in asked}.values())
    encoded = batching.encode(test, teacher.vocabulary, leave_out_long=True)
    tell_losses(teacher.vocabulary, texts_of(encoded), meeting.scoring)
    return Study(
        who,
        _measure_pairs(analysis, who, encoded, teacher.vocabulary, meeting),
        str(meeting.channel),
        is_noisy(meeting.channel.name),
        settings.report.reference_snr,
        settings.report.replicates,
        settings.run.seed,
        teacher.vocabulary.decode,
        analysis.corpus.language,
    )


def _measure_pairs(
    analysis: Analysis,
    who: Pairing,
    encoded: Sequence[batching.Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
) -> Measured:
    settings = analysis.settings
    reference_snr = settings.report.reference_snr
    with pair_matrix.progress_of(who.pairs, encoded, meeting) as bar:
        bar.name("calibrating")
        held_out = _fitted_on(analysis, [e.sentence for e in encoded])
        validation = batching.encode(held_out, vocabulary, leave_out_long=True)
        # Short; the one bar is of what is long.
        silent = replace(meeting, quiet=True)
        temperatures = calibration.fit(who.pairs, who.reference, validation, silent, reference_snr)
        bar.name(pair_matrix.MEASURING)
        return pair_matrix.measure(
            who.pairs,
            who.reference,
            encoded,
            vocabulary,
            meeting,
            cka_snr=reference_snr,
            cache=None if settings.report.no_report else CACHE,
            temperatures=temperatures,
            bar=bar,
        )


def _fitted_on(analysis: Analysis, measured: Sequence[corpus.Sentence]) -> list[corpus.Sentence]:
    """Sentences for the temperatures of pairs; none where the whole corpus is measured."""
    if analysis.settings.evaluation.split == "all":
        return []
    return validation_split(analysis.corpus, calibration.SENTENCES, measured)


def _measure_alone(run: Run, test: Sequence[corpus.Sentence], meeting: Meeting, replicates: int) -> list[Row]:
    """Text measures of a checkpoint whose tokens do not compare with the teacher's."""
    who = pair_up(run.checkpoint, [], teacher_label=run.label)
    encoded = batching.encode(test, run.checkpoint.vocabulary, leave_out_long=True)
    measured = pair_matrix.measure(
        [who.reference],
        None,
        encoded,
        run.checkpoint.vocabulary,
        meeting,
        cka_snr=meeting.snrs[0],
        cache=None,
    )
    sums = measured.pairs[who.reference.key].sums
    weights = bootstrap.resamples(len(encoded), replicates, meeting.seed)
    values = measures.of_sums(weights @ sums)
    return [
        {
            "pair": run.label,
            "channel": str(meeting.channel),
            "snr": float(snr),
            "vocabulary": str(run.checkpoint.vocabulary),
            **{name: bootstrap.interval(values[name][k]) for name in TEXT_MEASURES},
        }
        for k, snr in enumerate(meeting.snrs)
    ]


def _publish(analysis: Analysis, histories: Mapping[str, Sequence[Row]], reserved: Sequence[Place]) -> None:
    """Results as JSON and on the console and, unless it is not wanted, the report. What is there already is
    set aside when all is measured."""
    settings, results = analysis.settings, analysis_results.results_of(analysis)
    document: Document | None = None
    if settings.report.no_report:
        results["studies"] = analysis_results.studies_as_json(analysis)
    else:
        contents = analysis_report.contents_of(analysis, histories)
        document = compose.compose(contents, settings.report.lang)
        results["studies"] = analysis_report.studies_as_json(analysis, contents)
        results["report_files"] = render.names(document)
    places.make_room(reserved)
    output, *report = reserved
    output_files.write_json(output.working, results)
    if document:
        (folder,) = report
        output_files.write_json(folder.working / RESULTS, results)
        analysis_report.write(document, contents, folder.working, settings.report)
    places.publish(reserved)
    analysis_console.show(analysis, document, [Path(place.path) for place in reserved])
