"""Every transmitter into every receiver: what each pair makes of the same sentences under the same draws,
sentence by sentence.

A transmitter encodes a sentence once, whatever the number of SNRs and receivers. What is found is sums by
sentence, of which every measure is a function; so any set of sentences, resample or pair of pairs can be
looked at afterwards. Finished parts are kept on disk.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from semcom.base.progress import Progress
from semcom.base.side_by_side import GoOn, side_by_side
from semcom.data.batching import Batch, Encoded, by_length
from semcom.data.vocabulary import Vocabulary
from semcom.evaluation import text_metrics
from semcom.evaluation.batch_sums import BatchResult, Measurement, make_ready
from semcom.evaluation.cache import Parts, keep_parts, part_key, wait_and_read
from semcom.evaluation.pairs import Pair, PairKey, Temperatures
from semcom.evaluation.results import Measured, PairResult, Signals
from semcom.evaluation.scores import Meeting

CHUNK = 256
"""Sentences measured and kept together. The states compared (CKA) and the symbols shown are those of the
first chunk."""
SHOWN_SYMBOLS = 2000
MEASURING = "pairs × SNRs × sentences"
"""What its bar counts."""


def progress_of(pairs: Sequence[Pair], encoded: Sequence[Encoded], meeting: Meeting) -> Progress:
    """The bar of ``measure``."""
    return Progress(len(pairs) * len(meeting.snrs) * len(encoded), MEASURING, quiet=meeting.quiet)


# Nine arguments: who, beside whom, of what in which pieces, where, what of it is compared and kept, and what
# shows how far it is.
def measure(
    pairs: Sequence[Pair],
    reference: Pair | None,
    encoded: Sequence[Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
    *,
    cka_snr: float,
    cache: str | Path | None,
    temperatures: Temperatures | None = None,
    bar: Progress | None = None,
) -> Measured:
    """What every pair makes of the sentences. All ends share the vocabulary; ``reference`` (one of the pairs)
    is what they are compared with, None for text measures alone. cka_snr: one of the meeting's SNRs. cache:
    folder of finished parts, None keeps none. temperatures: of ``calibration.fit``; a pair without one has no
    calibrated KL. bar: of ``progress_of``, open; None shows its own."""
    measurement = Measurement(pairs, reference, vocabulary, meeting, temperatures or {})
    chunks = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)]
    found: list[Parts] = []
    with nullcontext(bar) if bar else progress_of(pairs, encoded, meeting) as shown:
        for number, chunk in enumerate(chunks):
            states_snr = cka_snr if number == 0 else None
            keys = {pair.key: part_key(pair, measurement, chunk, states_snr) for pair in pairs}
            with ExitStack() as held:
                given = (cache, keys, chunk, meeting, held)
                there = meeting.processes.from_main(wait_and_read, *given) if cache else {}
                shown.advance(len(there) * len(meeting.snrs) * len(chunk))
                missing = [pair for pair in pairs if pair.key not in there]
                if missing:
                    made = _measure_chunk(replace(measurement, pairs=missing), chunk, states_snr, shown)
                    if cache and not meeting.processes.from_main(keep_parts, cache, keys, made):
                        cache = None
                    there |= made
            found.append(there)
    return _joined(measurement, found, encoded)


def _joined(measurement: Measurement, chunks: Sequence[Parts], encoded: Sequence[Encoded]) -> Measured:
    snrs = measurement.meeting.snrs
    results, sent = {}, {}
    for pair in measurement.pairs:
        ours = [chunk[pair.key] for chunk in chunks]
        first_result, first_signals = ours[0]
        pieces = [[decoded for result, _ in ours for decoded in result.pieces[k]] for k in range(len(snrs))]
        sums = np.concatenate([result.sums for result, _ in ours], axis=1)
        temperature = measurement.temperatures.get(pair.key)
        results[pair.key] = PairResult(sums, pieces, first_result.cka, temperature)
        if pair.draw == 0:
            distance = np.concatenate([signals.distance for _, signals in ours])
            sent[pair.transmitter.fingerprint] = Signals(distance, first_signals.symbols, first_signals.cka)
    return Measured(snrs, encoded, results, sent, measurement.meeting.scoring)


def _measure_chunk(
    measurement: Measurement, chunk: Sequence[Encoded], states_snr: float | None, shown: Progress
) -> Parts:
    """states_snr: where states are compared and symbols shown; None: nowhere."""
    meeting = measurement.meeting
    make_ready(measurement.everyone, meeting)
    states_at = None if states_snr is None else list(meeting.snrs).index(states_snr)
    batches = by_length(chunk, meeting.batch_size)
    share = meeting.processes.share(batches)

    def of_batch(batch: Batch, go_on: GoOn) -> BatchResult:
        def advance(sentences: int) -> None:
            go_on()
            shown.advance(sentences)

        return measurement.of_batch(batch.to(meeting.device), states_at, advance)

    ours = side_by_side(of_batch, share, meeting.device)
    parts = [part for process in meeting.processes.gather(ours) for part in process]
    elsewhere = len(chunk) - sum(map(len, share))
    shown.advance(len(measurement.pairs) * len(meeting.snrs) * elsewhere)

    ids = [id for part in parts for id in part.ids]
    place_of = {id: place for place, id in enumerate(ids)}
    places = [place_of[e.sentence.id] for e in chunk]
    results = {pair.key: _result(pair.key, parts, places) for pair in measurement.pairs}
    signals = {end: _signals(end, parts, places) for end in measurement.transmitters}
    if states_at is not None and measurement.reference is not None:
        _compare_states(measurement.reference, parts, results, signals)
    return {
        pair.key: (results[pair.key], signals[pair.transmitter.fingerprint]) for pair in measurement.pairs
    }


def _result(key: PairKey, parts: Sequence[BatchResult], places: Sequence[int]) -> PairResult:
    """places: of the sentences in their order among those of the parts."""
    sums = np.concatenate([part.sums[key] for part in parts], axis=1)[:, places]
    pieces = []
    for k in range(len(sums)):
        decoded = [of_one for part in parts for of_one in part.pieces[key][k]]
        pieces.append([decoded[place] for place in places])
    return PairResult(sums, pieces)


def _signals(end: str, parts: Sequence[BatchResult], places: Sequence[int]) -> Signals:
    """Symbols are there where states are kept."""
    distance = np.concatenate([part.distance[end] for part in parts])[places]
    symbols = [part.symbols[end] for part in parts if end in part.symbols]
    return Signals(distance, _thinned(np.concatenate(symbols)) if symbols else np.zeros((0, 2)))


def _thinned(symbols: np.ndarray) -> np.ndarray:
    """Every n-th, so that about ``SHOWN_SYMBOLS`` of all sentences are left."""
    return symbols[:: -(-len(symbols) // SHOWN_SYMBOLS)]


def _compare_states(
    reference: Pair,
    parts: Sequence[BatchResult],
    results: Mapping[PairKey, PairResult],
    signals: Mapping[str, Signals],
) -> None:
    """Fill in the likeness of states with the reference's."""

    def encoder_states(end: str) -> np.ndarray:
        return np.concatenate([part.encoder_states[end] for part in parts])

    def decoder_states(key: PairKey) -> np.ndarray:
        return np.concatenate([part.decoder_states[key] for part in parts])

    of_sent, of_received = encoder_states(reference.transmitter.fingerprint), decoder_states(reference.key)
    for end, sent in signals.items():
        sent.cka = text_metrics.cka(of_sent, encoder_states(end))
    for key, result in results.items():
        result.cka = text_metrics.cka(of_received, decoder_states(key))
