"""Where to draw the tokens of an embedding table: at its own two dimensions, a projection, or a map by t-SNE."""

from typing import NamedTuple

import torch
from torch import Tensor

from makemore.inference import tsne

FEWEST_MAPPED, MOST_MAPPED = 5, 1000  # tokens; fewer have no neighbours to speak of, more take too long
MOST_LABELS = 300  # of tokens in a picture; more would cover each other
NEAREST = 3  # neighbours that a map should keep


class Placement(NamedTuple):
    """Where to draw tokens, and what that shows."""

    places: Tensor  # (tokens, 2)
    title: str
    axes: tuple[str, str] | None  # what they show; None in a map by t-SNE


def project(C: Tensor) -> Placement:
    """The projection of C (tokens, dimensions) to the plane that keeps most of it."""
    tokens, dimensions = C.shape
    if dimensions == 1:
        ids = torch.arange(tokens).to(C)
        return Placement(torch.stack([C[:, 0], ids], dim=1), "embedding C (its only dimension)", ("C[:, 0]", "id"))
    if dimensions == 2:
        return Placement(C[:, :2], "embedding C (its own two dimensions)", ("C[:, 0]", "C[:, 1]"))
    centred = C - C.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    # A singular vector's sign is arbitrary: making its largest entry positive gives the same picture every time.
    signs = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()
    shares = 100 * singular.square() / singular.square().sum()
    title = f"embedding C: PCA projection of {dimensions} dimensions ({shares[:2].sum():.0f} % of the variance)"
    names = (f"principal component 1 ({shares[0]:.0f} %)", f"principal component 2 ({shares[1]:.0f} %)")
    return Placement(centred @ (directions * signs)[:2].T, title, names)


def lay_out(C: Tensor) -> Placement:
    """Where to draw each row of C (tokens, dimensions): a map by t-SNE if there are more dimensions than two."""
    projected = project(C)
    tokens, dimensions = C.shape
    if dimensions <= 2 or not FEWEST_MAPPED <= tokens <= MOST_MAPPED:
        return projected
    places = tsne.arrange(C, projected.places)
    kept = 100 * tsne.measure_kept(C, places, NEAREST)
    title = (
        f"embedding C: its {dimensions} dimensions by t-SNE; near means alike, far means nothing\n"
        f"{kept:.0f} % of each token's {NEAREST} nearest in {dimensions} dimensions are among its nearest here"
    )
    return Placement(places, title, None)


def move_apart(places: Tensor, apart: float) -> Tensor:
    """Places (tokens, 2), moved until hardly any two are nearer than `apart`, a share of the box that holds all."""
    least, extent = places.min(0).values, (places.max(0).values - places.min(0).values).clamp(min=1e-12)
    moved = (places - least) / extent
    angles = torch.arange(len(places))  # equal places are moved apart, too
    moved = moved + 1e-6 * torch.stack([angles.cos(), angles.sin()], dim=1)
    for _ in range(500):
        away = moved.unsqueeze(1) - moved  # (tokens, tokens, 2), from every other token
        distances = away.norm(dim=2, keepdim=True).clamp(min=1e-9)
        pushes = (away / distances * (apart - distances).clamp(min=0)).sum(1) / 2  # (tokens, 2)
        moved = moved + pushes
        if pushes.abs().max() < 0.01 * apart:
            break
    return least + moved * extent
