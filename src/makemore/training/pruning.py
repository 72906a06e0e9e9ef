"""Ends hopeless trials of a search by Optuna early, by what its study knows of the others.

Hydra's sweeper hands a run its settings but not its trial, and hears of a run only at its end
(https://github.com/facebookresearch/hydra/issues/1954). Both are in the study's storage: the run finds its trial there
by its settings, and leaves its dev losses. What the sweeper then hears is the best of them.
"""

import logging
import math
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import optuna
from omegaconf import OmegaConf
from optuna.pruners import MedianPruner

from makemore.errors import UserError

log = logging.getLogger(__name__)


class Prune(L.Callback):
    """Ends a run whose best dev loss so far is above the median of the other trials after as many steps.

    Args:
        trials: how many must have ended before.
        share: of a run's steps before which it is not judged.
    """

    def __init__(self, trials: int, share: float) -> None:
        self.trials, self.share = trials, share
        self._trial: Any = None  # Optuna's, if this run is one

    def on_train_start(self, trainer: L.Trainer, pl_module: Any) -> None:
        written = Path(trainer.default_root_dir, ".hydra", "hydra.yaml")
        hydra = OmegaConf.load(written).hydra if written.exists() else OmegaConf.create()
        if OmegaConf.select(hydra, "sweeper.study_name") is not None:
            pruner = MedianPruner(self.trials, n_warmup_steps=int(self.share * pl_module.steps))
            self._trial = find_trial(hydra, pruner)
        if self._trial is None:
            log.info("callbacks.prune: this run is no trial of a search by Optuna, and goes on to its end")

    def on_validation_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        step, loss = pl_module.steps_taken, pl_module.dev_losses[pl_module.steps_taken]
        if self._trial is None or step == pl_module.steps or not math.isfinite(loss):
            return
        self._trial.report(loss, step)
        if self._trial.should_prune():
            trainer.should_stop = True


def find_trial(hydra: Any, pruner: Any) -> Any:
    """The trial of a study that a run is, by what Hydra has recorded of the run; None if there is none.

    Raises UserError if the study cannot be opened, as on another machine.
    """
    storage, overrides = hydra.sweeper.storage, set(hydra.overrides.task)
    try:
        study = optuna.load_study(hydra.sweeper.study_name, storage, pruner=pruner)
    except Exception as error:
        why = str(error).partition("\n")[0]
        raise UserError(f"callbacks.prune: hydra.sweeper.storage={storage} cannot be opened: {why}") from error
    for trial in study.get_trials(states=(optuna.trial.TrialState.RUNNING,)):
        if {f"{key}={value}" for key, value in trial.params.items()} <= overrides:
            return optuna.trial.Trial(study, trial._trial_id)
    return None
