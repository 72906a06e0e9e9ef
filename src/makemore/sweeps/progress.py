"""One line for a whole sweep: how many runs have ended, how far the others are, and the best dev loss so far."""

import contextlib
import math
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

# In a narrow terminal the end is cut off.
LINE = "{desc}: {percentage:3.0f}%|{bar}| [{elapsed}<{remaining}]"


class Progress:
    """The line of one sweep."""

    def __init__(self) -> None:
        self.best = (math.inf, -1)
        self.without = 0
        self._ended = 0
        self._bar: tqdm[Any] | None = None

    @contextlib.contextmanager
    def over(self, total: int) -> Iterator[None]:
        """Shows the line until all runs of the sweep have ended; where nobody watches a terminal, ten seconds apart.

        Args:
            total: runs in the sweep.
        """
        if self._bar is None:
            watched = sys.stderr.isatty()
            self._bar = tqdm(
                total=total,
                desc=f"sweep 0/{total} runs",
                bar_format=LINE,
                dynamic_ncols=True,
                mininterval=0.1 if watched else 10,
            )
        try:
            yield
        except BaseException:
            self._bar.close()
            raise
        if self._ended >= total:
            self._move()
            self._bar.close()

    @property
    def share(self) -> float:
        """Of the sweep's work, by its runs: what is done."""
        assert self._bar is not None
        share: float = self._bar.n / self._bar.total
        return share

    def under_way(self, shares: Sequence[float]) -> None:
        """Shows how far the runs are that have not ended, and how much time has gone by.

        Args:
            shares: of the steps of each, between 0 and 1.
        """
        assert self._bar is not None
        self._move(sum(shares))
        if sys.stderr.isatty():
            self._bar.refresh()

    def ended(self, number: int, loss: float) -> None:
        """Counts a run.

        Args:
            number: the run's.
            loss: its best dev loss; infinite if it has none.
        """
        assert self._bar is not None
        self._ended += 1
        self.best = min(self.best, (loss, number))
        self.without += not math.isfinite(loss)

    def _move(self, more: float = 0.0) -> None:
        assert self._bar is not None
        said = f"sweep {self._ended}/{self._bar.total} runs"
        if math.isfinite(self.best[0]):
            said += f", best dev {self.best[0]:.4f} (run {self.best[1]})"
        if self.without:
            said += f", {self.without} without a loss"
        self._bar.set_description_str(said, refresh=False)
        self._bar.update(self._ended + more - self._bar.n)
