import math
from pathlib import Path

import numpy as np
import pytest
import torch

from makemore.views import loss
from tests.views.observe import Counts, Network, Observed


def test_averages_are_the_lectures_view_and_mean() -> None:
    values = torch.randn(6000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    middles, means = loss.average(values.numpy(), 1000)
    np.testing.assert_allclose(means, values.view(-1, 1000).mean(1).numpy())
    assert middles.tolist() == [500.5, 1500.5, 2500.5, 3500.5, 4500.5, 5500.5]


def test_the_rest_at_the_end_has_an_average_of_its_own() -> None:
    middles, means = loss.average(np.array([1.0, 3.0, 5.0]), 2)
    assert (middles.tolist(), means.tolist()) == ([1.5, 3.0], [2.0, 5.0])


def test_the_curve_shows_log10_of_every_step_and_of_dev() -> None:
    axes = loss.draw(torch.tensor([100.0, 10.0, 1.0]), {3: 10.0, 2: math.nan}).axes[0]
    lines = {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}
    assert lines["minibatch"] == pytest.approx(np.array([[1, 2], [2, 1], [3, 0]]))
    assert lines["dev"] == pytest.approx(np.array([[3, 1]]))
    assert axes.get_xlabel() == "optimizer step"


def test_every_step_is_drawn_however_many_are_taken_at_once(tmp_path: Path) -> None:
    view = loss.Loss()
    assert Observed(tmp_path, Network(), view, steps=120).train(at_once=20).files == {"loss.png"}
    assert sum(map(len, view._losses)) == 120


def test_a_fitted_model_has_no_curve(tmp_path: Path) -> None:
    assert Observed(tmp_path, Counts(), loss.Loss()).fit().files == set()
