"""What whole numbers of 8 bits cost an exported link: BLEU of the checkpoint and of the graphs, on the same
sentences and draws."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from semcom.base.errors import SemcomError
from semcom.channel.channels import make_channel
from semcom.channel.settings import ChannelConfig
from semcom.commands.inputs import load_corpus
from semcom.commands.measuring import REFERENCE_PREFERRED, languages_of, scoring_of, test_split, texts_of
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.commands.settings import WHOLE_CORPUS
from semcom.data.batching import Encoded, encode
from semcom.evaluation.scores import Entrant, Meeting, decode
from semcom.evaluation.settings import EvaluationConfig
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import onnx_link
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)

SENTENCES, SEED, BATCH_SIZE = 1000, 42, 64


@dataclass(frozen=True)
class Test:
    """Sentences on which a link is measured, and how. corpus: the fingerprint of theirs."""

    encoded: list[Encoded]
    scoring: TextScoring
    corpus: str


def test_of(source: Checkpoint) -> Test | None:
    """Test sentences of the corpus that a checkpoint's record names; None, with a line, where that cannot be
    read."""
    try:
        read = load_corpus(corpus_of_runs(WHOLE_CORPUS, [source.config]), source.vocabulary)
        encoded = encode(test_split(read, SENTENCES), source.vocabulary, leave_out_long=True)
        languages = languages_of([source])
        scoring = scoring_of(EvaluationConfig(), read.language, texts_of(encoded), languages)
    except SemcomError as error:
        log.warning(
            f"what int8 costs will not be measured, its test sentences cannot be read: {error}; measure it "
            "with: python -m semcom evaluate FOLDER CHECKPOINT --runtime onnx --corpus FILE"
        )
        return None
    return Test(encoded, scoring, read.fingerprint)


def cost(source: Checkpoint, folder: Path, test: Test) -> dict[str, Any]:
    """Of a whole folder: BLEU by torch and by its graphs, and how both were measured, as its JSON has it."""
    channel, snr = make_channel(ChannelConfig()), REFERENCE_PREFERRED
    meeting = Meeting(channel, (snr,), SEED, torch.device("cpu"), BATCH_SIZE, scoring=test.scoring)
    sent, bleu = texts_of(test.encoded), {}
    for name, model in (("torch", source.model), ("int8", onnx_link.load(folder).model)):
        (heard,) = decode(Entrant(name, model), test.encoded, source.vocabulary, meeting)
        bleu[name] = test.scoring.bleu(heard.texts, sent)
    return {
        "bleu": bleu,
        "bleu_lost": bleu["torch"] - bleu["int8"],
        "snr": snr,
        "channel": str(channel),
        "sentences": len(sent),
        "seed": SEED,
        "corpus_fingerprint": test.corpus,
        **test.scoring.record,
    }
