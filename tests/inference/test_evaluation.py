import pytest
import torch
import torch.nn.functional as F

from makemore.data.minibatches import Batch
from makemore.inference.evaluation import mean_loss
from makemore.models import base
from makemore.models.base import LanguageModel
from tests.helpers import build, seeded

CONTEXTS = torch.randint(27, (100, 4), generator=seeded())
TARGETS = torch.randint(27, (100,), generator=seeded(1))


def batches(rows: int) -> list[Batch]:
    parts = [slice(first, first + rows) for first in range(0, len(TARGETS), rows)]
    return [Batch(CONTEXTS[part], TARGETS[part]) for part in parts]


@pytest.fixture
def model() -> LanguageModel:
    """A network with BatchNorm, in train mode."""
    return build("wavenet", 27, 4, emb_dim=3, hidden=8)


def test_a_loss_is_the_mean_over_all_examples_however_they_are_batched(model: LanguageModel) -> None:
    losses = [mean_loss(model, batches(rows)) for rows in (1, 7, 64, 100)]
    expected = F.cross_entropy(model.eval()(CONTEXTS), TARGETS).item()
    assert losses == pytest.approx([expected] * 4, abs=1e-6)


def test_evaluation_leaves_the_model_as_it_is(model: LanguageModel) -> None:
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    mean_loss(model, batches(10))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_evaluation_holds_few_logits_at_a_time_and_its_loss_does_not_depend_on_it(
    model: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = mean_loss(model, batches(100))
    seen: list[int] = []
    model.register_forward_hook(lambda _module, _inputs, logits: seen.append(logits.numel()))
    monkeypatch.setattr(base, "LOGITS_BUDGET", 500)
    assert mean_loss(model, batches(100)) == pytest.approx(at_once, abs=1e-6)
    assert max(seen) <= 500
