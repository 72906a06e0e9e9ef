"""Where to draw the tokens of an embedding table: its own two dimensions, or a projection."""

import unicodedata

import torch
from torch import Tensor

VOWELS = frozenset("aeiouyаеиоуыэюяієαεηιουω")  # Latin, Cyrillic and Greek, without accents


def is_vowel(character: str) -> bool:
    return unicodedata.normalize("NFD", character.lower())[0] in VOWELS


def project(C: Tensor) -> tuple[Tensor, str, list[str]]:
    """Where to draw each row of C, (vocabulary, 2), with a title and the names of the axes."""
    tokens, dimensions = C.shape
    if dimensions == 1:
        ids = torch.arange(tokens).to(C)
        return torch.stack([C[:, 0], ids], dim=1), "embedding C (its only dimension)", ["C[:, 0]", "id"]
    if dimensions == 2:
        return C[:, :2], "embedding C (its own two dimensions)", ["C[:, 0]", "C[:, 1]"]
    centred = C - C.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    # A singular vector's sign is arbitrary: making its largest entry positive gives the same picture every time.
    signs = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)).sign()
    shares = 100 * singular.square() / singular.square().sum()
    title = f"embedding C: PCA projection of {dimensions} dimensions ({shares[:2].sum():.0f} % of the variance)"
    names = [f"principal component {i + 1} ({shares[i]:.0f} %)" for i in (0, 1)]
    return centred @ (directions * signs)[:2].T, title, names
