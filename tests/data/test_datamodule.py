from pathlib import Path
from typing import Any

import torch

from makemore.config.schema import DataConfig, Source
from makemore.data.datamodule import WindowDataModule
from tests.helpers import refused

NAMES = ["emma", "olivia", "ava", "isabella", "sophia"]


def read(path: Path, **changes: Any) -> WindowDataModule:
    settings: dict[str, Any] = {
        "source": Source.text,
        "path": str(path),
        "block_size": 3,
        "batch_size": 32,
        "splits": [0.8, 0.1, 0.1],
        "split_seed": 42,
        "unique": False,
        "replacement": True,
        "overfit": None,
    }
    config = DataConfig(**settings | changes)
    module = WindowDataModule(config, block_size=config.block_size, seed=1)
    module.setup()
    return module


def sizes(module: WindowDataModule) -> list[int]:
    return [len(part) for part in (module.dataset.train, module.dataset.dev, module.dataset.test)]


def test_unique_leaves_no_dev_document_in_train(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(f"{c}{i % 50}" for i in range(100) for c in "ab"))
    assert read(path).dataset.documents == 200
    unique = read(path, unique=True).dataset
    assert unique.documents == 100
    assert len(unique.known) == 80


def test_overfitting_uses_the_files_first_documents_everywhere_and_its_whole_vocabulary(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join([*NAMES, "zoe"]))
    module = read(path, overfit=5)
    assert sizes(module) == [32, 32, 32]
    assert "z" in module.dataset.vocabulary.tokens
    with refused("data.overfit=7", 6):
        read(path, overfit=7)


def test_a_run_says_how_many_minibatches_it_takes_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "names.txt"
    path.write_text("\n".join(NAMES))
    module = read(path, overfit=5, block_size=2)
    module.deal([3, 1], "cpu")
    assert [tuple(batch.contexts.shape) for batch in module.train_dataloader()] == [(3, 32, 2), (1, 32, 2)]
    (dev,) = module.val_dataloader()
    assert torch.equal(dev.targets, module.dataset.dev.gather(torch.arange(32))[1])


def test_lecture_split_through_the_data_module(lecture_names: Path) -> None:
    assert sizes(read(lecture_names)) == [182_625, 22_655, 22_866]
    assert read(lecture_names, unique=True).dataset.documents == 32_033 - 2_539
