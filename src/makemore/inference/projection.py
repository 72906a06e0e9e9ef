"""Where to draw the tokens of an embedding table: its own two dimensions, or a projection."""

import unicodedata
from typing import NamedTuple

import torch
from torch import Tensor

VOWELS = frozenset("aeiouyаеиоуыэюяієαεηιουω")  # Latin, Cyrillic and Greek, without accents


def is_vowel(character: str) -> bool:
    return unicodedata.normalize("NFD", character.lower())[0] in VOWELS


class Placement(NamedTuple):
    """Where to draw tokens, and what that shows."""

    places: Tensor  # (tokens, 2)
    title: str
    names: tuple[str, str] | None  # of the axes, if they mean something


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
