from pathlib import Path

import torch

from makemore.views.context_table import ContextTable
from makemore.views.embedding import Embedding
from makemore.views.heat_map import HeatMap
from makemore.views.loss import Loss
from makemore.views.saturation import Saturation
from makemore.views.scales import Scales
from makemore.views.update_ratio import UpdateRatio
from tests.views.observe import Network, Observed


def test_a_run_is_the_same_with_views_and_without(tmp_path: Path) -> None:
    views = (Loss(), Embedding(), HeatMap(), ContextTable(), Saturation(), UpdateRatio(), Scales())
    watched, alone = Network(layers=2), Network(layers=2)
    chance = torch.get_rng_state()
    observed = Observed(tmp_path / "watched", watched, *views).train()
    Observed(tmp_path / "alone", alone).train()
    assert {f"{name}.png" for name in ("loss", "embedding", "saturation", "update_ratio", "scales")} < observed.files
    # Weights, and BatchNorm's running statistics.
    assert all(torch.equal(each, alone.state_dict()[name]) for name, each in watched.state_dict().items())
    assert torch.equal(torch.get_rng_state(), chance)
    assert watched.training
