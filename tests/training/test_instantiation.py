from pathlib import Path
from typing import Any

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger, Logger

from makemore.training.instantiation import build_all, instantiate
from tests.helpers import QUIET, Train, refused


def half(at: int, *, steps: int, lr: float) -> float:
    """A schedule of one's own."""
    return lr if at < steps / 2 else 0.0


def test_an_optimizer_of_ones_own_choice_can_be_configured() -> None:
    made = instantiate("optimizer", {"_target_": "torch.optim.RMSprop", "_partial_": True, "alpha": 0.9}, lr=0.1)
    optimizer = made([torch.nn.Parameter(torch.zeros(1))])
    assert isinstance(optimizer, torch.optim.RMSprop)
    assert (optimizer.defaults["alpha"], optimizer.defaults["lr"]) == (0.9, 0.1)


def test_a_schedule_of_ones_own_can_be_configured() -> None:
    node = {"_target_": f"{__name__}.half", "_partial_": True, "lr": 0.3}
    schedule = instantiate("schedule", node, steps=4)
    assert [schedule(at) for at in range(4)] == [0.3, 0.3, 0.0, 0.0]


@pytest.mark.parametrize("target", ["nowhere.Thing", "torch.optim.Nothing", "", "lightning"])
def test_an_unknown_target_is_refused_by_its_key(target: str) -> None:
    with refused("callbacks.mine", target):
        instantiate("callbacks.mine", {"_target_": target})


def test_keys_that_a_target_does_not_take_are_refused_by_its_key() -> None:
    with refused("callbacks.mine", "EarlyStopping", "typo"):
        instantiate("callbacks.mine", {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "typo": 1})
    with refused("schedule", "half"):
        instantiate("schedule", {"_target_": f"{__name__}.half", "_partial_": False})


def test_null_leaves_one_out_and_a_logger_writes_into_the_runs_folder(tmp_path: Path) -> None:
    nodes: dict[str, Any] = {
        "none": None,
        "csv": {"_target_": "lightning.pytorch.loggers.CSVLogger", "save_dir": None, "name": "", "version": ""},
    }
    (logger,) = build_all("logger", nodes, tmp_path, Logger)
    assert isinstance(logger, CSVLogger)
    assert Path(logger.log_dir) == tmp_path
    early = {"_target_": "lightning.pytorch.callbacks.EarlyStopping", "monitor": "x"}
    (callback,) = build_all("callbacks", {"early": early}, tmp_path, L.Callback)
    assert isinstance(callback, EarlyStopping)


def test_a_target_of_another_kind_is_refused(tmp_path: Path) -> None:
    with refused("callbacks.x._target_=builtins.dict", "Callback"):
        build_all("callbacks", {"x": {"_target_": "builtins.dict"}}, tmp_path, L.Callback)


def test_a_run_takes_optimizer_schedule_logger_and_callback_from_anywhere(train: Train, few_names: Path) -> None:
    run = train(
        *("data=text", f"data.path={few_names}", "steps=40", "eval_every=10", *QUIET),
        *("optimizer._target_=torch.optim.RMSprop", "~optimizer.nesterov"),
        *(f"schedule._target_={__name__}.half", "~schedule.drop_at", "~schedule.factor"),
        "+logger.csv={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: null, name: '', version: ''}",
        # The dev loss does not fall any more once the rate is 0.
        "+callbacks.early={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: dev_loss, patience: 1}",
    )
    assert run.metrics["steps"] <= 40
    assert "loss/dev" in (run.folder / "metrics.csv").read_text()


def test_an_optimizer_that_does_not_take_its_keys_is_refused(train: Train, few_names: Path) -> None:
    with refused("optimizer", "nesterov"):
        train("data=text", f"data.path={few_names}", "optimizer._target_=torch.optim.RMSprop", *QUIET)


def test_early_stopping_ends_a_run_that_no_longer_improves_and_says_so(
    train: Train, few_names: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    settings = ("data=text", f"data.path={few_names}", "steps=400", "eval_every=10", "logger=none")
    run = train(*settings, "schedule=constant", "schedule.lr=1e-9", "callbacks=early_stopping")
    assert run.metrics["steps"] < 400 and run.metrics["status"] == "finished"
    assert f"{run.metrics['steps']} of 400 steps" in caplog.text
    assert train(*settings, "callbacks=early_stopping").metrics["steps"] > run.metrics["steps"]


def test_a_misspelt_monitor_is_refused(train: Train, few_names: Path) -> None:
    early = "+callbacks.early={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: dev_los}"
    with refused("callbacks", "dev_los`", "dev_loss`"):
        train("data=text", f"data.path={few_names}", "steps=4", early, *QUIET)
