import math
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from makemore.data import corpus
from makemore.data.vocabulary import Vocabulary
from makemore.data.windows import Windows
from makemore.models.mlp import formulas as mlp
from makemore.models.mlp.config import Config, Gradients, Init
from makemore.models.mlp.model import Model
from makemore.training.distillation import mix_targets
from tests.helpers import any_distributions, build, first_five_names, mlp_loss, random_case, seeded, tanh_inputs


def test_loss_of_the_lectures_first_network_before_training_is_17_7697() -> None:
    contexts, targets = first_five_names()
    assert contexts.shape == (32, 3)
    p = mlp.initial(27, 3, 2, 100, Init.normal, seeded())
    assert mlp_loss(p, contexts, targets).item() == pytest.approx(17.76971435546875, abs=2e-6)


def test_full_batch_updates_reach_the_published_losses() -> None:
    contexts, targets = first_five_names()
    p = mlp.initial(27, 3, 2, 100, Init.normal, seeded())
    gradients = mlp.Parameters(*map(torch.zeros_like, p))
    after = {}
    for update in range(1001):
        after[update] = mlp.loss_and_gradients(p, contexts, targets, gradients).item()
        for parameter, gradient in zip(p, gradients, strict=True):
            parameter.sub_(gradient, alpha=0.1)
    published = {0: 17.7697, 1: 13.6564, 9: 4.4147, 99: 0.3367, 1000: 0.2561}
    assert {update: after[update] for update in published} == pytest.approx(published, abs=1e-4)


@pytest.mark.parametrize(("emb_dim", "hidden", "count"), [(2, 100, 3481), (2, 300, 10_281), (10, 200, 11_897)])
def test_published_numbers_of_parameters(emb_dim: int, hidden: int, count: int) -> None:
    assert sum(p.numel() for p in mlp.initial(27, 3, emb_dim, hidden, Init.normal, seeded())) == count


def test_looking_up_is_one_hot_times_table() -> None:
    contexts, _ = first_five_names()
    C = mlp.initial(27, 3, 2, 100, Init.normal, seeded()).C
    one_hot = torch.nn.functional.one_hot(contexts, 27).float()  # (32, 3, 27)
    assert torch.equal(one_hot @ C, C[contexts])


@pytest.mark.parametrize(("dtype", "exactness"), [(torch.float32, 1e-6), (torch.float64, 1e-14)])
def test_tanh_is_exact_for_inputs_of_any_size(dtype: torch.dtype, exactness: float) -> None:
    x = tanh_inputs().to(dtype)
    right = torch.tanh(x.double())
    torch.testing.assert_close(mlp.tanh(x).double(), right, rtol=exactness, atol=0, equal_nan=True)


def test_normal_weights_are_drawn_in_the_lectures_order() -> None:
    g = seeded()
    C = torch.randn((27, 10), generator=g)
    W1 = torch.randn((30, 200), generator=g)
    b1 = torch.randn(200, generator=g)
    W2 = torch.randn((200, 27), generator=g)
    b2 = torch.randn(27, generator=g)
    drawn = mlp.initial(27, 3, 10, 200, Init.normal, seeded())
    assert all(torch.equal(a, b) for a, b in zip(drawn, (C, W1, b1, W2, b2), strict=True))


def test_kaiming_weights_start_near_a_uniform_guess_with_unsaturated_units() -> None:
    p = mlp.initial(27, 3, 10, 200, Init.kaiming, seeded())
    contexts, targets = first_five_names()
    assert mlp_loss(p, contexts, targets).item() == pytest.approx(math.log(27), abs=0.1)
    assert p.W1.std().item() == pytest.approx(5 / 3 / math.sqrt(30), rel=0.05)
    # Activations are normal with standard deviation 5/3, so |tanh| > 0.97 where a normal exceeds 2.09 / (5/3).
    expected = 1 - math.erf(math.atanh(0.97) / (5 / 3) / math.sqrt(2))
    assert (mlp.hidden_layer(p, contexts).abs() > 0.97).float().mean().item() == pytest.approx(expected, abs=0.03)
    assert not p.b1.any() and not p.b2.any()


def test_dropout_keeps_the_expected_share_and_the_mean() -> None:
    p = mlp.initial(27, 3, 10, 200, Init.normal, seeded())
    mask = mlp.dropout_mask(500, p, 0.25)
    assert mask.shape == (500, 200)
    assert (mask == 0).float().mean().item() == pytest.approx(0.25, abs=0.01)
    assert mask.mean().item() == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("rows", [20, 200])
@pytest.mark.parametrize("dropout", [False, True])
def test_gradients_with_bfloat16_products_are_within_one_percent(rows: int, dropout: bool) -> None:
    names = corpus.read(corpus.BUNDLED)
    windows = Windows.from_documents(names[:100], Vocabulary.from_documents(names), 4)
    contexts, targets = windows.gather(torch.arange(rows))
    p = mlp.initial(27, 4, 32, 256, Init.kaiming, seeded())
    mask = mlp.dropout_mask(rows, p, 0.2) if dropout else None
    exact, narrow = (mlp.Parameters(*map(torch.empty_like, p)) for _ in range(2))
    loss = mlp.loss_and_gradients(p, contexts, targets, exact, mask).item()
    assert mlp.loss_and_gradients(p, contexts, targets, narrow, mask, None, torch.bfloat16) == pytest.approx(
        loss, rel=1e-3
    )
    for a, b in zip(narrow, exact, strict=True):
        assert 0 < (a - b).norm() < 0.01 * b.norm()


def test_recency_makes_far_positions_count_less_and_keeps_the_mean_square() -> None:
    scale = mlp.recency_scale(0.5, 4, 3).view(4, 3)
    assert torch.equal(scale[1:], 2 * scale[:-1])
    assert scale.square().mean().item() == pytest.approx(1)
    assert torch.equal(mlp.recency_scale(1.0, 4, 3), torch.ones(12, 1))


@pytest.mark.parametrize("form", [Gradients.compiled, Gradients.closed_form])
@pytest.mark.parametrize("recency", [1.0, 0.7])
def test_a_model_has_autograds_gradients_in_every_form(form: Gradients, recency: float) -> None:
    def gradients_of(form: Gradients) -> list[Tensor]:
        keys = {"init": Init.kaiming, "dropout": 0.0, "recency": recency, "gradients": form}
        model = build("mlp", 27, 3, emb_dim=10, hidden=30, **keys)  # type: ignore[arg-type]
        model.choose_form(32, on_gpu=False, threads=1)
        for _ in range(2):  # once more, because memory is made at the first step
            loss = model.loss_and_gradients(*first_five_names())
        assert float(loss) == pytest.approx(
            torch.nn.functional.cross_entropy(model(contexts), targets).item(), rel=1e-6
        )
        return [parameter.grad for parameter in model.parameters() if parameter.grad is not None]

    contexts, targets = first_five_names()
    ours, expected = gradients_of(form), gradients_of(Gradients.autograd)
    assert len(ours) == 5
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)


def paper(p: mlp.Parameters, contexts: Tensor) -> Tensor:
    """Equation 1 of Bengio et al. (2003), y = b + W x + U tanh(d + H x), with a column of x for each example."""
    x = p.C[contexts].flatten(1).t()  # (block_size * emb_dim, B)
    U, W = p.W2.t()[:, : len(p.b1)], p.W2.t()[:, len(p.b1) :]
    H, d, b = p.W1.t(), p.b1.unsqueeze(1), p.b2.unsqueeze(1)
    y: Tensor = b + W @ x + U @ torch.tanh(d + H @ x)  # (vocabulary, B)
    return y.t()


@pytest.mark.parametrize("hidden", [0, 30])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_direct_connections_are_those_of_equation_1(hidden: int, soft: bool, dropout: float) -> None:
    keys: dict[str, Any] = {
        "init": Init.kaiming,
        "dropout": dropout,
        "gradients": Gradients.closed_form,
        "direct": True,
    }
    model: Any = build("mlp", 27, 3, emb_dim=10, hidden=hidden, **keys)
    model.choose_form(32, on_gpu=False, threads=1)
    contexts, targets = first_five_names()
    torch.testing.assert_close(model.eval()(contexts), paper(model.p, contexts))
    distributions = torch.rand(32, 27, generator=seeded()).softmax(1) if soft else None
    found = []
    for form in (Gradients.closed_form, Gradients.autograd):
        model.form = form
        torch.manual_seed(1)  # of the mask
        for _ in range(1 + (form is Gradients.closed_form and dropout == 0)):
            model.train().loss_and_gradients(contexts, targets, distributions)
        found.append([parameter.grad.clone() for parameter in model.parameters()])
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, atol=1e-6, rtol=1e-4)
    assert model.embedding() is model.C and set(model.activations(contexts)) == ({"h"} if hidden else set())


@pytest.mark.parametrize(("n", "h", "m", "direct"), [(5, 50, 60, True), (5, 0, 60, True), (3, 50, 30, True)])
def test_networks_of_the_paper_have_its_number_of_parameters(n: int, h: int, m: int, direct: bool) -> None:
    V = 17_964
    # Section 2 of the paper: |V| (1 + n m + h) + h (1 + (n - 1) m), with n - 1 words of context and direct connections.
    parameters = V * (1 + n * m + h) + h * (1 + (n - 1) * m)
    with torch.device("meta"):
        model = build("mlp", 2, 1, emb_dim=1, hidden=1, init=Init.kaiming, dropout=0.0, gradients=Gradients.autograd)
        model = type(model)(replace(model.config, emb_dim=m, hidden=h, direct=direct), V, n - 1)
    assert model.size() == parameters


def test_the_embedding_may_start_small() -> None:
    keys: dict[str, Any] = {"init": Init.normal, "dropout": 0.0, "gradients": Gradients.auto}
    models: list[Any] = [build("mlp", 27, 2, emb_dim=30, hidden=5, **keys, emb_std=std) for std in (1.0, 0.05)]
    assert torch.equal(models[1].C, 0.05 * models[0].C) and torch.equal(models[1].W1, models[0].W1)


def test_output_biases_start_at_the_frequencies_of_train() -> None:
    keys: dict[str, Any] = {"init": Init.kaiming, "dropout": 0.0, "gradients": Gradients.auto, "unigram_bias": True}
    model: Any = build("mlp", 4, 2, emb_dim=3, hidden=5, **keys)
    model.adapt(Windows(torch.tensor([0, 1, 2, 0, 1, 0], dtype=torch.uint8), 2))
    counts = torch.tensor([2 + 1, 2 + 1, 1 + 1, 0 + 1])
    torch.testing.assert_close(model.b2.softmax(0), counts / counts.sum())


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 30))
def test_merged_contexts_are_distinct_and_stand_for_all(vocabulary: int, block_size: int, rows: int) -> None:
    contexts = torch.randint(vocabulary, (rows, block_size), generator=seeded())
    distinct, which, repeats = mlp.merge_equal(contexts, vocabulary)
    assert torch.equal(distinct[which], contexts)
    assert len(distinct) == len(torch.unique(contexts, dim=0))
    assert torch.equal(repeats.squeeze(1), torch.bincount(which))


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(1, 3), st.integers(1, 60), st.integers(1, 9))
def test_losses_of_merged_contexts_are_those_of_each_example(
    vocabulary: int, block_size: int, rows: int, hidden: int
) -> None:
    model = Model(Config("mlp", 4, hidden, Init.normal, 0.0, Gradients.auto), vocabulary, block_size).eval()
    model.initialize(seeded())
    contexts = torch.randint(vocabulary, (rows, block_size), generator=seeded(2))
    targets = torch.randint(vocabulary, (rows,), generator=seeded(3))
    with torch.inference_mode():
        losses = model.losses(contexts, targets)
        each = F.cross_entropy(model(contexts), targets, reduction="none")
    few = 4 * len(torch.unique(contexts, dim=0)) <= rows
    assert (losses is not None) == few
    if losses is not None:
        torch.testing.assert_close(losses, each, atol=1e-5, rtol=1e-5)


def test_contexts_too_long_to_be_numbered_are_not_merged() -> None:
    contexts = torch.zeros(3, 20, dtype=torch.int64)
    distinct, which, repeats = mlp.merge_equal(contexts, 27)
    assert torch.equal(distinct, contexts)
    assert which.tolist() == [0, 1, 2] and repeats.flatten().tolist() == [1, 1, 1]


def test_distilled_targets_are_between_the_targets_and_the_teacher() -> None:
    targets, teacher = torch.tensor([2, 0]), torch.tensor([[0.5, 0.5, 0.0], [0.2, 0.3, 0.5]])
    assert torch.equal(mix_targets(targets, teacher, 0.0), torch.tensor([[0.0, 0, 1], [1, 0, 0]]))
    assert torch.equal(mix_targets(targets, teacher, 1.0), teacher)
    torch.testing.assert_close(mix_targets(targets, teacher, 0.5)[0], torch.tensor([0.25, 0.25, 0.5]))


def test_learning_a_distribution_of_one_token_is_learning_that_token() -> None:
    p, contexts, targets = random_case(5, 2, 3, 7, 11)
    one_hot = mix_targets(targets, any_distributions(11, 5), 0.0)
    torch.testing.assert_close(mlp_loss(p, contexts, one_hot), mlp_loss(p, contexts, targets))
