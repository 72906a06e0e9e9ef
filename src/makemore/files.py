"""Files of a run, and how to write them so that they are either the old one or the new one, whatever happens."""

import contextlib
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# In a run's folder: its configuration, its results, and the state from which it can continue.
CONFIG, METRICS, STATE = "config.yaml", "metrics.json", "last.ckpt"
EVENTS = "events.out.tfevents.*"  # TensorBoard's


def shorten(path: Path) -> Path:
    """A path relative to the current folder if it lies in it, otherwise as it is."""
    with contextlib.suppress(OSError, ValueError):
        return path.relative_to(Path.cwd())
    return path


@contextlib.contextmanager
def replace(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; when the block ends without an error, that file takes its place.

    A rename within a folder is atomic on every file system, and a file that is synced first is never empty after it.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield beside
        with beside.open("rb+") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def read_metrics(run: Path) -> dict[str, Any] | None:
    """What a run's `metrics.json` holds; None without one, or with a damaged one."""
    try:
        return dict(json.loads((run / METRICS).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def to_json(values: Any) -> str:
    """Values as JSON, indented; null stands for what is not finite, which JSON cannot represent."""

    def only_finite(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: only_finite(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [only_finite(each) for each in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    return json.dumps(only_finite(values), indent=2)


def write_text(path: Path, text: str) -> None:
    """Writes a whole UTF-8 file."""
    with replace(path) as beside:
        beside.write_text(text, encoding="utf-8")
