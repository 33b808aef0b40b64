"""How an analysis was made, as its report says it: labels, marked for translation, and values."""

import shlex
from collections.abc import Callable
from datetime import datetime
from functools import partial

from semcom.base.device import environment
from semcom.base.flag_words import words_of
from semcom.base.messages import N_, Message
from semcom.channel.channels import make_channel
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.analysis_results import Analysis
from semcom.commands.measuring import RECEIVER_KNOWS
from semcom.evaluation.channel_use import ChannelUse, channel_use
from semcom.evaluation.study import Study
from semcom.models.checkpoint import Checkpoint
from semcom.report import compose
from semcom.report.names_in_words import channel_told

PACKAGES = ("python", "torch", "numpy", "sacrebleu", "matplotlib")
SPLITS_TOLD = {
    "validation": N_("validation, another 5 % by hash: for tuning that leaves test alone"),
    "all": N_("all: the whole corpus, not the 5 % that a hash calls test"),
}
"""Of splits other than the usual one."""
COMMIT_SHOWN = 12
"""Letters of a commit, enough to find it by."""


def provenance(analysis: Analysis, now: Callable[[], datetime] = datetime.now) -> list[compose.Item]:
    """What a reader needs to repeat the report."""
    return [
        *_of_the_command(analysis.settings, now()),
        *_of_the_program(analysis),
        *_of_the_measurement(analysis),
        *_of_the_weights(analysis),
    ]


def use_of(analysis: Analysis, study: Study, teacher: Checkpoint) -> ChannelUse:
    """With the pilots and prefix of the study's channel."""
    channels = {str(channel): channel for channel in map(make_channel, analysis.settings.channels)}
    width = teacher.model.architecture.channel_dim
    return channel_use(study.measured.encoded, width, channels[study.channel].uses)


def _of_the_command(settings: AnalysisSettings, now: datetime) -> list[compose.Item]:
    """As typed; where a verb called it that has a command of its own, what would have been."""
    flags = shlex.join(words_of(settings)[len(settings.checkpoints) :])
    return [
        (N_("command"), settings.request.command or settings.command()),
        (N_("date"), f"{now.astimezone():%Y-%m-%d %H:%M %z}"),
        (N_("settings other than the default"), flags or Message(N_("none"))),
    ]


def _of_the_program(analysis: Analysis) -> list[compose.Item]:
    around = environment(analysis.device)
    device = Message(
        N_("{device}, threads: {threads}, processes: {processes}"),
        device=around["gpu"] or str(around["device"]).upper(),
        threads=around["threads"],
        processes=around["processes"],
    )
    return [
        (N_("program"), _program(str(around["semcom"]), around["commit"])),
        (N_("versions"), [f"{name} {around[name]}" for name in PACKAGES]),
        (N_("device"), device),
    ]


def _program(version: str, commit: object) -> Message:
    """With its commit, where it runs from a repository of git's, and whether its files differ from that."""
    if not isinstance(commit, str):
        return Message(N_("semcom {version}, not from a git repository"), version=version)
    commit, _, changed = commit.partition("-")
    told = N_("semcom {version}, commit {commit}")
    if changed:
        told = N_("semcom {version}, commit {commit} with changes that are not committed")
    return Message(told, version=version, commit=commit[:COMMIT_SHOWN])


def _of_the_measurement(analysis: Analysis) -> list[compose.Item]:
    settings, corpus = analysis.settings, analysis.corpus
    of_corpus = N_("{name}, fingerprint {fingerprint}")
    named = Message(of_corpus, name=corpus.told or corpus.name, fingerprint=corpus.fingerprint)
    uses = map(partial(use_of, analysis), analysis.studies, analysis.teachers)
    sentences: list[compose.Item] = [(N_("corpus"), named), (N_("sentences"), f"{analysis.sentences:,}")]
    if told := SPLITS_TOLD.get(settings.evaluation.split):
        sentences.append((N_("split"), Message(told)))
    return [
        *sentences,
        (N_("channels"), [channel_told(str(make_channel(channel))) for channel in settings.channels]),
        (N_("SNRs"), ", ".join(f"{snr:g}" for snr in settings.snrs) + " dB"),
        (N_("seed of the draws"), str(settings.run.seed)),
        (N_("decoding"), analysis.search.told),
        (N_("bootstrap samples"), f"{settings.report.replicates:,}"),
        (N_("receiver's knowledge"), Message(RECEIVER_KNOWS)),
        *((N_("channel uses"), told) for told in dict.fromkeys(use.told for use in uses)),
    ]


def _of_the_weights(analysis: Analysis) -> list[compose.Item]:
    teachers = [_weights(teacher) for teacher in analysis.teachers]
    runs = {run.label: run.checkpoint for study in analysis.studies for run in study.pairing.runs}
    return [
        *((N_("teacher"), line) for line in dict.fromkeys(teachers)),
        *((N_("checkpoint"), _weights_of_run(label, run)) for label, run in runs.items()),
    ]


def _weights(teacher: Checkpoint) -> Message:
    of_file = N_("{path}, weights {fingerprint}")
    return Message(of_file, path=teacher.path, fingerprint=teacher.fingerprint)


def _weights_of_run(label: str, run: Checkpoint) -> Message:
    of_run = N_("{label}: {path}, weights {fingerprint}")
    return Message(of_run, label=label, path=run.path, fingerprint=run.fingerprint)
