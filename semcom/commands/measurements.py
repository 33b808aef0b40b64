"""The verbs that measure: evaluate checkpoints side by side, transmit a sentence; and what they share with the divergence report."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from semcom import config
from semcom.base import distributed, output_files
from semcom.base.device import resolve_device
from semcom.base.distributed import Processes
from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import Channel
from semcom.commands.inputs import Say, load_corpus, load_teacher, make_channel
from semcom.data import batching, corpus
from semcom.data.vocabulary import WordVocabulary
from semcom.evaluation.scores import SEEN, UNSEEN, Decoded, Entrant, Meeting, Row, floor_score, score_all, through_channel
from semcom.evaluation.text_metrics import bleu_signature
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.decoding import Search
from semcom.report import tables

REFERENCE_PREFERRED = 12.0
RECEIVER_KNOWS = "the receiver knows how many symbols were sent"
ALL_TOPICS = {"topics": (), "exclude_topics": ()}


def _entrants(loaded: Sequence[tuple[str, Checkpoint]]) -> list[Entrant]:
    return [Entrant(label, c.model, c.seen_topics()) for label, c in loaded]


def _same_vocabulary(loaded: Sequence[Checkpoint]) -> None:
    for other in loaded[1:]:
        checkpoint.check_same_vocabulary(loaded[0], other)


def labels(paths: Sequence[str]) -> list[str]:
    """File names without suffix; where two are alike, with as many folders as tell them apart."""
    parts = [Path(p).with_suffix("").parts for p in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        labels = ["/".join(p[-depth:]) for p in parts]
        if len(set(labels)) == len(labels):
            return labels
    return [f"{'/'.join(p)} ({i})" for i, p in enumerate(parts, 1)]


def test_split(whole: corpus.Corpus, sentences: int, split: str = "test") -> list[corpus.Sentence]:
    """At most ``sentences`` of the test split, or with ``split`` "all" of all, chosen by hash, so that every topic and file has its share."""
    test = whole.sentences if split == "all" else whole.split("test")
    if not test:
        raise SemcomError("--corpus: no sentence falls into the test split (5 % by hash); give some hundreds at least, "
                          "or --split all where no model has learned from any of them")
    return sorted(test, key=lambda s: s.id)[:sentences]


def described(number: int, settings: config.EvaluationConfig) -> str:
    """How many sentences of what."""
    return f"{number} sentences of the whole corpus (--split all)" if settings.split == "all" else f"{number} test sentences"


def corpus_of_runs(settings: config.CorpusConfig, made: Sequence[dict], say: Say) -> config.CorpusConfig:
    """Without --corpus, the text files that all runs were made with, if they agree; else the built-in corpus."""
    used = {tuple(map(str, m["corpus"])) for m in made if isinstance(m.get("corpus"), list)}
    if settings.corpus or settings.topics or settings.exclude_topics or used <= {()}:
        return settings
    if len(used) > 1:
        say("warning: these were made with different corpora; measuring on the built-in one, name another with --corpus")
        return settings
    return replace(settings, corpus=used.pop())


def summary_scores(loaded: Sequence[tuple[str, Checkpoint]], settings: config.CorpusConfig, channel: Channel,
                   run: config.RunConfig, device: torch.device, snrs: Sequence[float], sentences: int,
                   seen_topics: Sequence[str] | None, together: Processes) -> list[Row]:
    """Scores of a few checkpoints on the test split of the corpus a run was made with.

    All topics are in it; rows apart for ``seen_topics`` and the others where there are others.
    """
    vocabulary = loaded[0][1].vocabulary
    test = together.from_main(lambda: test_split(load_corpus(replace(settings, **ALL_TOPICS), lambda line: None, vocabulary), sentences))
    meeting = Meeting(channel, snrs, run.seed, device, 64, run.quiet, together)
    entrants = [replace(e, seen_topics=frozenset(seen_topics) if seen_topics else None) for e in _entrants(loaded)]
    rows, _ = score_all(entrants, batching.encode(test, vocabulary, leave_out_long=True), vocabulary, meeting)
    apart = {"", SEEN, UNSEEN} if any(row["topic"] == UNSEEN for row in rows) else {""}
    return [row for row in rows if row["topic"] in apart]


def evaluate(paths: Sequence[str], settings: config.EvaluationConfig, corpus_settings: config.CorpusConfig,
             channel_settings: config.ChannelConfig, run: config.RunConfig, output: str | None, overwrite: bool,
             say: Say) -> list[Row]:
    """BLEU, token accuracy, exact sentences of checkpoints side by side under the same draws, with the floor."""
    device = resolve_device(run.device)
    together = distributed.join(device)

    def prepare() -> tuple[list[tuple[str, Checkpoint]], Path | None, list[batching.Encoded]]:
        loaded = [(label, checkpoint.load(path)) for label, path in zip(labels(paths), paths)]
        _same_vocabulary([c for _, c in loaded])
        picture = output_files.companion("--output", output, ".png") if output else None
        if output:
            outputs = {"--output": output, "--output (its picture)": picture}
            output_files.check_outputs(outputs, [*paths, *corpus_settings.corpus])
            for flag, path in outputs.items():
                output_files.check_room(flag, path, named=True, overwrite=overwrite, folder=False)
        used = corpus_of_runs(corpus_settings, [c.config for _, c in loaded], say)
        vocabulary = loaded[0][1].vocabulary
        test = test_split(load_corpus(used, say, vocabulary), settings.sentences, settings.split)
        for line in foreign_splits([(c.name, c.config) for _, c in loaded], used, settings.split):
            say(line)
        return loaded, picture, batching.encode(test, vocabulary, leave_out_long=True)

    loaded, picture, encoded = together.from_main(prepare)
    meeting = Meeting(make_channel(channel_settings), settings.snr, run.seed, device, settings.eval_batch_size, run.quiet, together,
                      Search(settings.beam_width, settings.length_penalty))
    rows, decodings = score_all(_entrants(loaded), encoded, loaded[0][1].vocabulary, meeting)
    floor = floor_score(encoded) if len(encoded) > 1 else {}
    overall = [row for row in rows if not row["topic"]]
    by_topic = [row for row in rows if row["topic"]]
    say(f"\n{described(len(encoded), settings)}, {meeting.channel}, SNR in dB per complex symbol before equalisation, seed {run.seed}; "
        f"{meeting.search}; {RECEIVER_KNOWS}")
    for measure, title in (("bleu", f"BLEU ({bleu_signature()})"), ("token_accuracy", "token accuracy"), ("exact", "exact sentences"),
                           ("cross_entropy", "cross-entropy, nats a token")):
        say(f"\n{title}\n{tables.pivot(overall, 'model', 'snr', measure)}")
        if floor.get(measure) is not None:
            say(f"floor (another sentence of the same length, or the nearest): {floor[measure]:.4g}")
    reference = nearest(settings.snr, REFERENCE_PREFERRED)
    if by_topic:
        at_reference = [dict(row) for row in by_topic if row["snr"] == reference]
        for row in at_reference:
            row["topic, sentences"] = f"{row['topic']}, {row['sentences']}"
        say(f"\nBLEU by topic at {reference:g} dB\n{tables.pivot(at_reference, 'topic, sentences', 'model', 'bleu', str)}")
    if settings.examples:
        at_snr = {label: d[settings.snr.index(reference)] for label, d in decodings.items()}
        say(_examples(encoded, at_snr, settings.examples, reference))
    if output and together.is_main:
        common = {"channel": str(meeting.channel), "snr": None, "topic": ""}
        seeds = {"seed": run.seed, "decoding": str(meeting.search), "bleu_signature": bleu_signature()}
        tables.write_csv(output, [{**row, **seeds} for row in [*rows, {"model": "(floor)", **common, **floor}]])
        tables.plot_by_snr(overall, {"bleu": "BLEU", "token_accuracy": "token accuracy"}, picture)
        say(f"\nmade {escape(output)} and {escape(picture)}")
    return rows


def foreign_splits(made: Sequence[tuple[str, dict]], used: config.CorpusConfig, split: str = "test") -> list[str]:
    """A warning for a model that learned elsewhere, itself or in its teacher, and so perhaps from what the hash calls the test split.

    made: name and ``Checkpoint.config`` of each.
    """
    imported = [name for name, record in made if isinstance(record.get("imported_from"), str)]
    pickles = [escape(path) for path in used.corpus if corpus.is_pickle(path)]
    if not imported or not pickles or split == "all":
        return []
    return [f"warning: {imported[0]} was imported, or learned from a model that was, and is measured on the 5 % of {pickles[0]} that a hash calls "
            "test: the hash split means nothing to a model trained elsewhere: measure it on its own test_data.pkl with --split all"]


def nearest(snrs: Sequence[float], wanted: float) -> float:
    return min(snrs, key=lambda snr: abs(snr - wanted))


def _examples(encoded: Sequence[batching.Encoded], decodings: dict[str, Decoded], count: int, snr: float) -> str:
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
    device = resolve_device(run.device)
    loaded = [(label, checkpoint.load(path)) for label, path in zip(labels(paths), paths)] if paths else [("teacher", load_teacher(None))]
    channel, snrs, search = make_channel(channel_settings), settings.snr, Search(settings.beam_width, settings.length_penalty)
    say(f"{channel}, seed {run.seed}; {search}; {RECEIVER_KNOWS}")
    for text in texts:
        text = corpus.clean(text)
        if not text:
            raise SemcomError('transmit: the sentence is empty; for example: python -m semcom transmit "We support this report."')
        say(f"sent: {escape(text)}")
        rows = []
        words = {c.vocabulary.fingerprint: c.vocabulary for _, c in loaded if isinstance(c.vocabulary, WordVocabulary)}
        for vocabulary in words.values():
            say(f"in words: {escape(vocabulary.decode(vocabulary.encode([text]))[0])}")
        # The draw is that of the sentence as measurements have it.
        drawn = corpus.make_sentence(next(iter(words.values())).normalize(text) if words else text)
        for label, c in loaded:
            batch = batching.collate(batching.encode([replace(drawn, text=text)], c.vocabulary)).to(device)
            model = c.model.to(device)
            with torch.inference_mode():
                received = through_channel(model, batch, Meeting(channel, snrs, run.seed, device, 1))
                decoded = c.vocabulary.decode(search(model.receiver, torch.cat(received), batch.source_mask.repeat(len(snrs), 1)))
            rows += [[label, f"{snr:g} dB", understood] for snr, understood in zip(snrs, decoded)]
        say(tables.table(rows, ["model", str(channel), "understood"]))
