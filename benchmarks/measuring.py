"""What the benchmarks share: timing, the machine's name for a table's foot, and where results are kept."""

import json
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def machine() -> str:
    """Processor architecture, Python and PyTorch: what a ratio may depend on."""
    return f"{platform.machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}"


def keep(name: str, rows: Any) -> None:
    """Writes `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": rows}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def shown(data: list[str]) -> str:
    """The data as it stands in a command, without the path to its file."""
    return (
        " ".join(argument.split("=")[0] + "=" + Path(argument.split("=")[1]).name for argument in data) or "data=names"
    )
