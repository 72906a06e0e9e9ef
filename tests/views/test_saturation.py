import logging
from pathlib import Path

import pytest
import torch

from makemore.views import saturation, style
from tests.views.observe import TRAIN, Counts, Network, Observed


def test_saturation_is_counted_as_by_hand(tmp_path: Path) -> None:
    h = torch.tensor([[0.5, -0.99, 0.98], [0.96, 0.99, 0.0], [-0.9701, -1.0, 1.0]])
    model = Network()
    vars(model)["activations"] = lambda contexts: {"h": h[: len(contexts)]}
    observed = Observed(tmp_path, model, saturation.Saturation())
    observed.call("on_train_start")
    assert observed.charts["saturation/share"] == pytest.approx({0: 6 / 9})
    assert observed.charts["saturation/dead_units"] == {0: 1}


def test_units_forced_into_saturation_are_found_dead(tmp_path: Path) -> None:
    model, view = Network(), saturation.Saturation()
    model.layers[0][1].bias.data[3] = 50.0  # type: ignore[index]
    Observed(tmp_path, model, view).call("on_train_start")
    (h,) = view._activations[0].values()
    assert saturation.find_saturated(h).all(0).tolist() == [False, False, False, True, False]
    axes = saturation.draw({"now": {"h": h}}).axes[0]
    assert "1 of 5 units dead" in axes.get_title()
    assert list(axes.lines[0].get_xdata()) == [3]  # type: ignore[arg-type]


def test_the_examples_are_spread_over_the_split(tmp_path: Path) -> None:
    view = saturation.Saturation()
    Observed(tmp_path, Network(), view).call("on_train_start")
    assert torch.equal(view._contexts, TRAIN.gather(torch.arange(len(TRAIN)))[0])


def test_each_layer_has_its_chart_and_its_rows(tmp_path: Path) -> None:
    observed = Observed(tmp_path, Network(layers=3), saturation.Saturation()).train()
    assert observed.files == {"saturation.png"}
    assert observed.events.Tags()["histograms"] == [f"saturation/layer {number}/activations" for number in range(3)]
    shares = {tag for tag in observed.charts if tag.endswith("share")}
    assert shares == {f"saturation/layer {i}/share" for i in range(3)}
    layers = {f"layer {i}": torch.rand(20, 4 + i) for i in range(3)}
    figure = saturation.draw({"before training": layers, "after 9 steps": layers})
    assert [len(axes.images) for axes in figure.axes] == [1, 1, 0, 0] * 3


def test_a_signal_that_fades_shows_in_the_sizes() -> None:
    signs = torch.ones(20, 4).index_fill(1, torch.tensor([0, 3]), -1)
    layers = {f"layer {i}": 0.1**i * signs for i in range(3)}
    titles = [axes.get_title() for axes in saturation.draw({"before training": layers}).axes[::2]]
    assert [title.rpartition(" ")[2] for title in titles] == ["1", "0.1", "0.01"]


def test_activations_that_are_not_numbers_are_skipped(tmp_path: Path) -> None:
    model, view = Network(), saturation.Saturation()
    observed = Observed(tmp_path, model, view)
    observed.call("on_train_start")
    observed.run.steps_taken = 40
    model.C.data[:] = torch.nan
    observed.call("on_validation_end")
    observed.call("on_train_end")
    assert list(view._activations) == [0]
    assert observed.files == {"saturation.png"}


def test_a_model_without_tanh_layers_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="makemore"):
        observed = Observed(tmp_path, Counts(), saturation.Saturation()).fit()
    assert observed.files == set()
    assert len(caplog.records) == 1


@pytest.mark.parametrize("units", [1, 5, 1000, 3000])
@pytest.mark.parametrize("examples", [1, 200])
def test_layers_of_any_size_can_be_drawn(units: int, examples: int, tmp_path: Path) -> None:
    h = 1.4 * torch.rand(examples, units, generator=torch.Generator().manual_seed(0))
    figure = saturation.draw({"before training": {"h": h}, "after 9 steps": {"h": h - 1}})
    style.save(figure, tmp_path / "saturation.png")
    image, histogram = figure.axes[0].images[0], figure.axes[2]
    assert image.get_array().shape == (examples, units)  # type: ignore[union-attr]
    assert sum(bar.get_height() for bar in histogram.patches) >= units  # type: ignore[attr-defined]
