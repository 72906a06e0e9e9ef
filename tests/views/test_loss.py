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


def test_the_curve_shows_every_step_and_dev_in_nats_on_a_logarithmic_axis() -> None:
    axes = loss.draw(torch.tensor([100.0, 10.0, 1.0]), {3: 10.0, 2: math.nan}).axes[0]
    lines = {line.get_label(): np.asarray(line.get_xydata()) for line in axes.lines}
    assert lines["minibatch"] == pytest.approx(np.array([[1, 100], [2, 10], [3, 1]]))
    assert lines["dev"] == pytest.approx(np.array([[3, 10]]))
    assert axes.get_yscale() == "log"
    assert axes.get_xlabel() == "optimizer step"


def test_the_axis_fits_what_follows_the_fall_and_the_title_says_where_it_began() -> None:
    generator = torch.Generator().manual_seed(0)
    losses = 2.1 + 0.1 * torch.rand(20_000, generator=generator)
    losses[:400] = torch.linspace(25, 2.2, 400)
    axes = loss.draw(losses, {10_000: 2.2, 20_000: 2.19}).axes[0]
    low, high = axes.get_ylim()
    assert 2.0 < low < 2.1 and 2.2 < high < 2.3
    assert "at the first step 25" in axes.get_title()
    (band,) = axes.collections
    edges = np.asarray(band.get_paths()[0].vertices)
    settled = np.sort(edges[(edges[:, 0] > 1000) & (edges[:, 0] < 19_000)][:, 1])
    assert [np.median(half) for half in np.split(settled, 2)] == pytest.approx([2.11, 2.19], abs=0.01)


@pytest.mark.parametrize("values", [[math.nan], [math.inf, math.nan], [0.0, 0.0], [5.0], [1e-6] * 300])
def test_losses_that_no_axis_shows_do_no_harm(values: list[float]) -> None:
    loss.draw(torch.tensor(values), {1: math.nan}).draw_without_rendering()


def test_every_step_is_drawn_however_many_are_taken_at_once(tmp_path: Path) -> None:
    view = loss.Loss()
    assert Observed(tmp_path, Network(), view, steps=120).train(at_once=20).files == {"loss.png"}
    assert sum(map(len, view._losses)) == 120


def test_a_fitted_model_has_no_curve(tmp_path: Path) -> None:
    assert Observed(tmp_path, Counts(), loss.Loss()).fit().files == set()
