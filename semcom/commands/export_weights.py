"""``export --format safetensors`` and ``--format hub``."""

import logging
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from semcom.base import output_files, places
from semcom.base.advice import path_word
from semcom.base.errors import escape
from semcom.base.whole_folders import whole_folder
from semcom.commands import card_facts, card_scores
from semcom.commands.export_settings import ExportSettings
from semcom.models import checkpoint, weight_files
from semcom.models.checkpoint import Checkpoint
from semcom.report import model_card

log = logging.getLogger(__name__)

CARD = "README.md"


def export_safetensors(settings: ExportSettings) -> Path:
    """The file made; its JSON and its vocabulary stand beside it."""
    source = checkpoint.load(settings.checkpoint)
    files = weight_files.beside(settings.output)
    named = ("--output", "--output (its JSON)", "--output (its vocabulary)")
    outputs = dict(zip(named, files.all(source.vocabulary)))
    with ExitStack() as held:
        places.reserve_files(outputs, [settings.checkpoint], overwrite=settings.outputs.overwrite, held=held)
        weight_files.write(source, files)
    made = " and ".join(escape(path) for path in outputs.values())
    log.info(
        f"made {made}: {source.model.parameter_count():,} weights, fingerprint {source.fingerprint}\n"
        f"next: python -m semcom import {path_word(settings.output)} --output model.pt"
    )
    return files.weights


def export_hub(settings: ExportSettings) -> Path:
    """The folder made."""
    source = checkpoint.load(settings.checkpoint)
    output, overwrite = Path(settings.output), settings.outputs.overwrite
    measured = card_scores.measured(source, settings.scores)
    inputs = [settings.checkpoint, *([settings.scores] if settings.scores else [])]
    files = weight_files.in_folder(output)
    names = tuple(path.name for path in (*files.all(source.vocabulary), output / CARD))
    public = _public(source)
    title = output.resolve().name
    card = model_card.page(card_facts.card_of(public, title, settings.license, measured))
    with whole_folder("--output", output, inputs, overwrite=overwrite, own=names) as folder:
        weight_files.write(public, weight_files.in_folder(folder))
        output_files.write_atomically(folder / CARD, card)
    _tell(settings, names, measured is not None)
    return output


def _public(source: Checkpoint) -> Checkpoint:
    """As it may be published: without the folders of the machine where it was made."""
    origin, config = card_facts.without_folders(source.origin), card_facts.without_folders(source.config)
    return replace(source, origin=origin, config=config)


def _tell(settings: ExportSettings, names: tuple[str, ...], is_measured: bool) -> None:
    made, given = escape(settings.output), path_word(settings.checkpoint)
    if settings.license is None:
        log.warning("the card names no licence: --license mit (or another of the hub's names) sets it")
    if not is_measured:
        log.warning(
            "the card has no scores; measure first and give them: "
            f"python -m semcom evaluate {given} --output scores.csv, then --scores scores.csv"
        )
    log.info(
        f"made {made}: {', '.join(names)}\n"
        f"next: read {made}/{CARD}, then: hf upload USER/NAME {path_word(settings.output)}"
    )
