import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import pytest

from makemore.sweeps import pool

pytestmark = pytest.mark.skipif(not pool.can_fork(), reason="this system cannot fork")

LOADED = {"before": "the fork"}


def squared(number: int) -> int:
    return number * number


def fails() -> None:
    raise ValueError("no such luck")


def dies() -> None:
    os.write(2, b"the last words")
    os.kill(os.getpid(), signal.SIGKILL)


def test_every_call_has_its_outcome() -> None:
    outcomes = list(pool.outcomes([partial(squared, n) for n in range(7)], workers=3))
    assert sorted(outcome.call for outcome in outcomes) == list(range(7))
    assert {outcome.call: outcome.value for outcome in outcomes} == {n: n * n for n in range(7)}
    assert all(outcome.error is None for outcome in outcomes)


def test_a_call_has_what_was_loaded_before_and_leaves_nothing_behind() -> None:
    LOADED["before"] = "changed"
    (outcome,) = pool.outcomes([lambda: LOADED.setdefault("after", LOADED["before"])], workers=1)
    assert outcome.value == "changed"
    assert "after" not in LOADED


def test_what_fails_or_is_killed_says_why_and_the_others_go_on() -> None:
    outcomes = {outcome.call: outcome for outcome in pool.outcomes([fails, dies, partial(squared, 3)], workers=1)}
    assert "no such luck" in str(outcomes[0].error)
    assert "killed by signal 9" in str(outcomes[1].error) and "the last words" in str(outcomes[1].error)
    assert outcomes[2].value == 9


def test_no_more_than_the_workers_run_at_a_time(tmp_path: Path) -> None:
    def call() -> int:
        (tmp_path / str(os.getpid())).touch()
        time.sleep(0.05)
        together = len(list(tmp_path.iterdir()))
        (tmp_path / str(os.getpid())).unlink()
        return together

    together = [outcome.value for outcome in pool.outcomes([call] * 6, workers=2)]
    assert max(together) == 2


def test_a_call_tells_how_far_it_is(tmp_path: Path) -> None:
    def call(share: float) -> None:
        pool.tell(share)
        while not (tmp_path / "seen").exists():
            time.sleep(0.01)

    seen: list[list[float]] = []

    def waiting(shares: Sequence[float]) -> None:
        seen.append(sorted(shares))
        if seen[-1] == [0.25, 0.5]:
            (tmp_path / "seen").touch()

    pool.tell(0.9)  # outside of a call nobody hears it
    outcomes = list(pool.outcomes([partial(call, 0.5), partial(call, 0.25)], workers=2, waiting=waiting))
    assert all(outcome.error is None for outcome in outcomes)
    assert [0.25, 0.5] in seen


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert pool.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert pool.cores() == 7


def test_what_a_call_returns_may_be_large() -> None:
    (outcome,) = pool.outcomes([partial(bytes, 10**6)], workers=1)
    assert outcome.value == bytes(10**6)


def test_last_words_are_those_that_a_terminal_would_show() -> None:
    written = "\r\n\rtraining: 0%\rtraining: 9%\r\n\x1b[31mno memory\x1b[0m\n\x1b[A\n"
    assert pool.as_shown(written) == "training: 9%\nno memory"


SLEEPERS = """
import signal, sys, time
from makemore.sweeps import pool
def sleeps():
    try:
        print("asleep", file=open(sys.argv[1] + "/" + str(time.monotonic_ns()), "w"), flush=True)
        time.sleep(60)
    except KeyboardInterrupt:
        if "stubborn" in sys.argv:
            time.sleep(60)
        return "woken"
try:
    for outcome in pool.outcomes([sleeps] * 5, workers=2):
        print(outcome.value, flush=True)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("stubborn", [False, True])
def test_ctrl_c_is_passed_on_once_and_the_second_ends_at_once(tmp_path: Path, stubborn: bool) -> None:
    command = [sys.executable, "-c", SLEEPERS, str(tmp_path), *(["stubborn"] if stubborn else [])]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    if stubborn:
        assert process.stderr is not None
        while "Ctrl-C again" not in process.stderr.readline():
            pass
        process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=30)
    assert printed.split() == (["interrupted"] if stubborn else ["woken", "woken", "interrupted"])
    assert len(list(tmp_path.iterdir())) == 2
