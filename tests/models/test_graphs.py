from typing import Any

import pytest
import torch

from makemore.models.mlp import cuda_graph as graphs
from makemore.models.mlp import formulas as mlp
from tests.helpers import random_case, seeded
from tests.models.test_numba_steps import zeros_like


@pytest.mark.parametrize("steps", [1, 7, graphs.LENGTH, graphs.LENGTH + 1, 2 * graphs.LENGTH + 30])
def test_recorded_steps_are_the_steps_taken_one_by_one_and_none_is_taken_for_nothing(
    monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    """Without a GPU: the recording is replaced by the function itself."""
    step = mlp.loss_and_gradients
    drawn, _, _ = random_case(9, 3, 2, 7, 5)
    recorded, single = (mlp.Parameters(*(q.detach().clone() for q in drawn)) for _ in range(2))
    contexts = torch.randint(9, (steps, 5, 3), generator=seeded(2))
    targets = torch.randint(9, (steps, 5), generator=seeded(3))
    rates = torch.linspace(0.1, 0.01, steps, dtype=torch.float64).tolist()
    descent = graphs.Descent(recorded, zeros_like(recorded), contexts, capture=lambda function: function)
    taken = 0

    def counted(*arguments: Any) -> torch.Tensor:
        nonlocal taken
        taken += 1
        return step(*arguments)

    monkeypatch.setattr(mlp, "loss_and_gradients", counted)
    losses = descent.descend(contexts, targets, rates)
    assert taken == steps
    gradients, expected = zeros_like(single), []
    for k, rate in enumerate(rates):
        expected.append(mlp.loss_and_gradients(single, contexts[k], targets[k], gradients).item())
        for parameter, gradient in zip(single, gradients, strict=True):
            parameter.sub_(gradient * rate)
    assert losses.tolist() == expected
    for a, b in zip(recorded, single, strict=True):
        assert torch.equal(a, b)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that PyTorch can use on this machine")
def test_a_recording_on_a_gpu_trains_as_the_processor_does() -> None:
    drawn, _, _ = random_case(27, 3, 10, 200, 32)
    contexts = torch.randint(27, (250, 32, 3), generator=seeded(2))
    targets = torch.randint(27, (250, 32), generator=seeded(3))
    losses = []
    for device in ("cpu", "cuda"):
        p = mlp.Parameters(*(q.detach().clone().to(device) for q in drawn))
        capture = graphs.cuda_graph if device == "cuda" else (lambda function: function)
        descent = graphs.Descent(p, zeros_like(p), contexts.to(device), capture=capture)
        losses.append(descent.descend(contexts.to(device), targets.to(device), [0.1] * 250).cpu())
    torch.testing.assert_close(*losses, atol=1e-8, rtol=0)
