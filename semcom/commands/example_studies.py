"""Experiments that are more than a list of distillations: they compare by themselves, over seeds."""

import logging
import shlex
from collections.abc import Callable, Sequence

from semcom.base.flags import settings_of
from semcom.commands import parsers
from semcom.commands.images_settings import ImagesSettings
from semcom.commands.settings import DigitsSettings

log = logging.getLogger(__name__)

Study = Callable[[list[str], int | None, int | None, bool], object]
"""Of the user's other flags, the number of seeds, runs at a time, and whether to print the commands alone."""

PARSERS = {"9": parsers.digits_parser, "11": parsers.images_parser}
"""Of experiments that have flags of their own."""


def evidence(extra: list[str], seeds: int | None, jobs: int | None, dry_run: bool) -> object:
    from semcom.commands import ablation

    assert seeds is not None
    return ablation.experiment(extra, seeds, jobs, dry_run)


def digits(extra: list[str], seeds: int | None, jobs: int | None, dry_run: bool) -> object:
    assert seeds is not None
    settings = settings_of(DigitsSettings, parsers.digits_parser().parse_args(extra))
    if dry_run:
        log.info(f"\n$ {_command(9, seeds, extra)}")
        return None
    from semcom.commands import digits

    return digits.run(settings, seeds)


def images(extra: list[str], seeds: int | None, jobs: int | None, dry_run: bool) -> object:
    """seeds: 1 to so many; None for the one of --seed."""
    settings = settings_of(ImagesSettings, parsers.images_parser().parse_args(extra))
    command = _command(11, seeds, extra)
    if dry_run:
        log.info(f"\n$ {command}")
        return None
    from semcom.commands import images

    return images.run(settings, range(1, seeds + 1) if seeds else [settings.run.seed], command)


def _command(number: int, seeds: int | None, extra: Sequence[str]) -> str:
    of_seeds = [] if seeds is None else ["--seeds", str(seeds)]
    return shlex.join(["python", "distillation_examples.py", str(number), *of_seeds, *extra])
