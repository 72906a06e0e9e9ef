import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from makemore.config.schema import Layout, Level
from makemore.errors import UserError
from makemore.inference import sampling
from makemore.randomness import Use, make_generator
from makemore.views.samples import Samples
from tests.views.observe import VOCABULARY, Network, Observed


def observe(folder: Path) -> Observed:
    observed = Observed(folder, Network(), Samples(n=3, seed=1))
    observed.run.export = lambda: SimpleNamespace(
        model=observed.run.model,
        logits=observed.run.model,
        vocabulary=VOCABULARY,
        level=Level.char,
        layout=Layout.lines,
        block_size=3,
        known=torch.tensor([0]),
    )
    return observed


def test_an_evaluation_shows_the_names_that_sampling_draws_in_eval_mode(tmp_path: Path) -> None:
    observed = observe(tmp_path)
    observed.run.dev_losses[0] = 2.0
    observed.call("on_validation_end")
    assert observed.run.model.training
    observed.run.model.eval()
    names = [name for name, _ in sampling.sample(observed.run.export(), 3, make_generator(1, Use.sampling))]
    (text,) = observed.events.Tensors("samples/text_summary")
    assert text.tensor_proto.string_val[0].decode() == "\n".join(f"    {name}" for name in names)


def test_a_diverged_run_has_no_samples(tmp_path: Path) -> None:
    observed = observe(tmp_path)
    observed.run.dev_losses[0] = math.nan
    observed.call("on_validation_end")
    observed.call("on_train_end")
    assert observed.files == set()
    assert not observed.events.Tags()["tensors"]


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"n": 0, "seed": 1}, "samples.n=0"),
        ({"n": "many", "seed": 1}, "samples.n=many"),
        ({"n": 10**6, "seed": 1}, "samples.n=1000000"),
        ({"n": 1, "seed": -1}, "samples.seed=-1"),
    ],
)
def test_what_is_out_of_range_is_named(settings: dict[str, Any], key: str) -> None:
    nothing: Any = None
    with pytest.raises(UserError, match=key):
        Samples(**settings).check(nothing)
    Samples(n=1, seed=0).check(nothing)
