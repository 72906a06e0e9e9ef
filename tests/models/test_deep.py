import copy
import math
from typing import Any

import pytest
import torch

from makemore.data.minibatches import Batch
from makemore.models.base import LanguageModel, observing
from makemore.views import scales
from tests.helpers import build, check, composed, refused, seeded


def lecture(**keys: Any) -> LanguageModel:
    defaults: dict[str, Any] = {"emb_dim": 10, "hidden": 100, "layers": 5, "batch_norm": True, "gain": 5 / 3}
    return build("deep", 27, 3, **(defaults | keys))


@pytest.mark.parametrize(("batch_norm", "parameters"), [(True, 47_024), (False, 46_497)])
def test_the_lectures_networks_have_as_many_parameters(batch_norm: bool, parameters: int) -> None:
    assert lecture(batch_norm=batch_norm).size() == parameters


def sizes(model: LanguageModel) -> list[float]:
    """The standard deviation of each layer's activations."""
    found = model.activations(torch.randint(27, (2000, 3), generator=seeded()))
    return [values.std().item() for values in found.values()]


def test_with_the_lectures_gain_every_layer_has_activations_of_about_the_same_size() -> None:
    """The lecture's plot without batch normalization: 0.76, 0.69, 0.67, 0.66, 0.66."""
    assert sizes(lecture(batch_norm=False)) == pytest.approx([0.76, 0.69, 0.67, 0.66, 0.66], abs=0.03)


def test_without_a_gain_activations_shrink_from_layer_to_layer_unless_they_are_normalized() -> None:
    """The lecture's plots: 0.62, 0.48, 0.41, 0.36, 0.32 with a gain of 1; with batch normalization all are alike."""
    assert sizes(lecture(batch_norm=False, gain=1.0)) == pytest.approx([0.62, 0.48, 0.41, 0.36, 0.32], abs=0.03)
    assert sizes(lecture(gain=0.2)) == pytest.approx([0.63] * 5, abs=0.02)


def test_the_diagnosis_is_of_the_network_that_is_trained() -> None:
    """With batch normalization any gain works, also before it has collected anything; looking collects nothing."""
    model: Any = lecture(gain=0.2)
    contexts, targets = (torch.randint(27, shape, generator=seeded()) for shape in ((200, 3), (200,)))
    before = copy.deepcopy(model.state_dict())
    with observing(model), torch.no_grad():
        seen = [float(h.std()) for h in model.activations(contexts).values()]
    assert seen == pytest.approx([0.63] * 5, abs=0.02)
    _, gradients = scales.compute_gradients(model, Batch(contexts, targets))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(norm.training and norm.track_running_stats for norm in model.layers if hasattr(norm, "running_mean"))
    model.loss_and_gradients(contexts, targets)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad)


def test_before_training_all_characters_are_about_equally_likely() -> None:
    contexts, targets = torch.randint(27, (500, 3), generator=seeded()), torch.randint(27, (500,), generator=seeded(1))
    for batch_norm in (True, False):
        loss = lecture(batch_norm=batch_norm).loss_and_gradients(contexts, targets)
        assert float(loss) == pytest.approx(math.log(27), abs=0.02)


def test_a_minibatch_without_statistics_is_refused() -> None:
    with refused("data.batch_size=1", "model.batch_norm=true"):
        check(composed("model=deep", "data.batch_size=1"))
    check(composed("model=deep", "data.batch_size=1", "model.batch_norm=false"))
