"""The verb ``import``: a checkpoint of what another program wrote, or ``export`` for one."""

import logging
from contextlib import ExitStack
from pathlib import Path

from semcom.base import places
from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, escape
from semcom.base.flags import differs, flag_of
from semcom.commands import deepsc_models
from semcom.commands.settings import ImportSettings
from semcom.models import checkpoint, weight_files
from semcom.models.checkpoint import Checkpoint

log = logging.getLogger(__name__)


def import_model(settings: ImportSettings) -> Checkpoint:
    """The checkpoint made."""
    if weight_files.are_ours(settings.checkpoint):
        return import_weights(settings)
    return deepsc_models.import_deepsc(settings)


def import_weights(settings: ImportSettings) -> Checkpoint:
    """What ``export --format safetensors`` or ``--format hub`` wrote as a checkpoint again: the same weights,
    vocabulary and record."""
    _refuse_what_is_known(settings)
    path, output = settings.checkpoint, settings.output
    with ExitStack() as held:
        overwrite = settings.outputs.overwrite
        places.reserve_files({"--output": output}, _inputs(path), overwrite=overwrite, held=held)
        source = weight_files.read(path, "import")
        checkpoint.save(source, output)
    made = checkpoint.load(output)
    log.info(
        f"made {escape(output)}: {made.model.parameter_count():,} parameters, fingerprint "
        f"{made.fingerprint}, {made.vocabulary}\nnext: python -m semcom evaluate {path_word(output)}"
    )
    return made


def _refuse_what_is_known(settings: ImportSettings) -> None:
    given = [("--vocab-file", escape(settings.vocab_file))] if settings.vocab_file else []
    of_model = [name for name in ("heads", "dropout") if differs(settings.model, name)]
    given += [(flag_of(name), str(getattr(settings.model, name))) for name in of_model]
    if given:
        flag, value = given[0]
        raise SemcomError(
            f"{flag} {value}: {escape(settings.checkpoint)} comes with its vocabulary and its sizes; "
            "leave it out"
        )


def _inputs(path: str) -> list[Path]:
    """The files that are read; others may stand in their folder."""
    files = weight_files.in_folder(path) if Path(path).is_dir() else weight_files.beside(path)
    return [files.weights, files.record, *map(files.vocabulary, weight_files.FORMS)]
