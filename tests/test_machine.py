import os

import pytest

from makemore import machine


def test_cores_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert machine.cores() == 7


@pytest.mark.parametrize(("asked", "threads"), [("2", 2), ("16", 4), ("", 4), ("0", 4), ("4,2", 4)])
def test_threads_are_one_for_each_core_or_fewer(monkeypatch: pytest.MonkeyPatch, asked: str, threads: int) -> None:
    monkeypatch.setattr(machine, "cores", lambda: 4)
    monkeypatch.setenv(machine.THREADS, asked)
    assert machine.most_threads() == threads


def test_how_threads_wait_is_the_environments_to_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machine.TURNS, "")
    monkeypatch.delenv(machine.TURNS)
    monkeypatch.setenv(machine.WAITING, "active")
    machine.let_threads_sleep()
    assert machine.TURNS not in os.environ
    monkeypatch.delenv(machine.WAITING)
    machine.let_threads_sleep()
    assert int(os.environ[machine.TURNS]) > 0
