"""The members of a mixture: trained models that learned from the same documents as the run that mixes them."""

from collections.abc import Sequence
from pathlib import Path

import torch
from omegaconf import DictConfig

from makemore.config.schema import MixtureConfig, TrainConfig
from makemore.data.datamodule import WindowDataModule
from makemore.errors import UserError
from makemore.models import file as checkpoint
from makemore.models.file import SavedModel


def load(config: TrainConfig, nodes: DictConfig) -> list[SavedModel]:
    """The models of a mixture; the run's context becomes as long as the longest of theirs.

    Raises:
        UserError: one of them cannot be read, or has diverged.
    """
    if not isinstance(config.model, MixtureConfig):
        return []
    loaded = []
    for path in config.model.members:
        try:
            loaded.append(checkpoint.load(Path(path)))
        except UserError as error:
            raise UserError(str(error).replace("checkpoint=", "model.members=", 1)) from None
        if not all(tensor.isfinite().all() for tensor in loaded[-1].state.values()):
            raise UserError(f"model.members={path} has diverged: its weights are not finite; train it again")
    config.data.block_size = nodes.data.block_size = max(member.block_size for member in loaded)
    return loaded


def check(paths: Sequence[str], members: Sequence[SavedModel], data: WindowDataModule) -> None:
    """Makes sure that the members of a mixture learned from the documents that this run has.

    Raises:
        UserError: one of them did not.
    """
    for path, member in zip(paths, members, strict=True):
        if member.vocabulary != data.vocabulary:
            raise UserError(
                f"model.members={path} knows {len(member.vocabulary)} characters, which are not the "
                f"{len(data.vocabulary)} of {data.path.name}; give all members and the mixture the same data"
            )
        if not torch.equal(member.known, data.known) or member.held_out != data.held_out:
            raise UserError(
                f"model.members={path} was trained on another split or other documents than this run has "
                f"(data={member.settings.get('data')}); its dev loss would say nothing. Train all members, and the "
                "mixture, with the same data, data.splits, data.split_seed, data.unique and data.overfit"
            )
