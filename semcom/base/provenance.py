"""On what a run was made: the commit of its source, the model of its CPU."""

import os
import platform
import subprocess
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
PROJECT = PACKAGE.parent
"""Where the shipped files are."""
PATIENCE = 10  # seconds


@cache
def source_commit() -> str | None:
    """The commit that is checked out where the package lies, with "-dirty" where its files differ from it;
    None where it is in no repository of git's."""
    # A package installed inside somebody else's repository is not of that repository.
    if not _git("ls-files", "--error-unmatch", "__init__.py"):
        return None
    commit = _git("rev-parse", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ".")
    return commit and commit + "-dirty" * bool(changed)


def _git(*words: str) -> str | None:
    """What git says; None where it fails or is not there."""
    # Within a hook, variables would name another repository.
    around = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(PACKAGE), *words], capture_output=True, text=True, timeout=PATIENCE, env=around
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


@cache
def cpu_model() -> str:
    """Its name, as the operating system has it."""
    return _cpu_fields().get("model name") or platform.processor() or platform.machine()


@cache
def cpu_identity() -> str:
    """All by which one kind of CPU is told from another: its name, its numbers and its instructions."""
    numbers = ("vendor_id", "cpu family", "model", "stepping")
    of_arm = ("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision")
    fields = _cpu_fields()
    known = [fields[name] for name in (*numbers, *of_arm, "flags", "Features", "isa") if name in fields]
    return "; ".join([platform.machine(), cpu_model(), *known])


def _cpu_fields() -> dict[str, str]:
    """What the operating system says of the first CPU, by name; empty where it does not."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n")[0].splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}
