import itertools
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from makemore import machine
from makemore.config.schema import Accelerator, TrainConfig
from makemore.data.minibatches import CHUNK_BUDGET
from makemore.models import registry
from makemore.training import execution
from makemore.training.execution import Execution
from tests.helpers import check, composed, refused


def chosen(*overrides: str, single_steps: bool = False) -> Execution:
    config = check(composed(*overrides))
    model = registry.build(config.model, 27, config.data.block_size)
    return execution.choose(config, model, config.data.batch_size or 1000, single_steps)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


def test_the_lectures_network_runs_compiled_on_one_thread_thousands_of_steps_at_a_time() -> None:
    lecture = chosen()
    assert lecture == Execution(Accelerator.cpu, 1, "compiled steps", lecture.steps_per_execution)
    assert 1000 < lecture.steps_per_execution <= execution.MOST_STEPS_AT_ONCE


@pytest.mark.parametrize(
    "override",
    ["optimizer.momentum=0.9", "optimizer=adamw", "model.dropout=0.1", "gradient_clip=1", "distillation=0.5"],
)
def test_fewer_steps_share_a_call_where_something_is_done_between_them(override: str) -> None:
    assert chosen(override).steps_per_execution <= execution.MOST_STEPS


def test_a_large_network_takes_few_steps_at_a_time_and_uses_the_threads_it_is_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    size = ("model.hidden=3200", "data.batch_size=8192")
    monkeypatch.setattr(machine, "most_threads", lambda: 4)
    assert chosen(*size) == Execution(Accelerator.cpu, 4, "compiled steps", 1)
    assert chosen(*size, "trainer.threads=8") == Execution(Accelerator.cpu, 8, "compiled steps", 1)


@given(st.integers(1, 10**13), st.integers(1, 64))
def test_threads_are_as_many_as_have_enough_to_do(operations: int, most: int) -> None:
    threads = execution.choose_threads(operations, most)
    assert 1 <= threads <= most
    assert threads == 1 or operations / threads >= execution.PER_THREAD
    assert threads == most or operations / (threads + 1) < execution.PER_THREAD


@pytest.mark.parametrize(
    ("overrides", "form"), [((), "compiled steps"), (("model.direct=true",), "gradients in closed form")]
)
def test_steps_are_compiled_unless_the_input_is_connected_to_the_output(
    overrides: tuple[str, ...], form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "most_threads", lambda: 2)
    config = check(composed("model.emb_dim=60", "data.batch_size=256", "data.block_size=5", *overrides))
    for vocabulary in (27, 18_000):
        words = registry.build(config.model, vocabulary, 5)
        assert execution.choose(config, words, 256).form == form


def test_with_many_threads_large_vocabularies_are_for_pytorchs_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "most_threads", lambda: 8)
    config = check(composed("model.emb_dim=60", "data.batch_size=256", "data.block_size=5"))
    forms = [execution.choose(config, registry.build(config.model, size, 5), 256).form for size in (27, 18_000)]
    assert forms == ["compiled steps", "gradients in closed form"]


def test_bfloat16_is_refused_where_the_processor_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_bfloat16", lambda **_: False)
    with refused("trainer.precision=bf16", "float32"):
        chosen("trainer.precision=bf16")
    assert chosen("trainer.precision=float32").form == "compiled steps"


def test_bfloat16_is_for_pytorchs_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_bfloat16", lambda **_: True)
    assert chosen("trainer.precision=bf16").form == "gradients in closed form with bfloat16 products"
    assert chosen("trainer.precision=bf16", "model=wavenet").form == "gradients by autograd with bfloat16 products"
    with refused("trainer.precision=bf16", "model.gradients=compiled"):
        chosen("trainer.precision=bf16", "model.gradients=compiled")


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("trainer.threads=2", "threads", 2),
        ("steps_per_execution=7", "steps_per_execution", 7),
        ("model.gradients=autograd", "form", "gradients by autograd"),
        ("model.gradients=closed_form", "form", "gradients in closed form"),
    ],
)
def test_what_the_configuration_says_is_taken(override: str, attribute: str, value: Any) -> None:
    assert getattr(chosen(override), attribute) == value


def test_who_looks_at_single_steps_gets_them_unless_the_configuration_says_otherwise() -> None:
    assert chosen(single_steps=True).steps_per_execution == 1
    assert chosen("steps_per_execution=7", single_steps=True).steps_per_execution == 7


def test_a_call_holds_no_more_contexts_than_its_budget() -> None:
    taken = chosen("model=bigram", "data.batch_size=100000", "steps_per_execution=1000").steps_per_execution
    assert CHUNK_BUDGET / 2 < taken * 100_000 <= CHUNK_BUDGET


def test_a_gpu_takes_large_networks_only_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    large = ("model.hidden=3200", "data.batch_size=512")
    assert chosen().accelerator is Accelerator.cpu
    assert chosen(*large).accelerator is Accelerator.gpu
    assert chosen(*large, "trainer=cpu").accelerator is Accelerator.cpu
    assert chosen(*large, "model.gradients=compiled").accelerator is Accelerator.cpu
    assert chosen("model=wavenet", "data.batch_size=512").accelerator is Accelerator.gpu
    asked_for = chosen("trainer=gpu")
    assert (asked_for.accelerator, asked_for.form) == (Accelerator.gpu, "gradients in closed form")


def test_a_gpu_that_cannot_be_used_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with refused("trainer=gpu"):
        chosen("trainer=gpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with refused("model.gradients=compiled", "trainer=gpu"):
        chosen("trainer=gpu", "model.gradients=compiled")
    with refused("model=ngram", "trainer=gpu"):
        chosen("trainer=gpu", "model=ngram")


def test_an_apple_gpu_is_used_where_there_is_one_and_only_if_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with refused("trainer=mps"):
        chosen("trainer=mps")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert chosen("trainer=mps").accelerator is Accelerator.mps
    assert chosen("model.hidden=3200", "data.batch_size=512").accelerator is Accelerator.cpu
    for mistake in ("trainer.precision=bf16", "trainer.processes=2", "model.gradients=compiled", "model=ngram"):
        with refused(mistake.partition("=")[0]):
            chosen("trainer=mps", mistake)


def test_longer_runs_are_estimated_to_take_longer() -> None:
    rising = (
        ("model=ngram",),
        ("steps=2000", "model.hidden=100"),
        ("steps=20000", "model.hidden=100"),
        ("steps=20000", "model.hidden=300"),
        ("steps=20000", "model.hidden=300", "data.block_size=8"),
        ("steps=20000", "model.hidden=300", "data.block_size=8", "data.batch_size=64"),
        ("steps=20000", "model=wavenet", "data.batch_size=64"),
        ("steps=20000", "model.hidden=300", "data.block_size=8", "data.batch_size=null"),
    )
    expected = [execution.estimate_work(check(composed(*overrides))) for overrides in rising]
    assert expected == sorted(set(expected))


@pytest.mark.parametrize("size", ["model.hidden=1000000000", "data.block_size=1000000"])
def test_work_is_estimated_without_the_memory_that_a_run_needs(size: str) -> None:
    assert execution.estimate_work(check(composed(size))) > execution.estimate_work(check(composed()))


def test_what_was_chosen_is_said_in_words() -> None:
    for part in ("CPU", "1 thread", "compiled", "3,654 steps", "2.2 million operations"):
        assert part in str(chosen())
    for part in ("2 threads", "autograd", "1 step "):
        assert part in str(chosen("trainer.threads=2", "model.gradients=autograd", "steps_per_execution=1"))


@pytest.mark.parametrize(
    ("operations", "words"),
    [
        (7, "7"),
        (2_188_800, "2.2 million"),
        (10_400_000, "10 million"),
        (99_600_000, "100 million"),
        (3_400_000_000, "3.4 billion"),
    ],
)
def test_numbers_of_operations_in_words(operations: int, words: str) -> None:
    assert execution.in_words(operations) == words


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 40), st.floats(0, 1, exclude_max=True))
def test_calls_take_every_step_and_none_reaches_over_an_evaluation(
    steps: int, eval_every: int, most: int, done: float
) -> None:
    start = int(done * steps)
    config = TrainConfig(model=SimpleNamespace(fitted=False), steps=steps, eval_every=eval_every)
    calls = execution.plan_calls(config, most, start)
    counts = list(calls)
    assert len(calls) == len(counts)
    assert sum(counts) == steps - start
    assert max(counts) <= most
    ends = list(itertools.accumulate(counts, initial=start))[1:]
    # Evaluations fall between Lightning's batches, the same number of them apart.
    due = [at for at in range(eval_every, steps + 1, eval_every) if at > start]
    assert set(due) <= set(ends)
    before = calls.before + 1
    assert [ends.index(at) + before for at in due] == [calls.per_evaluation * i for i in range(1, len(due) + 1)]


@pytest.mark.parametrize(
    ("overrides", "counts", "per_evaluation"),
    [
        (("steps=1000",), [50] * 20, 1),
        (("steps=5",), [1] * 5, 1),
        (("steps=1000", "eval_every=300"), [100] * 10, 3),
        (("model=ngram",), [1], 100),
    ],
)
def test_a_run_is_evaluated_twenty_times_unless_it_says_how_often(
    overrides: tuple[str, ...], counts: list[int], per_evaluation: int
) -> None:
    calls = execution.plan_calls(check(composed(*overrides)), 100)
    assert (list(calls), calls.per_evaluation) == (counts, per_evaluation)
