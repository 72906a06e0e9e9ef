import os
import platform
import subprocess
import sys

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


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only GNU's C library can be told")
def test_memory_that_was_freed_is_used_again_without_new_pages() -> None:
    script = """if True:
        import resource, torch
        from makemore import machine
        from makemore.models.mlp import formulas
        from makemore.models.mlp.config import Init

        machine.reuse_freed_memory()
        p = formulas.initial(2**14, 4, 30, 100, Init.kaiming, torch.Generator().manual_seed(1))
        out = formulas.Parameters(*map(torch.empty_like, p))
        contexts = torch.arange(256 * 4).view(256, 4)
        for _ in range(20):
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            formulas.loss_and_gradients(p, contexts, contexts[:, 0], out)  # logits of 16 MiB, several times
        print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
    """
    faults = int(subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout)
    assert faults < 2**24 // os.sysconf("SC_PAGE_SIZE")  # fewer than the pages of one such tensor
