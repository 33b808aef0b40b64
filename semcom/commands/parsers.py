"""The parsers of all commands, made from their settings; what is not in ``settings.py`` is a title, a line of
description or a flag of older scripts. Nothing here imports torch."""

import argparse
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from semcom.base.advice import nearest
from semcom.base.errors import SemcomError, shown
from semcom.base.flags import add_flags
from semcom.base.varied_flags import add_varied_flags
from semcom.commands.align_settings import AlignSettings
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.baseline_settings import BaselineSettings
from semcom.commands.benchmark_settings import BenchmarkSettings
from semcom.commands.demo_settings import DemoSettings
from semcom.commands.dial_settings import DialSettings
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.export_settings import ExportSettings
from semcom.commands.images_settings import ImagesSettings
from semcom.commands.parser import Parser
from semcom.commands.settings import (
    SEEDS,
    AuditSettings,
    DigitsSettings,
    DoctorSettings,
    EvaluateSettings,
    ImportSettings,
    SpliceSettings,
    TrainSettings,
    TransmitSettings,
    VocabSettings,
)
from semcom.commands.sweep_settings import SweepSettings

REPLACED = {
    "--vocab-file": "the vocabulary comes from the teacher's checkpoint",
    "--num-layers": "the teacher's size comes from its checkpoint; the student's is --student-layers",
    "--d-model": "the teacher's size comes from its checkpoint; the student's is --student-d-model",
    "--dff": "the teacher's size comes from its checkpoint; the student's is --student-dff",
    "--num-heads": "the teacher's size comes from its checkpoint; the student's is --student-heads",
    "--MAX-LENGTH": "positions need no limit; sentences are chosen by words: --max-length",
    "--MIN-LENGTH": "sentences are chosen by words: --min-length",
}


class _Replaced(argparse.Action):
    """A flag of older scripts, answered with the new way."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> NoReturn:
        assert option_string is not None
        raise SemcomError(f"{option_string}: no longer needed, {REPLACED[option_string]}; leave it out")


def distillation_parser() -> Parser:
    parser = Parser(
        prog="distillation.py",
        description=(
            "Distil a shallower student from a teacher transceiver, through a noisy channel; optionally "
            "splice a hybrid.\n"
            "  python distillation.py --distill-part decoder --create-hybrid"
        ),
    )
    add_flags(parser, DistilSettings)
    parser.add_run_files()
    parser.add_version()
    for flag in REPLACED:
        parser.add_argument(flag, action=_Replaced, nargs="?", help=argparse.SUPPRESS)
    return parser


def analysis_parser() -> Parser:
    parser = Parser(
        prog="semantic_analysis.py",
        description=(
            "How far does each student's understanding diverge from its teacher's? Without arguments: all "
            "runs under checkpoints/.\n"
            "  python semantic_analysis.py checkpoints/distillation_decoder/best_student_model.pt"
        ),
    )
    add_flags(parser, AnalysisSettings)
    parser.add_run_files()
    parser.add_version()
    return parser


OF_ALL_EXPERIMENTS = "Beside these flags: --seeds N (seeds 1 to N) and --dry-run, as of all experiments."


def examples_parser() -> Parser:
    parser = Parser(
        prog="distillation_examples.py",
        passes_on=True,
        description=(
            "Numbered experiments; other flags of distillation.py are passed on. 9 and 11 have flags of "
            "their own: see python distillation_examples.py 11 --help."
        ),
    )
    parser.add_argument("number", metavar="N|all|list", help="which experiment; list names them")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help=f"seeds of each run, compared in the end (default one; of 8 and 9, which need several, {SEEDS})",
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="6, 7, 8, and all with --seeds: runs at a time (default as many as there are cores)",
    )
    parser.add_argument(
        "--epochs",
        metavar="N",
        help="passes over the training split (default: see the flags of each)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands a person would type, run nothing"
    )
    parser.add_version()
    return parser


def digits_parser() -> Parser:
    parser = Parser(
        prog="distillation_examples.py 9",
        description=f"The image setting, on handwritten digits. {OF_ALL_EXPERIMENTS}",
    )
    add_flags(parser, DigitsSettings)
    return parser


def images_parser() -> Parser:
    parser = Parser(
        prog="distillation_examples.py 11",
        description=(
            "Pairs of image networks, few labels: labels alone, KD and the fusion of SDD and LSKD. "
            f"{OF_ALL_EXPERIMENTS}"
        ),
    )
    add_flags(parser, ImagesSettings)
    return parser


# --- python -m semcom


@dataclass(frozen=True)
class Verb:
    """function: ``module:name`` in this room, imported, and torch with it, when the verb is called.
    together: whether several processes share its work; of another the main one does all. varies: settings of
    which several values may be given; their variants are the function's second argument."""

    help: str
    settings: type[Any]
    function: str
    together: bool = False
    varies: type[Any] | None = None

    def load(self) -> Callable[..., object]:
        """What takes the settings and does the work."""
        function: Callable[..., object] = pkgutil.resolve_name(f"semcom.commands.{self.function}")
        return function


VERBS = {
    "vocab": Verb(
        "train a sentencepiece vocabulary (unigram, byte fallback)",
        VocabSettings,
        "vocabulary:make_vocabulary",
    ),
    "train": Verb(
        "train a teacher, from nothing or on from a checkpoint",
        TrainSettings,
        "train:train",
        together=True,
    ),
    "splice": Verb(
        "join the transmitter of one checkpoint and the receiver of another",
        SpliceSettings,
        "splice:splice",
    ),
    "import": Verb(
        "turn a model of public DeepSC code, or of safetensors that export wrote, into a checkpoint",
        ImportSettings,
        "import_model:import_model",
    ),
    "export": Verb(
        "write a checkpoint for other programs: public DeepSC code, onnxruntime, safetensors, the Hub",
        ExportSettings,
        "export:export",
    ),
    "evaluate": Verb(
        "BLEU, token accuracy and exact sentences, checkpoints side by side under the same draws",
        EvaluateSettings,
        "evaluate:evaluate",
        together=True,
    ),
    "baseline": Verb(
        "a coded digital link (Huffman or a language model, CRC, LDPC, QAM) on the same draws and symbols",
        BaselineSettings,
        "baseline:baseline",
    ),
    "audit": Verb(
        "score a model as the public DeepSC script does and rightly, one habit changed at a time",
        AuditSettings,
        "audit:audit",
    ),
    "doctor": Verb(
        "measure power, SNR and fading against theory, and the offset in dB of the public DeepSC code",
        DoctorSettings,
        "doctor:doctor",
    ),
    "sweep": Verb(
        "distil with every combination of the values given to its flags, several runs at a time; stopped and "
        "called again it goes on",
        SweepSettings,
        "sweep:sweep",
        varies=DistilSettings,
    ),
    "dial": Verb(
        "ask for divergences from the teacher, get a hybrid of each, without training anew",
        DialSettings,
        "dial:run",
    ),
    "align": Verb(
        "join two ends that never met by what is learned from pilot sentences, and measure what it gains",
        AlignSettings,
        "align:align",
    ),
    "benchmark": Verb(
        "score aligners, receivers and hybrids on a frozen task that others can be scored on too",
        BenchmarkSettings,
        "benchmark:run",
    ),
    "transmit": Verb(
        "send a sentence and print what each receiver understood",
        TransmitSettings,
        "transmit:transmit",
    ),
    "demo": Verb(
        "a page to play with: a sentence, the noise, and what each receiver understands",
        DemoSettings,
        "demo:demo",
    ),
}


OTHER_PROGRAMS = """\
programs beside it:
  python distillation.py                distil a student from a teacher, splice a hybrid
  python semantic_analysis.py           report how far students diverge from their teachers
  python distillation_examples.py list  numbered experiments

Each of them, and each VERB, shows its flags by --help.
"""
ELSEWHERE = {
    "distil": "distillation.py",
    "distill": "distillation.py",
    "distillation": "distillation.py",
    "analyse": "semantic_analysis.py",
    "analyze": "semantic_analysis.py",
    "analysis": "semantic_analysis.py",
    "report": "semantic_analysis.py",
    "examples": "distillation_examples.py list",
    "experiment": "distillation_examples.py list",
}
"""Verbs that one may look for -> the script that does it."""


def check_verb(verb: str) -> None:
    """Raise SemcomError for one that there is not, with what may be meant."""
    if verb in VERBS:
        return
    near = nearest(verb, [*VERBS, *ELSEWHERE])
    meant = f"python {ELSEWHERE[near]}" if near in ELSEWHERE else f"python -m semcom {near}"
    hint = f"; did you mean {meant}?" if near else ""
    raise SemcomError(
        f"{shown(verb)}: no such verb; allowed are {', '.join(VERBS)}{hint}; see: python -m semcom --help"
    )


def package_parser() -> Parser:
    parser = Parser(
        prog="python -m semcom",
        passes_on=True,
        description="Vocabularies, teachers, splices and measurements.",
        epilog=OTHER_PROGRAMS,
    )
    parser.add_version()
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for name, verb in VERBS.items():
        of_verb = verbs.add_parser(name, help=verb.help, description=verb.help)
        add_flags(of_verb, verb.settings)
        of_verb.add_run_files()
        if verb.varies:
            add_varied_flags(of_verb, verb.varies)
    return parser


def commands() -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """What a person types, and its parser."""
    yield "distillation.py", distillation_parser()
    yield "semantic_analysis.py", analysis_parser()
    yield "distillation_examples.py", examples_parser()
    yield "distillation_examples.py 9", digits_parser()
    yield "distillation_examples.py 11", images_parser()
    for action in package_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, parser in action.choices.items():
                yield f"python -m semcom {verb}", parser
