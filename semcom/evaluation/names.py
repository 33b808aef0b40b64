"""What ends are called before people: what they are, and the settings that tell them apart."""

from collections.abc import Mapping, Sequence
from numbers import Real

from semcom.base.errors import escape
from semcom.base.messages import N_, Message
from semcom.evaluation import measures, origins, setting_trends
from semcom.evaluation.dialled import AXIS, BETWEEN, KNOWLEDGE_PATH, LEARNING, TARGET, Dial
from semcom.evaluation.origins import PART
from semcom.evaluation.runs import UNFINISHED, Run
from semcom.models.transceiver import PARTS_OF

TEACHER = N_("teacher")
ANOTHER_TEACHER = N_("another teacher")
STUDENTS = {
    "encoder": N_("encoder student"),
    "decoder": N_("decoder student"),
    "full": N_("full student"),
}
"""By the mode of their distillation."""
PATHS = {
    LEARNING: N_("learning path"),
    KNOWLEDGE_PATH: N_("knowledge path"),
    BETWEEN: N_("path between two checkpoints"),
}
"""On which hybrids are dialled, by their kinds."""
ALONE = {
    "encoder": N_("encoder alone"),
    "channel_encoder": N_("channel encoder alone"),
    "channel_decoder": N_("channel decoder alone"),
    "decoder": N_("decoder alone"),
}
"""Of an end that has a single part of a student's."""
WITH_SETTING = N_("{end}, {setting}")
TEMPERATURE, LAYERS, WIDTH = "temperature", "student_layers", "student_d_model"
NOT_TOLD = (PART, TARGET, AXIS, "teachers")
"""Settings that a name has in words of its own, or that are not of an end."""
LONGEST = 40
"""Characters of a setting's value in a name."""


def varied(runs: Sequence[Run]) -> list[str]:
    """Settings in which runs of which it is known how they were made differ, the temperature where there is
    none."""
    known = [run.settings() for run in runs if run.made.get(PART) is not None and run.seed is not None]
    names = [name for name in setting_trends.differing(known) if name not in NOT_TOLD]
    return names or [TEMPERATURE]


def end_told(run: Run, end: str, names: Sequence[str]) -> str:
    """What an ``end`` that a run has made is called: its label where nothing is recorded of it.

    names: settings to tell, of those that are recorded.
    """
    if run.is_teacher:
        return Message(ANOTHER_TEACHER)
    mode = origins.mode_of(run.made, run.checkpoint, end)
    if not mode:
        return escape(run.label)
    told: str = Message(STUDENTS[mode])
    if run.dial:
        told = Message(N_("{end} dialled to {target}"), end=told, target=f"{run.dial.target:g}")
    parts = origins.students_parts(run.checkpoint, end)
    if len(parts) == 1 < len(PARTS_OF[end]):
        told = Message(WITH_SETTING, end=told, setting=Message(ALONE[parts[0]]))
    for name in names:
        if setting := setting_told(name, run.made.get(name)):
            told = Message(WITH_SETTING, end=told, setting=setting)
    if run.made.get(UNFINISHED):
        told = Message(WITH_SETTING, end=told, setting=Message(N_("unfinished")))
    return told


def with_seed(name: str, seed: object) -> str:
    return Message(WITH_SETTING, end=name, setting=Message(N_("seed {seed}"), seed=escape(seed)))


def told_aside(run: Run) -> list[str]:
    """What else may tell a run from others of its name: on which path and to what it was dialled, its label,
    its file."""
    dialled = _dialled(run.dial) if run.dial else ["", ""]
    return [*dialled, escape(run.label), run.checkpoint.name]


def _dialled(dial: Dial) -> list[str]:
    """The kind of path; the measure of its target, and the SNR."""
    path = Message(PATHS[dial.path]) if dial.path in PATHS else escape(dial.path)
    labels = {measure.name: Message(measure.label) for measure in measures.MEASURES}
    measure = labels.get(dial.measure, escape(dial.measure))
    return [path, Message(N_("{measure} at {snr}"), measure=measure, snr=f"{dial.snr:g} dB")]


def setting_told(name: str, value: object) -> str:
    """A setting and its value; nothing where there is none or it is off."""
    told = name.removeprefix("student_").replace("_", "-")
    if isinstance(value, bool):
        return told if value else ""
    text = _as_text(value)
    if not text:
        return ""
    if name == TEMPERATURE:
        return f"T={text}"
    if name == LAYERS:
        return Message(N_("{count} layers"), count=text) if text != "1" else Message(N_("1 layer"))
    if name == WIDTH:
        return Message(N_("width {width}"), width=text)
    return f"{told} {text}"


def _as_text(value: object) -> str:
    """Empty of what is not set."""
    if isinstance(value, Real):
        return f"{float(value):g}"
    if isinstance(value, Mapping):
        return ""
    words = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    text = "+".join(escape(word) for word in words)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def told_apart(names: Sequence[str], aside: Sequence[Sequence[str]]) -> list[str]:
    """Names of which none stands twice: to one that does is added what tells it from the others, the first of
    ``aside`` (as many of each name) by which all of that name differ."""
    found = list(names)
    for name in {str(name) for name in names}:
        places = [i for i, other in enumerate(names) if other == name]
        if len(places) > 1:
            by_choice = zip(*(aside[i] for i in places))
            of_own = (texts for texts in by_choice if len(set(texts)) == len(texts) and name not in texts)
            for i, text in zip(places, next(of_own)):
                found[i] = Message(WITH_SETTING, end=names[i], setting=text) if text else names[i]
    return found
