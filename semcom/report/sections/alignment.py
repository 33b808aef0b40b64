"""What joining two ends by pilots gains: a table at one SNR, curves over the pilots' symbols at all."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import pandas as pd

from semcom.base.messages import N_, Message, said
from semcom.evaluation import frames
from semcom.evaluation.intervals import Interval
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table
from semcom.report.figures import Curves
from semcom.report.look import PHONE, Draw, Place
from semcom.report.names_in_words import channel_told

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Picture

Translate = Callable[[str], str]
WAYS = {
    "none": N_("no map"),
    "scale": N_("one complex factor"),
    "orthogonal": N_("orthogonal map"),
    "linear": N_("linear map"),
    "affine": N_("affine map"),
    "network": N_("network"),
    "anchors": N_("anchors"),
    "decoder": N_("receiver tuned"),
    "surrogate": N_("receiver tuned through a surrogate"),
    "encoder": N_("transmitter tuned (genie)"),
}
"""Of joining two ends; the last needs gradients to be fed back, which no link has."""
LEARNED = {"network": "network", "decoder": "tuned", "surrogate": "tuned", "encoder": "tuned"}
"""Kinds of ways, a colour each; the others have a closed form."""
PAIRS = {
    "own": N_("receiver's own pair"),
    "unaligned": N_("without a map"),
    "senders": N_("transmitter's own pair"),
}
REPEATED = N_("without a map, the pilots' symbols spent on repeating data")
DRAWN = {"own": PAIRS["own"], "unaligned": PAIRS["unaligned"], "repeated": REPEATED}
"""Of pairs without a map: the first in black; on narrow places the last is left out."""
NARROW = 5
"""Lines in a panel of a place that is."""
SYMBOLS = N_("complex symbols of the pilots")
AT = N_("{snr:g} dB")


@dataclass(frozen=True)
class Alignment:
    """What was measured of two ends, whose names are ``transmitter`` and ``receiver``. rows: of
    ``alignment.csv``, with intervals. at: the SNR of the table. draws: of pilots. of_range: whether one map
    serves all SNRs. signature: of BLEU."""

    transmitter: str
    receiver: str
    rows: pd.DataFrame
    at: float
    channel: str
    sentences: int
    draws: int
    of_range: bool
    signature: str


def blocks(found: Sequence[Alignment], _: Translate, in_figure: Translate) -> list[Block]:
    made: list[Block] = []
    for number, alignment in enumerate(found, 1):
        made += [_table(alignment, number, _), _figure(alignment, number, _, in_figure)]
    return made


def way_told(way: str) -> str:
    """Marked for translation; of another version's ways, the name."""
    return WAYS.get(way, way)


def _table(alignment: Alignment, number: int, _: Translate) -> Table:
    rows = alignment.rows[alignment.rows["snr"] == alignment.at]
    rows = rows.assign(way=[_(way_told(way)) for way in rows["way"]])
    columns = {
        "way": Column(_("joined by")),
        "pilots": Column(_("pilots")),
        "symbols": Column(_("their complex symbols"), 0, rank=3),
        "bleu": Column(_("BLEU"), 2, rank=2),
        "gain": Column(_("gain, BLEU"), 2),
        "recovery": Column(_("recovery"), 2, rank=1),
        "own_gain": Column(_("gain on the receiver's own pair"), 2, rank=1),
        "repeated_gain": Column(_("gain by repeating data"), 2, rank=1),
    }
    caption = _(
        "The transmitter of {transmitter} and the receiver of {receiver}, joined by pilots that both sides "
        "know, at {snr:g} dB, {channel}: BLEU gained over the two without a map."
    )
    filled = caption.format(
        transmitter=alignment.transmitter,
        receiver=alignment.receiver,
        snr=alignment.at,
        channel=said(channel_told(alignment.channel), _),
    )
    return Table(
        f"alignment_{number}",
        filled,
        columns,
        frames.none_where_missing(rows[list(columns)].reset_index(drop=True)),
        f"{_pairs_told(rows, _)} {_how(alignment, _)}",
        in_paper=True,
    )


def _pairs_told(rows: pd.DataFrame, _: Translate) -> str:
    """BLEU of the pairs without a map."""
    first = rows.iloc[0]
    known = [
        f"{_(name)} {_interval(first[column])}" for column, name in PAIRS.items() if _is_known(first[column])
    ]
    return _("BLEU: {pairs}.").format(pairs=_(", ").join(known))


def _is_known(cell: object) -> bool:
    return isinstance(cell, Interval)


def _interval(cell: Interval) -> str:
    return f"{cell:.2f}"


def _how(alignment: Alignment, _: Translate) -> str:
    note = _(
        "{sentences:,} test sentences, {maps}, draws of pilots: {draws}; over three or more, intervals are "
        "Student's t, of fewer, as of pairs without a map, a bootstrap over sentences. Recovery is the gain "
        "over what the receiver's own pair has more than the two without a map, told where the 95 % interval "
        "of that lies above 2 BLEU. Gain on the receiver's own pair: by the same map, fitted and used there; "
        "it is denoising, not alignment. Gain by repeating data: the pilots' symbols spent on sending data "
        "again, as often as they pay for, all receptions combined by maximum ratio, no map."
    )
    maps = _("one map for all SNRs") if alignment.of_range else _("a map an SNR")
    return note.format(sentences=alignment.sentences, maps=maps, draws=alignment.draws)


def _figure(alignment: Alignment, number: int, _: Translate, in_figure: Translate) -> Figure:
    panels = panels_of(alignment.rows, in_figure)
    kinds = kinds_of(alignment.rows, in_figure)
    caption = _(
        "BLEU of the transmitter of {transmitter} and the receiver of {receiver} over the complex symbols "
        "that the pilots take, a panel an SNR and a line a way."
    )
    told = caption.format(transmitter=alignment.transmitter, receiver=alignment.receiver)
    return Figure(
        f"alignment_curves_{number}",
        told + _left_out(panels, kinds, _, in_figure),
        _("Curves over the symbols of the pilots, a panel an SNR and a line a way of joining."),
        frames.none_where_missing(alignment.rows),
        drawn(panels, kinds, in_figure),
    )


def _left_out(
    panels: Mapping[str, Curves], kinds: Mapping[str, str], _: Translate, in_figure: Translate
) -> str:
    """What the caption adds where a narrow screen does not have all curves."""
    everything = {name for curves in panels.values() for name in curves}
    shown = figures.styles_of(_shown(panels, PHONE, in_figure), _references(PHONE, in_figure), PHONE, kinds)
    if len(shown) == len(everything):
        return ""
    return _(figures.LEFT_OUT_NARROW).format(phone=len(shown), all=len(everything))


def _references(place: Place, in_figure: Translate) -> list[str]:
    names = [in_figure(name) for name in DRAWN.values()]
    return names[:-1] if place.lines < NARROW else names


def _shown(panels: Mapping[str, Curves], place: Place, in_figure: Translate) -> dict[str, Curves]:
    """Without what a place has no room for."""
    left_out = {in_figure(name) for name in DRAWN.values()}.difference(_references(place, in_figure))
    return {
        title: {name: points for name, points in curves.items() if name not in left_out}
        for title, curves in panels.items()
    }


def kinds_of(rows: pd.DataFrame, in_figure: Translate) -> dict[str, str]:
    """What a figure calls a way -> the kind of way that it is."""
    return {in_figure(way_told(way)): LEARNED.get(way, "closed form") for way in rows["way"].unique()}


def panels_of(rows: pd.DataFrame, in_figure: Translate) -> Mapping[str, Curves]:
    """Title of an SNR -> BLEU over symbols: a curve a way, that of repeating, and the pairs without a map."""
    return {
        said(Message(AT, snr=snr), in_figure): _curves(of_snr, in_figure)
        for snr, of_snr in rows.groupby("snr", sort=True)
    }


def _curves(rows: pd.DataFrame, in_figure: Translate) -> Curves:
    curves = {
        in_figure(way_told(str(way))): _points(of_way, "bleu")
        for way, of_way in rows.groupby("way", sort=False)
        if way != "none"
    }
    once = rows.drop_duplicates("symbols")
    curves |= {in_figure(name): _points(once, column) for column, name in DRAWN.items()}
    return {name: points for name, points in curves.items() if points}


def _points(rows: pd.DataFrame, column: str) -> list[tuple[float, Interval]]:
    points = zip(rows["symbols"].tolist(), rows[column].tolist())
    known = [(symbols, _within_range(value)) for symbols, value in points if _is_known(value)]
    return sorted(known, key=lambda point: point[0])


def _within_range(bleu: Interval) -> Interval:
    """Student's interval knows nothing of the ends of a scale."""
    return replace(bleu, low=max(0.0, bleu.low), high=min(100.0, bleu.high))


def drawn(panels: Mapping[str, Curves], kinds: Mapping[str, str], in_figure: Translate) -> Draw:
    """With the symbols on a logarithmic scale."""

    def draw(place: Place) -> "Picture":
        references, shown = _references(place, in_figure), _shown(panels, place, in_figure)
        up = dict.fromkeys(panels, in_figure(N_("BLEU")))
        across = in_figure(SYMBOLS)
        return figures.curves(shown, references, across, kinds=kinds, ylabels=up, scale="log")(place)

    return draw
