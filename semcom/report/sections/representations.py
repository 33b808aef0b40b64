"""What lies between the ends: states beside the teacher's, and the symbols sent."""

from semcom.base.messages import N_
from semcom.evaluation import frames
from semcom.evaluation.pair_matrix import CHUNK
from semcom.report import figures
from semcom.report.document import Block, Column, Figure, Table
from semcom.report.sections.study_report import StudyReport

SHOWN_TRANSMITTERS = 6
STATES = {"encoder states": N_("encoder states"), "decoder states": N_("decoder states")}
IN_PHASE, QUADRATURE = N_("in phase"), N_("quadrature")


def blocks(report: StudyReport) -> list[Block]:
    if not report.compared:
        return []
    return [_states_and_signals(report), _constellations(report)]


def _states_and_signals(report: StudyReport) -> Table:
    _ = report.gettext
    found = report.study.by_group.representations()
    columns = {
        "end": Column(_("end or pair")),
        "what": Column(_("of")),
        "cka": Column(_("CKA"), 4),
        "signal_distance": Column(_("signal distance"), 4),
    }
    named = found.assign(
        end=[report.told(end) for end in found["end"]], what=[_(STATES[what]) for what in found["what"]]
    )
    note = _(
        "Linear CKA with the teacher's states (1: the same up to rotation and scale) on the first {chunk} "
        "sentences; decoder states on gold prefixes at {snr}. Distance of signals: mean squared difference "
        "per complex symbol of mean power 1; unrelated signals are 2 apart."
    )
    chunk = min(CHUNK, len(report.study.sentences))
    caption = _("Likeness of states, distance of signals.")
    told = note.format(chunk=chunk, snr=report.snr)
    return report.table("representations", caption, columns, named, told)


def _constellations(report: StudyReport) -> Figure:
    """Of several seeds the first one's."""
    _, study = report.gettext, report.study
    transmitters = study.naming.transmitters
    symbols = {
        alike.name: study.measured.sent[next(iter(alike.seeds))].symbols
        for alike in transmitters[:SHOWN_TRANSMITTERS]
    }
    data = [
        {"transmitter": report.told(name), "in phase": round(float(x), 4), "quadrature": round(float(y), 4)}
        for name, points in symbols.items()
        for x, y in points
    ]
    caption = _("Symbols sent by each transmitter{first}.")
    return Figure(
        report.name("constellations"),
        caption.format(first=report.first(transmitters, SHOWN_TRANSMITTERS)),
        _("A cloud of complex symbols a transmitter."),
        frames.frame_of(data),
        figures.constellations(
            {report.drawn(name): points for name, points in symbols.items()},
            report.in_figure(IN_PHASE),
            report.in_figure(QUADRATURE),
        ),
    )
