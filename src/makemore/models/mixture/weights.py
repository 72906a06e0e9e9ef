"""The weights of a mixture, p(w | h) = sum_m weight_m p_m(w | h): positive numbers that sum to 1.

They are those under which held-out text is likeliest, found by expectation-maximization (Dempster, Laird and Rubin
1977; for language models Jelinek and Mercer 1980): each example is shared among the members in proportion to how likely
each made it, and a member's new weight is its share of all examples. No step lowers the likelihood.
"""

import torch
from torch import Tensor

# Steps of expectation-maximization at most; it ends when no weight moves by more than the tolerance.
STEPS = 1000
TOLERANCE = 1e-6


def fit_weights(log_p: Tensor) -> Tensor:
    """The weights, (members,) float64, from each member's log-probability of each target, (members, examples)."""
    log_p = log_p.double()
    # An example to which every member gives no probability does not affect the weights.
    log_p = log_p[:, log_p.isfinite().any(0)]
    weights = torch.full((len(log_p),), 1 / len(log_p), dtype=torch.float64)  # (members,)
    for _ in range(STEPS):
        shares = (log_p + weights.log().unsqueeze(1)).softmax(0)  # (members, examples)
        new = shares.mean(1)
        moved = (new - weights).abs().max()
        weights = new
        if moved < TOLERANCE:
            break
    return weights
