"""What ``--precision`` and ``--compile`` come to on this machine, and the line that says why."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from semcom.base import fastest
from semcom.base.errors import SemcomError, escape
from semcom.base.fastest import PRODUCTS, Choice, Kind, Machine, Way, Work, weights_multiplied
from semcom.data.batching import Encoded, lengths_of
from semcom.data.source_code_settings import SourceCodeConfig
from semcom.distillation import fused_linear_loss
from semcom.distillation.run_state import Keeper
from semcom.distillation.training_settings import TrainingConfig
from semcom.evaluation.settings import EvaluationConfig
from semcom.models.architecture import Architecture
from semcom.models.causal_model import CausalModel, size_like
from semcom.models.decoding import Search
from semcom.models.kernels import compiler, native
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)

RECORDED = "way"
"""What a record calls the line about it."""
ON_OR_OFF = {True: "on", False: "off"}


@dataclass(frozen=True)
class Asked:
    """precision, compiling: as the flags have it. cannot_compile: why what the verb would run is not there,
    or None; it is asked only where kernels are to be compiled, which it does."""

    precision: str
    compiling: str
    cannot_compile: Callable[[torch.device], str | None]
    kinds: Mapping[str, Kind] | None = None


def way_for(asked: Asked, work: Work, device: torch.device) -> Choice:
    """The fastest way that there is, of those that were asked for."""
    machine = machine_of(device)
    choice = fastest.choose(asked.precision, asked.compiling, machine, work, asked.kinds)
    missing = machine.missing
    if choice.way.compiled:
        missing = asked.cannot_compile(device) or ""
    if missing and asked.compiling == "on":
        log.warning(f"--compile: {missing}; going on without")
    if not (missing and choice.way.compiled):
        return choice
    without = replace(machine, compiler="", missing=missing)
    return fastest.choose(asked.precision, "off", without, work, asked.kinds)


def machine_of(device: torch.device) -> Machine:
    """With the compiler that is found there, whatever it compiles."""
    missing = fused_linear_loss.cannot_compile(device) if device.type == "cuda" else None
    found = ["Triton"] if device.type == "cuda" else compiler.command()
    if not found:
        missing = compiler.not_found()
    name, kind = escape(fastest.name_of(device)), fastest.kind_of(device)
    if missing or not found:
        return Machine(name, kind, missing=missing or "")
    return Machine(name, kind, escape(Path(found[0]).name))


# --- training


def of_training(
    training: TrainingConfig, work: Work, device: torch.device, keeper: Keeper, *, compiles: bool = True
) -> tuple[TrainingConfig, str]:
    """With the precision and the compiling that the machine has, or those with which the run was begun that
    goes on; and the line about it. compiles: whether the loss has something to compile on GPUs."""
    if keeper.found:
        return _as_begun(training, work, keeper, device)
    compiling = training.compile
    if compiling == "on" and device.type == "cuda" and not compiles:
        log.warning("--compile: on GPUs it compiles --kd-loss kd of raw logits alone; going on without")
        compiling = "off"
    asked = Asked(training.precision, compiling, fused_linear_loss.cannot_compile)
    choice = way_for(asked, work, device)
    return with_way(training, choice.way), choice.told


def with_way(training: TrainingConfig, way: Way) -> TrainingConfig:
    return replace(training, precision=way.precision, compile=ON_OR_OFF[way.compiled])


def _as_begun(
    training: TrainingConfig, work: Work, keeper: Keeper, device: torch.device
) -> tuple[TrainingConfig, str]:
    """Raises SemcomError for what this machine cannot do."""
    assert keeper.found
    begun = keeper.found["own"]["resolved"]
    # Runs of earlier versions kept a switch.
    way = Way(begun["precision"], begun["compile"] in (True, "on"))
    if way.compiled and (missing := fused_linear_loss.cannot_compile(device)):
        raise SemcomError(
            "--compile: the run was begun with compiled kernels, which this machine cannot make "
            f"({missing}); go on where it was begun, or {keeper.cure}"
        )
    by_auto = "auto" in (training.precision, training.compile)
    told = f"{way}: {'as auto had it when' if by_auto else 'as'} the run was begun"
    here = fastest.choose(training.precision, training.compile, machine_of(device), work).way
    another = "" if here == way else f"; begun on this machine, it would have {here}"
    return with_way(training, way), told + another


def of_teachers(precision: str, training: TrainingConfig) -> str:
    """What the line adds where products of frozen teachers are of another precision than those of training.
    precision: as the flag has it."""
    if precision in ("auto", training.precision):
        return ""
    return f"; the teachers' products in {PRODUCTS[precision]}, as --teacher-precision asks for"


def of_language_model(
    config: SourceCodeConfig, train: Sequence[Encoded], like: Architecture, device: torch.device
) -> Choice:
    """The way to train a model on these sentences for the source code `lm`, as large as the receiver of
    ``like``."""
    size = size_like(like)
    work = Work(size.d_model, seconds=60 * config.lm_minutes)
    if config.lm_steps:
        with torch.device("meta"):
            weights = weights_multiplied(CausalModel(like.vocab_size, size))
        tokens = config.lm_steps * target_tokens(train) * min(1.0, config.lm_batch_size / len(train))
        work = Work(size.d_model, fastest.gflop_of_training(tokens, weights, 0))
    return way_for(Asked("auto", "auto", fused_linear_loss.cannot_compile), work, device)


def work_of_training(
    config: TrainingConfig, train: Sequence[Encoded], width: int, *, trained: int, frozen: int = 0
) -> Work:
    """Of a run over these sentences, for models of width D. trained, frozen: weights that a token is
    multiplied by."""
    if config.minutes:
        return Work(width, seconds=60 * config.minutes)
    tokens = _tokens(config, train)
    return Work(width, fastest.gflop_of_training(tokens, trained, frozen))


def _tokens(config: TrainingConfig, train: Sequence[Encoded]) -> float:
    """Target tokens of the run's steps, about."""
    in_all = target_tokens(train)
    if not config.steps:
        return config.epochs * in_all
    a_step = config.batch_tokens or in_all * min(1.0, config.batch_size / len(train))
    return config.steps * a_step


# --- decoding


def search_for(
    settings: EvaluationConfig, models: Sequence[Transceiver], tokens: int, device: torch.device
) -> tuple[Search, str]:
    """How these settings decode what so many target tokens are sent for, to each of these models at each SNR:
    by compiled kernels, if they are asked for or pay, in float32 in any case; and the line about it, which is
    said where it is not the plain way."""
    decoded = tokens * len(settings.snr) * settings.beam_width
    weights = sum(weights_multiplied(model.receiver) for model in models)
    width = max(model.architecture.receiver.d_model for model in models)
    work = Work(width, fastest.gflop_of_decoding(decoded, weights))
    asked = Asked("fp32", settings.compile, _cannot_decode, fastest.DECODING)
    choice = way_for(asked, work, device)
    if choice.way.compiled:
        log.info(f"decoding: {choice.told}")
    return Search(settings.beam_width, settings.length_penalty, choice.way.compiled), choice.told


def decided(
    settings: EvaluationConfig, models: Sequence[Transceiver], tokens: int, device: torch.device
) -> tuple[EvaluationConfig, str]:
    """The settings with what ``--compile`` comes to, and the line about it."""
    search, told = search_for(settings, models, tokens, device)
    return replace(settings, compile=ON_OR_OFF[search.compiled]), told


def target_tokens(sentences: Sequence[Encoded]) -> int:
    return int(lengths_of(sentences).targets.sum())


def _cannot_decode(device: torch.device) -> str | None:
    return native.cannot_compile(native.DECODING) if device.type == "cpu" else "there are none for GPUs"
