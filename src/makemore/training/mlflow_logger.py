"""MLflow's logger on a file for all runs, several of which may begin at the same time."""

import contextlib
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.loggers import MLFlowLogger

FILE = "sqlite:///"


def make_logger(tracking_uri: str, **settings: Any) -> MLFlowLogger:
    """Lightning's logger, whose run has begun. The first one makes tables and experiment, while others wait."""
    with contextlib.ExitStack() as waiting:
        if tracking_uri.startswith(FILE):
            path = Path(tracking_uri.removeprefix(FILE))
            path.parent.mkdir(parents=True, exist_ok=True)
            waiting.enter_context(FileLock(f"{path}.lock"))
        logger = MLFlowLogger(tracking_uri=tracking_uri, **settings)
        logger.experiment  # noqa: B018 (made when it is asked for)
        return logger
