"""The parsers of all commands, made from their settings; what is not in ``settings.py`` is a title, a line of
description or a flag of older scripts. Nothing here imports torch."""

import argparse
import pkgutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from semcom.base import run_files
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import add_flags
from semcom.base.varied_flags import add_varied_flags
from semcom.commands import recorded_flags
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.dial_settings import DialSettings
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.settings import (
    SEEDS,
    AuditSettings,
    DigitsSettings,
    DoctorSettings,
    EvaluateSettings,
    ExportSettings,
    ImportSettings,
    SpliceSettings,
    TrainSettings,
    TransmitSettings,
    VocabSettings,
)
from semcom.commands.sweep_settings import SweepSettings

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

REPLACED = {
    "--vocab-file": "the vocabulary comes from the teacher's checkpoint",
    "--num-layers": "the teacher's size comes from its checkpoint; the student's is --student-layers",
    "--d-model": "the teacher's size comes from its checkpoint; the student's is --student-d-model",
    "--dff": "the teacher's size comes from its checkpoint; the student's is --student-dff",
    "--num-heads": "the teacher's size comes from its checkpoint; the student's is --student-heads",
    "--MAX-LENGTH": "positions need no limit; sentences are chosen by words: --max-length",
    "--MIN-LENGTH": "sentences are chosen by words: --min-length",
}


ALTERNATIVES = (("epochs", "steps", "minutes"), ("batch_size", "batch_tokens"))
"""Flags of which one is given: that of the command line takes the place of another in a run file."""


class Parser(argparse.ArgumentParser):
    """One line for an error, no abbreviations of flags; flags from run files."""

    def __init__(self, **arguments: Any):
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **arguments
        )
        self.from_files: set[str] = set()
        """Names of the flags that run files have set."""

    def error(self, message: str) -> NoReturn:
        raise SemcomError(f"{escape(message)}; see: {self.prog} --help")

    def print_help(self, file: "SupportsWrite[str] | None" = None) -> None:
        # argparse's own says nothing of a full disk.
        print(self.format_help(), end="", file=file)

    def add_run_files(self) -> None:
        """``--config`` and ``--print-config``, for all flags added before and after."""
        files = self.add_argument_group("Run files")
        _add_config(files)
        files.add_argument(
            "--print-config", action="store_true", help="print the YAML of what would be run, run nothing"
        )

    # argparse's own signature is a pair of overloads.
    def parse_known_args(self, args=None, namespace=None):
        """The namespace has besides ``record``: (file, what it holds) where a run file is the record of a
        run."""
        words = sys.argv[1:] if args is None else list(args)
        records = [self._take(path, words) for path in self._run_files(words)]
        flags, rest = super().parse_known_args(words, namespace)
        flags.record = next(filter(None, reversed(records)), None)
        return flags, rest

    def _run_files(self, words: Sequence[str]) -> list[str]:
        if "--config" not in self._option_string_actions:
            return []
        alone = Parser(prog=self.prog, add_help=False)
        _add_config(alone)
        # Not this method, which would ask itself.
        return argparse.ArgumentParser.parse_known_args(alone, words)[0].config or []

    def _take(self, path: str, words: Sequence[str]) -> tuple[str, dict[str, Any]] | None:
        """Flags have the values of a run file where the command's words say nothing else."""
        found, actions = run_files.read(path), run_files.actions_of(self)
        of_a_run = recorded_flags.is_record(found)
        values = recorded_flags.settings_part(found, actions) if of_a_run else found
        # A value, such as the path `steps`, is no flag.
        given = [word.partition("=")[0] for word in words if word.startswith("--")]
        typed = {flag.removeprefix("--").replace("-", "_") for flag in given}
        instead = {name for names in ALTERNATIVES if typed & set(names) for name in names}
        try:
            for name in sorted(values.keys() - actions.keys()):
                raise SemcomError(_no_such_flag(name, actions, self.prog))
            left = {name: value for name, value in values.items() if name not in instead}
            self.from_files |= run_files.set_defaults(self, left)
        except SemcomError as error:
            raise SemcomError(f"--config {escape(path)[:100]}: {error}") from None
        return (path, found) if of_a_run else None


def _add_config(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--config",
        action="append",
        metavar="FILE",
        help="YAML or JSON that sets flags, keys as they are called here, also a run's own record; flags "
        "given beside it win",
    )


def _no_such_flag(name: str, flags: Iterable[str], program: str) -> str:
    """The message about a key that is no flag of the program, but may be one of another."""
    others = [other for other, parser in commands() if name in run_files.actions_of(parser)]
    return run_files.unknown(name, flags, program, others)


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
    return parser


def examples_parser() -> Parser:
    parser = Parser(
        prog="distillation_examples.py",
        description=(
            "Numbered experiments; other flags of distillation.py are passed on. Experiment 9 has "
            "--output-path, --overwrite and --quiet."
        ),
    )
    parser.add_argument("number", metavar="N|all|list", help="which experiment; list names them")
    parser.add_argument(
        "--seeds", type=int, metavar="N", help=f"experiments over seeds: how many (default {SEEDS})"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="6, 7, 8: runs at a time (default as many as there are cores)",
    )
    parser.add_argument(
        "--epochs", metavar="N", help="passes over the training split (default that of distillation.py)"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print the commands a person would type, run nothing"
    )
    return parser


def digits_parser() -> Parser:
    parser = Parser(prog="distillation_examples.py", description="The image setting, on handwritten digits.")
    add_flags(parser, DigitsSettings)
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
        "turn a model of public DeepSC code into a checkpoint",
        ImportSettings,
        "deepsc_models:import_deepsc",
    ),
    "export": Verb(
        "write a checkpoint's weights for public DeepSC code",
        ExportSettings,
        "deepsc_models:export_deepsc",
    ),
    "evaluate": Verb(
        "BLEU, token accuracy and exact sentences, checkpoints side by side under the same draws",
        EvaluateSettings,
        "evaluate:evaluate",
        together=True,
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
    "transmit": Verb(
        "send a sentence and print what each receiver understood",
        TransmitSettings,
        "transmit:transmit",
    ),
}


def package_parser() -> Parser:
    parser = Parser(prog="python -m semcom", description="Vocabularies, teachers, splices and measurements.")
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
    for action in package_parser()._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb, parser in action.choices.items():
                yield f"python -m semcom {verb}", parser
