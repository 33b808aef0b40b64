"""Batches: the shift of targets, masks, order, padding."""

import random
from dataclasses import fields, replace

import pytest
import torch
from toy import C, encoded

from semcom.base.errors import SemcomError
from semcom.channel.channels import AWGN
from semcom.channel.draws import sample
from semcom.data.batching import Encoded, by_length, collate, encode, shuffled
from semcom.data.corpus import Sentence, make_sentence
from semcom.data.settings import MAX_POSITIONS
from semcom.data.vocabulary import BOS, EOS, PAD


def test_source_is_bos_pieces_eos(vocabulary, sentences):
    for e, pieces in zip(
        encode(sentences[:20], vocabulary), vocabulary.encode([s.text for s in sentences[:20]])
    ):
        assert e.source == [BOS, *pieces, EOS]
    assert [e.sentence for e in encode(sentences[:20], vocabulary)] == sentences[:20]


def test_too_long_a_sentence_is_refused_and_the_longest_is_not(vocabulary):
    pieces = len(vocabulary.encode(["x " * 400])[0])
    assert pieces < MAX_POSITIONS
    with pytest.raises(SemcomError, match=f"at most {MAX_POSITIONS - 2} are allowed"):
        encode([make_sentence("x " * 2000)], vocabulary)
    assert len(encode([make_sentence("x " * 400)], vocabulary)[0].source) == pieces + 2


@pytest.mark.parametrize("pad_to", [0, 14])
def test_shift_and_masks(pad_to):
    sentences = encoded(9, 1, 6)
    batch = collate(sentences, pad_to)
    width = max(pad_to, max(len(e.source) for e in sentences))
    assert (
        len(batch) == 9
        and batch.source.shape == (9, width)
        and batch.target_in.shape == batch.target_out.shape == (9, width - 1)
    )
    for row, e in enumerate(sentences):
        pieces, n = e.source[1:-1], len(e.source)
        blank = [PAD] * (width - n)
        assert batch.source[row].tolist() == [BOS, *pieces, EOS, *blank]
        assert batch.target_in[row].tolist() == [BOS, *pieces, *blank]
        assert batch.target_out[row].tolist() == [*pieces, EOS, *blank]
        assert batch.source_mask[row].tolist() == [True] * n + [False] * (width - n)
        assert batch.target_mask[row].tolist() == [True] * (n - 1) + [False] * (width - n)
    assert batch.target_tokens == batch.target_mask.sum() == sum(len(e.source) - 1 for e in sentences)
    assert batch.sentences == [e.sentence for e in sentences] and batch.lengths == [
        len(e.source) for e in sentences
    ]


def test_targets_of_other_lengths_by_hand():
    """One longer than what was sent, one shorter, one empty, one left to the source."""
    given = [([7], [4, 5, 6]), ([8, 9, 10], [11]), ([12, 13], []), ([14], None)]
    batch = collate(
        [
            Encoded(Sentence(number, ""), [BOS, *sent, EOS], target)
            for number, (sent, target) in enumerate(given)
        ],
        6,
    )
    assert batch.lengths == [3, 5, 4, 3] and batch.target_lengths == [4, 2, 1, 2] and batch.target_tokens == 9
    assert batch.source.tolist() == [
        [BOS, 7, EOS, PAD, PAD, PAD],
        [BOS, 8, 9, 10, EOS, PAD],
        [BOS, 12, 13, EOS, PAD, PAD],
        [BOS, 14, EOS, PAD, PAD, PAD],
    ]
    assert batch.source_mask.sum(1).tolist() == batch.lengths and batch.source_mask[1].tolist() == [
        True
    ] * 5 + [False]
    assert batch.target_in.tolist() == [
        [BOS, 4, 5, 6, PAD],
        [BOS, 11, PAD, PAD, PAD],
        [BOS, PAD, PAD, PAD, PAD],
        [BOS, 14, PAD, PAD, PAD],
    ]
    assert batch.target_out.tolist() == [
        [4, 5, 6, EOS, PAD],
        [11, EOS, PAD, PAD, PAD],
        [EOS, PAD, PAD, PAD, PAD],
        [14, EOS, PAD, PAD, PAD],
    ]
    assert batch.target_mask.tolist() == [
        [position < n for position in range(5)] for n in batch.target_lengths
    ]
    assert (
        batch.draw(AWGN(), C, seed=0, number=0).noise.abs().sum(2).bool().tolist()
        == batch.source_mask.tolist()
    ), "the channel carries what was sent"
    assert batch.to("cpu").target_lengths == batch.target_lengths


def test_targets_are_padded_to_the_longest_of_their_own():
    long, short = (collate([replace(e, target=[4] * n) for e in encoded(3, 5, 5)]) for n in (30, 1))
    assert long.source.shape == short.source.shape == (3, 7)
    assert long.target_in.shape == long.target_mask.shape == (3, 31) and short.target_out.shape == (3, 2)


def test_what_was_sent_as_target_is_no_target():
    sentences = encoded(9, 1, 9)
    with_targets, without = (
        collate([replace(e, target=target(e)) for e in sentences], 13)
        for target in (lambda e: e.source[1:-1], lambda e: None)
    )
    for field in fields(without):
        ours, theirs = getattr(with_targets, field.name), getattr(without, field.name)
        assert torch.equal(ours, theirs) if isinstance(ours, torch.Tensor) else ours == theirs, field.name


def test_a_masked_piece_is_no_padding():
    """Masks come from lengths, so a sentence may hold the id of padding."""
    sentence = encoded(1)[0]
    sentence.source[1] = PAD
    assert collate([sentence], 9).source_mask.sum() == len(sentence.source)


def test_draw_is_the_sentences_own_whatever_the_padding():
    sentences = encoded(6)
    wide = collate(sentences, 20).draw(AWGN(), C, seed=3, number=4)
    assert wide.noise.shape == (6, 20, C)
    for row, e in enumerate(sentences):
        alone = sample([e.sentence.id], [len(e.source)], C, seed=3, number=4)
        assert (
            torch.equal(wide.noise[row, : len(e.source)], alone.noise[0])
            and not wide.noise[row, len(e.source) :].any()
        )
        assert torch.equal(wide.scatter[row], alone.scatter[0]) and wide.level[row] == alone.level[0]


def flat(batches):
    return [e.sentence.id for batch in batches for e in batch]


def test_an_epoch_holds_each_sentence_once():
    sentences = encoded(1003)
    batches = shuffled(sentences, 8, seed=1, epoch=1)
    assert sorted(flat(batches)) == sorted(e.sentence.id for e in sentences)
    assert max(map(len, batches)) == 8 and len(batches) <= -(-1003 // 8) + 2


def test_order_repeats_by_seed_and_epoch_alone():
    sentences = encoded(300)
    first = flat(shuffled(sentences, 8, seed=1, epoch=2))
    assert first == flat(shuffled(sentences, 8, seed=1, epoch=2))
    assert first != flat(shuffled(sentences, 8, seed=1, epoch=3)) and first != flat(
        shuffled(sentences, 8, seed=2, epoch=2)
    )
    lengths = [len(e.source) for batch in shuffled(encoded(3000, 3, 30), 8, 0, 1) for e in batch]
    assert lengths != sorted(lengths) and lengths != sorted(lengths, reverse=True)


def test_batches_hold_little_padding():
    sentences = encoded(5000, 3, 40)

    def padding(batches):
        cells = sum(max(len(e.source) for e in batch) * len(batch) for batch in batches)
        return 1 - sum(len(e.source) for batch in batches for e in batch) / cells

    assert padding(shuffled(sentences, 32, 0, 1)) < 0.05
    assert padding([sentences[i : i + 32] for i in range(0, 5000, 32)]) > 0.3


def padded(batches):
    """Target tokens, padding included, of each batch."""
    return [max(len(e.source) - 1 for e in batch) * len(batch) for batch in batches]


@pytest.mark.parametrize("budget", [1, 25, 300, 4000, 10**9])
def test_a_token_budget_holds_and_takes_each_sentence_once(budget):
    sentences = encoded(1003, 3, 40)
    batches = shuffled(sentences, 128, 1, 1, budget)
    assert sorted(flat(batches)) == sorted(e.sentence.id for e in sentences)
    assert all(len(batch) == 1 or tokens <= budget for batch, tokens in zip(batches, padded(batches)))
    assert (
        flat(batches)
        == flat(shuffled(sentences, 128, 1, 1, budget))
        != flat(shuffled(sentences, 128, 1, 2, budget))
    )
    held = by_length(sentences, 128, budget)
    assert sorted(s.id for batch in held for s in batch.sentences) == sorted(flat(batches))
    assert all(len(batch) == 1 or batch.target_mask.numel() <= budget for batch in held)


def test_a_token_budget_is_used_up_with_little_padding():
    sentences = encoded(20_000, 3, 40)
    real = sum(len(e.source) - 1 for e in sentences)
    batches = shuffled(sentences, 128, 0, 1, 2000)
    assert (
        1 - real / sum(padded(batches))
        < 0.03
        < 1 - real / sum(padded([sentences[i : i + 90] for i in range(0, 20_000, 90)]))
    )
    assert sum(padded(batches)) > 0.93 * 2000 * len(batches)


def test_by_length_takes_all_longest_first_whatever_the_order():
    sentences = encoded(101, 3, 20)
    batches = by_length(sentences, 10)
    lengths = [n for batch in batches for n in batch.lengths]
    assert lengths == sorted((len(e.source) for e in sentences), reverse=True)
    assert [b.sentences for b in batches] == [b.sentences for b in by_length(sentences[::-1], 10)]


def answered(number, longest=40):
    """Sentences of 3 pieces and more with targets of other lengths, some empty, for two in three."""
    rng = random.Random(1)
    return [
        replace(e, target=[4] * rng.randrange(longest) if rng.random() < 2 / 3 else None)
        for e in encoded(number, 3, longest)
    ]


@pytest.mark.parametrize("budget", [1, 60, 4000])
def test_a_token_budget_counts_targets(budget):
    sentences = answered(1003)
    for batches in (
        [collate(b) for b in shuffled(sentences, 128, 1, 1, budget)],
        by_length(sentences, 128, budget),
    ):
        assert sorted(s.id for b in batches for s in b.sentences) == sorted(e.sentence.id for e in sentences)
        assert all(len(b) == 1 or b.target_mask.numel() <= budget for b in batches)
        if budget == 4000:
            assert sum(b.target_mask.numel() for b in batches) > 0.8 * budget * len(batches)


def test_neither_sources_nor_targets_are_padded_much():
    """A teacher's decoding is mostly as long as what was sent: sorted by one alone, the odd ones would
    stretch whole batches."""
    rng = random.Random(2)
    sentences = [
        replace(e, target=[4] * round(len(e.source) * rng.uniform(0.3, 1.4)) if rng.random() < 0.3 else None)
        for e in encoded(5000, 3, 40)
    ]

    def padding(batches, mask):
        masks = [getattr(collate(b), mask) for b in batches]
        return 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)

    ours, by_source = shuffled(sentences, 64, 0, 1), sorted(sentences, key=lambda e: len(e.source))
    by_source = [by_source[start : start + 64] for start in range(0, 5000, 64)]
    assert padding(ours, "source_mask") < 0.1 and padding(ours, "target_mask") < 0.15 < 0.25 < padding(
        by_source, "target_mask"
    )
    longest = [max(b.source_mask.shape[1], b.target_mask.shape[1] + 1) for b in by_length(sentences, 64)]
    assert longest == sorted(longest, reverse=True), "what does not fit into memory fails at once"


def test_real_tokens_are_chosen_as_by_the_masks():
    one, two = (Encoded(make_sentence(text), ids) for text, ids in (("a b", [1, 7, 8, 2]), ("c", [1, 9, 2])))
    batch = collate([one, replace(two, target=[5, 6, 7])], pad_to=6)
    states = torch.arange(2 * 6 * 3).view(2, 6, 3)
    assert torch.equal(batch.of_sources(states), states[batch.source_mask])
    assert batch.of_targets(batch.target_out).tolist() == [7, 8, 2, 5, 6, 7, 2]
