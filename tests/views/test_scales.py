import logging
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from makemore.data.minibatches import Batch
from makemore.views import scales, update_ratio
from tests.views.observe import TRAIN, Counts, Network, Observed


def test_gradients_are_autograds_without_dropout_and_leave_everything_alone() -> None:
    model = Network()
    model.layers[0].eval()
    state = {name: each.clone() for name, each in model.state_dict().items()}
    modes = [each.training for each in model.modules()]
    batch, chance = Batch(*TRAIN.gather(torch.arange(8))), torch.get_rng_state()
    _, found = scales.compute_gradients(model, batch)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert all(torch.equal(state[name], each) for name, each in model.state_dict().items())
    assert [each.training for each in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), chance)
    model.eval()
    for module in model.modules():
        module.train(isinstance(module, torch.nn.BatchNorm1d))
    F.cross_entropy(model(batch.contexts), batch.targets).backward()  # type: ignore[no-untyped-call]
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None
        torch.testing.assert_close(found[name], parameter.grad)


@pytest.mark.parametrize(("at_once", "looks"), [(1, range(0, 401, 2)), (40, range(0, 401, 40))])
def test_looks_lie_at_least_a_two_hundredth_of_the_run_apart(tmp_path: Path, at_once: int, looks: range) -> None:
    observed = Observed(tmp_path, Network(), scales.Scales(), steps=400).train(at_once)
    charts, first = observed.charts, Network()
    assert observed.files == {"scales.png"}
    assert list(charts["optimizer/gradient_scale/C"]) == list(charts["weights/scale/C"]) == list(looks)
    assert charts["weights/scale/C"][0] == pytest.approx(float(first.C.detach().square().mean().sqrt()))


def test_tensorboard_has_histograms_of_the_start_and_of_every_evaluation(tmp_path: Path) -> None:
    observed = Observed(tmp_path, network := Network(), scales.Scales()).train()
    observed.trainer.loggers[0].experiment.flush()
    events = EventAccumulator(str(tmp_path), size_guidance={"histograms": 0})  # of which it would keep one
    events.Reload()
    names = dict(network.named_parameters())
    expected = {f"{group}/{name}" for group in ("weights", "optimizer/gradient") for name in names}
    assert set(events.Tags()["histograms"]) == expected
    points = events.Histograms("weights/C")
    assert [point.step for point in points] == [0, 20, 40]
    last, C = points[-1].histogram_value, network.C.detach().double()
    assert (last.num, last.min, last.max) == (C.numel(), C.min(), C.max())
    assert last.sum_squares == pytest.approx(float(C.square().sum()))


def test_every_parameter_has_its_colour_and_two_histograms() -> None:
    tensors = {name: torch.randn(4, 3) for name in ("C", "W2", "mine", "yours")} | {"C": torch.full((4, 3), math.nan)}
    tensors |= {f"layers.{i}.weight": torch.randn(9) for i in range(11)}
    sizes = {name: [1.0, 0.1] for name in tensors}
    figure = scales.draw([0, 5], sizes, sizes, tensors, tensors)
    figure.draw_without_rendering()
    curves = {str(line.get_label()): line for line in figure.axes[0].lines}
    assert curves["mine"].get_ydata() == pytest.approx([1, 0.1])
    assert figure.axes[0].get_yscale() == "log"
    assert len({line.get_color() for line in curves.values()}) == 15
    assert {axes.get_title() for axes in figure.axes[2:]} == {
        f"{name}: {kind}" for name in tensors for kind in ("entries", "gradient")
    }
    assert update_ratio.draw([1], {"W2": [-3]}).axes[0].lines[0].get_color() == curves["W2"].get_color()


def test_of_many_parameters_matrices_are_shown() -> None:
    shapes = {f"layers.{i}.{kind}": shape for i in range(19) for kind, shape in (("weight", (4, 3)), ("bias", (3,)))}
    tensors = {name: torch.randn(shape) for name, shape in shapes.items()}
    sizes = {name: [1.0, 0.1] for name in tensors}
    figure = scales.draw([0, 5], sizes, sizes, tensors, tensors)
    names = [f"layers.{i}.weight" for i in range(19)]
    assert [line.get_label() for line in figure.axes[1].lines] == names
    assert {axes.get_title().partition(":")[0] for axes in figure.axes[2:]} == {*names, ""}


def test_a_run_that_diverges_shows_what_there_is(tmp_path: Path) -> None:
    assert Observed(tmp_path, Network(), scales.Scales()).train(rate=1e38).files == {"scales.png"}


def test_a_fitted_model_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="makemore"):
        assert Observed(tmp_path, Counts(), scales.Scales()).fit().files == set()
    assert len(caplog.records) == 1
