from typing import Any

import pytest

from makemore.config import check as config
from makemore.config.schema import Accelerator, Gradients
from makemore.errors import UserError
from makemore.training import execution
from makemore.training import run as training
from makemore.training.execution import Execution
from tests.helpers import composed


def chosen(*overrides: str) -> Execution:
    checked = config.checked(composed(*overrides))
    return execution.choose(checked, training.prepare(checked))


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_gpu", lambda: False)


def test_the_lectures_network_runs_compiled_on_one_thread_a_thousand_steps_at_a_time() -> None:
    assert chosen() == Execution(Accelerator.cpu, 1, Gradients.compiled, 1000)


def test_a_large_network_takes_few_steps_at_a_time_and_uses_the_threads_it_is_given() -> None:
    size = ("model.hidden=3200", "data.batch_size=4096")
    assert chosen(*size) == Execution(Accelerator.cpu, 1, Gradients.compiled, 1)
    assert chosen(*size, "trainer.threads=8") == Execution(Accelerator.cpu, 8, Gradients.closed_form, 1)


@pytest.mark.parametrize(
    ("override", "attribute", "value"),
    [
        ("trainer.threads=2", "threads", 2),
        ("steps_per_execution=7", "steps_per_execution", 7),
        ("model.gradients=autograd", "gradients", Gradients.autograd),
        ("model.gradients=closed_form", "gradients", Gradients.closed_form),
    ],
)
def test_what_the_configuration_says_is_taken(override: str, attribute: str, value: Any) -> None:
    assert getattr(chosen(override), attribute) == value


def test_a_gpu_takes_large_networks_only_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "has_gpu", lambda: True)
    assert chosen().accelerator is Accelerator.cpu
    assert chosen("model.hidden=3200", "data.batch_size=512").accelerator is Accelerator.gpu
    assert chosen("model.hidden=3200", "data.batch_size=512", "trainer=cpu").accelerator is Accelerator.cpu
    asked_for = chosen("trainer=gpu")
    assert (asked_for.accelerator, asked_for.gradients) == (Accelerator.gpu, Gradients.closed_form)


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="trainer=gpu: PyTorch finds no CUDA GPU"):
        chosen("trainer=gpu")
    monkeypatch.setattr(execution, "has_gpu", lambda: True)
    with pytest.raises(UserError, match=r"model\.gradients=compiled is for the CPU"):
        chosen("trainer=gpu", "model.gradients=compiled")


def test_what_takes_longer_is_expected_to() -> None:
    rising = (
        ("model=ngram",),
        ("steps=2000", "model.hidden=100"),
        ("steps=20000", "model.hidden=100"),
        ("steps=20000", "model.hidden=300"),
        ("steps=20000", "model.hidden=300", "data.block_size=8"),
        ("steps=20000", "model.hidden=300", "data.block_size=8", "data.batch_size=64"),
        ("steps=20000", "model.hidden=300", "data.block_size=8", "data.batch_size=null"),
    )
    expected = [execution.expected_work(composed(*overrides)) for overrides in rising]
    assert expected == sorted(set(expected))


def test_what_was_chosen_is_said_in_words() -> None:
    assert str(chosen()) == "CPU, 1 thread, compiled steps, 1,000 steps in a call"
    assert str(chosen("trainer.threads=2", "model.gradients=autograd", "steps_per_execution=1")) == (
        "CPU, 2 threads, gradients by autograd, 1 step in a call"
    )
