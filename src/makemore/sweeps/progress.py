"""One line for a whole sweep: how many runs have ended, and the best dev loss so far."""

import math
import sys

from tqdm import tqdm

LINE = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"
# Letters of a run's name; the bar must have room, too.
LONGEST_NAME = 50


class Progress(tqdm):  # type: ignore[misc]  # tqdm has no types
    """The progress line of one sweep, which ends with its last run.

    Args:
        total: the sweep's runs.
    """

    def __init__(self, total: int) -> None:
        interval = 0.1 if sys.stderr.isatty() else 10
        super().__init__(total=total, bar_format=LINE, dynamic_ncols=True, mininterval=interval)
        self.best = (math.inf, "")
        self.without = 0

    def tick(self) -> None:
        """Shows the time that has passed."""
        if sys.stderr.isatty():
            self.refresh()

    def count(self, run: str, loss: float) -> None:
        """Counts a run that has ended, with its name and its best dev loss, infinite if it has none."""
        self.best = min(self.best, (loss, run))
        self.without += not math.isfinite(loss)
        text = f"sweep {self.n + 1}/{self.total} runs"
        if math.isfinite(self.best[0]):
            text += f", best dev {self.best[0]:.4f} ({self.best[1][:LONGEST_NAME]})"
            if self.without:
                text += f", {self.without} without a loss"
        self.set_description_str(text, refresh=False)
        self.update()
        if self.n == self.total:
            self.close()
