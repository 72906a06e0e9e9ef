"""Many calls at once, each in a process of its own that is forked from this one.

A fork has everything that this process has loaded, libraries and data among it, without loading or copying it. It ends
with its call, so that no call sees what another left behind, and one that the system kills takes no other along.
"""

import contextlib
import ctypes
import multiprocessing
import os
import re
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from typing import IO, Any, NamedTuple

# The error of a call that Ctrl-C ended.
INTERRUPTED = "interrupted"
# What is kept of the last words of a process that died.
LAST_WORDS = 2000
# Seconds between two looks at whether there is something to say, while nothing ends.
PATIENCE = 1.0


class Outcome(NamedTuple):
    """How one call ended.

    Attributes:
        call: which call.
        value: what it returned; None if it did not.
        error: why it did not, in words with all that is known; None if it did.
    """

    call: int
    value: Any
    error: str | None


class _Running(NamedTuple):
    call: int
    process: Any  # of the context's own class
    result: Connection
    console: IO[bytes]


def can_fork() -> bool:
    """Whether this system can fork. Windows cannot."""
    return hasattr(os, "fork")


def cores() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# In a process that makes a call: what it shares with its parent, and its place there.
_shared: tuple[Any, int] | None = None


def tell(share: float) -> None:
    """From within a call: lets the parent know how far it is; outside of one nobody is told.

    Args:
        share: of its work, between 0 and 1.
    """
    if _shared is not None:
        shares, call = _shared
        shares[call] = share


def outcomes(
    calls: Sequence[Callable[[], Any]],
    workers: int,
    waiting: Callable[[Sequence[float]], None] = lambda _: None,
) -> Iterator[Outcome]:
    """Makes the calls, at most `workers` at a time, and gives each outcome when it is there.

    What the processes print is not shown: several at once could not be read. Ctrl-C is passed on to all of them, so
    that they end by themselves, and no new one is started; a second Ctrl-C ends them at once.

    Args:
        calls: what to call; what they return must pass through a pipe.
        workers: processes at a time, at least 1.
        waiting: called at least about once a second, with what each call has told that runs.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when all processes have ended.
    """
    # Not the system's default: Python 3.14 and macOS would start afresh, and load everything once more.
    context: Any = multiprocessing.get_context("fork")
    queue, running = list(range(len(calls))), list[_Running]()
    shares = context.RawArray("d", max(1, len(calls)))  # one number for each call, in memory that forks see
    with _interrupts() as interrupts:
        told = False
        try:
            while running or (queue and not interrupts):
                while queue and len(running) < workers and not interrupts:
                    running.append(_start(context, queue[0], calls[queue[0]], shares))
                    queue.pop(0)
                # What a call returns may be more than its pipe holds: then it ends only when that is read.
                ready = wait([at for each in running for at in (each.result, each.process.sentinel)], timeout=PATIENCE)
                if interrupts and not told:
                    told = True
                    print("\nending what runs, early but whole; Ctrl-C again ends it at once", file=sys.stderr)
                    for each in running:
                        os.kill(each.process.pid, signal.SIGINT)
                if len(interrupts) > 1:
                    break
                for each in [each for each in running if {each.result, each.process.sentinel} & set(ready)]:
                    running.remove(each)
                    yield _outcome(each)
                waiting([shares[each.call] for each in running])
        finally:
            for each in running:
                each.process.kill()
            for each in running:
                each.process.join()
        if interrupts:
            raise KeyboardInterrupt


@contextlib.contextmanager
def _interrupts() -> Iterator[list[int]]:
    """Collects Ctrl-C in a list in place of raising it; only a main thread can."""
    seen: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield seen
        return
    previous = signal.signal(signal.SIGINT, lambda number, _: seen.append(number))
    try:
        yield seen
    finally:
        signal.signal(signal.SIGINT, previous)


def _start(context: Any, index: int, call: Callable[[], Any], shares: Any) -> _Running:
    console = tempfile.TemporaryFile()  # noqa: SIM115 (read and closed when the process has ended)
    receiver, sender = context.Pipe(duplex=False)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()  # or the fork would print it once more
    process = context.Process(target=_child, args=(call, sender, console.fileno(), (shares, index)), daemon=True)
    # A Ctrl-C that comes between the fork and the child's own handler must wait for that.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        process.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    sender.close()
    return _Running(index, process, receiver, console)


def _child(call: Callable[[], Any], sender: Connection, console: int, shared: tuple[Any, int]) -> None:
    global _shared  # noqa: PLW0603 (this process makes one call, and ends)
    _shared = shared
    # Of the terminal's Ctrl-C only the parent is to hear, which passes it on.
    os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    _end_with_parent()
    for descriptor in (1, 2):
        os.dup2(console, descriptor)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        sender.send((call(), None))
    except KeyboardInterrupt:
        sender.send((None, INTERRUPTED))
    except BaseException:
        sender.send((None, traceback.format_exc()))


def _end_with_parent() -> None:
    """Has the system end this process when its parent is killed; only Linux does."""
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG of prctl(2)
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _outcome(each: _Running) -> Outcome:
    with each.result, each.console:
        said = None
        # A process that was killed sent nothing, or half of it.
        with contextlib.suppress(EOFError, OSError):
            said = each.result.recv()
        each.process.join()
        if said is not None:
            return Outcome(each.call, *said)
        each.console.seek(0)
        words = as_shown(each.console.read().decode(errors="replace"))[-LAST_WORDS:]
        code = each.process.exitcode
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        memory = "; the machine may be out of memory" if code == -9 else ""
        return Outcome(each.call, None, f"the process was {how}{memory}\n{words}".strip())


def as_shown(written: str) -> str:
    """What a terminal would show of it in the end: of lines that were written over each other the last."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written).replace("\r\n", "\n")
    lines = (line.rstrip("\r").rpartition("\r")[2].rstrip() for line in plain.split("\n"))
    return "\n".join(line for line in lines if line)
