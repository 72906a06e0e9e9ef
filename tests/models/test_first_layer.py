import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from makemore.models.mlp import first_layer, formulas
from makemore.models.mlp.config import Init
from tests.helpers import seeded


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 9), st.integers(1, 5), st.integers(1, 6), st.integers(1, 20), st.integers(1, 40))
def test_both_forms_are_the_layer_and_its_gradients_by_autograd(
    vocabulary: int, block_size: int, emb_dim: int, hidden: int, rows: int
) -> None:
    drawn = formulas.initial(vocabulary, block_size, emb_dim, hidden, Init.normal, seeded())
    C, W1, b1 = (parameter.double().requires_grad_() for parameter in drawn[:3])
    contexts = torch.randint(vocabulary, (rows, block_size), generator=seeded(1))
    da = torch.randn(rows, hidden, generator=seeded(2), dtype=torch.float64)
    expected = C[contexts].flatten(1) @ W1 + b1
    dC, dW1 = torch.autograd.grad(expected, (C, W1), da)
    for pay in (True, False):
        with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
            patch.setattr(first_layer, "pairs_pay", lambda *_, pay=pay: pay)
            torch.testing.assert_close(first_layer.forward(C, W1, b1, contexts), expected.detach())
            ours = torch.empty_like(C), torch.empty_like(W1)
            first_layer.backward(C, W1, contexts, da, *ours)
            torch.testing.assert_close(ours, (dC, dW1))


def test_pairs_pay_for_characters_in_large_minibatches_and_not_for_words() -> None:
    assert first_layer.pairs_pay(rows=512, vocabulary=27, emb_dim=64)
    assert not first_layer.pairs_pay(rows=16, vocabulary=27, emb_dim=64)
    assert not first_layer.pairs_pay(rows=256, vocabulary=18_000, emb_dim=60)
    assert not first_layer.pairs_pay(rows=10**6, vocabulary=27, emb_dim=2)
