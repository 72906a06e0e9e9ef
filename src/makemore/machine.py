"""What this machine lends to a process."""

import os

# How many threads a process may use: read by numerical libraries, and set by Ray for each of its runs.
THREADS = "OMP_NUM_THREADS"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_threads() -> int:
    """Threads that this process may use: one for each core, or fewer if OMP_NUM_THREADS says so."""
    asked = os.environ.get(THREADS, "")
    return min(cores(), int(asked)) if asked.isdecimal() and int(asked) > 0 else cores()
