"""A run's status."""

from enum import StrEnum


class Status(StrEnum):
    """The states of a run, as a sweep's table lists them; a run by itself ends in one of the first three."""

    finished = "finished"
    interrupted = "interrupted"
    diverged = "diverged"
    failed = "failed"
    unfinished = "unfinished"
    missing = "missing"


# Running these again would give the same result.
ENDED = (Status.finished, Status.diverged)
