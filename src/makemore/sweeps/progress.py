"""One line for a whole sweep: how many runs have ended, and the best dev loss so far."""

import contextlib
import math
import sys
from collections.abc import Iterator
from typing import Any

from tqdm import tqdm

LINE = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
# Letters of a run's name; the bar must have room, too.
LONGEST_NAME = 50


class Progress:
    """The progress line of one sweep."""

    def __init__(self) -> None:
        self._best = (math.inf, "")
        self._without = 0
        self._bar: tqdm[Any] | None = None

    @contextlib.contextmanager
    def show(self, total: int) -> Iterator[None]:
        """Shows the line until so many runs have ended, which a search starts a few at a time."""
        if self._bar is None:
            interval = 0.1 if sys.stderr.isatty() else 10
            self._bar = tqdm(total=total, bar_format=LINE, dynamic_ncols=True, mininterval=interval)
        try:
            yield
        except BaseException:
            self.close()
            raise
        if self._bar.n >= total:
            self._bar.close()
            self._bar = None

    def close(self) -> None:
        """Ends the line, if there is one."""
        if self._bar is not None:
            self._bar.close()

    def refresh(self) -> None:
        """Shows the time that has passed."""
        if self._bar is not None and sys.stderr.isatty():
            self._bar.refresh()

    def count(self, run: str, loss: float) -> None:
        """Counts a run that has ended, with its name and its best dev loss, infinite if it has none."""
        assert self._bar is not None
        self._best = min(self._best, (loss, run))
        self._without += not math.isfinite(loss)
        text = f"sweep {self._bar.n + 1}/{self._bar.total} runs"
        if math.isfinite(self._best[0]):
            text += f", best dev {self._best[0]:.4f} ({self._best[1][:LONGEST_NAME]})"
        if self._without:
            text += f", {self._without} without a loss"
        self._bar.set_description_str(text, refresh=False)
        self._bar.update()
