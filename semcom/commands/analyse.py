"""The verb behind ``semantic_analysis.py``: find runs, measure who diverges from whom, write the divergence
report."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from semcom.base import distributed, output_files
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import as_record
from semcom.base.messages import N_
from semcom.base.output_files import Place
from semcom.channel.channels import make_channel
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.inputs import LOSS_SETTINGS, load_corpus, load_teacher, shipped
from semcom.commands.measuring import (
    RECEIVER_KNOWS,
    corpus_of_runs,
    described,
    foreign_splits,
    labels,
    test_split,
)
from semcom.commands.runs import Found, by_teacher, history, load_group, runs_under
from semcom.data import batching, corpus
from semcom.data.settings import CorpusConfig
from semcom.data.vocabulary import EOS, WordVocabulary
from semcom.evaluation import bootstrap, intervals, lost_words, measures, pair_matrix
from semcom.evaluation import sentence_similarity as embeddings
from semcom.evaluation.pairs import Run, pair_up
from semcom.evaluation.scores import Meeting, least_sure
from semcom.evaluation.study import Row, Study
from semcom.evaluation.text_metrics import bleu_signature
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report import compose, figures, formats, render, tables
from semcom.report.sections.common import Similarities, TemperatureEffect

log = logging.getLogger(__name__)

RESULTS = "semantic_analysis_results.json"
REPORT = "checkpoints/report"
CACHE = "checkpoints/cache"
RECORDED = ("temperature", "distill_weight", "distill_part", "student_layers", "hybrid_parts", *LOSS_SETTINGS)
TEMPERATURES = (1.0, 2.0, 4.0, 8.0, 16.0)
PIECES_SHOWN = 8


def _places(survey: AnalysisSettings) -> list[Place]:
    """Of the results, and of the report if it is wanted."""
    output, folder = survey.files.output, survey.report.report_dir
    overwrite = survey.outputs.overwrite
    named = output is not None and not survey.keep_earlier
    places = [Place("--output", output or RESULTS, named, overwrite, folder=False)]
    if not survey.report.no_report:
        named = folder is not None and not survey.keep_earlier
        places.append(Place("--report-dir", folder or REPORT, named, overwrite, folder=True))
    return places


def _search(survey: AnalysisSettings) -> Search:
    return Search(survey.evaluation.beam_width, survey.evaluation.length_penalty)


def analyse(survey: AnalysisSettings) -> list[dict[str, object]]:
    """Divergence of each run's best student (or of each given checkpoint) from its teacher; the report, or
    records alone."""
    paths, root, teacher_path = survey.checkpoints, survey.files.runs, survey.files.teacher_checkpoint
    keep_freed_memory()
    device = resolve_device(survey.run.device)
    together = distributed.join(device)

    def prepare() -> tuple[dict[str | None, list[Found]], CorpusConfig, corpus.Corpus, list[corpus.Sentence]]:
        given = (
            [Found(label, path, checkpoint.load(path).config) for label, path in zip(labels(paths), paths)]
            if paths
            else runs_under(root)
        )
        groups = by_teacher(given, teacher_path)
        inputs = [
            *(f.path for f in given),
            *(shipped(path or DEFAULT_TEACHER) for path in groups),
            *survey.corpus.corpus,
        ]
        places = _places(survey)
        output_files.check_outputs({place.flag: place.path for place in places}, inputs)
        for place in places:
            place.check()
        used = corpus_of_runs(survey.corpus, [f.made for f in given])
        whole = load_corpus(used, _word_vocabulary(groups))
        for line in foreign_splits([(escape(f.label), f.made) for f in given], used, survey.evaluation.split):
            log.info(line)
        return groups, used, whole, test_split(whole, survey.evaluation.sentences, survey.evaluation.split)

    groups, used, whole, test = together.from_main(prepare)
    survey = replace(survey, corpus=used)
    records: list[dict[str, object]] = []
    studies, foreign, teachers = [], [], []
    for teacher_file, group in groups.items():
        teacher, runs = together.from_main(load_group, teacher_file, group, teacher_path)
        native = [run for run in runs if _joins(teacher, run.checkpoint)]
        for channel in survey.channels:
            meeting = Meeting(
                make_channel(channel),
                survey.snrs,
                survey.run.seed,
                device,
                survey.evaluation.eval_batch_size,
                survey.run.quiet,
                together,
                _search(survey),
            )
            found = _measure(teacher, native, test, meeting, survey)
            records += [
                _record(run, teacher, found, str(meeting.channel), survey.report.reference_snr)
                for run in native
            ]
            studies.append(found)
            teachers.append(teacher)
            foreign += [
                _measure_foreign(run, test, meeting, survey.report.replicates)
                for run in runs
                if run not in native
            ]
    if not together.is_main:
        return records
    _publish(survey, records, studies, foreign, teachers, whole, len(test), groups, device)
    return records


def _word_vocabulary(groups: Mapping[str | None, Sequence[Found]]) -> WordVocabulary | None:
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
    teacher: Checkpoint,
    runs: Sequence[Run],
    test: Sequence[corpus.Sentence],
    meeting: Meeting,
    survey: AnalysisSettings,
) -> Study:
    who = pair_up(teacher, runs, survey.report.matrix)
    if survey.report.no_report:
        who.pairs = list({pair.key: pair for pair in (who.reference, *who.own.values())}.values())
    encoded = batching.encode(test, teacher.vocabulary, leave_out_long=True)
    measured = pair_matrix.measure(
        who.pairs,
        who.reference,
        encoded,
        teacher.vocabulary,
        meeting,
        cka_snr=survey.report.reference_snr,
        cache=None if survey.report.no_report else CACHE,
    )
    return Study(
        who,
        measured,
        str(meeting.channel),
        survey.report.reference_snr,
        survey.report.replicates,
        survey.run.seed,
        teacher.vocabulary.decode,
    )


def _measure_foreign(
    run: Run, test: Sequence[corpus.Sentence], meeting: Meeting, replicates: int
) -> list[Row]:
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
            **{name: bootstrap.interval(values[name][k]) for name in ("bleu", "exact")},
        }
        for k, snr in enumerate(meeting.snrs)
    ]


def _record(
    run: Run, teacher: Checkpoint, study: Study, channel: str, reference_snr: float
) -> dict[str, object]:
    """A run's divergence by SNR, over all sentences."""
    own, reference = (
        measures.of_sums(study.measured.pairs[pair.key].sums.sum(1))
        for pair in (study.pairing.own[run.label], study.pairing.reference)
    )
    by_snr = {}
    for k, snr in enumerate(study.snrs):
        values = {name: _plain(value[k]) for name, value in own.items()}
        theirs = {name: float(value[k]) for name, value in reference.items()}
        beside = {m.reference_name: theirs[m.name] for m in measures.MEASURES if m.teachers_own}
        gaps = {m.gap_name: values[m.name] - theirs[m.name] for m in measures.with_gap()}
        score = values["kl_divergence"] * (1 - values["agreement_rate"])
        by_snr[f"{snr:g}"] = {**values, **beside, **gaps, "semantic_difference_score": score}
    at_reference = by_snr[f"{reference_snr:g}"]
    return {
        "model": run.label,
        "checkpoint": run.checkpoint.path,
        "teacher": teacher.path,
        "channel": channel,
        **{name: run.made.get(name) for name in RECORDED},
        **{measure.name: at_reference[measure.name] for measure in measures.headlines()},
        "semantic_difference_score": at_reference["semantic_difference_score"],
        "by_snr": by_snr,
    }


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _publish(
    survey: AnalysisSettings,
    records: Sequence[dict],
    studies: Sequence[Study],
    foreign: Sequence[Sequence[Row]],
    teachers: Sequence[Checkpoint],
    whole: corpus.Corpus,
    sentences: int,
    groups: Mapping[str | None, Sequence[Found]],
    device: torch.device,
) -> None:
    """Console, JSON and, unless it is not wanted, the report."""
    common = {
        "channel": ", ".join(dict.fromkeys(study.channel for study in studies)),
        "reference_snr": survey.report.reference_snr,
        "sentences": sentences,
        "seed": survey.run.seed,
        "decoding": str(_search(survey)),
        "bleu_signature": bleu_signature(),
        "note": RECEIVER_KNOWS,
    }
    results = {
        **common,
        "environment": environment(device),
        "settings": as_record(survey.evaluation, survey.report, survey.corpus),
        "corpus": whole.name,
        "corpus_fingerprint": whole.fingerprint,
        "records": list(records),
    }
    if foreign:
        results["other_vocabularies"] = intervals.plain_values([row for group in foreign for row in group])
    document, lost = None, []
    if not survey.report.no_report:
        bands = lost_words.frequency_bands(lost_words.count(s.text for s in whole.split("train")))
        lost = [study.words_lost(bands) for study in studies]
        contents = compose.Results(
            studies,
            lost,
            [t.name for t in teachers],
            common["bleu_signature"],
            _similarities(studies, device),
            foreign,
            {f.label: epochs for group in groups.values() for f in group if (epochs := history(f))},
            _temperature_effect(teachers[0], studies[0]),
            _provenance(survey, whole, sentences, teachers, studies, device),
        )
        document = compose.compose(contents, survey.report.lang)
        results["studies"] = [
            intervals.plain_values(
                {"teacher": teacher.path, "channel": study.channel, **study.results(), "words_lost": rows}
            )
            for study, teacher, rows in zip(studies, teachers, lost)
        ]
    places = _places(survey)
    for place in places:
        if line := place.make_room():
            log.info(line)
    outputs = {place.flag: place.path for place in places}
    output_files.write_json(outputs["--output"], results)
    _say_records(records, {**common, "measured": described(sentences, survey.evaluation)})
    if foreign:
        log.info(
            "\nof another vocabulary or signal width than the teacher's: text measures alone\n"
            + tables.text(
                tables.frame_of(
                    [
                        [row["pair"], row["channel"], row["snr"], row["bleu"].value, row["exact"].value]
                        for group in foreign
                        for row in group
                    ],
                    ["model", "channel", "SNR, dB", "BLEU", "exact"],
                )
            )
        )
    made = escape(outputs["--output"])
    if document:
        folder = Path(outputs["--report-dir"])
        # An earlier report's page must not vouch for figures of this one.
        (folder / "report.html").unlink(missing_ok=True)
        output_files.write_json(folder / RESULTS, results)
        matrix = intervals.flat(pd.concat([study.matrix for study in studies], ignore_index=True))
        tables.write_csv(folder / "matrix.csv", matrix)
        words_lost = intervals.flat(pd.concat(lost, ignore_index=True))
        tables.write_csv(folder / "words_lost.csv", words_lost)
        page = render.write(document, folder)[0]
        log.info("\n" + "\n".join(map(escape, document.summary)))
        wanted = ("effects", "price", "trends")
        for table in document.tables():
            if table.name.startswith(wanted):
                log.info(f"\n{formats.aligned(table)}")
        log.info(
            f"\nmade {escape(page)} (open it in a browser), report.md, tables.tex, CSVs and figures beside it, and {made}"
        )
    else:
        log.info(f"\nmade {made}")


def _columns() -> dict[str, str]:
    """Name in a record -> heading on the console."""
    columns: dict[str, str] = {}
    for measure in measures.on_console():
        if measure.gap:
            columns[measure.gap_name] = f"{measure.label} gap"
            continue
        columns[measure.name] = measure.label
        if measure.teachers_own:
            columns[measure.reference_name] = f"teacher {measure.label}"
    return columns


def _say_records(records: Sequence[dict], common: Mapping[str, object]) -> None:
    snr, columns = f"{common['reference_snr']:g}", _columns()
    for teacher, channel in dict.fromkeys((r["teacher"], r["channel"]) for r in records):
        group = [r for r in records if (r["teacher"], r["channel"]) == (teacher, channel)]
        log.info(
            f"\nsemantic divergence from teacher {escape(teacher)} at {snr} dB; {common['measured']}, {channel}, "
            f"seed {common['seed']}, {common['decoding']}\nKL, JS and the cross-entropy gap in nats a token; {common['note']}"
        )
        log.info(
            tables.text(
                tables.frame_of(
                    [
                        [
                            r["model"],
                            r["distill_part"],
                            r["temperature"],
                            *(r["by_snr"][snr][c] for c in columns),
                        ]
                        for r in group
                    ],
                    ["model", "part", "T", *columns.values()],
                )
            )
        )
        rows = [
            {"model": r["model"], "snr": float(s), **values}
            for r in group
            for s, values in r["by_snr"].items()
        ]
        for measure in measures.followed():
            if measure.gap:
                continue
            shown = list(rows)
            if measure.teachers_own:
                shown += [
                    {
                        "model": f"teacher {teacher}",
                        "snr": float(s),
                        measure.name: values[measure.reference_name],
                    }
                    for s, values in group[0]["by_snr"].items()
                ]
            title = f"{measure.title}, {measure.unit}" if measure.unit else measure.title
            log.info(f"\n{title}, by SNR in dB\n{tables.pivot(shown, 'model', 'snr', measure.name)}")
    log.info(f"BLEU is {common['bleu_signature']}")


def _similarities(studies: Sequence[Study], device: torch.device) -> list[Similarities] | str:
    if reason := embeddings.available():
        return reason
    if min(len(study.sentences) for study in studies) < 2:
        return "its floor needs two sentences; give more --sentences"
    try:
        encode = embeddings.encoder(str(device))
    except SemcomError as error:
        return str(error)
    found = []
    for study in studies:
        scale = embeddings.Similarity([sentence.text for sentence in study.sentences], encode)
        scores = {
            study.pairing.label(pair): study.weights @ scale(study.texts(pair)) / study.weights.sum(1)
            for pair in study.pairing.pairs
        }
        found.append(
            Similarities(
                {label: bootstrap.interval(values) for label, values in scores.items()},
                {label: bootstrap.interval(scale.rescaled(values)) for label, values in scores.items()},
                scale.floor,
                scale.ceiling,
            )
        )
    return found


def _temperature_effect(teacher: Checkpoint, study: Study) -> TemperatureEffect:
    """The teacher's next-piece distribution at the place of the first test sentence where it is least
    sure."""
    rows, best = figures.temperature_rows(
        least_sure(teacher.model, study.measured.encoded[0]), TEMPERATURES, PIECES_SHOWN
    )
    texts = zip(best, study.decode([[piece] for piece in best]))
    pieces = ["(end)" if piece == EOS else text or f"piece {piece}" for piece, text in texts]
    return TemperatureEffect(rows, pieces)


def _provenance(
    survey: AnalysisSettings,
    whole: corpus.Corpus,
    sentences: int,
    teachers: Sequence[Checkpoint],
    studies: Sequence[Study],
    device: torch.device,
) -> list[tuple[str, str]]:
    around = environment(device)
    lines = [
        (N_("corpus"), f"{whole.name}, fingerprint {whole.fingerprint}"),
        (N_("test sentences"), str(sentences)),
        *[(N_("split"), "all: the whole corpus, not the 5 % that a hash calls test")]
        * (survey.evaluation.split == "all"),
        (N_("channels"), ", ".join(str(make_channel(channel)) for channel in survey.channels)),
        (N_("SNRs"), ", ".join(f"{snr:g}" for snr in survey.snrs) + " dB"),
        (N_("seed of the draws"), str(survey.run.seed)),
        (N_("decoding"), str(_search(survey))),
        (N_("bootstrap samples"), str(survey.report.replicates)),
        (N_("receiver's knowledge"), RECEIVER_KNOWS),
    ]
    lines += [
        (N_("teacher"), line)
        for line in dict.fromkeys(f"{teacher.path}, weights {teacher.fingerprint}" for teacher in teachers)
    ]
    lines += [
        (N_("checkpoint"), f"{run.label}: {run.checkpoint.path}, weights {run.checkpoint.fingerprint}")
        for run in {run.label: run for study in studies for run in study.pairing.runs}.values()
    ]
    return lines + [
        (
            N_("versions"),
            ", ".join(
                f"{name} {around[name]}" for name in ("semcom", "python", "torch", "numpy", "sacrebleu")
            ),
        ),
        (
            N_("device"),
            f"{around['gpu'] or around['device']}, {around['threads']} threads, {around['processes']} processes",
        ),
    ]
