"""Pairs of image networks, few labels, many images without: ``python distillation_examples.py 11``.

A teacher learns from all labels, its students from few of them and from what the teacher says of all images.
"""

import logging
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from semcom.base import console, output_files, places
from semcom.base.device import environment, resolve_device
from semcom.base.errors import escape
from semcom.base.flags import as_record
from semcom.commands import images_summary
from semcom.commands.compare import compare_models
from semcom.commands.images_settings import FOLDER, ImagesSettings, Plan
from semcom.commands.images_students import History, Seed, loss_of, split
from semcom.commands.images_summary import Line
from semcom.data import images
from semcom.data.image_sets import Images
from semcom.models.image_networks import PAIRS
from semcom.report import look, plots, tables
from semcom.report.tables import Row

log = logging.getLogger(__name__)

RECORD = "images.json"
TABLE = "images.csv"
OWN = (RECORD, TABLE, "images*.png", "images*.pdf")
"""What a run writes in its folder."""

TEACHER = "teacher"
COMPARED_AT_ONCE = 16
"""Images of a forward pass whose time is measured."""


@dataclass
class Found:
    """rows: of each seed and model, test accuracy in %. histories: of each model and seed, a row an epoch.
    cost: of the first seed's teacher and student."""

    rows: list[Row] = field(default_factory=list)
    histories: dict[str, list[History]] = field(default_factory=dict)
    cost: list[dict[str, Any]] = field(default_factory=list)


def run(
    settings: ImagesSettings, seeds: Sequence[int], command: str | None = None, plan: Plan | None = None
) -> list[Line]:
    """All arms with each seed: a table on the console; JSON, CSV and PNG in the folder.

    A folder that the user named is refused where it holds something, without --overwrite; the default one is
    set aside. command: as typed, for the record.
    """
    started, plan = time.monotonic(), plan or Plan()
    folder = Path(settings.output_path or FOLDER)
    named, overwrite = settings.output_path is not None, settings.outputs.overwrite
    names = (RECORD, TABLE, *look.with_print(*images_summary.pictures(settings.arms)))
    place = places.Place("--output-path", folder, named, overwrite, folder=True, own=OWN)
    files = {f"--output-path ({name})": folder / name for name in names}
    output_files.check_outputs(
        {"--output-path": folder, **files}, [settings.images] if settings.images else []
    )
    with ExitStack() as held:
        reserved = places.reserve([place], held)
        data = images.read(settings.images)
        _check(data, settings, plan)
        places.make_room(reserved)
        with console.unwise_said():
            found = _measured(data, settings, plan, seeds)
        lines = images_summary.summarise(found.rows, TEACHER)
        log.info(f"\n{_caption(settings, seeds, data)}\n{images_summary.table(lines)}")
        record = _record(settings, plan, seeds, command, found, lines)
        record |= {"data": data.source, "wall_seconds": round(time.monotonic() - started, 1)}
        _write(reserved[0].working, record, found)
        places.publish(reserved)
        made = ", ".join(escape(folder / name) for name in names)
        log.info(f"\nmade {made}; {time.monotonic() - started:,.0f} s")
    return lines


def _check(data: Images, settings: ImagesSettings, plan: Plan) -> None:
    """Raise SemcomError for what cannot be done, before an earlier run is set aside."""
    resolve_device(settings.run.device)
    split(data.train.classes, settings.labelled, plan, seed=0)


def _measured(data: Images, settings: ImagesSettings, plan: Plan, seeds: Sequence[int]) -> Found:
    """One seed after another."""
    found = Found()
    for number in seeds:
        seed = Seed(data, settings, plan, number)
        if number == seeds[0]:
            log.info(_announcement(data, seed, settings))
        teacher, history = seed.teacher()
        _note(found, seed, TEACHER, teacher, history)
        for arm in settings.arms:
            student, history = seed.student(arm)
            _note(found, seed, arm, student, history)
        if not found.cost:
            sample = data.inputs(seed.test[:COMPARED_AT_ONCE])
            names = PAIRS[settings.pair]
            found.cost = compare_models(dict(zip(names, (teacher, student))), sample)
    return found


def _note(found: Found, seed: Seed, name: str, network: torch.nn.Module, history: History) -> None:
    accuracy = 100 * seed.accuracy(network)
    row = {
        "seed": seed.seed,
        "model": name,
        "accuracy": accuracy,
        "validation": images_summary.percent(history[-1]),
        "first_epoch": images_summary.percent(history[0]),
        "parameters": sum(p.numel() for p in network.parameters()),
    }
    found.rows.append(row)
    found.histories.setdefault(name, []).append(history)
    log.info(f"seed {seed.seed}, {name}: {row['validation']:.2f} % of validation images")


def _announcement(data: Images, seed: Seed, settings: ImagesSettings) -> str:
    s, batch = seed.split, seed.plan.batch
    asked = "varied, so that the teacher is asked at each step"
    if not settings.augment:
        asked = "taken as they are, so that the teacher's outputs are computed once"
        if seed.asks_each_step:
            size = f"the teacher's outputs would take {seed.outputs_size / 2**30:.1f} GiB"
            asked = f"taken as they are; {size}, so that it is asked at each step"
    return (
        f"{escape(data.source)}: {len(data.test):,} images to test, {len(s.validation):,} to validate; "
        f"{len(s.transfer):,} to learn from, all labelled for the teacher, {len(s.labelled):,} for a student "
        f"({settings.labelled} of {batch} in a batch). Images are {asked}"
    )


def _caption(settings: ImagesSettings, seeds: Sequence[int], data: Images) -> str:
    over = f"mean over {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
    if len(seeds) >= images_summary.FEWEST_SEEDS:
        over += " with its 95 % interval"
    return (
        f"{settings.pair}, {over}: accuracy on {len(data.test):,} test images in the end, and on\n"
        "validation images after the first epoch; differences, of tests, are paired by seed, in points"
    )


def _record(
    settings: ImagesSettings,
    plan: Plan,
    seeds: Sequence[int],
    command: str | None,
    found: Found,
    lines: Sequence[Line],
) -> dict[str, object]:
    return {
        "command": command,
        "summary": images_summary.plain(lines),
        "rows": found.rows,
        "histories": found.histories,
        "cost": found.cost,
        "seeds": list(seeds),
        "settings": recorded(settings, plan),
        "arms": {arm: asdict(loss_of(arm)) for arm in settings.arms},
        **environment(resolve_device(settings.run.device)),
    }


def recorded(settings: ImagesSettings, plan: Plan) -> dict[str, Any]:
    """What the numbers depend on, beside the seeds."""
    alone = {"outputs", "run", "output_path"}
    return {name: value for name, value in as_record(settings, plan).items() if name not in alone}


def _write(folder: Path, record: dict[str, object], found: Found) -> None:
    output_files.write_json(folder / RECORD, record)
    tables.write_csv(folder / TABLE, found.rows)
    level = [row["validation"] for row in found.rows if row["model"] == TEACHER]
    arms = [name for name in found.histories if name != TEACHER]
    for name, drawn in images_summary.pictures(arms).items():
        histories = {arm: found.histories[arm] for arm in drawn}
        plots.save(images_summary.curves(histories, TEACHER, level), folder / name)
