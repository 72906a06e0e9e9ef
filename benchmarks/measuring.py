"""What the benchmarks share: timing, the machine's name for a table's foot, and where results are kept."""

import argparse
import contextlib
import json
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from makemore.files import METRICS

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def seconds(work: Callable[[], Any]) -> float:
    """Wall seconds of one call."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def run(*command: str) -> tuple[float, str]:
    """Runs Python on a command: seconds of the process, and what it printed. Ends this process if it fails."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=False)
    whole = time.perf_counter() - started
    if done.returncode != 0:
        why = done.stderr.strip() or f"exit code {done.returncode}"
        raise SystemExit(f"{' '.join(command)} failed: {why.splitlines()[-1]}")
    return whole, done.stdout


def train(arguments: list[str], folder: Path) -> tuple[float, dict[str, Any]]:
    """Runs train.py into a folder: seconds of the process, and the metrics."""
    whole, _ = run(str(ROOT / "train.py"), f"hydra.run.dir={folder}", *arguments)
    return whole, json.loads((folder / METRICS).read_text())


def machine() -> str:
    """Processor architecture, Python and PyTorch: what a ratio may depend on."""
    return f"{platform.machine()}, Python {platform.python_version()}, PyTorch {torch.__version__}"


def keep(name: str, rows: Any) -> None:
    """Writes `results/NAME.json`."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "rows": rows}, indent=2)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def kept(name: str, **settings: str) -> Any:
    """What `results/NAME.json` has; nothing but the settings if it is not there, or its rows are of other settings."""
    path = RESULTS / f"{name}.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"] if path.exists() else {}
    return rows if all(rows.get(key) == value for key, value in settings.items()) else settings


def insert(path: Path, begin: str, table: str, end: str) -> None:
    """Puts a table between its marks in a Markdown file."""
    before, rest = path.read_text(encoding="utf-8").split(begin)
    after = rest.split(end)[1]
    path.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


def table_arguments(description: str, systems: Iterable[str], settings: str) -> argparse.ArgumentParser:
    """What the commands take that train systems and make a table of them: `settings` after --, for every train.py."""
    systems = list(systems)
    arguments = argparse.ArgumentParser(description=description)
    arguments.add_argument("--systems", nargs="+", choices=systems, default=systems, help="all if left out")
    arguments.add_argument("--table", action="store_true", help="write the table from the kept results")
    arguments.add_argument("--runs", help="keep the runs in this folder, and train none again that has finished there")
    arguments.add_argument("settings", nargs="*", help=settings)
    return arguments


def collect(
    name: str,
    parser: argparse.ArgumentParser,
    options: argparse.Namespace,
    measure: Callable[[Path, Any], None],
    **settings: str,
) -> Any:
    """The rows of `results/NAME.json`, to which `measure(runs, rows)` adds unless only the table is wanted."""
    rows = kept(name)
    if options.table:
        if not rows:
            parser.error("there are no results yet; leave out --table")
        return rows
    rows = kept(name, **settings)
    with runs_folder(options.runs) as folder:
        measure(Path(folder).resolve(), rows)
    return rows


def runs_folder(given: str | None) -> contextlib.AbstractContextManager[str]:
    """The folder that is given, or a temporary one."""
    return contextlib.nullcontext(given) if given else tempfile.TemporaryDirectory()


def shown(data: list[str]) -> str:
    """The data as it stands in a command, without the path to its file."""
    parts = (argument.partition("=") for argument in data)
    return " ".join(key + equals + Path(value).name for key, equals, value in parts) or "data=names"
