"""What lies between the ends: states beside the teacher's, and the symbols sent."""

from semcom.base.messages import N_
from semcom.evaluation import frames
from semcom.evaluation.pair_matrix import CHUNK
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table, Text
from semcom.report.sections.study_report import StudyReport

SHOWN_TRANSMITTERS = 6
STATES = {"encoder states": N_("encoder states"), "decoder states": N_("decoder states")}


def blocks(report: StudyReport) -> list[Block]:
    if not report.study.compared:
        return []
    how_measured = report.gettext(
        "Linear CKA with the teacher's states (1: the same up to rotation and scale) on the first {chunk} "
        "sentences; decoder states on gold prefixes at {snr}. Distance of signals: mean squared difference "
        "per complex symbol of mean power 1; unrelated signals are 2 apart."
    )
    chunk = min(CHUNK, len(report.study.sentences))
    return [
        Text(how_measured.format(chunk=chunk, snr=report.snr)),
        _states_and_signals(report),
        _constellations(report),
    ]


def _states_and_signals(report: StudyReport) -> Table:
    _ = report.gettext
    found = report.study.representations()
    columns = {
        "end": Column(_("end or pair")),
        "what": Column(_("of")),
        "cka": Column(_("CKA"), 4),
        "signal_distance": Column(_("signal distance"), 4),
    }
    named = found.assign(what=found["what"].map(lambda what: _(STATES[what])))
    named = named.replace({"end": report.pairs_told()})
    return report.table("representations", _("Likeness of states, distance of signals."), columns, named)


def _constellations(report: StudyReport) -> Figure:
    _, study = report.gettext, report.study
    transmitters = study.pairing.transmitters
    symbols = {
        end.label: study.measured.sent[end.fingerprint].symbols for end in transmitters[:SHOWN_TRANSMITTERS]
    }
    data = [
        {"transmitter": name, "in phase": round(float(x), 4), "quadrature": round(float(y), 4)}
        for name, points in symbols.items()
        for x, y in points
    ]
    caption = _("Symbols sent by each transmitter{first}.")
    return Figure(
        report.name("constellations"),
        caption.format(first=report.first(transmitters, SHOWN_TRANSMITTERS)),
        _("A cloud of complex symbols a transmitter."),
        frames.frame_of(data),
        figures.constellations(symbols, report.in_figure(N_("in phase")), report.in_figure(N_("quadrature"))),
    )
