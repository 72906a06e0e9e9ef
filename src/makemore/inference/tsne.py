"""t-SNE: points in the plane whose neighbours are those that they have in many dimensions.

Van der Maaten and Hinton, "Visualizing Data using t-SNE", 2008: exact, in time and memory of N^2 for N points.
It starts from a projection and draws no random numbers, so that the same table gives the same picture.
"""

import math

import torch
from torch import Tensor

from makemore.threads import use_one_thread

PERPLEXITY = 30  # the usual one; of few points a fifth count as near
STEPS = 1000


def arrange(points: Tensor, start: Tensor) -> Tensor:
    """Where to draw points (N, dimensions), beginning with their projection (N, 2): (N, 2) float64."""
    return move_places(points.double(), 0.01 * start.double() / start.double().std().clamp(min=1e-12), STEPS)


@use_one_thread()  # with threads that wait for a core, the 0.1 s for an alphabet became 16 s
def move_places(points: Tensor, places: Tensor, steps: int) -> Tensor:
    """Moves places (N, 2) by gradient descent with momentum to where points (N, dimensions) should be drawn."""
    near = measure_nearness(points)  # (N, N)
    velocity, rate = torch.zeros_like(places), max(1, len(points) / 4)
    for step in range(steps):
        squares = places.square().sum(1)  # (N,)
        closeness = torch.addmm(1 + squares + squares[:, None], places, places.T, alpha=-2).reciprocal()  # (N, N)
        closeness.fill_diagonal_(0)
        pull = (near - closeness / closeness.sum()) * closeness  # (N, N)
        gradient = 4 * (pull.sum(1, keepdim=True) * places - pull @ places)  # (N, 2)
        velocity = (0.5 if step < steps / 4 else 0.8) * velocity - rate * gradient
        places = places + velocity
    return places


def measure_nearness(points: Tensor) -> Tensor:
    """How near each pair of points is, as a symmetric distribution over pairs. (N, dimensions) -> (N, N)

    Around each point lies a Gaussian of the width that makes its distribution over the others have the perplexity.
    """
    count = len(points)
    squares = torch.cdist(points, points).square().fill_diagonal_(math.inf)  # (N, N)
    # Less that to the nearest, which changes no softmax: `scale` is then the size of the differences that matter.
    squares = squares - squares.min(dim=1, keepdim=True).values
    entropy = math.log(min(PERPLEXITY, max(1.5, 0.2 * count)))
    scale = squares[squares.isfinite()].mean().clamp(min=1e-300)
    low = torch.full((count, 1), -50.0).to(points)  # log of the precision times the scale
    high = -low
    for _ in range(60):
        middle = (low + high) / 2
        shares = torch.softmax(-squares / scale * middle.exp(), dim=1)  # (N, N)
        found = torch.special.entr(shares).sum(1, keepdim=True)
        low, high = torch.where(found > entropy, middle, low), torch.where(found > entropy, high, middle)
    return (shares + shares.T) / (2 * count)


def measure_kept(points: Tensor, places: Tensor, count: int) -> float:
    """The share of the nearest `count` neighbours of points (N, dimensions) that are nearest in the plane (N, 2)."""
    sets = []
    for each in (points.double(), places.double()):
        nearest = torch.cdist(each, each).fill_diagonal_(math.inf).topk(count, largest=False).indices  # (N, count)
        sets.append(torch.zeros(len(each), len(each), dtype=torch.bool).scatter_(1, nearest, True))
    return float((sets[0] & sets[1]).sum() / (count * len(points)))
