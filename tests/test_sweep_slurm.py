"""A sweep as jobs of a cluster: the script, what is submitted, and how a job that is asked to end goes on.
submitit's own executor of this machine stands in for the cluster."""

import json
import os
import shlex
import signal
import time
from pathlib import Path

import pytest
from cli_support import TINY_TRAINING, UNDRAWN, distil, package, refused

from semcom.base.errors import SemcomError
from semcom.commands import analyse_settings, sweep_slurm
from semcom.commands.sweep_settings import SlurmConfig
from semcom.data.settings import CorpusConfig
from semcom.models import checkpoint

submitit = pytest.importorskip("submitit")
COMMON = ["--output-path", "grid", "--slurm"]


def test_dry_run_prints_the_commands_and_the_script(here, capsys):
    words = ["--time", 90, "--partition", "short", "--gpus", 1, "--threads", 4, "--sbatch", "account=mine"]
    assert package("sweep", "--seed", 1, 2, 3, *COMMON, *words, "--jobs", 2, "--dry-run") == 0
    out = capsys.readouterr().out
    assert out.count("$ python distillation.py --output-path grid/seed-") == 3
    for option in ("array=0-2%2", "time=90", "partition=short", "gpus-per-node=1", "cpus-per-task=4"):
        assert f"#SBATCH --{option}\n" in out
    assert "#SBATCH --account=mine\n" in out and "#SBATCH --signal=USR2@90\n" in out
    assert "export PYTHONPATH=" in out and "submitit.core._submit grid/logs/slurm" in out
    assert not list(here.iterdir())


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--time", 9], ["--time: is of a cluster", "--slurm"]),
        (["--slurm", "--sbatch", "account"], ["--sbatch account: must be NAME=VALUE"]),
        (["--slurm", "--time", 0], ["--time 0"]),
    ],
)
def test_wrong_options_are_refused(here, capsys, words, told):
    refused(capsys, package("sweep", "--seed", 1, 2, *words), *told)


def test_without_a_cluster_or_submitit_one_line_says_so(here, capsys, monkeypatch):
    monkeypatch.setenv("PATH", "")
    refused(capsys, package("sweep", "--seed", 1, 2, *COMMON), "--slurm", "srun", "without --slurm")
    monkeypatch.setitem(__import__("sys").modules, "submitit", None)
    refused(capsys, package("sweep", "--seed", 1, 2, *COMMON), "pip install submitit")
    assert not (here / "grid").exists() or not list((here / "grid").glob("seed*"))


@pytest.fixture
def cluster(here, monkeypatch):
    """This machine, by submitit's own executor."""

    def executor(sweep, settings: SlurmConfig, share):
        local = submitit.LocalExecutor(sweep.logs / sweep_slurm.FOLDER)
        local.update_parameters(timeout_min=2)
        return local

    monkeypatch.setattr(sweep_slurm, "executor_of", executor)
    monkeypatch.setattr(sweep_slurm, "LOOKS_EVERY", 0.1)
    monkeypatch.setattr(analyse_settings, "WHOLE_CORPUS", CorpusConfig(corpus_size=1000))
    # What a job of this machine needs to find the package; a cluster's script says it.
    monkeypatch.setenv("PYTHONPATH", UNDRAWN)
    return here


def test_jobs_of_an_earlier_call_are_not_submitted_again(here, monkeypatch):
    from test_sweep_plan import asked

    from semcom.commands import sweep_state
    from semcom.commands.sweep_plan import sweep_of_flags

    class Job:
        def __init__(self, folder, job_id):
            self.state = {"7_0": "PENDING", "7_1": "FAILED", "7_2": "CANCELLED by 1000"}[job_id]

    sweep = sweep_of_flags(asked("--seed 1 2 3 4 --output-path grid"))
    sweep_state.keep(sweep, jobs={"seed-1": "7_0", "seed-2": "7_1", "seed-3": "7_2"})
    monkeypatch.setattr(submitit, "SlurmJob", Job)
    assert list(sweep_slurm.at_work(sweep, sweep.points)) == ["seed-1"]
    # They would go on in the folder of the sweep that takes this one's place.
    with pytest.raises(SemcomError, match="grid: jobs 7_0 of a sweep before are at work there or wait"):
        sweep_state._set_aside(sweep)
    assert (here / "grid/sweep.json").is_file()


@pytest.mark.processes
def test_a_job_that_is_asked_to_end_is_put_into_the_queue_again_and_goes_on(teacher, cluster, capsys):
    """One run fails; the other gets SIGUSR2 in its second epoch."""
    common = ["--teacher-checkpoint", teacher, *TINY_TRAINING, "--epochs", 12, "--distill-part", "decoder"]
    sent = []
    wait = sweep_slurm.wait

    def interrupting(sweep, jobs, *others):
        job = jobs["student-layers-1"]
        history = Path("grid/student-layers-1/history.csv")
        for _ in range(600):
            if history.exists():
                controller = job._process.pid
                (task,) = Path(f"/proc/{controller}/task/{controller}/children").read_text().split()
                os.kill(int(task), signal.SIGUSR2)
                sent.append(task)
                break
            time.sleep(0.05)
        return wait(sweep, jobs, *others)

    sweep_slurm.wait = interrupting
    try:
        words = ["--student-layers", 1, 9, "--sentences", 20, "--no-report"]
        assert package("sweep", *words, *COMMON, *common) == 1
    finally:
        sweep_slurm.wait = wait
    said = capsys.readouterr()
    assert sent and "student-layers-9 failed: " in said.out and "1 of 2 runs failed" in said.err
    logs = [path.read_text() for path in Path("grid/logs/slurm").glob("*_log.*")]
    assert any("Requeued job" in text for text in logs) and any("--resume: on from" in text for text in logs)
    assert distil(*common, "--student-layers", 1, "--output-path", "unbroken") == 0
    broken, whole = (
        checkpoint.load(f"{place}/final_student_model.pt").model.state_dict()
        for place in ("grid/student-layers-1", "unbroken")
    )
    assert all(weights.equal(whole[name]) for name, weights in broken.items())
    record = json.loads(Path("grid/student-layers-1/distillation_config.json").read_text())
    assert record["threads"] == 1 and shlex.split(record["command"])[1] == "distillation.py"
