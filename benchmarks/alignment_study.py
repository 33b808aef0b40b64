"""What joining foreign ends by pilots gains on real text: two teachers of different seeds, and a teacher
with its one-layer full student; the tables and the figure of docs/results.md.

    python distillation.py --teacher-checkpoint teacher1.pt --corpus captions.en --student-layers 1 \
        --distill-part full --output-path full
    python benchmarks/alignment_study.py --teacher teacher1.pt --other teacher2.pt \
        --student full/best_student_model.pt --corpus captions.en --folder alignment_study

Each pair of ends is joined by ``python -m semcom align``: by maps in one folder, by tuning, which takes
longer, in others, a way each, with pilots and draws of its own. What is there already is not measured
again; ``--report`` prints the tables of what is there alone. In the folder: ``alignment_study.csv``, all
rows of all of them.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd  # noqa: E402

from semcom.base import console  # noqa: E402
from semcom.base.settings import RunConfig  # noqa: E402
from semcom.commands.align import align  # noqa: E402
from semcom.commands.align_settings import TABLE, AlignSettings  # noqa: E402
from semcom.commands.settings import WHOLE_CORPUS  # noqa: E402
from semcom.distillation.aligner_settings import PILOT_CHOICES, TUNED, WAYS  # noqa: E402
from semcom.evaluation.intervals import Interval  # noqa: E402
from semcom.evaluation.settings import EvaluationConfig  # noqa: E402
from semcom.report import figures, plots, tables  # noqa: E402
from semcom.report.figures import Curve, Curves  # noqa: E402
from semcom.report.look import Draw, Place  # noqa: E402

MAPS = tuple(way for way in WAYS if way not in (*TUNED, "none"))
RANDOM = PILOT_CHOICES[0]
OWN, UNALIGNED, REPEATED = "own", "unaligned", "pilots' symbols spent on repeating data"
DRAWN = ("network", "decoder", "surrogate")
"""Ways of the figure, of which all choices of pilots are drawn; the tables have all."""
SYMBOLS = "complex symbols of the pilots"


@dataclass(frozen=True)
class Pair:
    """The transmitter of one checkpoint and the receiver of another."""

    name: str
    transmitter: str
    receiver: str

    def runs(self, root: Path, ways: list[str], choices: list[str]) -> Iterator["Joining"]:
        """Of align: all maps together, each way that tunes alone."""
        maps = [way for way in ways if way not in TUNED]
        together = {"maps": maps} if maps else {}
        for choice in choices:
            words = [self.name.replace(" ", "_"), *([] if choice == RANDOM else [choice])]
            for name, some in {**together, **{way: [way] for way in ways if way in TUNED}}.items():
                yield Joining(self, root / "_".join([*words, name]), some, choice)


@dataclass(frozen=True)
class Joining:
    """One run of align: where it goes, its ways, how its pilots are chosen."""

    pair: Pair
    folder: Path
    ways: list[str]
    choice: str

    @property
    def rows(self) -> pd.DataFrame | None:
        """Its table, where it is there; a way whose pilots are not random is told with their choice."""
        table = self.folder / TABLE
        if not table.exists():
            return None
        rows = pd.read_csv(table)
        return rows if self.choice == RANDOM else rows.assign(way=rows["way"] + f", {self.choice} pilots")


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    given = parser().parse_args(argv)
    root = Path(given.folder)
    pairs = [Pair("two teachers", given.teacher, given.other)] if given.other else []
    if given.student:
        pairs.append(Pair("teacher and full student", given.teacher, given.student))
    if not pairs:
        raise SystemExit("nothing to join: give --other, --student or both")
    found = {}
    for pair in pairs:
        parts = [rows for rows in measured(pair, root, given) if rows is not None]
        if parts:
            found[pair.name] = pd.concat(parts, ignore_index=True)
    for name, rows in found.items():
        show(name, rows, given)
    if found:
        together = pd.concat([rows.assign(pair=name) for name, rows in found.items()], ignore_index=True)
        tables.write_csv(root / "alignment_study.csv", together)
    if given.figure and found:
        plots.save(drawn({name: gains(rows, given.at) for name, rows in found.items()}), given.figure)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--teacher", required=True, metavar="FILE", help="its transmitter is heard")
    made.add_argument("--other", metavar="FILE", help="a teacher of another seed and the same vocabulary")
    made.add_argument("--student", metavar="FILE", help="the teacher's one-layer student of both ends")
    made.add_argument(
        "--corpus", nargs="+", default=[], metavar="FILE", help="default: what the teacher knows"
    )
    made.add_argument("--folder", default="alignment_study", metavar="FOLDER")
    made.add_argument("--by", nargs="+", choices=WAYS, default=[*MAPS, "decoder"], metavar="WAY")
    made.add_argument("--pilots", type=int, nargs="+", default=[10, 30, 100, 300, 1000], metavar="N")
    made.add_argument("--pilot-choice", nargs="+", choices=PILOT_CHOICES, default=[RANDOM])
    made.add_argument("--draws", type=int, default=5, metavar="N", help="draws of pilots")
    made.add_argument("--tuned-pilots", type=int, nargs="+", default=[100], metavar="N", help="of tuned ways")
    made.add_argument("--tuned-draws", type=int, default=5, metavar="N", help="of tuned ways")
    made.add_argument("--snr", type=float, nargs="+", default=[0, 6, 12, 18], metavar="DB")
    made.add_argument("--tuned-map-snr", choices=("each", "range"), default="range", help="of tuned ways")
    made.add_argument("--sentences", type=int, default=300, metavar="N")
    made.add_argument("--at", type=float, default=12.0, metavar="DB", help="SNR of the figure")
    made.add_argument("--at-pilots", type=int, default=100, metavar="N", help="pilots of the table by SNR")
    made.add_argument("--device", default="auto")
    made.add_argument(
        "--figure", metavar="FILE", help="gain over pilot symbols, a panel a pair, as PNG or SVG"
    )
    made.add_argument("--report", action="store_true", help="print the tables of what is there, run nothing")
    return made


def measured(pair: Pair, root: Path, given: argparse.Namespace) -> Iterator[pd.DataFrame | None]:
    """Tables of a pair, measured if they are not there."""
    for run in pair.runs(root, given.by, given.pilot_choice):
        if not (run.folder / TABLE).exists() and not given.report:
            align(settings_of(run, given))
        yield run.rows


def settings_of(run: Joining, given: argparse.Namespace) -> AlignSettings:
    tuned = run.ways[0] in TUNED
    return AlignSettings(
        transmitter=run.pair.transmitter,
        receiver=run.pair.receiver,
        by=tuple(run.ways),
        pilots=tuple(given.tuned_pilots if tuned else given.pilots),
        pilot_choice=run.choice,
        draws=given.tuned_draws if tuned else given.draws,
        map_snr=given.tuned_map_snr if tuned else "each",
        output_path=str(run.folder),
        evaluation=EvaluationConfig(snr=tuple(given.snr), sentences=given.sentences),
        corpus=replace(WHOLE_CORPUS, corpus=tuple(given.corpus)),
        run=RunConfig(device=given.device),
    )


# --- tables and figure


def show(name: str, rows: pd.DataFrame, given: argparse.Namespace) -> None:
    print(f"\n{name}: BLEU without a map\n\n{markdown(pairs_without(rows))}")
    at_pilots = rows[rows["pilots"] == given.at_pilots]
    if len(at_pilots):
        print(f"\n{name}: gain in BLEU with {given.at_pilots:,} pilots, by SNR in dB\n")
        print(markdown(pivot(at_pilots, "snr", "gain", 1)))
        print(f"\n{name}: recovery with {given.at_pilots:,} pilots, by SNR in dB\n")
        print(markdown(pivot(at_pilots, "snr", "recovery", 2)))
        print(f"\n{name}: gain of the same map on the receiver's own pair\n")
        print(markdown(pivot(at_pilots, "snr", "own_gain", 1)))
    at_snr = rows[rows["snr"] == given.at]
    if len(at_snr):
        print(f"\n{name}: gain in BLEU at {given.at:g} dB, by pilots\n")
        print(markdown(pivot(at_snr, "pilots", "gain", 1)))


def pairs_without(rows: pd.DataFrame) -> pd.DataFrame:
    """A row a pair, a column an SNR."""
    once = rows.drop_duplicates("snr").sort_values("snr")
    shown = {"receiver's own pair": OWN, "transmitter's own pair": "senders", "without a map": UNALIGNED}
    return pd.DataFrame(
        [
            {"pair": told, **{f"{snr:g}": f"{value:.1f}" for snr, value in zip(once["snr"], once[name])}}
            for told, name in shown.items()
        ]
    )


def pivot(rows: pd.DataFrame, across: str, value: str, decimals: int) -> pd.DataFrame:
    """A row a way, a column a value of ``across``; with intervals."""
    places = sorted(rows[across].unique())
    found = []
    for way, of_way in rows.groupby("way", sort=False):
        by_place = of_way.set_index(across)
        cells = {
            f"{at:g}": told(by_place.loc[at], value, decimals) if at in by_place.index else "–"
            for at in places
        }
        found.append({"joined by": way, **cells})
    return pd.DataFrame(found)


def told(row: pd.Series, name: str, decimals: int) -> str:
    if pd.isna(row[name]):
        return "–"
    ends = [row.get(f"{name} {end}") for end in ("low", "high")]
    interval = (
        "" if any(pd.isna(end) for end in ends) else f" [{ends[0]:.{decimals}f}, {ends[1]:.{decimals}f}]"
    )
    return f"{row[name]:.{decimals}f}{interval}"


def markdown(frame: pd.DataFrame) -> str:
    sides = ["left", *["right"] * (len(frame.columns) - 1)]
    return tables.markdown([*frame.columns], [frame[name].tolist() for name in frame.columns], sides)


def gains(rows: pd.DataFrame, snr: float) -> Curves:
    """Of ways the gain over the pilots' symbols, and that of repeating data."""
    at_snr = rows[rows["snr"] == snr].sort_values("symbols")
    drawn = at_snr[at_snr["way"].str.startswith(DRAWN)]
    curves = {str(way): curve(of_way, "gain") for way, of_way in drawn.groupby("way", sort=False)}
    curves[REPEATED] = curve(at_snr.drop_duplicates("symbols"), "repeated_gain")
    return {name: points for name, points in curves.items() if points}


def curve(rows: pd.DataFrame, name: str) -> Curve:
    points = rows[["symbols", name, f"{name} low", f"{name} high"]].dropna()
    return [
        (symbols, Interval(value, low, high)) for symbols, value, low, high in points.itertuples(index=False)
    ]


def drawn(panels: dict[str, Curves]) -> Draw:
    """On a logarithmic scale of symbols."""
    inner = figures.effects(panels, up="gain, BLEU", across=SYMBOLS)

    def draw(place: Place) -> object:
        picture = inner(place)
        for axis in picture.axes:
            axis.set_xscale("log")
        return picture

    return draw


if __name__ == "__main__":
    main()
