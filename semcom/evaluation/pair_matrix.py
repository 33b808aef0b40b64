"""Every transmitter into every receiver: what each pair makes of the same sentences under the same draws,
sentence by sentence.

A transmitter encodes a sentence once, whatever the number of SNRs and receivers. What is found is sums by
sentence, of which every measure is a function; so any set of sentences, resample or pair of pairs can be
looked at afterwards. Finished parts are kept on disk.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from semcom.data.batching import Batch, Encoded, by_length, collate
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import losses
from semcom.evaluation import text_metrics
from semcom.evaluation.cache import keep_parts, part_key, read_parts
from semcom.evaluation.measures import COLUMNS, PLACE, TO_REFERENCE, TO_SENT
from semcom.evaluation.pairs import Pair
from semcom.evaluation.results import Measured, PairResult, Signals
from semcom.evaluation.scores import Meeting
from semcom.models.link import send

CHUNK = 256
"""Sentences measured and kept together. The states compared (CKA) and the symbols shown are those of the
first chunk."""
SHOWN_SYMBOLS = 2000
ROWS_ON_CPU, ROWS_ELSEWHERE = 128, 4096


def measure(
    pairs: Sequence[Pair],
    reference: Pair | None,
    encoded: Sequence[Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
    *,
    cka_snr: float,
    cache: str | Path | None,
) -> Measured:
    """What every pair makes of the sentences. All ends share the vocabulary; ``reference`` (one of the pairs)
    is what they are compared with, None for text measures alone. cka_snr: one of the meeting's SNRs. cache:
    folder of finished parts, None keeps none."""
    chunks = [encoded[start : start + CHUNK] for start in range(0, len(encoded), CHUNK)]
    found: list[dict] = []
    with tqdm(
        total=len(encoded),
        desc="measuring",
        unit="sentence",
        disable=meeting.quiet or not meeting.processes.is_main,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        for number, chunk in enumerate(chunks):
            keys = {
                pair.key: part_key(
                    pair, reference, chunk, vocabulary, meeting, cka_snr if number == 0 else None
                )
                for pair in pairs
            }
            there = meeting.processes.from_main(read_parts, cache, keys, chunk, meeting) if cache else {}
            missing = [pair for pair in pairs if pair.key not in there]
            if missing:
                made = _measure_chunk(
                    missing, reference, chunk, vocabulary, meeting, cka_snr, with_states=number == 0
                )
                if cache and not meeting.processes.from_main(keep_parts, cache, keys, made):
                    cache = None
                there |= made
            found.append(there)
            bar.update(len(chunk))
    return _joined(pairs, found, encoded, meeting)


def _joined(
    pairs: Sequence[Pair], found: list[dict], encoded: Sequence[Encoded], meeting: Meeting
) -> Measured:
    result, sent = {}, {}
    for pair in pairs:
        parts = [chunk[pair.key] for chunk in found]
        result[pair.key] = PairResult(
            np.concatenate([h.sums for h, _ in parts], axis=1),
            [[pieces for h, _ in parts for pieces in h.pieces[k]] for k in range(len(meeting.snrs))],
            parts[0][0].cka,
        )
        if pair.draw == 0:
            sent[pair.transmitter.fingerprint] = Signals(
                np.concatenate([s.distance for _, s in parts]), parts[0][1].symbols, parts[0][1].cka
            )
    return Measured(meeting.snrs, encoded, result, sent)


@torch.inference_mode()
def _measure_chunk(
    pairs: Sequence[Pair],
    reference: Pair | None,
    chunk: Sequence[Encoded],
    vocabulary: Vocabulary,
    meeting: Meeting,
    cka_snr: float,
    with_states: bool,
) -> dict[tuple, tuple[PairResult, Signals]]:
    everyone = [*pairs, *([reference] if reference and reference.key not in {p.key for p in pairs} else [])]
    for pair in everyone:
        pair.transmitter.module.to(meeting.device).eval()
        pair.receiver.module.to(meeting.device).eval()
    states_at = list(meeting.snrs).index(cka_snr) if with_states else None
    parts = [
        _measure_batch(pairs, everyone, reference, batch.to(meeting.device), vocabulary, meeting, states_at)
        for batch in meeting.processes.share(by_length(chunk, meeting.batch_size))
    ]
    parts = [part for process in meeting.processes.gather(parts) for part in process]
    order = {id: place for place, id in enumerate(i for part in parts for i in part.ids)}
    rows = [order[e.sentence.id] for e in chunk]

    def states(of: str, key: object) -> np.ndarray:
        return np.concatenate([getattr(part, of)[key] for part in parts])

    made = {}
    for pair in pairs:
        pieces = [[p for part in parts for p in part.pieces[pair.key][k]] for k in range(len(meeting.snrs))]
        result = PairResult(
            np.concatenate([part.sums[pair.key] for part in parts], axis=1)[:, rows],
            [[by_snr[row] for row in rows] for by_snr in pieces],
        )
        end = pair.transmitter.fingerprint
        sent = Signals(np.concatenate([part.distance[end] for part in parts])[rows], np.zeros((0, 2)))
        if with_states:
            sent.symbols = _thinned(states("symbols", end))
            if reference:
                result.cka = text_metrics.cka(
                    states("decoder_states", reference.key), states("decoder_states", pair.key)
                )
                sent.cka = text_metrics.cka(
                    states("encoder_states", reference.transmitter.fingerprint), states("encoder_states", end)
                )
        made[pair.key] = result, sent
    return made


def _thinned(symbols: np.ndarray) -> np.ndarray:
    """Every n-th, so that about ``SHOWN_SYMBOLS`` of all sentences are left."""
    return symbols[:: -(-len(symbols) // SHOWN_SYMBOLS)]


@dataclass
class _Part:
    """What one batch gave, sentences in its order."""

    ids: list[int]
    sums: dict[tuple, np.ndarray]
    pieces: dict[tuple, list[list[list[int]]]]
    distance: dict[str, np.ndarray]
    symbols: dict[str, np.ndarray]
    encoder_states: dict[str, np.ndarray]
    decoder_states: dict[tuple, np.ndarray]


def _measure_batch(
    pairs: Sequence[Pair],
    everyone: Sequence[Pair],
    reference: Pair | None,
    batch: Batch,
    vocabulary: Vocabulary,
    meeting: Meeting,
    states_at: int | None,
) -> _Part:
    part = _Part([s.id for s in batch.sentences], {}, {}, {}, {}, {}, {})
    sent = {}
    for end in {pair.transmitter.fingerprint: pair.transmitter for pair in everyone}.values():
        numbers = {pair.draw for pair in everyone if pair.transmitter.fingerprint == end.fingerprint}
        sent[end.fingerprint] = send(
            end.module, batch, meeting.channel, meeting.snrs, seed=meeting.seed, numbers=numbers
        )
        if states_at is not None:
            real = sent[end.fingerprint].signal[batch.source_mask]
            state = sent[end.fingerprint].state[batch.source_mask]
            part.symbols[end.fingerprint] = real.unflatten(-1, (-1, 2)).flatten(0, 1).cpu().numpy()
            part.encoder_states[end.fingerprint] = state.float().cpu().numpy()
    signals = {fingerprint: by.signal for fingerprint, by in sent.items()}
    for fingerprint, signal in signals.items():
        apart = (
            (signal - signals[reference.transmitter.fingerprint]).double().square().sum((1, 2))
            if reference
            else signal.sum((1, 2)) * np.nan
        )
        symbols = torch.tensor(batch.lengths, device=signal.device) * signal.shape[-1] / 2
        part.distance[fingerprint] = (apart / symbols).cpu().numpy()
    arrived = {pair.key: sent[pair.transmitter.fingerprint].received[pair.draw] for pair in everyone}
    texts_sent = [sentence.text for sentence in batch.sentences]
    for pair in everyone:
        everything = meeting.search(
            pair.receiver.module, torch.cat(arrived[pair.key]), batch.source_mask.repeat(len(meeting.snrs), 1)
        )
        part.pieces[pair.key] = [
            everything[k * len(batch) : (k + 1) * len(batch)] for k in range(len(meeting.snrs))
        ]
    texts = {pair.key: [vocabulary.decode(pieces) for pieces in part.pieces[pair.key]] for pair in everyone}
    for pair in pairs:
        part.sums[pair.key] = np.full((len(meeting.snrs), len(batch), len(COLUMNS)), np.nan)
    for k in range(len(meeting.snrs)):
        forced = _forced(
            pairs,
            reference,
            batch,
            {key: by_snr[k] for key, by_snr in arrived.items()},
            part.pieces[reference.key][k] if reference else None,
        )
        for pair in pairs:
            sums, pieces = part.sums[pair.key][k], part.pieces[pair.key][k]
            sums[:, PLACE["tokens"]], sums[:, PLACE["sentences"]] = batch.target_lengths, 1
            said = [batch.target_out[i, : n - 1].tolist() for i, n in enumerate(batch.target_lengths)]
            sums[:, PLACE["matches"]] = [text_metrics.token_matches(p, s) for p, s in zip(pieces, said)]
            sums[:, PLACE["exact"]] = [p == s for p, s in zip(pieces, said)]
            sums[:, PLACE[TO_SENT[0]] : PLACE[TO_SENT[-1]] + 1] = text_metrics.bleu_statistics(
                texts[pair.key][k], texts_sent
            )
            if reference:
                sums[:, PLACE[TO_REFERENCE[0]] :] = text_metrics.bleu_statistics(
                    texts[pair.key][k], texts[reference.key][k]
                )
            values, state = forced[pair.key]
            for name, value in values.items():
                sums[:, PLACE[name]] = value.cpu().numpy()
            if k == states_at:
                part.decoder_states[pair.key] = state.float().cpu().numpy()
        if k == states_at and reference and reference.key not in part.decoder_states:
            part.decoder_states[reference.key] = forced[reference.key][1].float().cpu().numpy()
    return part


def _forced(
    pairs: Sequence[Pair],
    reference: Pair | None,
    batch: Batch,
    received: Mapping[tuple, Tensor],
    decoded: list[list[int]] | None,
) -> dict[tuple, tuple[dict[str, Tensor], Tensor]]:
    """Teacher-forced at one SNR: per sentence, sums of ``FORCED``; and the final decoder states of all real
    tokens."""
    everyone = [*pairs, *([reference] if reference and reference.key not in {p.key for p in pairs} else [])]
    values: dict[tuple, dict[str, Tensor]] = {pair.key: {} for pair in everyone}
    states = {
        pair.key: pair.receiver.module(received[pair.key], batch.source_mask, batch.target_in)[
            batch.target_mask
        ]
        for pair in everyone
    }
    owner, targets = batch.target_mask.nonzero()[:, 0], batch.target_out[batch.target_mask][:, None]
    for rows in _slices(len(owner), owner.device):
        its = _logs(reference, states, rows) if reference else None
        its_choice = its.argmax(-1) if reference else None
        for pair in everyone:
            ours = its if reference and pair.key == reference.key else _logs(pair, states, rows)
            found = {"nats": -ours.gather(-1, targets[rows]).squeeze(-1)}
            if reference:
                found["kl"], found["js"] = losses.kl_and_js(its, ours)
                found["agree"] = its_choice == ours.argmax(-1)
                if states[pair.key].shape == states[reference.key].shape:
                    found["distance"] = losses.feature_mse(
                        states[reference.key][rows], states[pair.key][rows]
                    )
            _add(values[pair.key], found, owner[rows], batch)
    if reference:
        # The reference's own decodings as what is to be said, of the same sentences in the same order.
        own = collate(
            [Encoded(s, [0] * n, pieces) for s, n, pieces in zip(batch.sentences, batch.lengths, decoded)]
        ).to(owner.device)
        owner = own.target_mask.nonzero()[:, 0]
        on_own = {
            pair.key: pair.receiver.module(received[pair.key], batch.source_mask, own.target_in)[
                own.target_mask
            ]
            for pair in everyone
        }
        for rows in _slices(len(owner), owner.device):
            its = _logs(reference, on_own, rows)
            for pair in everyone:
                kl = losses.kl_of_logs(its, its if pair.key == reference.key else _logs(pair, on_own, rows))
                _add(values[pair.key], {"own_kl": kl, "own_tokens": torch.ones_like(kl)}, owner[rows], batch)
    return {pair.key: (values[pair.key], states[pair.key]) for pair in everyone}


def _slices(rows: int, device: torch.device) -> list[slice]:
    """On CPUs so few rows at a time that what is computed of all their pieces stays in cache."""
    together = ROWS_ON_CPU if device.type == "cpu" else ROWS_ELSEWHERE
    return [slice(start, start + together) for start in range(0, rows, together)]


def _logs(pair: Pair, states: Mapping[tuple, Tensor], rows: slice) -> Tensor:
    """Log-probabilities of the next piece."""
    return losses.log_softmax(pair.receiver.module.project(states[pair.key][rows]))


def _add(sums: dict[str, Tensor], found: Mapping[str, Tensor], owner: Tensor, batch: Batch) -> None:
    """Add values of rows to the sums of the sentences that own them."""
    for name, rows in found.items():
        if name not in sums:
            sums[name] = torch.zeros(len(batch), dtype=torch.float64, device=rows.device)
        sums[name].index_add_(0, owner, rows.double())
