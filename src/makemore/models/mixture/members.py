"""The members of a mixture: trained models that learned from the same documents as the run that mixes them."""

import functools
from collections.abc import Sequence
from pathlib import Path

import torch

from makemore.data.dataset import Dataset
from makemore.errors import UserError
from makemore.models import model_file
from makemore.models.model_file import TrainedModel


@functools.cache  # a run asks for their context, and once its data is read for themselves; nothing changes them
def load(paths: tuple[str, ...]) -> list[TrainedModel]:
    """Reads the members. Raises UserError if one of them cannot be read, or has diverged."""
    loaded = []
    for path in paths:
        loaded.append(model_file.load(Path(path), "model.members"))
        if not all(tensor.isfinite().all() for tensor in loaded[-1].model.state_dict().values()):
            raise UserError(f"model.members={path} has diverged: its weights are not finite; train it again")
    return loaded


def check_data(paths: Sequence[str], members: Sequence[TrainedModel], data: Dataset) -> None:
    """Raises UserError unless all members learned from the documents of this run."""
    for path, member in zip(paths, members, strict=True):
        if member.vocabulary != data.vocabulary:
            raise UserError(
                f"model.members={path} knows {len(member.vocabulary):,} tokens, which are not the "
                f"{len(data.vocabulary):,} of {data.path.name}; give all members and the mixture the same data"
            )
        if not torch.equal(member.known, data.known) or member.held_out != data.held_out:
            raise UserError(
                f"model.members={path} was trained on another split or other documents than this run has "
                f"(data={member.settings.get('data')}); its dev loss would say nothing. Train all members, and the "
                "mixture, with the same data, data.splits, data.split_seed, data.unique and data.overfit"
            )
