"""``evaluate`` over several channels: the same models and sentences through each, as a grid; and what pilots
cost."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import Channel, make_channel
from semcom.channel.settings import ChannelConfig
from semcom.commands.measuring import entrants
from semcom.data.batching import Encoded
from semcom.evaluation.channel_use import ChannelUse, channel_use
from semcom.evaluation.intervals import Interval
from semcom.evaluation.measure_row import Measure
from semcom.evaluation.scores import Meeting, score_all
from semcom.models.checkpoint import Checkpoint
from semcom.report import plots, tables
from semcom.report.figures import Curves

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)
SUFFIX = ".channels.png"
Loaded = Sequence[tuple[str, Checkpoint]]


def picture_of(picture: Path) -> Path:
    """Beside the picture of all measures."""
    return picture.with_name(f"{picture.stem}{SUFFIX}")


def outputs(picture: Path) -> dict[str, str | Path]:
    """As ``plots.outputs`` has them."""
    of_grid = plots.outputs("", picture_of(picture))
    return {f"{name}, channels": path for name, path in of_grid.items() if path}


def uses_of(loaded: Loaded, encoded: Sequence[Encoded], channel: Channel) -> dict[str, ChannelUse]:
    """By label."""
    return {
        label: channel_use(encoded, c.model.architecture.channel_dim, channel.uses) for label, c in loaded
    }


def with_costs(
    rows: "pd.DataFrame", loaded: Loaded, encoded: Sequence[Encoded], channel: Channel
) -> "pd.DataFrame":
    """``rows`` of ``channel`` with what it takes: channel uses, and where there are pilots the SNR that their
    energy is charged to."""
    uses = uses_of(loaded, encoded, channel)
    costs = {"channel_uses_per_character": rows["model"].map(lambda label: uses[label].a_character)}
    charges = charged(loaded, encoded, channel)
    if any(charges.values()):
        costs["snr_charged"] = rows["snr"] + rows["model"].map(charges)
    return rows.assign(**costs)


def charged(loaded: Loaded, encoded: Sequence[Encoded], channel: Channel) -> dict[str, float]:
    """Label -> dB by which the SNR is above that told once pilots are charged, 10 log10 of (N+P)/N."""
    return {
        label: channel.charge_db([len(e.source) * c.model.architecture.channel_dim // 2 for e in encoded])
        for label, c in loaded
    }


def tell_charge(charges: Mapping[str, float]) -> None:
    for charge in dict.fromkeys(charges.values()):
        of_these = [label for label in charges if charges[label] == charge]
        of_some = f" of {', '.join(map(escape, of_these))}" if len(of_these) < len(charges) else ""
        if charge:
            log.info(
                f"pilots{of_some}: with their energy charged to the data, X dB here are X+{charge:.2f} dB"
            )


def score(
    settings: ChannelConfig,
    others: Sequence[str],
    loaded: Loaded,
    encoded: Sequence[Encoded],
    meeting: Meeting,
) -> "pd.DataFrame | None":
    """Rows through each of ``others``, with the settings of the channel of ``meeting``; None of none."""
    import pandas as pd

    found = []
    for name in dict.fromkeys(others):
        channel = make_channel(replace(settings, channel=name))
        if channel == meeting.channel:
            continue
        there = replace(meeting, channel=channel)
        rows, _ = score_all(entrants(loaded), encoded, loaded[0][1].vocabulary, there)
        found.append(with_costs(rows, loaded, encoded, channel))
    return pd.concat(found, ignore_index=True) if found else None


def trained_through(config: Mapping[str, object]) -> str:
    """The channel that a checkpoint's record names, with all settings that act on it; "?" of none."""
    names = ChannelConfig.__dataclass_fields__
    given = {name: config[name] for name in names if config.get(name) is not None}
    if "channel" not in given:
        return "?"
    try:
        return str(make_channel(ChannelConfig(**given)))  # type: ignore[arg-type]  # checked there
    except (SemcomError, TypeError):
        # Of a later version, or no record of ours.
        return escape(given["channel"])


def show(rows: "pd.DataFrame", loaded: Loaded, measure: Measure, reference: float) -> None:
    """Models over channels at one SNR, with the channel that each was trained through."""
    at_reference = rows[(rows["topic"] == "") & (rows["snr"] == reference)]
    trained = {label: trained_through(c.config) for label, c in loaded}
    names = at_reference["model"].map(lambda label: f"{label} ({trained[label]})")
    table = tables.pivot(
        at_reference.assign(**{"model (trained through)": names}),
        "model (trained through)",
        "channel",
        measure.name,
        str,
    )
    log.info(f"\n{measure.title_with_unit} at {reference:g} dB through each channel\n{table}")


def plot(rows: "pd.DataFrame", measure: Measure, picture: Path) -> None:
    """A panel a channel, a curve a model over SNR."""
    overall = rows[rows["topic"] == ""]
    panels: dict[str, Curves] = {}
    for channel, of_channel in overall.groupby("channel", sort=False):
        panels[f"{measure.title_with_unit}, {channel}"] = {
            str(model): [
                (snr, Interval(value, value, value))
                for snr, value in of_model[["snr", measure.name]].sort_values("snr").itertuples(index=False)
            ]
            for model, of_model in of_channel.groupby("model", sort=False)
        }
    plots.plot_over(panels, "SNR, dB", picture_of(picture))
