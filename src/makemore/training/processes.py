"""Calls in forked processes, a few at a time.

A fork has the libraries and the data that this process has loaded. It ends with its call, so that no call sees what
another left behind, and one that is killed takes no other down.
"""

import contextlib
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from multiprocessing.connection import Connection, wait
from typing import IO, Any

from makemore.config.status import Status
from makemore.errors import Terminated, UserError

# Characters kept of what a killed process had printed.
LAST_WORDS = 2000
# Seconds between two calls of `waiting`, and the longest until a Ctrl-C is noticed.
POLL_SECONDS = 1.0
STOPPING = "\nstopping: what is running still evaluates and saves; Ctrl-C again stops at once"

# A process that makes a call: which call, the process, and what it prints.
Child = tuple[int, Any, IO[bytes]]


def run_all(
    calls: Sequence[Callable[[], Any]],
    workers: int,
    waiting: Callable[[], None] = lambda: None,
    shown: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Generator[tuple[int, Any, str | None]]:
    """Makes the calls, some at a time; a first Ctrl-C or SIGTERM interrupts those that run, a second kills them.

    What they print is lost, except for the call with the number `shown`, and what they return must be picklable.
    `waiting` is called about once a second. Once `stop` is true those that run are interrupted, as by a first Ctrl-C,
    and no more are started. Leaving the iteration kills those that still run.

    Yields:
        a call's number, its return value, and the reason if it failed: `Status.interrupted`, or a text.

    Raises:
        KeyboardInterrupt: after Ctrl-C, when all processes have ended; `Terminated` after SIGTERM.
    """
    left, running, interrupts, passed_on = list(range(len(calls))), dict[Any, Child](), list[int](), False
    signals = (signal.SIGINT, signal.SIGTERM)
    previous = {each: signal.signal(each, lambda number, _: interrupts.append(number)) for each in signals}
    try:
        # `stop` counts as a first Ctrl-C.
        while len(interrupts) + stop() < 2 and (running or (left and not (interrupts or stop()))):
            while left and len(running) < workers and not (interrupts or stop()):
                number = left.pop(0)
                result, child = _start(calls[number], number, interrupts, shown=number == shown)
                running[result] = child
            ended = wait(list(running), timeout=POLL_SECONDS)
            waiting()
            if (interrupts or stop()) and not passed_on and running:
                passed_on = True
                print(STOPPING, file=sys.stderr)
                for _, process, _ in running.values():
                    os.kill(process.pid, signal.SIGINT)
            for result in ended:
                yield _read_outcome(result, *running.pop(result))
    finally:
        for _, process, _ in running.values():
            process.kill()
            process.join()
        for each, handler in previous.items():
            signal.signal(each, handler)
    if interrupts:
        raise Terminated if interrupts[0] == signal.SIGTERM else KeyboardInterrupt


def _start(call: Callable[[], Any], number: int, interrupts: list[int], *, shown: bool) -> tuple[Any, Child]:
    # Not the system's default, which from Python 3.14 on, and on macOS, loads everything again.
    context = multiprocessing.get_context("fork")
    output = tempfile.TemporaryFile()  # noqa: SIM115 (closed when the process has ended)
    result, sender = context.Pipe(duplex=False)
    into = None if shown else output.fileno()
    process = context.Process(target=_call_in_child, args=(call, sender, into, interrupts))
    process.start()
    sender.close()  # so that the result ends with the process
    return result, (number, process, output)


def _call_in_child(call: Callable[[], Any], sender: Connection, output: int | None, interrupts: list[int]) -> None:
    os.setpgid(0, 0)  # a terminal's Ctrl-C goes to the parent alone, which passes it on
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    if output is not None:
        for descriptor in (1, 2):
            os.dup2(output, descriptor)
    try:
        if interrupts:  # since the fork
            raise KeyboardInterrupt
        sender.send((call(), None))
    except KeyboardInterrupt:
        sender.send((None, Status.interrupted))
    except UserError as error:
        sender.send((None, str(error)))
    except BaseException as error:
        sender.send((None, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _read_outcome(result: Any, number: int, process: Any, output: IO[bytes]) -> tuple[int, Any, str | None]:
    with result, output:
        # A process that was killed has sent nothing, or half of it.
        with contextlib.suppress(EOFError, OSError):
            value, error = result.recv()
            process.join()
            return number, value, error
        process.join()
        output.seek(0)
        lines = output.read().decode(errors="replace").splitlines()
    words = "\n".join(line for line in lines if line.strip())[-LAST_WORDS:]
    code = process.exitcode
    how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    memory = "; the machine may be out of memory" if code == -signal.SIGKILL else ""
    return number, None, f"the process {how}{memory}\n{words}".strip()
