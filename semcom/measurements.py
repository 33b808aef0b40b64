"""The verbs that measure: evaluate checkpoints side by side, transmit a sentence, report the divergence of runs."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semcom import analysis, batching, checkpoint, config, corpus, files, options, processes, report, runtime
from semcom.analysis import Entrant, Meeting
from semcom.channel import Channel
from semcom.checkpoint import Checkpoint
from semcom.decoding import Search
from semcom.errors import SemcomError, escape
from semcom.metrics import bleu_signature
from semcom.processes import Processes
from semcom.recipes import LOSS_SETTINGS, Say, load_corpus, load_teacher, make_channel, shipped

REFERENCE_PREFERRED = 12.0
RECEIVER_KNOWS = "the receiver knows how many symbols were sent"
ALL_TOPICS = {"topics": (), "exclude_topics": ()}


def _entrants(loaded: Sequence[tuple[str, Checkpoint]]) -> list[Entrant]:
    return [Entrant(label, c.model, c.seen_topics()) for label, c in loaded]


def _same_vocabulary(loaded: Sequence[Checkpoint]) -> None:
    for other in loaded[1:]:
        checkpoint.check_same_vocabulary(loaded[0], other)


def _labels(paths: Sequence[str]) -> list[str]:
    """File names without suffix; where two are alike, with as many folders as tell them apart."""
    parts = [Path(p).with_suffix("").parts for p in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{'/'.join(p)} ({i})" for i, p in enumerate(parts, 1)]


def _test_split(settings: config.CorpusConfig, sentences: int, say: Say) -> list[corpus.Sentence]:
    """At most ``sentences`` of the test split, chosen by hash, so that every topic and file has its share."""
    test = load_corpus(settings, say).split("test")
    if not test:
        raise SemcomError("--corpus: no sentence falls into the test split (5 % by hash); give some hundreds at least")
    return sorted(test, key=lambda s: s.id)[:sentences]


def summary_scores(loaded: Sequence[tuple[str, Checkpoint]], settings: config.CorpusConfig, channel: Channel,
                   run: config.RunConfig, device: torch.device, snrs: Sequence[float], sentences: int,
                   seen_topics: Sequence[str] | None, together: Processes) -> list[analysis.Row]:
    """Scores of a few checkpoints on the test split of the corpus a run was made with.

    All topics are in it; rows apart for ``seen_topics`` and the others where there are others.
    """
    vocabulary = loaded[0][1].vocabulary
    test = together.from_main(lambda: _test_split(replace(settings, **ALL_TOPICS), sentences, lambda line: None))
    meeting = Meeting(channel, snrs, run.seed, device, 64, run.quiet, together)
    entrants = [replace(e, seen_topics=frozenset(seen_topics) if seen_topics else None) for e in _entrants(loaded)]
    rows, _ = analysis.evaluate(entrants, batching.encode(test, vocabulary, leave_out_long=True), vocabulary, meeting)
    apart = {"", analysis.SEEN, analysis.UNSEEN} if any(row["topic"] == analysis.UNSEEN for row in rows) else {""}
    return [row for row in rows if row["topic"] in apart]


def evaluate(paths: Sequence[str], settings: config.EvaluationConfig, corpus_settings: config.CorpusConfig,
             channel_settings: config.ChannelConfig, run: config.RunConfig, output: str | None, overwrite: bool,
             say: Say) -> list[analysis.Row]:
    """BLEU, token accuracy, exact sentences of checkpoints side by side under the same draws, with the floor."""
    device = runtime.resolve_device(run.device)
    together = processes.join(device)

    def prepare() -> tuple[list[tuple[str, Checkpoint]], Path | None, list[batching.Encoded]]:
        loaded = [(label, checkpoint.load(path)) for label, path in zip(_labels(paths), paths)]
        _same_vocabulary([c for _, c in loaded])
        picture = files.companion("--output", output, ".png") if output else None
        if output:
            outputs = {"--output": output, "--output (its picture)": picture}
            files.check_outputs(outputs, [*paths, *corpus_settings.corpus])
            for flag, path in outputs.items():
                files.check_room(flag, path, named=True, overwrite=overwrite, folder=False)
        used = _corpus_of_runs(corpus_settings, [c.config for _, c in loaded], say)
        return loaded, picture, batching.encode(_test_split(used, settings.sentences, say), loaded[0][1].vocabulary, leave_out_long=True)

    loaded, picture, encoded = together.from_main(prepare)
    meeting = Meeting(make_channel(channel_settings), settings.snr, run.seed, device, settings.eval_batch_size, run.quiet, together,
                      Search(settings.beam_width, settings.length_penalty))
    rows, decodings = analysis.evaluate(_entrants(loaded), encoded, loaded[0][1].vocabulary, meeting)
    floor = analysis.floor(encoded) if len(encoded) > 1 else {}
    overall = [row for row in rows if not row["topic"]]
    by_topic = [row for row in rows if row["topic"]]
    say(f"\n{len(encoded)} test sentences, {meeting.channel}, SNR in dB per complex symbol before equalisation, seed {run.seed}; "
        f"{meeting.search}; {RECEIVER_KNOWS}")
    for measure, title in (("bleu", f"BLEU ({bleu_signature()})"), ("token_accuracy", "token accuracy"), ("exact", "exact sentences"),
                           ("cross_entropy", "cross-entropy, nats a token")):
        say(f"\n{title}\n{report.pivot(overall, 'model', 'snr', measure)}")
        if floor.get(measure) is not None:
            say(f"floor (another sentence of the same length, or the nearest): {floor[measure]:.4g}")
    reference = _nearest(settings.snr, REFERENCE_PREFERRED)
    if by_topic:
        at_reference = [dict(row) for row in by_topic if row["snr"] == reference]
        for row in at_reference:
            row["topic, sentences"] = f"{row['topic']}, {row['sentences']}"
        say(f"\nBLEU by topic at {reference:g} dB\n{report.pivot(at_reference, 'topic, sentences', 'model', 'bleu', str)}")
    if settings.examples:
        at_snr = {label: d[settings.snr.index(reference)] for label, d in decodings.items()}
        say(_examples(encoded, at_snr, settings.examples, reference))
    if output and together.is_main:
        common = {"channel": str(meeting.channel), "snr": None, "topic": ""}
        seeds = {"seed": run.seed, "decoding": str(meeting.search), "bleu_signature": bleu_signature()}
        report.write_csv(output, [{**row, **seeds} for row in [*rows, {"model": "(floor)", **common, **floor}]])
        report.plot_by_snr(overall, {"bleu": "BLEU", "token_accuracy": "token accuracy"}, picture)
        say(f"\nmade {escape(output)} and {escape(picture)}")
    return rows


def _nearest(snrs: Sequence[float], wanted: float) -> float:
    return min(snrs, key=lambda snr: abs(snr - wanted))


def _examples(encoded: Sequence[batching.Encoded], decodings: dict[str, analysis.Decoded], count: int, snr: float) -> str:
    width = max(map(len, ["sent", *decodings]))
    lines = [f"\nwhat was understood at {snr:g} dB"]
    for i, e in enumerate(encoded[:count]):
        lines.append(f"{'sent'.ljust(width)}  {escape(e.sentence.text)}")
        for label, decoded in decodings.items():
            same = decoded.texts[i] == e.sentence.text
            lines.append(f"{escape(label).ljust(width)}  {'=' if same else escape(decoded.texts[i])}")
    return "\n".join(lines)


def transmit(texts: Sequence[str], paths: Sequence[str], settings: config.EvaluationConfig, channel_settings: config.ChannelConfig,
             run: config.RunConfig, say: Say) -> None:
    """Send sentences and print what each checkpoint's receiver understood."""
    device = runtime.resolve_device(run.device)
    loaded = [(label, checkpoint.load(path)) for label, path in zip(_labels(paths), paths)] if paths else [("teacher", load_teacher(None))]
    channel, snrs, search = make_channel(channel_settings), settings.snr, Search(settings.beam_width, settings.length_penalty)
    say(f"{channel}, seed {run.seed}; {search}; {RECEIVER_KNOWS}")
    for text in texts:
        text = corpus.clean(text)
        if not text:
            raise SemcomError('transmit: the sentence is empty; for example: python -m semcom transmit "We support this report."')
        say(f"sent: {escape(text)}")
        rows = []
        for label, c in loaded:
            batch = batching.collate(batching.encode([corpus.make_sentence(text)], c.vocabulary)).to(device)
            model = c.model.to(device)
            with torch.inference_mode():
                received = analysis.received(model, batch, Meeting(channel, snrs, run.seed, device, 1))
                decoded = c.vocabulary.decode(search(model.receiver, torch.cat(received), batch.source_mask.repeat(len(snrs), 1)))
            rows += [[label, f"{snr:g} dB", understood] for snr, understood in zip(snrs, decoded)]
        say(report.table(rows, ["model", str(channel), "understood"]))


def analyse(paths: Sequence[str], root: str, teacher_path: str | None, settings: config.EvaluationConfig, reference_snr: float,
            corpus_settings: config.CorpusConfig, channel_settings: config.ChannelConfig, run: config.RunConfig,
            output: str, named: bool, overwrite: bool, say: Say) -> list[dict[str, object]]:
    """Divergence of each run's best student (or of each given checkpoint) from its teacher; table, JSON and picture."""
    device = runtime.resolve_device(run.device)
    together = processes.join(device)

    def prepare() -> tuple[dict, dict[str, str | Path], config.CorpusConfig, list[corpus.Sentence]]:
        outputs = {"--output": output, "--output (its picture)": files.companion("--output", output, ".png")}
        given = [(label, path, {}) for label, path in zip(_labels(paths), paths)] if paths else _runs(root, say)
        groups = _by_teacher(given, teacher_path)
        inputs = [*(path for _, path, _ in given), *(shipped(path or config.DEFAULT_TEACHER) for path in groups), *corpus_settings.corpus]
        files.check_outputs(outputs, inputs)
        for flag, path in outputs.items():
            files.check_room(flag, path, named=named, overwrite=overwrite, folder=False)
        used = _corpus_of_runs(corpus_settings, [made for _, _, made in given], say)
        return groups, outputs, used, _test_split(used, settings.sentences, say)

    groups, outputs, corpus_settings, test = together.from_main(prepare)
    snrs = tuple(sorted({*settings.snr, reference_snr}))
    meeting = Meeting(make_channel(channel_settings), snrs, run.seed, device, settings.eval_batch_size, run.quiet, together,
                      Search(settings.beam_width, settings.length_penalty))
    records: list[dict[str, object]] = []
    for teacher_file, group in groups.items():
        teacher, models = together.from_main(_load_group, teacher_file, group, teacher_path)
        encoded = batching.encode(test, teacher.vocabulary, leave_out_long=True)
        measured = analysis.compare(Entrant(f"teacher {teacher.name}", teacher.model), [Entrant(label, c.model) for label, c, _ in models],
                                    encoded, teacher.vocabulary, meeting)
        for label, c, made in models:
            records.append(_record(label, c, made, teacher, measured[label], reference_snr))
    if not together.is_main:
        return records
    for flag, path in outputs.items():
        if line := files.make_room(flag, path, named=named, overwrite=overwrite, folder=False):
            say(line)
    common = {"channel": str(meeting.channel), "reference_snr": reference_snr, "sentences": len(test), "seed": run.seed,
              "decoding": str(meeting.search), "bleu_signature": bleu_signature(), "note": RECEIVER_KNOWS}
    files.write_json(output, {**common, "environment": runtime.environment(device), "settings": options.as_record(settings, corpus_settings),
                              "records": records})
    _report_analysis(records, common, *outputs.values(), say)
    return records


def _load_group(teacher_file: str | None, group: list[tuple[str, str, dict]],
                named: str | None) -> tuple[Checkpoint, list[tuple[str, Checkpoint, dict]]]:
    """A teacher and the checkpoints made from it."""
    teacher = load_teacher(teacher_file)
    models = [(label, checkpoint.load(path), made) for label, path, made in group]
    for _, model, _ in models:
        checkpoint.check_same_vocabulary(teacher, model)
        _check_teacher(teacher, model, named)
    return teacher, models


def _corpus_of_runs(settings: config.CorpusConfig, made: Sequence[dict], say: Say) -> config.CorpusConfig:
    """Without --corpus, the text files that all runs were made with, if they agree; else the built-in corpus."""
    used = {tuple(map(str, m["corpus"])) for m in made if isinstance(m.get("corpus"), list)}
    if settings.corpus or settings.topics or settings.exclude_topics or used <= {()}:
        return settings
    if len(used) > 1:
        say("warning: these were made with different corpora; measuring on the built-in one, name another with --corpus")
        return settings
    return replace(settings, corpus=used.pop())


def _check_teacher(teacher: Checkpoint, student: Checkpoint, named: str | None) -> None:
    """Raise SemcomError when the file a student names as its teacher holds other weights by now."""
    recorded = student.config.get("teacher_fingerprint")
    if named is None and recorded is not None and recorded != teacher.fingerprint:
        raise SemcomError(f"{student.name}: its teacher had the weights {escape(recorded)}, {teacher.name} has {teacher.fingerprint}; "
                          "name the right one with --teacher-checkpoint")


def _runs(root: str, say: Say) -> list[tuple[str, str, dict]]:
    """Finished runs under ``root``: label, best student, settings; and a run's hybrid where it is another pair than the student."""
    found = []
    for recorded in sorted(Path(root).rglob("distillation_config.json")):
        best = recorded.with_name("best_student_model.pt")
        try:
            made = json.loads(recorded.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SemcomError(f"{escape(recorded)}: cannot be read ({type(error).__name__}); remove it or distil again") from None
        if best.is_file() and isinstance(made, dict):
            label = "/".join(recorded.parent.relative_to(root).parts) or recorded.parent.name
            found.append((label, str(best), made))
            if made.get("create_hybrid") and isinstance(made.get("hybrid_output"), str):
                found += _hybrid_of(label, checkpoint.load(best), made, say)
    if not found:
        raise SemcomError(f"{escape(root)}: no finished run there; make one with: python distillation.py --distill-part decoder --create-hybrid")
    return found


def _hybrid_of(label: str, best: Checkpoint, made: dict, say: Say) -> list[tuple[str, str, dict]]:
    """The hybrid that was spliced from this very student, also where a later run has set it aside."""
    recorded = Path(made["hybrid_output"])
    for path in [recorded, *sorted(recorded.parent.glob(f"{recorded.stem}.*{recorded.suffix}"))]:
        if path.is_file() and (hybrid := checkpoint.load(path)).config.get("other_fingerprint") == best.fingerprint:
            return [] if hybrid.fingerprint == best.fingerprint else [(f"{label} hybrid", str(path), made)]
    say(f"note: the hybrid of {escape(label)} is no longer there, it is left out")
    return []


def _by_teacher(given: list[tuple[str, str, dict]], teacher_path: str | None) -> dict[str | None, list[tuple[str, str, dict]]]:
    groups: dict[str | None, list[tuple[str, str, dict]]] = {}
    for label, path, made in given:
        recorded = made.get("teacher_checkpoint") or checkpoint.load(path).config.get("teacher_checkpoint")
        groups.setdefault(teacher_path or (recorded if isinstance(recorded, str) else None), []).append((label, path, made))
    return groups


def _record(label: str, c: Checkpoint, made: dict, teacher: Checkpoint, by_snr: dict[str, analysis.Row], reference_snr: float) -> dict[str, object]:
    made = {**c.config, **made}
    at_reference = by_snr[f"{reference_snr:g}"]
    headline = ("kl_divergence", "representation_distance", "agreement_rate", "semantic_difference_score")
    return {"model": label, "checkpoint": c.path, "teacher": teacher.path,
            **{name: made.get(name) for name in ("temperature", "distill_weight", "distill_part", "student_layers", "hybrid_parts", *LOSS_SETTINGS)},
            **{name: at_reference[name] for name in headline}, "by_snr": by_snr}


def _report_analysis(records: list[dict], common: dict, output: str, picture: Path, say: Say) -> None:
    snr = f"{common['reference_snr']:g}"
    columns = {"kl_divergence": "KL", "kl_reference_prefix": "KL own prefix", "js_divergence": "JS", "agreement_rate": "agreement",
               "cross_entropy_gap": "CE gap", "bleu": "BLEU", "reference_bleu": "teacher BLEU", "bleu_to_reference": "BLEU to teacher"}
    flat = []
    for teacher in dict.fromkeys(r["teacher"] for r in records):
        group = [r for r in records if r["teacher"] == teacher]
        say(f"\nsemantic divergence from teacher {escape(teacher)} at {snr} dB; {common['sentences']} test sentences, {common['channel']}, "
            f"seed {common['seed']}, {common['decoding']}\nKL, JS and the cross-entropy gap in nats a token; {common['note']}")
        say(report.table([[r["model"], r["distill_part"], r["temperature"], *(r["by_snr"][snr][c] for c in columns)] for r in group],
                         ["model", "part", "T", *columns.values()]))
        rows = [{"model": r["model"], "snr": float(s), **values} for r in group for s, values in r["by_snr"].items()]
        rows += [{"model": f"teacher {teacher}", "snr": float(s), "bleu": values["reference_bleu"]}
                 for s, values in group[0]["by_snr"].items()]
        for measure, title in (("kl_divergence", "KL to the teacher, nats a token"), ("bleu", "BLEU")):
            shown = [row for row in rows if measure in row]
            say(f"\n{title}, by SNR in dB\n{report.pivot(shown, 'model', 'snr', measure)}")
        flat += rows
    say(f"BLEU is {common['bleu_signature']}")
    report.plot_by_snr(flat, {"kl_divergence": "KL to the teacher, nats a token", "bleu": "BLEU", "agreement_rate": "agreement"}, picture)
    say(f"\nmade {escape(output)} and {escape(picture)}")
