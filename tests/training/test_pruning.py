from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from makemore.training import run as training
from tests.helpers import Script, check, composed, refused

optuna = pytest.importorskip("optuna", reason="the extra 'optuna' is not installed")
HIDDEN = optuna.distributions.IntUniformDistribution(1, 99)


def train(folder: Path, few_names: Path, storage: str, *overrides: str) -> Any:
    """A run of a search by Optuna, as Hydra starts it."""
    (folder / ".hydra").mkdir(parents=True)
    recorded = {"sweeper": {"study_name": "s", "storage": storage}, "overrides": {"task": list(overrides)}}
    OmegaConf.save(OmegaConf.create({"hydra": recorded}), folder / ".hydra" / "hydra.yaml")
    pruned = ("callbacks=prune", "callbacks.prune.trials=3", "callbacks.prune.share=0.2", "logger=none")
    short = ("steps=100", "eval_every=10", "trainer.progress_bar=false")
    return training.run(check(composed("data=text", f"data.path={few_names}", *short, *pruned, *overrides)), folder)


def test_a_trial_worse_than_the_others_ends_early_and_a_better_one_does_not(tmp_path: Path, few_names: Path) -> None:
    storage = f"sqlite:///{tmp_path}/study.db"
    study = optuna.create_study(study_name="s", storage=storage)
    steps = {}
    for others, hidden in ((0.1, 5), (99.0, 6)):
        for _ in range(4):
            trial = study.ask({"model.hidden": HIDDEN})
            for step in range(10, 100, 10):
                trial.report(others, step)
            study.tell(trial, others)
        study.enqueue_trial({"model.hidden": hidden})
        study.ask({"model.hidden": HIDDEN})
        steps[hidden] = train(tmp_path / str(hidden), few_names, storage, f"model.hidden={hidden}")["steps"]
    # Not judged in the first fifth. After all eight the median is between the two.
    assert steps == {5: 20, 6: 100}
    last = optuna.load_study(study_name="s", storage=storage).get_trials()[-1]
    assert list(last.intermediate_values) == list(range(10, 100, 10))
    # A run that is no trial trains on.
    assert train(tmp_path / "7", few_names, storage, "model.hidden=7")["steps"] == 100


def test_a_study_that_is_not_there_is_refused(tmp_path: Path, few_names: Path) -> None:
    storage = f"sqlite:///{tmp_path}/nowhere/study.db"
    with refused("hydra.sweeper.storage", storage):
        train(tmp_path, few_names, storage)


def test_the_trials_of_a_search_leave_their_dev_losses(script: Script, tmp_path: Path) -> None:
    short = ("steps=20", "logger=none", "data.block_size=2", "data.overfit=100", "hydra.sweeper.n_trials=2")
    done = script("train.py", "-m", "sweep=optuna", "callbacks=prune", *short)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("study.db")
    trials = optuna.load_study(study_name="makemore", storage=f"sqlite:///{path}").get_trials()
    assert [list(trial.intermediate_values) for trial in trials] == [list(range(1, 20))] * 2
    assert "HYDRA" not in done.stdout and "study" not in done.stderr
