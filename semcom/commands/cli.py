"""Parsers, exit codes and ``--debug``. Each verb parses flags, builds settings and calls one function of the
package.

Nothing here imports torch before the flags are known to be good.
"""

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from semcom.base import console, distributed
from semcom.base.errors import ChecksFailed, InterruptedRun, SemcomError, escape
from semcom.base.flags import add_flags, flag_of, from_flags
from semcom.base.settings import OutputConfig, RunConfig
from semcom.channel.settings import ChannelConfig, TrainingSNRConfig
from semcom.commands.settings import DistillationFiles
from semcom.data.settings import DEFAULT_VOCABULARY, CorpusConfig, VocabularyConfig
from semcom.distillation.settings import DistillationConfig, StudentConfig, TrainingConfig, TransferConfig
from semcom.evaluation.settings import DoctorConfig, EvaluationConfig
from semcom.models.settings import DEFAULT_TEACHER, ExportConfig, ImportConfig, ModelConfig
from semcom.report.settings import ReportConfig

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

REPLACED = {
    "--vocab-file": "the vocabulary comes from the teacher's checkpoint",
    "--num-layers": "the teacher's size comes from its checkpoint; the student's is --student-layers",
    "--d-model": "the teacher's size comes from its checkpoint; the student's is --student-d-model",
    "--dff": "the teacher's size comes from its checkpoint; the student's is --student-dff",
    "--num-heads": "the teacher's size comes from its checkpoint; the student's is --student-heads",
    "--MAX-LENGTH": "positions need no limit; sentences are chosen by words: --max-length",
    "--MIN-LENGTH": "sentences are chosen by words: --min-length",
}


class Parser(argparse.ArgumentParser):
    """One line for an error, no abbreviations of flags."""

    def __init__(self, **arguments: Any):
        super().__init__(
            allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter, **arguments
        )

    def error(self, message: str) -> NoReturn:
        raise SemcomError(f"{escape(message)}; see: {self.prog} --help")


class _Replaced(argparse.Action):
    """A flag of older scripts, answered with the new way."""

    def __call__(self, parser, namespace, values, option_string=None) -> NoReturn:
        raise SemcomError(f"{option_string}: no longer needed, {REPLACED[option_string]}; leave it out")


def run(verb: Callable[[Sequence[str]], Any], argv: Sequence[str] | None) -> int:
    """Call ``verb`` with the arguments and turn what goes wrong into a line on stderr and an exit code."""
    argv = sys.argv[1:] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        # A console that knows fewer characters than the corpus shows their numbers instead.
        stream.reconfigure(errors="backslashreplace")
    console.speak()
    failure: BaseException
    lost = False
    try:
        verb(argv)
        distributed.leave()
        return 0
    except SemcomError as error:
        failure, code, message = error, BAD_INPUT, f"error: {error}"
    except ChecksFailed as finding:
        failure, code, message = finding, FAILED, str(finding)
    except InterruptedRun as stop:
        failure, code, message = stop, INTERRUPTED, str(stop)
    except KeyboardInterrupt as stop:
        failure, code, message = stop, INTERRUPTED, "interrupted; what was finished is kept"
    except BrokenPipeError:
        # The reader of our output has gone (| head): nobody is left to tell.
        sys.stderr.close()
        return FAILED
    except Exception as error:
        failure = error
        if lost := distributed.lost_another(error):
            code, message = (
                FAILED,
                "error: another process of this run ended early; what it says stands above or on its machine",
            )
        elif _out_of_memory(error):
            code, message = (
                BAD_INPUT,
                "error: out of memory; give a smaller --batch-size (or --eval-batch-size)",
            )
        else:
            code, message = (
                FAILED,
                (
                    f"error: {type(error).__name__}: {escape(str(error)[:300])}; this is a fault of the program, "
                    "please report it with what --debug shows"
                ),
            )
    if "--debug" in argv:
        traceback.print_exception(failure)
    if distributed.local_rank() == 0:
        print(" ".join(message.splitlines()), file=sys.stderr)
    else:
        # What all meet is told once a machine.
        if not (lost or isinstance(failure, (SemcomError, ChecksFailed, InterruptedRun, KeyboardInterrupt))):
            print(f"process {distributed.rank()}: " + " ".join(message.splitlines()), file=sys.stderr)
        distributed.let_another_tell(code)
    return code


def _out_of_memory(error: Exception) -> bool:
    return (
        isinstance(error, MemoryError)
        or "OutOfMemory" in type(error).__name__
        or any(sign in str(error) for sign in ("can't allocate memory", "out of memory", "not enough memory"))
    )


def _keep_freed_memory() -> None:
    from semcom.base.device import keep_freed_memory

    keep_freed_memory()


def distillation_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="distillation.py",
        description=(
            "Distil a shallower student from a teacher transceiver, through a noisy channel; optionally splice a hybrid.\n"
            "  python distillation.py --distill-part decoder --create-hybrid"
        ),
    )
    add_flags(parser, DistillationFiles)
    add_flags(parser, OutputConfig)
    add_flags(parser, DistillationConfig, title="Distillation")
    add_flags(parser, TransferConfig)
    add_flags(parser, StudentConfig)
    add_flags(parser, CorpusConfig)
    add_flags(parser, ChannelConfig)
    add_flags(parser, TrainingSNRConfig, title="Training SNR")
    add_flags(parser, TrainingConfig)
    add_flags(parser, RunConfig)
    for flag in REPLACED:
        parser.add_argument(flag, action=_Replaced, nargs="?", help=argparse.SUPPRESS)
    return parser


def distil(argv: Sequence[str], *, keep_earlier: bool = False) -> Any:
    """``python distillation.py``; ``keep_earlier`` sets aside what is at a named path too."""
    flags = distillation_parser().parse_args(argv)
    parsed = [
        from_flags(c, flags)
        for c in (
            DistillationFiles,
            CorpusConfig,
            ChannelConfig,
            TrainingSNRConfig,
            StudentConfig,
            DistillationConfig,
            TransferConfig,
            TrainingConfig,
            RunConfig,
        )
    ]
    _keep_freed_memory()
    from semcom.commands import distil as verb

    return verb.distil(
        verb.DistilSettings(*parsed, overwrite=flags.overwrite, keep_earlier=keep_earlier),
    )


def analysis_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="semantic_analysis.py",
        description=(
            "How far does each student's understanding diverge from its teacher's? Without arguments: all runs under checkpoints/.\n"
            "  python semantic_analysis.py checkpoints/distillation_decoder/best_student_model.pt"
        ),
    )
    parser.add_argument(
        "checkpoints", nargs="*", metavar="CHECKPOINT", help="checkpoints to compare instead of the runs"
    )
    files = parser.add_argument_group("Files")
    files.add_argument(
        "--runs",
        default="checkpoints",
        metavar="FOLDER",
        help="look for finished runs here (default checkpoints)",
    )
    files.add_argument(
        "--teacher-checkpoint", metavar="FILE", help="compare with this (default the teacher each run names)"
    )
    files.add_argument(
        "--output", metavar="FILE", help="results as JSON (default semantic_analysis_results.json)"
    )
    add_flags(parser, OutputConfig)
    add_flags(parser, ReportConfig)
    add_flags(parser, EvaluationConfig, snr=tuple(range(-6, 19, 3)))
    add_flags(parser, CorpusConfig, corpus_size=60_000)
    add_flags(parser, ChannelConfig, several=("channel",))
    add_flags(parser, RunConfig)
    return parser


def analyse(argv: Sequence[str], *, keep_earlier: bool = False) -> Any:
    """``python semantic_analysis.py``; ``keep_earlier`` sets aside what is at a named path too."""
    flags = analysis_parser().parse_args(argv)
    channels = [
        from_flags(ChannelConfig, argparse.Namespace(**{**vars(flags), "channel": channel}))
        for channel in dict.fromkeys([flags.channel] if isinstance(flags.channel, str) else flags.channel)
    ]
    settings, report, corpus, run_settings = (
        from_flags(c, flags) for c in (EvaluationConfig, ReportConfig, CorpusConfig, RunConfig)
    )
    _keep_freed_memory()
    from semcom.commands import analyse

    return analyse.analyse(
        flags.checkpoints,
        flags.runs,
        flags.teacher_checkpoint,
        analyse.Survey(
            settings, report, corpus, channels, run_settings, flags.output, flags.overwrite, keep_earlier
        ),
    )


SHARED = (
    "corpus",
    "min_length",
    "max_length",
    "max_sentences",
    "channel",
    "rician_k",
    "equalizer",
    "seed",
    "device",
    "quiet",
    "debug",
    "overwrite",
    "teacher_checkpoint",
)


def shared_flags(distillation: Sequence[str]) -> list[str]:
    """Of the flags of a distillation, those that its analysis has too; of several teachers the first."""
    parser = distillation_parser()
    given, flags = parser.parse_args(distillation), []
    for name in SHARED:
        value = getattr(given, name)
        if value != parser.get_default(name):
            values = (
                value[:1] if name == "teacher_checkpoint" else value if isinstance(value, list) else [value]
            )
            flags += [flag_of(name), *([] if value is True else map(str, values))]
    return flags


def _vocab(flags: argparse.Namespace) -> None:
    settings, corpus = from_flags(VocabularyConfig, flags), from_flags(CorpusConfig, flags)
    from semcom.commands.vocabulary import make_vocabulary

    make_vocabulary(settings, corpus, flags.output, flags.overwrite)


def _train(flags: argparse.Namespace) -> None:
    parsed = [
        from_flags(c, flags)
        for c in (CorpusConfig, ModelConfig, ChannelConfig, TrainingSNRConfig, TrainingConfig, RunConfig)
    ]
    _keep_freed_memory()
    from semcom.commands.train import TeacherSettings, train_teacher

    train_teacher(
        TeacherSettings(*parsed, flags.vocab, flags.output, flags.overwrite, flags.start_from),
    )


def _splice(flags: argparse.Namespace) -> None:
    from semcom.commands.splice import splice

    splice(flags.transmitter, flags.receiver, flags.output, flags.overwrite)


def _import(flags: argparse.Namespace) -> None:
    settings = from_flags(ImportConfig, flags)
    from semcom.commands import deepsc_models

    deepsc_models.import_deepsc(flags.checkpoint, flags.vocab_file, flags.output, settings, flags.overwrite)


def _export(flags: argparse.Namespace) -> None:
    settings = from_flags(ExportConfig, flags)
    from semcom.commands import deepsc_models

    deepsc_models.export_deepsc(flags.checkpoint, flags.output, flags.vocab_output, settings, flags.overwrite)


def _evaluate(flags: argparse.Namespace) -> None:
    settings, corpus, channel, run_settings = (
        from_flags(c, flags) for c in (EvaluationConfig, CorpusConfig, ChannelConfig, RunConfig)
    )
    _keep_freed_memory()
    from semcom.commands.evaluate import evaluate

    evaluate(
        flags.checkpoints,
        settings,
        corpus,
        channel,
        run_settings,
        flags.output,
        flags.overwrite,
    )


def _audit(flags: argparse.Namespace) -> None:
    settings, corpus, channel, run_settings = (
        from_flags(c, flags) for c in (EvaluationConfig, CorpusConfig, ChannelConfig, RunConfig)
    )
    _keep_freed_memory()
    from semcom.commands.audit import audit

    audit(
        flags.checkpoint,
        settings,
        corpus,
        channel,
        run_settings,
        flags.output,
        flags.overwrite,
    )


def _doctor(flags: argparse.Namespace) -> None:
    parsed = [
        from_flags(c, flags) for c in (EvaluationConfig, DoctorConfig, CorpusConfig, ChannelConfig, RunConfig)
    ]
    _keep_freed_memory()
    from semcom.commands import doctor

    doctor.doctor(flags.checkpoint, *parsed, flags.output, flags.overwrite)


def _transmit(flags: argparse.Namespace) -> None:
    settings, channel, run_settings = (
        from_flags(c, flags) for c in (EvaluationConfig, ChannelConfig, RunConfig)
    )
    if flags.sentence is None and flags.checkpoints and not Path(flags.checkpoints[-1]).exists():
        raise SemcomError(
            f"--checkpoints {escape(flags.checkpoints[-1])}: no such file; if that is the sentence, give it first: "
            'python -m semcom transmit "a sentence" --checkpoints FILE'
        )
    try:
        texts = (
            [flags.sentence]
            if flags.sentence is not None
            else [line for line in sys.stdin.read().splitlines() if line.strip()]
        )
    except UnicodeDecodeError as error:
        raise SemcomError(
            f"transmit: standard input is not UTF-8 ({error.reason}); convert it: iconv -f LATIN1 -t UTF-8"
        ) from None
    if not any(text.strip() for text in texts):
        raise SemcomError(
            'transmit: the sentence is empty; for example: python -m semcom transmit "We support this report."'
        )
    _keep_freed_memory()
    from semcom.commands.transmit import transmit

    transmit(texts, flags.checkpoints, settings, channel, run_settings)


def package_parser() -> argparse.ArgumentParser:
    parser = Parser(prog="python -m semcom", description="Vocabularies, teachers, splices and measurements.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, help: str, call: Callable[[argparse.Namespace], None]) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=help, description=help)
        made.set_defaults(call=call)
        return made

    p = verb("vocab", "train a sentencepiece vocabulary (unigram, byte fallback)", _vocab)
    p.add_argument("--output", required=True, metavar="FILE", help="the model's file")
    for c in (VocabularyConfig, OutputConfig):
        add_flags(p, c, title="Vocabulary" if c is VocabularyConfig else None)
    add_flags(p, CorpusConfig, corpus_size=None)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")

    p = verb("train", "train a teacher, from nothing or on from a checkpoint", _train)
    p.add_argument(
        "--output", required=True, metavar="FILE", help="the checkpoint; its record goes beside it as .json"
    )
    p.add_argument(
        "--vocab",
        metavar="FILE",
        help=(
            f"sentencepiece model, or vocab.json of public DeepSC code (default {DEFAULT_VOCABULARY}, of the built-in corpus)"
        ),
    )
    p.add_argument(
        "--start-from",
        metavar="FILE",
        help="train on from this checkpoint, with its sizes and vocabulary, instead of from nothing",
    )
    for c in (OutputConfig, ModelConfig):
        add_flags(p, c)
    add_flags(p, CorpusConfig, corpus_size=60_000)
    add_flags(p, ChannelConfig)
    add_flags(p, TrainingSNRConfig, title="Training SNR")
    for c in (TrainingConfig, RunConfig):
        add_flags(p, c)

    p = verb("splice", "join the transmitter of one checkpoint and the receiver of another", _splice)
    p.add_argument("--transmitter", required=True, metavar="FILE", help="its transmitter is taken")
    p.add_argument("--receiver", required=True, metavar="FILE", help="its receiver is taken")
    p.add_argument("--output", required=True, metavar="FILE", help="the checkpoint made")
    add_flags(p, OutputConfig)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")

    p = verb("import", "turn a model of public DeepSC code into a checkpoint", _import)
    p.add_argument(
        "checkpoint",
        metavar="CHECKPOINT.pth",
        help="its state dict, as torch.save(model.state_dict(), …) wrote it",
    )
    p.add_argument("--vocab-file", required=True, metavar="FILE", help="its vocab.json")
    p.add_argument("--output", required=True, metavar="FILE", help="the checkpoint made")
    for c in (ImportConfig, OutputConfig):
        add_flags(p, c)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")

    p = verb("export", "write a checkpoint's weights for public DeepSC code", _export)
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="a teacher, student or hybrid")
    p.add_argument("--output", required=True, metavar="FILE", help="the state dict made, .pth there")
    p.add_argument("--vocab-output", metavar="FILE", help="write its word vocabulary too, as vocab.json")
    for c in (ExportConfig, OutputConfig):
        add_flags(p, c)
    p.add_argument("--debug", action="store_true", help="show the traceback of an error")

    p = verb(
        "evaluate",
        "BLEU, token accuracy and exact sentences, checkpoints side by side under the same draws",
        _evaluate,
    )
    p.add_argument("checkpoints", nargs="+", metavar="CHECKPOINT", help="checkpoints of one vocabulary")
    p.add_argument("--output", metavar="FILE", help="all rows as CSV; a picture beside it as .png")
    for c in (OutputConfig, EvaluationConfig):
        add_flags(p, c)
    add_flags(p, CorpusConfig, corpus_size=60_000)
    for c in (ChannelConfig, RunConfig):
        add_flags(p, c)

    p = verb(
        "audit",
        "score a model as the public DeepSC script does and rightly, one habit changed at a time",
        _audit,
    )
    p.add_argument("checkpoint", metavar="CHECKPOINT", help="any transceiver, imported or trained here")
    p.add_argument("--output", metavar="FILE", help="all rows as CSV; a picture beside it as .png")
    add_flags(p, OutputConfig)
    add_flags(
        p, EvaluationConfig, only=("snr", "split", "sentences", "eval_batch_size"), snr=(0.0, 6.0, 12.0, 18.0)
    )
    add_flags(p, CorpusConfig, corpus_size=60_000)
    for c in (ChannelConfig, RunConfig):
        add_flags(p, c)

    p = verb(
        "doctor",
        "measure power, SNR and fading against theory, and the offset in dB of the public DeepSC code",
        _doctor,
    )
    p.add_argument(
        "checkpoint",
        nargs="?",
        metavar="CHECKPOINT",
        help=f"its transmitter sends (default {DEFAULT_TEACHER})",
    )
    p.add_argument("--output", metavar="FILE", help="every figure as JSON; a picture beside it as .png")
    add_flags(p, OutputConfig)
    add_flags(
        p, EvaluationConfig, only=("snr", "split", "sentences"), snr=(0.0, 6.0, 12.0, 18.0), sentences=200
    )
    add_flags(p, DoctorConfig)
    add_flags(p, ChannelConfig, only=("rician_k",))
    add_flags(p, CorpusConfig, corpus_size=60_000)
    add_flags(p, RunConfig)

    p = verb("transmit", "send a sentence and print what each receiver understood", _transmit)
    p.add_argument("sentence", nargs="?", help="the sentence; without it, lines of standard input")
    p.add_argument(
        "--checkpoints",
        nargs="+",
        default=(),
        metavar="CHECKPOINT",
        help=f"transceivers (default {DEFAULT_TEACHER})",
    )
    add_flags(p, EvaluationConfig, title="SNR and search", only=("snr", "beam_width", "length_penalty"))
    for c in (ChannelConfig, RunConfig):
        add_flags(p, c)
    return parser


def package(argv: Sequence[str]) -> None:
    """``python -m semcom``"""
    flags = package_parser().parse_args(argv)
    if distributed.rank() == 0 or flags.call in (_train, _evaluate):
        flags.call(flags)
