from typing import Any

import torch
from torch import nn

from makemore.models.transformer.model import Model
from tests.helpers import build, check, composed, refused, seeded


def makemore(layers: int = 4) -> Model:
    model = build("transformer", 27, 16, width=64, layers=layers, heads=4, dropout=0.0)
    assert isinstance(model, Model)
    return model


def test_at_the_sizes_of_makemore_py_it_has_as_many_parameters() -> None:
    assert makemore().size() == 204_544


def test_a_layer_computes_what_pytorchs_does() -> None:
    """`nn.TransformerEncoderLayer` with a causal mask, which has GELU in its exact form."""
    model = makemore(layers=1)
    layer: Any = model.layers[0]
    layer.network[1] = nn.GELU()
    theirs = nn.TransformerEncoderLayer(64, 4, 256, 0.0, nn.GELU(), batch_first=True, norm_first=True)
    pairs = {
        "self_attn.in_proj": layer.qkv,
        "self_attn.out_proj": layer.project,
        "norm1": layer.norm1,
        "norm2": layer.norm2,
        "linear1": layer.network[0],
        "linear2": layer.network[2],
    }
    state = {}
    for name, module in pairs.items():
        for kind, tensor in module.named_parameters():
            state[f"{name}_{kind}" if "in_proj" in name else f"{name}.{kind}"] = tensor
    theirs.load_state_dict(state)
    x = torch.randn(3, 10, 64, generator=seeded())
    ours, _ = layer(x, None)
    torch.testing.assert_close(
        ours, theirs(x, nn.Transformer.generate_square_subsequent_mask(10)), rtol=1e-4, atol=1e-5
    )


def test_it_reads_on_from_a_state_several_ids_at_a_time() -> None:
    model = makemore(layers=2).eval()
    ids = torch.randint(27, (5, 12), generator=seeded())
    whole, _ = model.read(ids)
    first, state = model.read(ids[:, :7])
    second, _ = model.read(ids[:, 7:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole, rtol=1e-4, atol=1e-5)


def test_a_width_that_the_heads_cannot_share_is_refused() -> None:
    with refused("model.width=62", "model.heads=4"):
        check(composed("model=transformer", "model.width=62"))
