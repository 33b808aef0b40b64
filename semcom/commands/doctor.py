"""``python -m semcom doctor``: the physical layer against theory, and our SNR axis against that of the public
DeepSC code."""

import logging
from contextlib import ExitStack
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import torch

from semcom.base import output_files, places
from semcom.base.device import environment, keep_freed_memory, resolve_device
from semcom.base.errors import ChecksFailed, SemcomError, escape
from semcom.base.flags import as_record
from semcom.commands.inputs import load_corpus, load_teacher, shipped
from semcom.commands.measuring import described, test_split
from semcom.commands.recorded_corpus import corpus_of_runs
from semcom.commands.settings import MEASURED_BY, DoctorSettings
from semcom.data import batching
from semcom.data.batching import Encoded
from semcom.data.corpus import Corpus
from semcom.evaluation import frames, link_checks, link_report, sionna_check
from semcom.evaluation.link_report import LinkReport
from semcom.models import checkpoint
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import DEFAULT_TEACHER
from semcom.report import link_tables, plots

log = logging.getLogger(__name__)


def doctor(given: DoctorSettings) -> LinkReport:
    """Measure, print, and with ``output`` write JSON and a picture. Raises ChecksFailed, once all is written,
    where a check is off.

    Every channel that has a theory is measured, whichever ``given.channel`` names.
    """
    with ExitStack() as held:
        return _doctor(given, held)


def _doctor(given: DoctorSettings, held: ExitStack) -> LinkReport:
    keep_freed_memory()
    channels = link_report.with_theory(given.channel)
    device = resolve_device(given.run.device)
    patient = checkpoint.load(given.checkpoint) if given.checkpoint else load_teacher(None, "checkpoint")
    given = replace(given, corpus=corpus_of_runs(given.corpus, [patient.config]))
    picture = _picture(given, held)
    source = load_corpus(given.corpus, patient.vocabulary, quiet=given.run.quiet)
    encoded = _sentences(given, source, patient)
    sent = link_checks.transmissions(patient.model, encoded, device)
    found = link_report.measure(sent, channels, given.evaluation.snr, given.fades.draws, given.run.seed)
    architecture = patient.model.architecture
    log.info(
        f"\n{patient.name}, {described(len(encoded), given.evaluation)}, C={architecture.channel_dim}, "
        f"seed {given.run.seed}; SNR in dB per complex symbol, before equalisation"
    )
    for section in link_tables.sections(found, given.fades.draws, architecture.amplitude):
        log.info("\n" + section)
    if given.output and picture:
        record = {
            **_made_with(given, source, patient, len(encoded)),
            **link_tables.record(found, architecture.amplitude),
            **_versions(device, found),
        }
        output_files.write_json(given.output, frames.plain_values(record))
        link_tables.picture(found, picture)
        log.info(f"\nmade {escape(given.output)} and {escape(picture)}")
    return _judged(found)


def _picture(given: DoctorSettings, held: ExitStack) -> Path | None:
    """Where the picture goes, once it and the figures have a place, whose locks go to ``held``."""
    if not given.output:
        return None
    picture = output_files.companion("--output", given.output, ".png")
    outputs = plots.outputs(given.output, picture)
    inputs = [given.checkpoint or shipped(DEFAULT_TEACHER), *given.corpus.corpus]
    places.reserve_files(outputs, inputs, overwrite=given.outputs.overwrite, held=held)
    return picture


def _sentences(given: DoctorSettings, source: Corpus, patient: Checkpoint) -> list[Encoded]:
    chosen = test_split(source, given.evaluation.sentences, given.evaluation.split)
    encoded = batching.encode(chosen, patient.vocabulary, leave_out_long=True)
    if not encoded:
        raise SemcomError(
            f"--corpus {escape(source.name)}: no test sentence is short enough for {patient.name}; "
            "give shorter text"
        )
    return encoded


def _made_with(
    given: DoctorSettings, source: Corpus, patient: Checkpoint, sentences: int
) -> dict[str, object]:
    return {
        **as_record(given.fades, given.corpus, given.run),
        "snr": given.evaluation.snr,
        "sentences": given.evaluation.sentences,
        "split": given.evaluation.split,
        **{name: getattr(given.channel, name) for name in MEASURED_BY},
        "checkpoint": patient.path,
        "fingerprint": patient.fingerprint,
        "corpus_name": source.name,
        "corpus_fingerprint": source.fingerprint,
        "sentences_measured": sentences,
    }


def _versions(device: torch.device, found: LinkReport) -> dict[str, object]:
    return {
        **environment(device),
        "scipy": metadata.version("scipy"),
        "sionna": None if isinstance(found.sionna, str) else sionna_check.version(),
    }


def _judged(found: LinkReport) -> LinkReport:
    """``found``, told to hold. Raises ChecksFailed, once those that do not are shown."""
    checks, off = found.checks, link_checks.failing(found.checks)
    if off:
        log.info("\n" + link_tables.failures(off))
        raise ChecksFailed(f"{len(off)} of {len(checks)} checks fail: {'; '.join(c.name for c in off)}")
    log.info(
        f"\nall {len(checks)} checks hold (on a right link fewer than 1 run in 1,000 has one that fails)"
    )
    return found
