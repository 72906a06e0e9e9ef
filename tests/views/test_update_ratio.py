import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from makemore.errors import UserError
from makemore.views import update_ratio
from makemore.views.update_ratio import UpdateRatio
from tests.views.observe import Counts, Network, Observed


def test_the_ratio_is_that_of_the_step_that_was_taken(tmp_path: Path) -> None:
    model = Network()
    before = {name: each.detach().clone() for name, each in model.named_parameters()}
    charts = Observed(tmp_path, model, UpdateRatio(), steps=1).train(rate=0.1).charts
    for name in ("C", "layers.0.0.weight", "out.bias"):
        parameter = model.get_parameter(name)
        assert parameter.grad is not None
        lecture = math.log10(0.1 * float(parameter.grad.std() / before[name].std()))  # plain SGD: lr * gradient
        assert charts[f"optimizer/update_ratio_log10/{name}"] == pytest.approx({1: lecture}, abs=1e-3)


def test_a_long_run_is_measured_at_two_hundred_steps(tmp_path: Path) -> None:
    observed = Observed(tmp_path, Network(), UpdateRatio(), steps=450).train()
    assert list(observed.charts["optimizer/update_ratio_log10/C"]) == list(range(1, 451, 2))
    assert observed.files == {"update_ratio.png"}


def test_a_step_without_spread_has_no_ratio() -> None:
    weights = torch.tensor([[1.0, 2.0]])
    assert math.isnan(update_ratio.log10_ratio(weights, weights))
    assert math.isnan(update_ratio.log10_ratio(torch.ones(1, 2), weights))
    assert math.isnan(update_ratio.log10_ratio(weights, weights * math.nan))
    # The rounded mean of equal values is not always their value: the gains of the deep network's last BatchNorm.
    assert torch.full((27,), 0.1).std() > 0
    assert math.isnan(update_ratio.log10_ratio(torch.full((27,), 0.1), torch.rand(27)))


def test_single_steps_are_needed() -> None:
    assert UpdateRatio.single_steps
    config: Any = SimpleNamespace(steps_per_execution=50)
    with pytest.raises(UserError, match="steps_per_execution=50"):
        UpdateRatio().check(config)
    for allowed in (None, 1):
        config.steps_per_execution = allowed
        UpdateRatio().check(config)


def test_the_figure_names_each_parameter_and_a_thousandth() -> None:
    axes = update_ratio.draw([1, 5], {"C": [-3.0, math.nan], "W2": [-2.0, -2.5]}).axes[0]
    assert axes.lines[1].get_label() == "W2"
    assert axes.lines[1].get_ydata() == pytest.approx([10**-2, 10**-2.5])
    assert list(axes.lines[2].get_ydata()) == [0.001, 0.001]  # type: ignore[arg-type]


@pytest.mark.parametrize("model", [Counts(), Network()])
def test_a_model_that_is_fitted_is_left_alone(model: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="makemore"):
        assert Observed(tmp_path, model, UpdateRatio()).fit().files == set()
    assert len(caplog.records) == 1
