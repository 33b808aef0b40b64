"""The dial as a slider: the path of a finished run as a few hybrids, measured before the first is asked
for."""

from dataclasses import dataclass

from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import Channel
from semcom.commands.dial_path import Dialled, path_of_run
from semcom.commands.inputs import read_corpus, split_of
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.data import batching
from semcom.data.settings import CorpusConfig
from semcom.evaluation import path_stops
from semcom.evaluation.path_stops import COUNT, Stop
from semcom.evaluation.scores import Meeting
from semcom.evaluation.text_scoring import scoring_for
from semcom.models.checkpoint import Checkpoint

SENTENCES = 100


@dataclass(frozen=True)
class Stops:
    """The path of a run as a slider has it.

    teacher: from which the divergence is. path: its kind, learning or knowledge. stops: from one end of the
    path to the other. sentences, snr (dB), channel, bleu: on how many test sentences, where, and by which
    signature KL and BLEU were measured.
    """

    teacher: Checkpoint
    path: str
    stops: list[Stop]
    sentences: int
    snr: float
    channel: str
    bleu: str


# Six arguments: which run, from which teacher, measured where, and on how much.
def stops_of_run(
    folder: str,
    channel: Channel,
    snr: float,
    *,
    teacher: str | None = None,
    sentences: int = SENTENCES,
    count: int = COUNT,
) -> Stops:
    """Of the finished distillation in ``folder``, whose text is read again as its record says.

    teacher: file of the reference, by default the one that the record names. Takes some seconds, which a bar
    counts. Raises SemcomError for a run without a path, or whose text is not there.
    """
    dialled = path_of_run(folder, "auto", teacher)
    encoded = _test_sentences(folder, dialled, sentences)
    scoring = scoring_for([e.sentence.text for e in encoded], dialled.best.vocabulary.language)
    device = next(dialled.teacher.model.parameters()).device
    meeting = Meeting(channel, (snr,), 0, device, len(encoded), scoring=scoring)
    found = path_stops.stops(dialled.path, dialled.teacher.model, dialled.best, encoded, meeting, count)
    signature = str(scoring.record["bleu_signature"])
    return Stops(dialled.teacher, dialled.path.kind, found, len(encoded), snr, str(channel), signature)


def _test_sentences(folder: str, dialled: Dialled, most: int) -> list[batching.Encoded]:
    vocabulary = dialled.best.vocabulary
    read = read_corpus(corpus_of_runs(CorpusConfig(), [dialled.made]), vocabulary)
    chosen = split_of(read, "test").lowest(most)
    encoded = batching.encode(list(chosen), vocabulary, leave_out_long=True)
    if not encoded:
        raise SemcomError(f"{escape(folder)}: none of its test sentences is short enough to be sent")
    return encoded
