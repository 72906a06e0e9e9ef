import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from makemore.training import processes

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")

LOADED = {"before": "the fork"}


def squared(number: int) -> int:
    return number * number


def fails() -> None:
    raise ValueError("no such luck")


def dies() -> None:
    os.write(2, b"the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def run_all(calls: Sequence[Callable[[], Any]], workers: int) -> tuple[dict[int, Any], dict[int, str | None]]:
    values, errors = {}, {}
    for number, value, error in processes.run_all(calls, workers):
        assert number not in values
        values[number], errors[number] = value, error
    return values, errors


def test_every_call_has_its_outcome() -> None:
    values, errors = run_all([partial(squared, n) for n in range(7)], workers=3)
    assert values == {n: n * n for n in range(7)}
    assert set(errors.values()) == {None}


def test_a_call_has_what_was_loaded_before_and_leaves_nothing_behind() -> None:
    LOADED["before"] = "changed"
    values, _ = run_all([lambda: LOADED.setdefault("after", LOADED["before"])], workers=1)
    assert values == {0: "changed"}
    assert "after" not in LOADED


def test_a_call_that_fails_or_is_killed_has_an_error_and_the_others_go_on() -> None:
    values, errors = run_all([fails, dies, partial(squared, 3)], workers=1)
    assert "no such luck" in str(errors[0])
    assert "signal 9" in str(errors[1]) and "the last words" in str(errors[1])
    assert (values[2], errors[2]) == (9, None)


def test_no_more_than_the_workers_run_at_a_time(tmp_path: Path) -> None:
    def call() -> int:
        (tmp_path / str(os.getpid())).touch()
        deadline = time.monotonic() + 1  # for a second one to start, on a busy machine; the last may be alone
        while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.05)
        together = len(list(tmp_path.iterdir()))
        (tmp_path / str(os.getpid())).unlink()
        return together

    assert max(run_all([call] * 6, workers=2)[0].values()) == 2


def test_what_a_call_returns_may_be_large() -> None:
    assert run_all([partial(bytes, 10**6)], workers=1)[0] == {0: bytes(10**6)}


SLEEPERS = """
import os, sys, time
from makemore.training import processes
def sleeps():
    try:
        open(sys.argv[1] + "/" + str(os.getpid()), "w")
        time.sleep(60)
    except KeyboardInterrupt:
        if "stubborn" in sys.argv:
            time.sleep(60)
        return "woken"
try:
    for _, value, _ in processes.run_all([sleeps] * 5, workers=2):
        print(value, flush=True)
except KeyboardInterrupt as interruption:
    print(type(interruption).__name__)
"""


def start_sleepers(folder: Path, *arguments: str, held: Sequence[int] = ()) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", SLEEPERS, str(folder), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, pass_fds=held)
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    return process


@pytest.mark.parametrize(("number", "raised"), [(signal.SIGINT, "KeyboardInterrupt"), (signal.SIGTERM, "Terminated")])
@pytest.mark.parametrize("stubborn", [False, True])
def test_a_signal_is_passed_on_once_and_the_second_ends_at_once(
    tmp_path: Path, stubborn: bool, number: signal.Signals, raised: str
) -> None:
    process = start_sleepers(tmp_path, *(["stubborn"] if stubborn else []))
    process.send_signal(number)
    if stubborn:
        assert process.stderr is not None
        while processes.STOPPING.strip() not in process.stderr.readline():
            pass
        process.send_signal(number)
    printed, _ = process.communicate(timeout=30)
    assert printed.split() == ([raised] if stubborn else ["woken", "woken", raised])
    assert len(list(tmp_path.iterdir())) == 2


def test_calls_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process = start_sleepers(tmp_path, held=[writer])
    os.close(writer)
    process.kill()
    process.communicate(timeout=30)
    assert select.select([reader], [], [], 30)[0]  # its end: no process holds the other side any more
    os.close(reader)
