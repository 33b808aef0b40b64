"""The dial at the end of a distillation: hybrids of the divergences asked for, on the run's own path."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from semcom.base import signals
from semcom.base.errors import InterruptedRun, SemcomError, escape
from semcom.commands.dial_settings import DialSettings, dial_like
from semcom.commands.distil_run import DistillationRun


@dataclass(frozen=True)
class Dialling:
    """What came of it. hybrids: target -> file. lines: for the console. refused: why there are none."""

    hybrids: dict[float, Path] = field(default_factory=dict)
    lines: Sequence[str] = ()
    refused: str = ""

    def labelled(self) -> dict[str, Path]:
        """Label -> file."""
        several = len(self.hybrids) > 1
        return {f"hybrid {target:g}" if several else "hybrid": path for target, path in self.hybrids.items()}


def dial_to_targets(run: DistillationRun) -> Dialling:
    """Hybrids of what the run's settings ask for, if they do. Raises InterruptedRun."""
    if not run.settings.files.target_divergence:
        return Dialling()
    settings = dial_like(run.settings)
    try:
        return _dial(run, settings)
    except SemcomError as error:
        again = settings.command(targets=("VALUE",))
        return Dialling(refused=f"{error}; ask again without training: {escape(again)}")
    except KeyboardInterrupt as interrupt:
        raise InterruptedRun(
            f"interrupted while dialling; {escape(run.folder)} holds all that was trained"
            f"{run.keeper.advice()}, or dial it with: {escape(settings.command())}",
            signals.number_of(interrupt),
        ) from None


def _dial(run: DistillationRun, settings: DialSettings) -> Dialling:
    # Imported only now: the first step of the training is not to wait for what searches and measures.
    from semcom.commands import dial
    from semcom.commands.dial_path import path_of_run
    from semcom.commands.dial_state import LadderState

    source = str(run.folder)
    plan = dial.plan_of(settings, path_of_run(source), source, run.device)
    plan = replace(plan, flag="--target-divergence", source=settings.source or source)
    state = LadderState(run.folder, dial.key_of(plan), written_at=run.written_at)
    try:
        files, made_by = run.settings.dialled_hybrids, dial.record_of(settings, run.device)
        ladder, outcome = dial.make(plan, state, files, made_by)
    finally:
        # An unfinished ladder would be taken up by nobody: the command trains anew.
        state.discard()
    return Dialling(outcome.hybrids, dial.table_of(ladder))
