"""The cores, threads and memory settings of this process."""

import ctypes
import os

# How many threads a process may use: read by numerical libraries, and set by Ray for each of its runs.
THREADS = "OMP_NUM_THREADS"
# How a thread waits for the others: OpenMP's policy, active or passive, and how many turns GNU's OpenMP spins.
WAITING, TURNS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"

# The parameters of mallopt(3): what is returned to the system beyond this many free bytes, and mapped on its own.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


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
    program on one of two cores, a step on two threads takes 13 ms instead of 27; on idle cores, 3.2 instead of 4.5.
    """
    if WAITING not in os.environ:
        os.environ.setdefault(TURNS, "1000")  # what it takes itself where there are more threads than cores


def reuse_freed_memory() -> None:
    """Lets this process keep the memory that it frees, where its C library is GNU's.

    By default a tensor of 18 MB, as the logits of a minibatch of words are, is new memory every time, which the system
    clears page by page: that took a third of a step.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        mallopt(MMAP_THRESHOLD, 2**25)  # the most that it takes
        mallopt(TRIM_THRESHOLD, 2**31 - 1)
