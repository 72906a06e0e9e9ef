import json
import math
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from makemore.config import check as config
from makemore.errors import UserError
from makemore.sweeps import sweep
from tests.helpers import ROOT, composed

CONF = ROOT / "conf"


def leave(folder: Path, nodes: DictConfig, **metrics: Any) -> None:
    """What a run leaves that has come to its end."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text(config.replayable(nodes))
    (folder / "metrics.json").write_text(json.dumps({"status": "finished", "best_dev_loss": 2.0} | metrics))


def begin(sweep_folder: Path, number: int, *overrides: str) -> Path:
    """What Hydra leaves of a run before it begins."""
    run = sweep_folder / f"{number}_{','.join(overrides)}"
    (run / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(list(overrides)), run / ".hydra" / "overrides.yaml")
    return run


def fails(error: Exception) -> float:
    raise error


def test_a_run_that_ended_with_the_same_configuration_is_not_run_again(tmp_path: Path) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, nodes)
    assert sweep.member(tmp_path, nodes, lambda: fails(AssertionError())) == 2.0
    leave(tmp_path, nodes, status="diverged", best_dev_loss=None)
    assert sweep.member(tmp_path, nodes, lambda: fails(AssertionError())) == math.inf


@pytest.mark.parametrize(
    "metrics",
    [
        {"best_dev_loss": "low"},
        {"train_loss": "low"},
        {"status": "splendid"},
        {"status": ["finished"]},
        {"parameters": True},
    ],
)
def test_results_that_no_run_writes_are_none(tmp_path: Path, metrics: dict[str, Any]) -> None:
    nodes = composed()
    leave(tmp_path, nodes)
    assert sweep.read_metrics(tmp_path) is not None
    leave(tmp_path, nodes, **metrics)
    assert sweep.read_metrics(tmp_path) is None


@pytest.mark.parametrize("status", ["interrupted", "other configuration", "no configuration", "half a file", "error"])
def test_any_other_run_is_run_again_and_what_it_left_is_kept(tmp_path: Path, status: str) -> None:
    nodes = composed("model.hidden=5")
    leave(tmp_path, composed("model.hidden=6") if status == "other configuration" else nodes)
    if status == "interrupted":
        leave(tmp_path, nodes, status="interrupted")
    elif status == "no configuration":
        (tmp_path / "config.yaml").unlink()
    elif status == "half a file":
        (tmp_path / "metrics.json").write_text('{"status": "fini')
    elif status == "error":
        (tmp_path / "metrics.json").unlink()
        (tmp_path / "error.txt").write_text("no memory\n")
    (tmp_path / "last.ckpt").write_text("precious")
    (tmp_path / "events.out.tfevents.1").write_text("of TensorBoard")
    (tmp_path / ".hydra").mkdir()
    for attempt in (1, 2):
        if attempt == 2:
            (tmp_path / "last.ckpt").write_text("precious too")
        assert sweep.member(tmp_path, nodes, lambda: 1.5) == 1.5
    assert (tmp_path / "earlier-1" / "last.ckpt").read_text() == "precious"
    assert (tmp_path / "earlier-2" / "last.ckpt").read_text() == "precious too"
    assert {path.name for path in tmp_path.iterdir()} == {".hydra", "earlier-1", "earlier-2"}
    assert not [path for path in tmp_path.rglob("*") if "tfevents" in path.name]  # what TensorBoard looks for
    assert (tmp_path / "earlier-1" / "events.out.tf-events.1").read_text() == "of TensorBoard"


def test_a_run_that_fails_leaves_its_error_and_is_the_worst(tmp_path: Path) -> None:
    nodes = composed()
    assert sweep.member(tmp_path, nodes, lambda: fails(UserError("steps=0 is out of range"))) == math.inf
    assert (tmp_path / "error.txt").read_text() == "steps=0 is out of range\n"
    assert sweep.member(tmp_path, nodes, lambda: fails(ZeroDivisionError("a fault"))) == math.inf
    text = (tmp_path / "error.txt").read_text()
    assert text.startswith("ZeroDivisionError: a fault\n")
    assert "Traceback" in text and "test_sweep.py" in text
    with pytest.raises(KeyboardInterrupt):
        sweep.member(tmp_path, nodes, lambda: fails(KeyboardInterrupt()))  # type: ignore[arg-type]


def test_runs_keep_the_folders_that_they_have_had_and_new_ones_get_free_numbers(tmp_path: Path) -> None:
    jobs = [["model.hidden=5"], ["model.hidden=7"], ["seed=2", "model.hidden=9"], ["eval_every=${steps}"]]

    def names(first: int, taken: list[int]) -> list[str]:
        return [
            sweep.run_name(first, taken, _root_=OmegaConf.create({"hydra": hydra(number, job), "steps": 3}))
            for number, job in enumerate(jobs)
        ]

    def hydra(number: int, job: list[str]) -> dict[str, Any]:
        named = {"num": number, "override_dirname": "a/b"}
        return {"job": named, "overrides": {"task": job}, "sweep": {"dir": str(tmp_path)}}

    assert names(0, []) == ["0_a_b", "1_a_b", "2_a_b", "3_a_b"]
    begin(tmp_path, 0, "model.hidden=7")
    begin(tmp_path, 1, "model.hidden=9", "seed=2")
    begin(tmp_path, 5, "eval_every=${steps}")
    # Those that have come since the command began are not looked at.
    assert names(0, []) == ["0_a_b", "1_a_b", "2_a_b", "3_a_b"]
    assert names(6, [0, 1, 5]) == ["6_a_b", "0_model.hidden=7", "1_model.hidden=9,seed=2", "5_eval_every=${steps}"]


def test_runs_are_named_for_what_tells_them_apart() -> None:
    assert sweep.constant_keys(["model.hidden=5,7", "steps=9", "optimizer=adamw", "seed=range(1,3)"]) == [
        "steps",
        "optimizer",
    ]
    assert sweep.constant_keys(["steps=9"]) == []
    runs = [["seed=1", "steps=9"], ["seed=2", "steps=9"]]
    assert sweep.constant_keys(["seed=2", "steps=9", "model.hidden=5,7"], runs) == ["steps"]
    assert sweep.constant_keys(["sweep=optuna", "steps=9"]) == ["sweep", "steps"]


def save_command(
    folder: Path,
    *task: str,
    sweeper: str = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper",
    main: str = str(CONF),
) -> None:
    hydra = ["hydra.sweep.dir=x", "hydra.mode=MULTIRUN", "hydra/launcher=basic"]
    sources = [{"path": "/a b", "provider": "command-line"}, {"path": main, "provider": "main"}]
    node = {
        "overrides": {"hydra": hydra, "task": list(task)},
        "sweeper": {"_target_": sweeper},
        "runtime": {"config_sources": sources},
        "job": {"config_name": "config"},
    }
    OmegaConf.save(OmegaConf.create({"hydra": node}), folder / "multirun.yaml")


def test_the_command_and_the_runs_that_it_asks_for_are_read_from_the_folder(tmp_path: Path) -> None:
    save_command(tmp_path, "model.hidden=5,7", "seed=range(1,3)", "steps=9")
    flags, typed = sweep.command(tmp_path, CONF)
    assert flags == ["--config-dir", "/a b", "--config-name", "config"]
    assert typed == ["hydra/launcher=basic", "model.hidden=5,7", "seed=range(1,3)", "steps=9"]
    assert sweep.size(OmegaConf.load(tmp_path / "multirun.yaml").hydra) == 4
    assert sweep.planned(tmp_path) == [
        [f"model.hidden={hidden}", f"seed={seed}", "steps=9"] for hidden in (5, 7) for seed in (1, 2)
    ]
    other = tmp_path / "conf"
    other.mkdir()
    save_command(tmp_path, "seed=1,2", main=str(other))
    assert sweep.command(tmp_path, CONF)[0][-2:] == ["--config-path", str(other)]
    save_command(tmp_path, "seed=1,2,1", "eval_every=${steps}")
    assert sweep.command(tmp_path, CONF)[1][1:] == ["seed=1,2,1", "eval_every=${steps}"]
    assert [job[0] for job in sweep.planned(tmp_path)] == ["seed=1", "seed=2"]
    save_command(tmp_path, "sweep=optuna", sweeper="hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper")
    assert sweep.planned(tmp_path) == []
    with pytest.raises(UserError, match="is not a sweep's folder"):
        sweep.command(tmp_path / "elsewhere", CONF)
    (tmp_path / "multirun.yaml").write_text("- [")
    with pytest.raises(UserError, match="is not a sweep's folder"):
        sweep.command(tmp_path, CONF)


def test_a_run_comes_home_whole_and_overwrites_nothing(tmp_path: Path) -> None:
    away, home = tmp_path / "away", tmp_path / "home"
    run = begin(away, 3, "model.hidden=5")
    leave(run, composed("model.hidden=5"))
    (run / "best.ckpt").write_bytes(bytes(range(256)))
    packed = sweep.pack(run)
    sweep.unpack(packed, home)
    files = {path.relative_to(away): path.read_bytes() for path in away.rglob("*") if path.is_file()}
    assert {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()} == files
    (home / run.name / "best.ckpt").write_text("mine")
    sweep.unpack(packed, home)
    assert (home / run.name / "best.ckpt").read_text() == "mine"
