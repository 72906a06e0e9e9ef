import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.data import corpus
from makemore.data.windows import Windows
from makemore.models.base import LanguageModel
from tests.helpers import QUIET, Train, build, check, composed, refused, seeded

WORDS = ("data=text", f"data.path={corpus.BUNDLED}", "data.level=word", "data.layout=running", "data.min_count=2")


def small(vocabulary: int = 50, **keys: Any) -> LanguageModel:
    own: dict[str, Any] = {
        "emb_dim": 4,
        "hidden": 16,
        "dropout": 0.0,
        "emb_std": 1.0,
        "cutoffs": [10, 30],
        "div_value": 2.0,
    }
    return build("adaptive", vocabulary, 3, **(own | keys))


def a_minibatch(vocabulary: int = 50) -> tuple[torch.Tensor, torch.Tensor]:
    drawn = torch.randint(vocabulary, (200, 4), generator=seeded())
    return drawn[:, :3], drawn[:, 3]


@settings(deadline=None)
@given(
    vocabulary=st.integers(2, 200), cutoffs=st.none() | st.sets(st.integers(1, 300), min_size=1, max_size=4).map(sorted)
)
def test_probabilities_sum_to_one_whatever_the_clusters(vocabulary: int, cutoffs: list[int] | None) -> None:
    inside = [cutoff for cutoff in cutoffs or [] if cutoff < vocabulary]
    model = small(vocabulary, cutoffs=inside or None)
    contexts, _ = a_minibatch(vocabulary)
    torch.testing.assert_close(model(contexts).exp().sum(1), torch.ones(200))


def test_losses_are_those_of_the_logits_and_so_are_gradients() -> None:
    model = small()
    model.adapt(Windows(torch.randint(50, (1000,), generator=seeded()), 3))
    contexts, targets = a_minibatch()
    whole = F.cross_entropy(model(contexts), targets, reduction="none")
    losses = model.losses(contexts, targets)
    assert losses is not None
    torch.testing.assert_close(losses, whole)
    whole.mean().backward()  # type: ignore[no-untyped-call]
    expected = {
        name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None
    }
    assert model.loss_and_gradients(contexts, targets) == pytest.approx(whole.mean().item())
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name])


def test_the_most_frequent_tokens_come_first_whatever_their_ids() -> None:
    model = small()
    stream = torch.cat([torch.zeros(1, dtype=torch.int64), torch.arange(50).repeat_interleave(torch.arange(50) + 1)])
    model.adapt(Windows(stream, 3))
    assert model.state_dict()["places"].tolist() == list(range(49, -1, -1))


def test_without_rare_words_it_is_the_full_softmax() -> None:
    """With a single token in the only cluster, p(cluster) is that token's probability."""
    model = small(cutoffs=[49])
    parameters = dict(model.named_parameters())
    contexts, _ = a_minibatch()
    h = torch.tanh(F.linear(F.embedding(contexts, parameters["C.weight"]).flatten(1), parameters["W1.weight"]))
    logits = F.linear(h, parameters["output.head.weight"], parameters["output.head.bias"])
    torch.testing.assert_close(model(contexts), logits.log_softmax(1))


def test_it_learns_and_is_read_back(train: Train) -> None:
    keys = ("model=adaptive", "model.cutoffs=[50,200]", "optimizer=adamw", "schedule.lr=0.01", "steps=60", *WORDS)
    run = train(*keys, *QUIET)
    tokens = len(run.parameters["places"])
    assert run.metrics["dev_loss"] < math.log(tokens)
    assert (run.parameters["places"] != torch.arange(tokens)).any()


def test_cutoffs_beyond_the_vocabulary_are_refused() -> None:
    with refused("model.cutoffs=[10,50]", "50"):
        small(50, cutoffs=[10, 50])


def test_clusters_whose_vectors_would_be_empty_are_refused() -> None:
    with refused("model.hidden=15", "model.div_value=4"):
        check(composed("model=adaptive", "model.hidden=15"))
    with refused("model.div_value=1000"):
        many = ",".join(map(str, range(1, 121)))
        check(composed("model=adaptive", f"model.cutoffs=[{many}]", "model.div_value=1000"))


@pytest.mark.parametrize("cutoffs", ["[]", "[0,5]", "[5,5]", "[9,4]"])
def test_cutoffs_that_do_not_rise_are_refused(cutoffs: str) -> None:
    with refused(f"model.cutoffs={cutoffs}"):
        check(composed("model=adaptive", f"model.cutoffs={cutoffs}"))
