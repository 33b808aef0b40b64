"""All seven pairs of image networks: what students learn from few labels alone, by KD and by the fusion.

    python benchmarks/image_pairs.py --folder image_pairs --seeds 3
    python benchmarks/image_pairs.py --folder cifar --images cifar-100-binary --augment --epochs 240 \\
        --teacher-epochs 240 --device cuda
    python benchmarks/image_pairs.py --folder image_pairs --seeds 3 --report

Each pair is a run of experiment 11, whose flags it takes, in a folder of its own; one that is there already
is not run again, so that a script which was stopped goes on. ``--report`` prints the table of what is there
alone.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.harness import Report  # noqa: E402
from semcom.base import console  # noqa: E402
from semcom.base.flags import settings_of  # noqa: E402
from semcom.commands import images  # noqa: E402
from semcom.commands.images_settings import PAIRS, ImagesSettings, Plan  # noqa: E402
from semcom.commands.parsers import images_parser  # noqa: E402
from semcom.evaluation.intervals import Estimate  # noqa: E402


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--folder", default="image_pairs", help="of the pairs' results")
    parser.add_argument("--seeds", type=int, default=1, metavar="N", help="seeds 1 to N of each pair")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=PAIRS, metavar="PAIR")
    parser.add_argument("--report", action="store_true", help="print the table of what is there, run nothing")
    given, others = parser.parse_known_args(argv)
    settings = settings_of(ImagesSettings, images_parser().parse_args(others))
    report = Report("image_pairs.py", argv)
    records = {}
    for pair in given.pairs:
        of_pair = replace(settings, pair=pair, output_path=str(Path(given.folder) / pair))
        record = found(of_pair, given.seeds)
        if record is None and not given.report:
            images.run(of_pair, range(1, given.seeds + 1), report.command)
            record = found(of_pair, given.seeds)
        if record is not None:
            records[pair] = record
    show(report, records, settings)


def found(settings: ImagesSettings, seeds: int) -> dict[str, Any] | None:
    """The record of a pair's run; None where there is none. Ends where it is of other settings."""
    path = Path(str(settings.output_path)) / images.RECORD
    if not path.exists():
        return None
    record: dict[str, Any] = json.loads(path.read_text())
    asked = {**images.recorded(settings, Plan()), "seeds": list(range(1, seeds + 1))}
    there = {**record["settings"], "seeds": record["seeds"]}
    for name, value in asked.items():
        if there.get(name) != value:
            told = f"has {name} {there.get(name)}, asked for is {value}"
            raise SystemExit(f"{path}: {told}; name another --folder")
    return record


def show(report: Report, records: dict[str, dict[str, Any]], settings: ImagesSettings) -> None:
    if not records:
        raise SystemExit("no pair is there yet; leave --report out")
    models: Sequence[str] = (images.TEACHER, *settings.arms)
    rows = []
    for pair, record in records.items():
        lines = {line["model"]: line for line in record["summary"]}
        accuracies = [f"{Estimate(**lines[model]['accuracy']):.2f}" for model in models]
        sizes = [f"{lines[model]['parameters']:,}" for model in models[:2]]
        rows.append([pair, *sizes, *accuracies, f"{record['wall_seconds'] / 60:.1f}"])
    first = next(iter(records.values()))
    title = f"{first['data']}; test accuracy in %, {len(first['seeds'])} seed(s)"
    report.table(title, ["pair", "teacher's parameters", "student's", *models, "minutes"], rows)


if __name__ == "__main__":
    main()
