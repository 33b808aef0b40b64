"""What a coded baseline is made of: the transceiver that it is compared with, sentences, source codes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import Channel
from semcom.commands import chosen_way
from semcom.commands.baseline_settings import MODULATIONS, BaselineSettings
from semcom.commands.inputs import load_corpus, load_teacher, load_vocabulary, shipped, split_of
from semcom.commands.measuring import scoring_of, test_split, validation_split
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.data import batching, source_codes
from semcom.data.corpus import Corpus, Sentence
from semcom.data.source_code_settings import LANGUAGE_MODEL
from semcom.data.source_codes import SourceCode
from semcom.data.vocabulary import Vocabulary
from semcom.distillation import language_model
from semcom.evaluation.coded_baseline import Framing, Offered
from semcom.evaluation.text_scoring import TextScoring
from semcom.models import language_model_code
from semcom.models.architecture import Architecture, sized
from semcom.models.kinds import USUAL
from semcom.models.settings import DEFAULT_TEACHER, ModelConfig

log = logging.getLogger(__name__)

HEADER_BITS = 10


@dataclass(frozen=True)
class Compared:
    """The transceiver that takes as many symbols. name: for people. record: how it was made."""

    name: str
    vocabulary: Vocabulary
    architecture: Architecture
    record: Mapping[str, object]

    @classmethod
    def of(cls, settings: BaselineSettings) -> "Compared":
        if settings.vocab:
            vocabulary = load_vocabulary(settings.vocab)
            usual = ModelConfig()
            sizes = {
                "layers": usual.layers,
                "d_model": usual.model_width,
                "num_heads": usual.heads,
                "dff": usual.feed_forward,
            }
            transmitter, receiver = sized("transmitter", USUAL, sizes), sized("receiver", USUAL, sizes)
            width = settings.channel_dim or usual.channel_dim
            architecture = Architecture(len(vocabulary), transmitter, receiver, width, usual.dropout)
            return cls(settings.vocab, vocabulary, architecture, {})
        like = load_teacher(settings.like, "--like")
        return cls(like.path, like.vocabulary, like.model.architecture, like.config)


def inputs_of(settings: BaselineSettings) -> list[str]:
    """The files that a run reads."""
    like = settings.vocab or settings.like or shipped(DEFAULT_TEACHER)
    return [like, *([settings.lm_code] if settings.lm_code else []), *settings.corpus.corpus]


@dataclass(frozen=True)
class Sentences:
    """test: measured. validation: on which schemes are chosen. source: the whole corpus."""

    test: Offered
    validation: Offered
    source: Corpus
    scoring: TextScoring


def sentences_of(settings: BaselineSettings, compared: Compared) -> Sentences:
    """Those that ``evaluate`` measures with the same flags, and as many to choose schemes on."""
    evaluation, vocabulary = settings.evaluation, compared.vocabulary
    used = corpus_of_runs(settings.corpus, [compared.record])
    source = load_corpus(used, vocabulary, quiet=settings.run.quiet)
    test = test_split(source, evaluation.sentences, evaluation.split)
    validation = validation_split(source, evaluation.sentences, test)
    if not validation:
        raise SemcomError(
            f"--corpus {escape(source.name)}: leaves no validation sentences to choose schemes on; give some "
            "hundreds at least"
        )
    offered = _offered(test, compared)
    texts = offered.texts
    scoring = scoring_of(
        evaluation, source.language, texts, [compared.record.get("language"), vocabulary.language]
    )
    return Sentences(offered, _offered(validation, compared), source, scoring)


def _offered(sentences: list[Sentence], compared: Compared) -> Offered:
    encoded = batching.encode(sentences, compared.vocabulary, leave_out_long=True)
    return Offered(encoded, compared.architecture.channel_dim)


def given_language_model(
    settings: BaselineSettings, compared: Compared, device: torch.device
) -> SourceCode | None:
    """That of ``--lm-code``, of which a wrong one is refused before any work."""
    if not settings.lm_code:
        return None
    return language_model_code.read(settings.lm_code, compared.vocabulary, "--lm-code", device=device)


def codes_of(
    settings: BaselineSettings,
    compared: Compared,
    source: Corpus,
    given: SourceCode | None,
    device: torch.device,
) -> list[SourceCode]:
    """The source codes asked for, learned from the training split. given: the language model, if there is
    one."""
    train = split_of(source, "train")
    return [
        given or _language_model(settings, compared, source, device)
        if name == LANGUAGE_MODEL
        else source_codes.learned(name, train.texts, compared.vocabulary)
        for name in settings.link.source_code
    ]


def _language_model(
    settings: BaselineSettings, compared: Compared, source: Corpus, device: torch.device
) -> SourceCode:
    vocabulary, quiet = compared.vocabulary, settings.run.quiet
    train, validation = (
        batching.encode(list(split_of(source, name)), vocabulary, leave_out_long=True)
        for name in ("train", "validation")
    )
    choice = chosen_way.of_language_model(settings.training, train, compared.architecture, device)
    log.info(f"training the language model of the source code lm; {choice.told}")
    return language_model.learned(
        train,
        validation,
        vocabulary,
        compared.architecture,
        settings.training,
        seed=settings.run.seed,
        device=device,
        quiet=quiet,
        way=choice.way,
    )


@dataclass(frozen=True)
class Run:
    """All that one run works with."""

    settings: BaselineSettings
    compared: Compared
    sentences: Sentences
    channel: Channel
    codes: Sequence[SourceCode]

    @property
    def framings(self) -> list[Framing]:
        link = self.settings.link
        plain = [Framing(packed=packing == "packed", crc=link.crc) for packing in link.packing]
        with_header = [replace(each, header_bits=HEADER_BITS) for each in plain if link.header]
        resent = [replace(each, resend=True) for each in plain if link.resend]
        return [*plain, *with_header, *resent]

    @property
    def modulations(self) -> list[str]:
        """The sparsest first."""
        return [name for name in MODULATIONS if name in self.settings.link.modulation]
