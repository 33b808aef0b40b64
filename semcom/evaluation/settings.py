"""Settings: Sentences and SNRs of a measurement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from semcom.base.errors import SemcomError
from semcom.base.flags import Rule, Validated, compile_setting, differs, number, setting, whole
from semcom.base.typed_words import plain_name
from semcom.channel.settings import SNR, is_noisy

BLEU_TOKENIZERS = ("13a", "zh", "ja-mecab", "ko-mecab", "char", "intl")
TEXT_NORMALIZATIONS = ("nfkc", "nfc", "identity")


@dataclass(frozen=True)
class EvaluationConfig(Validated):
    """The sentences and SNRs of a measurement."""

    snr: tuple[float, ...] = setting(
        (-6.0, 0.0, 6.0, 12.0, 18.0),
        "SNRs in dB per complex symbol",
        SNR,
        type=float,
        nargs="+",
        metavar="DB",
    )
    sentences: int = setting(1000, "sentences, at most", whole(1, example="1000"), metavar="N")
    split: str = setting(
        "test",
        "sentences measured: test, the 5 % by hash that no run here learns from; validation, another 5 %, "
        "for tuning that leaves test alone; all, for a file that no model has learned from, such as "
        "test_data.pkl of public DeepSC code",
        type=str.lower,
        choices=("test", "validation", "all"),
    )
    examples: int = setting(
        0, "show what was understood of this many sentences", whole(0, example="20"), metavar="N"
    )
    eval_batch_size: int = setting(
        64, "sentences decoded together, at each SNR", whole(1, example="64"), metavar="B"
    )
    beam_width: int = setting(
        1,
        "hypotheses that beam search follows; 1 is greedy decoding",
        whole(1, 1000, example="4"),
        metavar="N",
    )
    length_penalty: float = setting(
        1.0,
        "beam search: divide log-probabilities by ((5 + length) / 6)^A; 0 favours short sentences",
        number(0, 10, example="1"),
        metavar="A",
    )

    compile: str = compile_setting(
        "decode by kernels compiled for this machine, on CPUs that have a C++ compiler: the same pieces, but "
        "where two are as likely to within rounding; auto takes them where they are faster and there is "
        "enough to decode"
    )

    bleu_tokenizer: str = setting(
        "auto",
        "words of BLEU, as sacrebleu cuts them; auto follows the language of the sentences: zh, ja-mecab "
        "where that is installed, char for other scripts without blanks, 13a for all else",
        type=str.lower,
        choices=("auto", *BLEU_TOKENIZERS),
    )
    text_normalization: str = setting(
        "nfkc",
        "form in which what was sent and what was understood are compared, whatever the vocabularies make "
        "of text; exact sentences are also counted without it",
        type=str.lower,
        choices=TEXT_NORMALIZATIONS,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beam_width == 1 and differs(self, "length_penalty"):
            raise SemcomError(
                f"--length-penalty {self.length_penalty:g}: greedy decoding has none; leave it out or add "
                "--beam-width 4"
            )


@dataclass(frozen=True)
class ResendingConfig(Validated):
    """A feedback bit for each sentence, by which it is sent a second time."""

    resend: tuple[float, ...] = setting(
        (),
        "send a sentence again where the receiver is unsure of what it decoded (mean log-probability a "
        "token), so that these shares are sent twice, and combine both receptions by maximum ratio; beside "
        "random resending, an oracle and more energy without feedback",
        Rule(
            "different shares above 0 and below 1",
            lambda shares: all(0 < share < 1 for share in shares) and len(set(shares)) == len(shares),
            "0.05 0.1 0.2",
        ),
        type=float,
        nargs="+",
        metavar="SHARE",
    )

    def check_channel(self, channel: str, csi: str) -> None:
        """Raise SemcomError for a channel that gives nothing to combine, or nothing to combine it by."""
        if self.resend and csi == "none" and channel != "awgn":  # which has none to know
            raise SemcomError(
                f"--resend {self.resend[0]:g}: with --csi none the receiver knows no gains to combine two "
                "receptions by; give --csi pilots, or leave it out"
            )
        if self.resend and not is_noisy(channel):
            raise SemcomError(
                f"--resend {self.resend[0]:g}: --channel {channel} brings the same twice; give a channel "
                "with noise, for example --channel awgn"
            )


TARGET_MEASURES = ("kl_divergence", "kl_reference_prefix", "js_divergence", "cross_entropy_gap", "bleu_drop")
LARGEST_TARGETS = {"js_divergence": 0.693, "bleu_drop": 100.0}


@dataclass(frozen=True)
class TargetConfig(Validated):
    """What difference of knowledge a dial is asked for."""

    target_measure: str = setting(
        "kl_divergence",
        "what the target is a value of: KL after gold prefixes or after those that the teacher decoded, "
        "Jensen-Shannon divergence, cross-entropy above the teacher's, all in nats a token; or points of "
        "BLEU below the teacher's",
        choices=TARGET_MEASURES,
    )
    reference_snr: float = setting(
        12.0, "SNR at which it is asked for, in dB", number(-100, 100, example="12"), metavar="DB"
    )
    target_topics: tuple[str, ...] = setting(
        (),
        "built-in corpus: measured on sentences of these topics alone",
        type=plain_name,
        nargs="+",
        metavar="TOPIC",
    )

    def check(self, flag: str, targets: Sequence[float]) -> None:
        """Raise SemcomError for targets (given by ``flag``) that no pair could have."""
        largest = LARGEST_TARGETS.get(self.target_measure, math.inf)
        for target in targets:
            if not 0 < target < largest:  # nor NaN
                below = f" and below {largest:g}" if largest < math.inf else ""
                raise SemcomError(
                    f"{flag} {target:g}: must be a finite number above 0{below} ({self.target_measure}); "
                    f"for example {flag} 0.2"
                )
        for target in targets:
            if [f"{other:g}" for other in targets].count(f"{target:g}") > 1:
                raise SemcomError(f"{flag} {target:g}: is there twice (to six digits); give it once")


@dataclass(frozen=True)
class DoctorConfig(Validated):
    """Draws of the fading."""

    draws: int = setting(20_000, "fades drawn", whole(1000, 1_000_000, example="20000"), metavar="N")
