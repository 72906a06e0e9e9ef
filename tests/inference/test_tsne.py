import math

import pytest
import torch

from makemore.inference import tsne


def make_groups(count: int, each: int) -> torch.Tensor:
    """Groups of points in ten dimensions, far apart. (count * each, 10)"""
    generator = torch.Generator().manual_seed(0)
    centres = 20 * torch.randn(count, 1, 10, dtype=torch.float64, generator=generator)
    return (centres + torch.randn(count, each, 10, dtype=torch.float64, generator=generator)).flatten(0, 1)


def test_nearness_is_a_distribution_over_pairs_and_falls_with_the_distance() -> None:
    points = make_groups(3, 9)
    near = tsne.measure_nearness(points)
    assert float(near.sum()) == pytest.approx(1)
    assert torch.equal(near, near.T)
    assert near.diagonal().count_nonzero() == 0
    # Of points at equal distances all are equally near.
    near = tsne.measure_nearness(torch.eye(5, dtype=torch.float64))
    assert near.flatten().tolist() == pytest.approx(((1 - torch.eye(5)) / 20).flatten().tolist())


def test_each_point_has_as_many_near_ones_as_the_perplexity_says() -> None:
    points = torch.randn(200, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    near = tsne.measure_nearness(points)
    # A row of the symmetric distribution mixes the point's own with the others' of it: about as wide.
    rows = near / near.sum(1, keepdim=True)
    width = torch.special.entr(rows).sum(1).exp().median()
    assert tsne.PERPLEXITY < width < 1.5 * tsne.PERPLEXITY


def test_the_gradient_is_that_of_the_divergence() -> None:
    """One step from the start moves points as autograd of the Kullback-Leibler divergence says."""
    points, start = make_groups(2, 4), make_groups(2, 4)[:, :2]
    places = (0.01 * start / start.std()).requires_grad_()
    closeness = 1 / (1 + torch.cdist(places, places).square()) * (1 - torch.eye(8))
    near = tsne.measure_nearness(points)
    shares = (closeness / closeness.sum())[near > 0]
    (near[near > 0] * (near[near > 0] / shares).log()).sum().backward()  # type: ignore[no-untyped-call]
    assert places.grad is not None
    steps, tsne.STEPS = tsne.STEPS, 1
    try:
        moved = tsne.arrange(points, start)
    finally:
        tsne.STEPS = steps
    torch.testing.assert_close(moved, places.detach() - 2 * places.grad)


@pytest.mark.parametrize(("count", "each"), [(3, 9), (10, 20)])
def test_groups_stay_together(count: int, each: int) -> None:
    points = make_groups(count, each)
    places = tsne.arrange(points, points[:, :2])
    nearest = torch.cdist(places, places).fill_diagonal_(math.inf).argmin(1)
    group = torch.arange(count * each) // each
    assert torch.equal(group[nearest], group)
    assert tsne.measure_kept(points, places, each - 1) > 0.95


def test_a_perfect_map_keeps_all_neighbours() -> None:
    plane = torch.randn(20, 2, generator=torch.Generator().manual_seed(0))
    assert tsne.measure_kept(torch.cat([plane, torch.zeros(20, 3)], dim=1), plane, 3) == 1
