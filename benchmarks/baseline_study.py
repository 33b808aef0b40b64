"""A teacher beside a coded digital link at equal channel uses, on AWGN and Rayleigh, and where the two
cross; the table and the figure of docs/results.md.

    python benchmarks/baseline_study.py --teacher teacher.pt --corpus captions.en --folder baseline_study

For each channel it runs ``python -m semcom baseline``, whose language model is trained once, and ``python
-m semcom evaluate`` on the same sentences, draws and symbols. What is there already is not measured again.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import pandas as pd  # noqa: E402

from semcom.base import console  # noqa: E402
from semcom.base.settings import RunConfig  # noqa: E402
from semcom.channel.settings import ChannelConfig  # noqa: E402
from semcom.commands.baseline import baseline  # noqa: E402
from semcom.commands.baseline_settings import BaselineConfig, BaselineSettings  # noqa: E402
from semcom.commands.evaluate import evaluate  # noqa: E402
from semcom.commands.settings import WHOLE_CORPUS, EvaluateSettings  # noqa: E402
from semcom.data.source_code_settings import SourceCodeConfig  # noqa: E402
from semcom.evaluation.crossings import crossings  # noqa: E402
from semcom.evaluation.intervals import Interval  # noqa: E402
from semcom.evaluation.settings import EvaluationConfig  # noqa: E402
from semcom.report import figures, plots, tables  # noqa: E402
from semcom.report.look import Draw  # noqa: E402

CHANNELS = ("awgn", "rayleigh")
TEACHER = "teacher"
UNDRAWN = ("normal approximation", "h known", "lm + LDPC, SNR known, best effort")
"""Curves that lie on others in the figure; the table has them."""


@console.speaking()
def main(argv: list[str] | None = None) -> None:
    given = parser().parse_args(argv)
    root = Path(given.folder)
    panels = {channel: measured(channel, root, given) for channel in given.channel}
    found = [row for channel, rows in panels.items() for row in crossings_of(channel, rows, given.snr)]
    names = ["channel", "curve", *(f"{snr:g}" for snr in given.snr), "crossing"]
    columns = [[row[name] for row in found] for name in names]
    print("\nBLEU by SNR in dB, and where a curve of the coded link crosses the teacher's\n")
    print(tables.markdown(names, columns, ["left", "left", *["right"] * len(given.snr), "left"]))
    together = pd.concat([rows.assign(channel=channel) for channel, rows in panels.items()])
    tables.write_csv(root / "baseline_study.csv", together)
    if given.figure:
        plots.save(drawn(panels), given.figure)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--teacher", required=True, metavar="FILE")
    made.add_argument(
        "--corpus", nargs="+", default=[], metavar="FILE", help="default: what the teacher knows"
    )
    made.add_argument("--folder", default="baseline_study", metavar="FOLDER")
    made.add_argument("--channel", nargs="+", default=list(CHANNELS), metavar="CHANNEL")
    made.add_argument("--snr", type=float, nargs="+", default=[-6, 0, 3, 6, 9, 12, 18], metavar="DB")
    made.add_argument("--sentences", type=int, default=300, metavar="N")
    made.add_argument("--lm-steps", type=int, metavar="N", help="of the language model")
    made.add_argument("--device", default="auto")
    made.add_argument("--figure", metavar="FILE", help="BLEU over SNR, a panel a channel, as PNG or SVG")
    return made


def measured(channel: str, root: Path, given: argparse.Namespace) -> pd.DataFrame:
    """Rows of the coded link's curves that it shows, and of the teacher; measured if they are not there."""
    coded, model = root / f"{channel}.csv", root / f"{channel}_teacher.csv"
    if not coded.exists():
        baseline(coded_settings(channel, coded, root, given))
    if not model.exists():
        evaluate(teacher_settings(channel, model, coded, given))
    curves, own = pd.read_csv(coded), pd.read_csv(model)
    shown = curves[curves["shown"].astype(bool) & curves["snr"].isin(given.snr)]
    ours = own[own["topic"].isna() & (own["model"] == Path(given.teacher).stem)].assign(model=TEACHER)
    return pd.concat([ours, shown], ignore_index=True)[["model", "snr", "bleu"]].dropna()


def coded_settings(channel: str, output: Path, root: Path, given: argparse.Namespace) -> BaselineSettings:
    # The language model of the first channel serves the others.
    trained = next((path for path in sorted(root.glob("*.lm.pt"))), None)
    return BaselineSettings(
        like=given.teacher,
        lm_code=str(trained) if trained else None,
        output=str(output),
        link=BaselineConfig(),
        training=SourceCodeConfig(lm_steps=None if trained else given.lm_steps),
        evaluation=EvaluationConfig(snr=tuple(given.snr), sentences=given.sentences),
        corpus=replace(WHOLE_CORPUS, corpus=tuple(given.corpus)),
        channel=ChannelConfig(channel=channel),
        run=RunConfig(device=given.device),
    )


def teacher_settings(channel: str, output: Path, coded: Path, given: argparse.Namespace) -> EvaluateSettings:
    return EvaluateSettings(
        checkpoints=(given.teacher,),
        baseline=(str(coded),),
        output=str(output),
        evaluation=EvaluationConfig(snr=tuple(given.snr), sentences=given.sentences),
        corpus=replace(WHOLE_CORPUS, corpus=tuple(given.corpus)),
        channel=ChannelConfig(channel=channel),
        run=RunConfig(device=given.device),
    )


def crossings_of(channel: str, rows: pd.DataFrame, snrs: list[float]) -> list[dict[str, str]]:
    """A row a curve, the teacher's first."""
    by_curve = {
        str(name): of_one.set_index("snr")["bleu"] for name, of_one in rows.groupby("model", sort=False)
    }
    ours = by_curve[TEACHER]
    found = []
    for name, curve in by_curve.items():
        both = sorted(set(curve.index) & set(ours.index))
        where = "" if name == TEACHER else str(crossings(both, [*ours[both]], [*curve[both]]))
        scores = {f"{snr:g}": f"{curve[snr]:.1f}" if snr in curve.index else "–" for snr in snrs}
        found.append({"channel": channel, "curve": name, **scores, "crossing": where})
    return found


def drawn(panels: dict[str, pd.DataFrame]) -> Draw:
    curves = {
        f"BLEU, {channel}": {
            str(name): [(snr, Interval(bleu, bleu, bleu)) for snr, bleu in zip(of_one["snr"], of_one["bleu"])]
            for name, of_one in rows.groupby("model", sort=False)
            if not any(word in str(name) for word in UNDRAWN)
        }
        for channel, rows in panels.items()
    }
    return figures.curves(curves, references=[TEACHER])


if __name__ == "__main__":
    main()
