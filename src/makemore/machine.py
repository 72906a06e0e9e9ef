"""What this machine lends to a process."""

import os

# How many threads a process may use: read by numerical libraries, and set by Ray for each of its runs.
THREADS = "OMP_NUM_THREADS"
# How a thread waits for the others: what the standard knows, `active` or `passive`, and how many turns GNU's spins.
WAITING, TURNS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_threads() -> int:
    """Threads that this process may use: one for each core, or fewer if OMP_NUM_THREADS says so."""
    asked = os.environ.get(THREADS, "")
    return min(cores(), int(asked)) if asked.isdecimal() and int(asked) > 0 else cores()


def let_threads_sleep() -> None:
    """Makes a thread that waits for others sleep soon, unless the environment says how. Call it before importing torch.

    By default GNU's OpenMP spins for milliseconds, perhaps on the very core that the other thread needs. With another
    program on one of two cores, a step on two threads took 27 ms, and it takes 13 ms with this; without, 4.5 and 3.2.
    """
    if WAITING not in os.environ:
        os.environ.setdefault(TURNS, "1000")  # what it takes itself where there are more threads than cores
