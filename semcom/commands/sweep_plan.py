"""The runs of a sweep: each an ordinary distillation in a folder of its own, named by what sets it apart."""

import hashlib
import itertools
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath

from semcom.base.errors import SemcomError
from semcom.base.flag_words import changed, words_of
from semcom.base.flags import flag_of
from semcom.base.varied_flags import Variant, typed, words_of_value
from semcom.commands.distil_settings import DistilSettings
from semcom.commands.sweep_settings import ROOT, SweepSettings

PLAN, LOGS, SHARED = "sweep.json", "logs", ".shared"
"""What a sweep leaves beside its runs."""
HYBRID = "hybrid_model.pt"
LONGEST_NAME = 100
COMMON = ("output_path", "hybrid_output")


@dataclass(frozen=True)
class Point:
    """A run. name: of its folder in that of the sweep. varied: what sets it apart, by name of setting."""

    name: str
    varied: Mapping[str, object]
    settings: DistilSettings


@dataclass(frozen=True)
class Sweep:
    """root: the folder of the runs. named: whether the user chose it. A run writes nowhere else."""

    root: Path
    points: Sequence[Point]
    named: bool = True

    @property
    def overwrites(self) -> bool:
        """Whether what is there is replaced."""
        return self.points[0].settings.outputs.overwrite

    @property
    def logs(self) -> Path:
        return self.root / LOGS

    @property
    def varied(self) -> list[str]:
        """Names of the settings that vary."""
        return list(dict.fromkeys(name for point in self.points for name in point.varied))


def sweep_of(root: Path, runs: Sequence[tuple[str, Variant[DistilSettings]]], *, named: bool = True) -> Sweep:
    """Of runs and their names. Raises SemcomError for two that are the same."""
    seen: dict[DistilSettings, Variant[DistilSettings]] = {}
    points = []
    for name, variant in runs:
        if twin := seen.get(variant.settings):
            raise SemcomError(
                f"the run of {typed(variant.varied)} is that of {typed(twin.varied)}; give each value once"
            )
        seen[variant.settings] = variant
        points.append(Point(name, variant.varied, _placed(variant.settings, root / name)))
    return Sweep(root, points, named)


def _placed(settings: DistilSettings, folder: Path) -> DistilSettings:
    """With all that the run writes in its folder."""
    hybrid = str(folder / HYBRID) if settings.files.create_hybrid else None
    files = replace(settings.files, output_path=str(folder), hybrid_output=hybrid)
    return replace(settings, files=files, resuming=replace(settings.resuming, resume=False))


def sweep_of_flags(variants: Sequence[Variant[DistilSettings]]) -> Sweep:
    """Raises SemcomError where nothing varies, or what has to be common to all."""
    first = variants[0]
    for name in COMMON:
        if name in first.varied:
            raise SemcomError(f"{flag_of(name)}: a sweep has one folder; give one, its runs get theirs in it")
    if not first.varied:
        raise SemcomError("nothing varies; give several values of a flag, for example --temperature 2 4 8 16")
    if first.settings.files.hybrid_output:
        raise SemcomError(
            "--hybrid-output: each run of a sweep has its hybrid in its own folder; leave it out"
        )
    given = first.settings.files.output_path
    names = names_of([variant.varied for variant in variants])
    return sweep_of(Path(given or ROOT), list(zip(names, variants)), named=given is not None)


@dataclass(frozen=True)
class Grid:
    """A sweep as an experiment has it: what is common to its runs, and the values of the settings that
    vary."""

    common: DistilSettings
    varied: Mapping[str, Sequence[object]]

    def sweep(self, fixed: Sequence[str] = ()) -> Sweep:
        """In the common output path, where an earlier sweep is set aside. fixed: as of ``changed``."""
        choices = [dict(zip(self.varied, values)) for values in itertools.product(*self.varied.values())]
        variants = [Variant(each, changed(self.common, each, fixed)) for each in choices]
        names = names_of(choices)
        return sweep_of(self.common.output_path, list(zip(names, variants)), named=False)

    def command(self, settings: SweepSettings, first: Sequence[str] = ()) -> str:
        """What a person would type. first: as of ``words_of``."""
        ahead = [name for name in first if name not in self.varied]
        varied = [word for name, values in self.varied.items() for word in _words(name, values)]
        words = [*varied, *words_of(self.common, ahead), *words_of(settings)]
        return shlex.join(["python", "-m", "semcom", "sweep", *words])


def _words(name: str, values: Sequence[object]) -> list[str]:
    return [flag_of(name), *(word for value in values for word in words_of_value(value))]


# --- names


def names_of(varied: Sequence[Mapping[str, object]]) -> list[str]:
    """A folder's name for each run, by what sets it apart: short, of letters, digits and ``.+-_``, each once
    also where capitals count for nothing."""
    names = [_shortened("_".join(_part(*item) for item in each.items())) for each in varied]
    count = Counter(map(str.lower, names))
    return [_marked(name, each) if count[name.lower()] > 1 else name for name, each in zip(names, varied)]


def _part(name: str, value: object) -> str:
    words = [PurePath(word).name or word for word in words_of_value(value)]
    return f"{flag_of(name).removeprefix('--')}-{_safe('+'.join(words))}"


def _safe(text: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in ".+-") else "_" for c in text)


def _shortened(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else _marked(name[: LONGEST_NAME - 9], name)


def _marked(name: str, whole: object) -> str:
    """With a mark that tells it from others."""
    return f"{name}_{hashlib.sha256(repr(whole).encode()).hexdigest()[:8]}"
