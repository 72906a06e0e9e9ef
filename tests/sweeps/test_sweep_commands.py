"""Sweeps as a user starts them, each a process of its own."""

import csv
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from makemore.cli import main as cli
from makemore.models import model_file
from tests.helpers import QUIET, ROOT, Script, wait_for


def table(folder: Path) -> list[dict[str, str]]:
    (path,) = folder.rglob("sweep.csv")
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def folders(sweep: Path) -> set[str]:
    return {path.name for path in sweep.iterdir() if path.is_dir()}


def kept(sweep: Path) -> dict[Path, int]:
    """The trained models of a sweep, and when they were written."""
    return {path: path.stat().st_mtime_ns for path in sweep.rglob("last.ckpt")}


def test_failing_runs_leave_their_error_the_others_go_on_and_only_those_are_run_again(
    script: Script, tmp_path: Path
) -> None:
    done = script("train.py", "-m", "model.emb_dim=2,3", "model.hidden=0,5", "steps=5", *QUIET)
    assert done.returncode == 1
    assert done.stderr.count("model.hidden=0 leaves") == 2 and done.stderr.count("Traceback") == 0
    rows = table(tmp_path)
    assert [row["status"] for row in rows] == ["finished", "finished", "failed", "failed"]
    assert float(rows[0]["dev"]) <= float(rows[1]["dev"])
    assert {row["model.hidden"] for row in rows[2:]} == {"0"}
    (folder,) = (path.parent for path in tmp_path.rglob("multirun.yaml"))
    assert folders(folder) == {f"emb_dim={emb_dim},hidden={hidden}" for emb_dim in "23" for hidden in "05"}
    (error,) = (folder / "emb_dim=2,hidden=0" / "error.txt").read_text().splitlines()
    assert error.startswith("model.hidden=0 leaves")
    before = kept(folder)
    assert len(before) == 2

    # A command that is refused changes nothing.
    recorded = (folder / "multirun.yaml").read_bytes()
    refused = script("train.py", "-m", f"resume_sweep={folder}", "model.hidden=5,big")
    assert refused.returncode == 1 and refused.stderr.startswith("error: model.hidden=big")
    assert (folder / "multirun.yaml").read_bytes() == recorded

    again = script("train.py", "-m", f"resume_sweep={folder}", "model.hidden=5,7")
    assert again.returncode == 0, again.stderr
    assert sorted((row["model.emb_dim"], row["model.hidden"], row["status"]) for row in table(tmp_path)) == [
        (emb_dim, hidden, "failed" if hidden == "0" else "finished") for emb_dim in "23" for hidden in "057"
    ]
    after = kept(folder)
    assert before.items() <= after.items() and len(after) == 4


def test_a_run_of_a_sweep_is_refused_as_a_single_one_is(script: Script, tmp_path: Path) -> None:
    pieces = ("model=rnn", "model.hidden=5", "distillation=0.5", "data.block_size=3", "steps=5")
    assert "data.block_size=3" in script("train.py", *pieces, *QUIET).stderr
    done = script("train.py", "-m", *pieces, "seed=1,2", *QUIET)
    assert done.returncode == 1
    assert [row["status"] for row in table(tmp_path)] == ["failed", "failed"]
    assert all("data.block_size=3" in row["error"] for row in table(tmp_path))


def test_a_sweep_whose_folder_cannot_be_read_does_not_begin(script: Script, tmp_path: Path) -> None:
    (tmp_path / "s" / "seed=1" / ".hydra" / "overrides.yaml").mkdir(parents=True)  # a folder in place of the file
    (tmp_path / "s" / "multirun.yaml").touch()
    assert script("train.py", "-m", "seed=1,2", "steps=5", "hydra.sweep.dir=s", *QUIET).returncode == 1
    assert folders(tmp_path / "s") == {"seed=1"}


def test_a_sweep_can_stop_at_its_first_failure(script: Script, tmp_path: Path) -> None:
    # The longest runs begin first; of the first two one fails, and the other is interrupted.
    command = ("callbacks=samples", "callbacks.samples.n=0,2", "model.hidden=5,6", "logger=none", "hydra.sweep.dir=s")
    stopping = ("hydra.launcher.stop_at_failure=true", "eval_every=1000")
    done = script("train.py", "-m", *command, *stopping, "steps=1000000000", "hydra.launcher.n_jobs=2")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: n=0,hidden=6 failed")
    statuses = [row["status"] for row in table(tmp_path)]
    assert (statuses.count("failed"), statuses.count("missing"), len(statuses)) == (1, 2, 4)
    assert set(statuses) <= {"failed", "missing", "interrupted", "unfinished"}
    done = script("train.py", "-m", "schedule.lr=1e30,0.01", "steps=20", *stopping, "hydra.sweep.dir=d", *QUIET)
    assert done.returncode == 0, done.stderr


def test_a_run_that_is_refused_begins_first(script: Script, tmp_path: Path) -> None:
    command = ("schedule.lr=0.1,-1", "steps=5", "hydra.launcher.n_jobs=1", "hydra.launcher.stop_at_failure=true")
    assert script("train.py", "-m", *command, *QUIET).returncode == 1
    assert [row["status"] for row in table(tmp_path)] == ["failed", "missing"]


def test_a_glob_stands_for_the_choices_of_a_group(script: Script, tmp_path: Path) -> None:
    command = ("model=glob([*gram,m*],exclude=[mixture])", "data.block_size=1", "steps=5", *QUIET)
    done = script("train.py", "-m", *command, "hydra.sweep.dir=s")
    assert done.returncode == 0, done.stderr
    assert folders(tmp_path / "s") == {"model=bigram", "model=mlp", "model=ngram"}
    assert {row["model"] for row in table(tmp_path)} == {"bigram", "mlp", "ngram"}


def test_a_mistake_that_only_a_run_meets_is_one_sentence_too(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "-m", "steps=5,6", "hydra.job_logging.version=7", *QUIET)
    assert done.returncode == 1 and "Traceback" not in done.stdout + done.stderr
    errors = [path.read_text() for path in tmp_path.rglob("error.txt")]
    assert len(errors) == 2 and all(error.count("\n") == 1 and "hydra.job_logging" in error for error in errors)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, cli.INTERRUPTED), (signal.SIGTERM, cli.TERMINATED)])
def test_a_signal_ends_a_sweep_with_a_report_and_it_can_be_resumed(
    script: Script, tmp_path: Path, number: signal.Signals, code: int
) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "-m", "steps=7,1000000000", "eval_every=1000", *QUIET]
    command += ["hydra.launcher.n_jobs=1", "hydra.sweep.dir=s"]  # the long run is the first
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: list(tmp_path.rglob("best.safetensors")))
    os.killpg(process.pid, number)  # as a terminal does
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == code
    assert "resume_sweep=s" in printed
    assert "Traceback" not in errors
    assert [row["status"] for row in table(tmp_path)] == ["interrupted", "missing"]
    left = {path.name for path in (tmp_path / "s" / "steps=1000000000").iterdir()}
    assert {"metrics.json", "best.safetensors", "last.ckpt"} <= left
    again = script("train.py", "-m", "resume_sweep=s", "steps=7")
    assert again.returncode == 0, again.stderr
    assert [(row["steps"], row["status"]) for row in table(tmp_path)] == [
        ("7", "finished"),
        ("1000000000", "interrupted"),
    ]


@pytest.mark.parametrize("launcher", ["local", "basic"])
def test_the_same_command_in_the_same_folder_resumes_a_sweep(script: Script, tmp_path: Path, launcher: str) -> None:
    typed = (f"hydra/launcher={launcher}", "hydra.sweep.dir=s", "model.hidden=${model.emb_dim}", "seed=1", *QUIET)
    assert script("train.py", "-m", "model.emb_dim=0,5,6,5", "steps=5", *typed).returncode == 1
    before = kept(tmp_path)
    assert folders(tmp_path / "s") == {f"emb_dim={n}" for n in (0, 5, 6)}
    # A run that has a folder keeps it, though the seed varies now.
    again = script("train.py", "-m", "model.emb_dim=5,7,0", "steps=5", *typed[:-3], "seed=1,2", *QUIET)
    assert again.returncode == 1
    assert "2 of 6 runs" in again.stderr and "model.emb_dim=0 is" in again.stderr
    after = kept(tmp_path)
    assert len(before) == 2 and before.items() <= after.items() and len(after) == 5
    names = {"emb_dim=5", "emb_dim=6", "emb_dim=7,seed=1"}
    assert names | {f"emb_dim={n},seed=2" for n in (5, 7)} == {path.parent.name for path in after}
    trained = {row["model.emb_dim"]: row["parameters"] for row in table(tmp_path)}
    # C (27, n), W1 (3 n, n), b1 (n), W2 (n, 27), b2 (27)
    assert trained == {"0": "", **{str(n): str(27 * n + 3 * n * n + n + 27 * n + 27) for n in (5, 6, 7)}}


def test_results_of_another_configuration_are_never_overwritten(script: Script, tmp_path: Path) -> None:
    typed = ("hydra.sweep.dir=s", "model.hidden=5,7", *QUIET)
    assert script("train.py", "-m", "steps=5", *typed).returncode == 0
    before = kept(tmp_path)
    assert script("train.py", "-m", "steps=6", *typed).returncode == 0
    assert before.items() <= kept(tmp_path).items() and len(kept(tmp_path)) == 4
    assert {row["steps"] for row in table(tmp_path)} == {"5", "6"}
    # The same overrides, but not the same configuration.
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "mine.yaml").write_text("defaults: [train, _self_]\neval_every: 2\n")
    mine = ("--config-dir", "conf", "--config-name", "mine")
    assert script("train.py", *mine, "-m", "steps=5", *typed).returncode == 0
    assert sorted(before.values()) == sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("earlier-1/last.ckpt"))
    assert len(kept(tmp_path)) == 6


def test_a_sweep_of_another_configuration_is_resumed_with_that(script: Script, tmp_path: Path) -> None:
    assert script("train.py", "model.hidden=3", "steps=5", "hydra.run.dir=base", *QUIET).returncode == 0
    flags = ("--config-dir", "base", "--config-name", "config")
    assert script("train.py", *flags, "-m", "seed=1,2", "hydra.sweep.dir=s").returncode == 0
    before = kept(tmp_path / "s")
    again = script("train.py", "-m", "resume_sweep=s", "seed=1,2,3")
    assert again.returncode == 0, again.stderr
    after = kept(tmp_path / "s")
    assert before.items() <= after.items() and len(after) == 3
    assert {row["parameters"] for row in table(tmp_path)} == {table(tmp_path)[0]["parameters"]}


def test_a_sweep_of_searches_for_a_learning_rate_lists_their_suggestions(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "-m", "experiment=lr_range", "model.hidden=100,200", "logger=none")
    assert done.returncode == 0, done.stderr
    assert all(re.fullmatch(r"schedule\.lr=0\.\d+", row["suggestion"]) for row in table(tmp_path))
    assert all(row["status"] == "finished" and row["dev"] == "" for row in table(tmp_path))
    assert "sample.py" not in done.stdout and done.stdout.count("schedule.lr=0.") == 2


def test_the_runs_that_will_take_longest_begin_first(script: Script, tmp_path: Path) -> None:
    done = script("train.py", "-m", "model.hidden=3,300,30", "steps=5", "hydra.launcher.n_jobs=1", *QUIET)
    assert done.returncode == 0, done.stderr
    runs = sorted(tmp_path.rglob("hidden=*"), key=lambda run: (run / ".hydra/config.yaml").stat().st_mtime_ns)
    assert [run.name for run in runs] == ["hidden=300", "hidden=30", "hidden=3"]


def test_a_sweep_that_runs_is_left_alone(script: Script, tmp_path: Path) -> None:
    fcntl = pytest.importorskip("fcntl", reason="this system has no such locks")
    assert script("train.py", "-m", "seed=1,2", "steps=5", "hydra.sweep.dir=s", *QUIET).returncode == 0
    with (tmp_path / "s" / ".lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = script("train.py", "-m", "resume_sweep=s", "seed=1,2,3")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and "/s is" in done.stderr and done.stderr.count("\n") == 1


def test_a_run_whose_name_is_too_long_for_a_folder_is_a_run_like_others(script: Script, tmp_path: Path) -> None:
    name = 90 * "ж"  # two bytes each
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / f"{name}.txt").write_text("\n".join(["emma", "ava", "mia"] * 5))
    done = script("train.py", "-m", "data=text", f"data.path='a/{name}.txt','b/{name}.txt'", "steps=5", *QUIET)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in table(tmp_path)] == ["finished"] * 2


def test_a_report_is_made_again_from_the_folder_alone(script: Script, tmp_path: Path) -> None:
    assert script("train.py", "-m", "model.hidden=3,4", "seed=1,2", "steps=5", *QUIET).returncode == 0
    (folder,) = (path.parent for path in tmp_path.rglob("multirun.yaml"))
    moved = folder.rename(tmp_path / "elsewhere")
    reports = [path for path in moved.iterdir() if path.suffix in (".csv", ".png")]
    before = (moved / "sweep.csv").read_text()
    assert len(reports) >= 4
    for path in reports:
        path.unlink()
    command = [sys.executable, "-m", "makemore.sweeps.report", str(moved)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (moved / "sweep.csv").read_text() == before
    assert all(path.exists() for path in reports)


def test_a_run_of_a_sweep_is_the_run_alone(script: Script, tmp_path: Path) -> None:
    settings = ("steps=300", "model.dropout=0.1", "optimizer=adamw", "schedule.lr=0.01", *QUIET)
    assert script("train.py", "-m", "model.hidden=9,11", *settings).returncode == 0
    assert script("train.py", "hydra.run.dir=alone", "model.hidden=9", *settings).returncode == 0
    alone = json.loads((tmp_path / "alone" / "metrics.json").read_text())
    swept = {row["model.hidden"]: row for row in table(tmp_path)}
    assert float(swept["9"]["dev"]) == pytest.approx(alone["best_dev_loss"], abs=1e-6)
    assert float(swept["9"]["train"]) == pytest.approx(alone["train_loss"], abs=1e-6)
    (run,) = tmp_path.rglob("hidden=9")
    weights = [model_file.load(folder).model.state_dict() for folder in (run, tmp_path / "alone")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_run_whose_process_is_killed_has_failed_and_one_that_is_terminated_is_interrupted(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "train.py"), "-m", "steps=1000000000", "seed=1,2", "eval_every=1000"]
    command += ["hydra.launcher.n_jobs=1", *QUIET]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        killed: list[int] = []
        for number in (signal.SIGKILL, signal.SIGTERM):
            killed.append(running_child(process.pid, killed))
            if number == signal.SIGTERM:
                wait_for(lambda: list(tmp_path.rglob("best.safetensors")))
            os.kill(killed[-1], number)
        process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1
    rows = {row["status"]: row["error"] for row in table(tmp_path)}
    assert rows.keys() == {"failed", "interrupted"}
    assert "signal 9" in rows["failed"] and not rows["interrupted"]  # the latter has saved its state


def running_child(parent: int, others: list[int]) -> int:
    """A process that a process has forked, but for those others."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        try:
            children = map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except OSError:
            pytest.skip("this system does not tell of a process's children")
        for child in set(children) - set(others):
            # From Python 3.14 on multiprocessing has a process of its own beside the runs.
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.05)
    raise AssertionError("no process was forked")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("resume_sweep=nowhere", "resume_sweep=nowhere"),
        ("-m resume_sweep=nowhere", "resume_sweep=nowhere"),
        ("-m resume_sweeps=x", "(did you mean resume_sweep?)"),
        ("-m hydra.launcher.n_jobs=0 seed=1,2", "hydra.launcher.n_jobs=0"),
        ("-m hydra.launcher.n_jobs=two seed=1,2", "hydra.launcher.n_jobs=two"),
        ("-m hydra.launcher.n_jobs=true seed=1,2", "hydra.launcher.n_jobs=true"),
        ("-m hydra.launcher.stop_at_failure=3 seed=1,2", "hydra.launcher.stop_at_failure=3"),
        ("-m +hydra.launcher.foo=1 seed=1,2", "hydra.launcher.foo"),
        ("-m hydra.sweep.subdir=x seed=1,2", "hydra.sweep.subdir=x"),
        ("-m model.hiden=1,2", "(did you mean model.hidden?)"),
        ("-m model.hidden=1,big", "model.hidden=big"),
        ("-m hydra/launcher=slurm seed=1,2", "hydra/launcher=slurm"),
        ("-m --cfg job", "--cfg"),
    ],
)
def test_a_mistake_in_a_sweep_gets_one_sentence(script: Script, tmp_path: Path, arguments: str, named: str) -> None:
    done = script("train.py", *arguments.split())
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert named in done.stderr
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize("mistake", ["hydra.sweeper.n_trials=0", "schedule.lr=interval(1,0)"])
def test_a_mistake_in_a_search_gets_one_sentence(script: Script, tmp_path: Path, mistake: str) -> None:
    pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
    done = script("train.py", "-m", "sweep=optuna", mistake)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_search_that_comes_upon_what_cannot_be_reports_on_its_trials(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
    search = ("sweep=optuna", "model.hidden=choice(5,abc)", "hydra.sweeper.n_trials=40", "hydra.sweeper.n_jobs=1")
    done = script("train.py", "-m", *search, "steps=5", "hydra.sweeper.sampler.seed=3", "logger=none")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: model.hidden=abc")
    assert {row["status"] for row in table(tmp_path)} == {"finished"}


def test_a_search_by_optuna_goes_on_and_counts_a_diverged_run_as_the_worst(script: Script, tmp_path: Path) -> None:
    optuna = pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
    short = ("steps=20", "logger=none", "model.hidden=5", "data.block_size=2", "hydra.sweeper.n_trials=3")
    # A rate of 1e30 diverges; one of Optuna's own choice does not.
    done = script("train.py", "-m", "sweep=optuna", *short, "schedule.lr=choice(1e30,0.01)")
    assert done.returncode == 0, done.stderr
    (folder,) = (path.parent for path in tmp_path.rglob("study.db"))

    def trials() -> list[float]:
        study = optuna.load_study(study_name="makemore", storage=f"sqlite:///{folder}/study.db")
        return [trial.value for trial in study.get_trials()]

    assert len(trials()) == len(table(tmp_path)) == 3
    assert {row["status"] for row in table(tmp_path)} <= {"finished", "diverged"}
    assert min(trials()) == pytest.approx(float(table(tmp_path)[0]["dev"]), abs=1e-6)
    again = script("train.py", "-m", f"resume_sweep={folder}", "schedule.lr=choice(1e30,0.01)")
    assert again.returncode == 0, again.stderr
    assert len(trials()) == 6
    diverged = [row for row in table(tmp_path) if row["schedule.lr"] == "1e+30"]
    assert all(row["status"] == "diverged" for row in diverged)
    assert sum(not math.isfinite(value) for value in trials()) == len(diverged)


def test_a_ray_cluster_of_two_workers_runs_a_sweep(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_ray_launcher", reason="the extra 'ray' is not installed")
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the extra 'ray' is not installed")
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        address = f"hydra.launcher.ray.init.address='{cluster.address}'"
        command = ("-m", "hydra/launcher=ray", address, "model.hidden=0,5,6,7", "steps=5", *QUIET)
        done = script("train.py", *command)
    finally:
        cluster.shutdown()
    assert done.returncode == 1, done.stderr
    assert "1 of 4 runs" in done.stderr
    assert [row["status"] for row in table(tmp_path)] == ["finished"] * 3 + ["failed"]
    assert len(list(tmp_path.rglob("best.safetensors"))) == 3


def test_submitit_runs_a_sweep(script: Script, tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra 'slurm' is not installed")
    done = script("train.py", "-m", "hydra/launcher=submitit_local", "model.hidden=5,6", "steps=5", *QUIET)
    assert done.returncode == 0, done.stderr
    assert [row["status"] for row in table(tmp_path)] == ["finished"] * 2
    slurm = script("train.py", "hydra/launcher=submitit_slurm", "--cfg", "hydra", "--package", "hydra.launcher")
    asked = OmegaConf.create(re.sub("#.*", "", slurm.stdout))
    assert (asked.cpus_per_task, asked.timeout_min) == (1, 60)
    if not any((Path(folder) / "srun").exists() for folder in os.environ["PATH"].split(os.pathsep)):
        done = script("train.py", "-m", "hydra/launcher=submitit_slurm", "model.hidden=5,6", "steps=5")
        assert done.returncode == 1
        assert "error: hydra/launcher=submitit_slurm" in done.stderr
