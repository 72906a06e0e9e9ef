"""The loggers of conf/logger/ but TensorBoard's: what a run leaves with each, without a network."""

import csv
import shutil
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from lightning.pytorch.loggers import Logger

from makemore.training import instantiation
from makemore.training import run as training
from makemore.training.mlflow_logger import make_logger
from tests.helpers import Train, check, composed, refused

SHORT = ("steps=40", "eval_every=20", "model.hidden=5", "callbacks=none", "tags=[first,try]")


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_csv_has_the_points_and_a_resumed_run_goes_on_in_a_file_of_its_own(train: Train, few_names: Path) -> None:
    settings = ("data=text", f"data.path={few_names}", "logger=csv", *SHORT)
    run = train(*settings)
    first, second = (run.folder / "csv" / f"version_{number}" for number in (0, 1))
    losses = {row["step"]: row["loss/dev"] for row in read(first / "metrics.csv") if row["loss/dev"]}
    assert losses.keys() == {"20", "40"}
    assert float(losses["40"]) == pytest.approx(run.metrics["dev_loss"])
    assert "tags: first, try" in (first / "hparams.yaml").read_text()
    # As if it had been killed after the evaluation in the middle.
    shorter = train(*settings, "steps=20")
    shutil.copy(shorter.folder / "last.ckpt", run.folder / "last.ckpt")
    before = (first / "metrics.csv").read_bytes()
    train(*settings, resume=run.folder)
    assert (first / "metrics.csv").read_bytes() == before
    assert (second / "hparams.yaml").exists()


def test_wandb_keeps_points_tags_and_figures_of_each_run_offline(train: Train, few_names: Path) -> None:
    pytest.importorskip("wandb", reason="the extra 'wandb' is not installed")
    for _ in range(2):  # in one process
        run = train("data=text", f"data.path={few_names}", "logger=wandb", *SHORT, "callbacks=loss")
        (written,) = (run.folder / "wandb").glob("offline-run-*/run-*.wandb")
        text = written.read_bytes()
        assert all(each in text for each in (b"loss/dev", b"loss/train_split", b"first", run.folder.name.encode()))
        assert list(written.parent.rglob("*.png"))


def test_mlflow_has_all_runs_in_one_file(train: Train, few_names: Path, tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    from mlflow import MlflowClient

    store = f"sqlite:///{tmp_path}/mlflow.db"
    settings = ("data=text", f"data.path={few_names}", "logger=mlflow", f"logger.mlflow.tracking_uri={store}", *SHORT)
    runs = [train(*settings, f"seed={seed}") for seed in (1, 2)]
    client = MlflowClient(store)
    experiment = client.get_experiment_by_name("makemore")
    assert experiment is not None
    found = {each.info.run_name: each.data for each in client.search_runs([experiment.experiment_id])}
    assert found.keys() == {run.folder.name for run in runs}
    for run in runs:
        kept = found[run.folder.name]
        assert kept.metrics["loss/dev"] == pytest.approx(run.metrics["dev_loss"])
        assert (kept.params["hidden"], kept.params["tags"]) == ("5", "first, try")


def test_runs_that_begin_at_the_same_time_share_mlflows_file(tmp_path: Path) -> None:
    pytest.importorskip("mlflow", reason="the extra 'mlflow' is not installed")
    store = f"sqlite:///{tmp_path}/new/mlflow.db"

    def begin(name: str) -> tuple[str | None, str | None]:
        logger = make_logger(store, experiment_name="makemore", run_name=name)
        return logger.experiment_id, logger.run_id

    with ThreadPoolExecutor() as pool:
        experiments, runs = zip(*pool.map(begin, "abc"), strict=True)
    assert len(set(experiments)) == 1 and len(set(runs)) == 3


def needs_a_package() -> None:
    raise ModuleNotFoundError("Requirement 'wandb>=0.12.10' not met")  # as Lightning says it


def test_a_logger_whose_extra_is_missing_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instantiation, "list_extras", lambda: ["wandb", "optuna"])
    with refused("logger.wandb", "pip install", ".[wandb]"):
        instantiation.build_all("logger", {"wandb": {"_target_": f"{__name__}.needs_a_package"}}, tmp_path, object)
    monkeypatch.setitem(sys.modules, "optuna", None)
    # Another test may have imported it, and then its package still names it.
    monkeypatch.delitem(sys.modules, "makemore.training.pruning", raising=False)
    monkeypatch.delattr("makemore.training.pruning", raising=False)
    with refused("callbacks.prune", ".[optuna]"):
        instantiation.instantiate("callbacks.prune", {"_target_": "makemore.training.pruning.Prune"})


def test_a_logger_that_cannot_begin_is_refused_in_a_sentence(tmp_path: Path, few_names: Path) -> None:
    node = f"+logger.mine={{_target_: {__name__}.Offline}}"
    config = check(composed("data=text", f"data.path={few_names}", "logger=none", node, "trainer.progress_bar=false"))
    with refused("Offline", "log in first"):
        training.run(config, tmp_path)


class Offline(Logger):
    """A logger that needs a login."""

    name = version = ""

    @property
    def experiment(self) -> Any:
        raise RuntimeError("log in first\nor do not")

    def log_hyperparams(self, *_: object) -> None: ...

    def log_metrics(self, *_: object) -> None: ...
