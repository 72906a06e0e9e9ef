import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pooch
import pytest
import torch

from makemore.config.schema import DataConfig, Layout, Level, Source
from makemore.data import cache
from makemore.data.cache import read_documents
from makemore.data.documents import Documents, prepare

TEXT = "the cat sat .\nthe dog ran !\nthe cat ran .\na dog sat .\n" * 3


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataConfig:
    """A text that counts as large, and an empty cache."""
    monkeypatch.setattr(cache, "LARGE", 10)
    monkeypatch.setattr(cache, "_read", {})
    monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path / "cache")
    (tmp_path / "text.txt").write_text(TEXT)
    splits = {"splits": [0.5, 0.25, 0.25], "split_seed": 1, "unique": False, "overfit": None}
    return DataConfig(source=Source.text, path=str(tmp_path / "text.txt"), level=Level.word, min_count=2, **splits)  # type: ignore[arg-type]


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> list[Documents]:
    """Every text that was prepared, and not found in the cache."""
    seen: list[Documents] = []

    def observe(*arguments: Any) -> Documents:
        seen.append(prepare(*arguments))
        return seen[-1]

    monkeypatch.setattr(cache, "prepare", observe)
    return seen


def reopened(data: DataConfig) -> Documents:
    """What another process would read."""
    cache._read.clear()
    return read_documents(data)


@pytest.mark.parametrize("layout", Layout)
def test_a_large_text_is_prepared_once_and_reopened_as_it_was(
    data: DataConfig, prepared: list[Documents], layout: Layout
) -> None:
    data = replace(data, layout=layout)
    for found in (read_documents(data), reopened(data)):
        assert (found.vocabulary, found.documents) == (prepared[0].vocabulary, prepared[0].documents)
        assert (found.held_out, found.characters) == (prepared[0].held_out, prepared[0].characters)
        assert all(map(torch.equal, (*found.parts, found.known), (*prepared[0].parts, prepared[0].known)))
    assert len(prepared) == 1


def test_other_settings_or_another_content_are_prepared_anew(data: DataConfig, prepared: list[Documents]) -> None:
    others = (replace(data, level=Level.char), replace(data, min_count=1), replace(data, split_seed=2))
    for number, other in enumerate((data, *others), start=1):
        reopened(other)
        assert len(prepared) == number
    reopened(replace(data, block_size=9, batch_size=2, replacement=True))  # these are no part of it
    assert len(prepared) == 4
    path = Path(str(data.path))
    path.write_text(TEXT.replace("cat", "cow"))
    os.utime(path, ns=(1, 1))  # whatever the clock's resolution
    assert "cow" in reopened(data).vocabulary.tokens
    assert len(prepared) == 5


def test_the_same_content_elsewhere_is_not_prepared_again(
    data: DataConfig, prepared: list[Documents], tmp_path: Path
) -> None:
    reopened(data)
    (tmp_path / "copy.txt").write_text(TEXT)
    found = reopened(replace(data, path=str(tmp_path / "copy.txt")))
    assert len(prepared) == 1 and found.path == tmp_path / "copy.txt"


def test_a_cache_that_cannot_be_written_costs_time_alone(
    data: DataConfig, prepared: list[Documents], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    assert reopened(data).documents == 12
    assert reopened(data).documents == 12
    assert len(prepared) == 2
    assert str(tmp_path / "cache") in capsys.readouterr().out


def test_preparing_that_is_interrupted_leaves_nothing(
    data: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        read_documents(data)
    assert not [path for path in (tmp_path / "cache" / "texts").iterdir() if path.is_dir()]


@pytest.mark.parametrize("name", ["train.npy", "known.npy", "text.json"])
@pytest.mark.parametrize("left", [None, 0, 20, -1])
def test_what_is_damaged_is_prepared_anew(
    data: DataConfig, prepared: list[Documents], tmp_path: Path, name: str, left: int | None
) -> None:
    before = read_documents(data).parts[0].clone()  # which is mapped from the file that is cut
    (file,) = (tmp_path / "cache").rglob(name)
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:left])
    for _ in range(2):
        assert torch.equal(reopened(data).parts[0], before)
    assert len(prepared) == 2


def test_a_file_that_another_replaced_is_read_again(
    data: DataConfig, prepared: list[Documents], tmp_path: Path
) -> None:
    path = Path(str(data.path))
    times = path.stat()
    reopened(data)
    (tmp_path / "new.txt").write_text(TEXT.replace("cat", "cow"))
    os.utime(tmp_path / "new.txt", ns=(times.st_atime_ns, times.st_mtime_ns))  # as `cp -p` leaves them
    (tmp_path / "new.txt").replace(path)
    assert "cow" in reopened(data).vocabulary.tokens
    assert len(prepared) == 2


def test_what_a_killed_process_left_is_removed_after_a_day(data: DataConfig, tmp_path: Path) -> None:
    left = [tmp_path / "cache" / "texts" / f"{cache.UNFINISHED}{name}" for name in ("old", "new")]
    for folder in left:
        folder.mkdir(parents=True)
    os.utime(left[0], (1, 1))
    read_documents(data)
    assert [folder.exists() for folder in left] == [False, True]


@pytest.mark.parametrize("damage", ["header", "archive", "another part", "longer", "a token"])
def test_arrays_that_are_not_what_was_written_are_prepared_anew(
    data: DataConfig, prepared: list[Documents], tmp_path: Path, damage: str
) -> None:
    before = read_documents(data).parts[0].clone()  # which is mapped from the file that is changed
    (file,) = (tmp_path / "cache").rglob("train.npy")
    content = file.read_bytes()
    changed = {
        "header": content.replace(b"}", b" ", 1),
        "archive": b"PK\x03\x04" + content[4:],
        "another part": file.with_name("dev.npy").read_bytes(),
        "longer": content + b"\0",
        "a token": content[:-1] + b"\xff",
    }
    assert changed[damage] != content
    file.write_bytes(changed[damage])
    assert torch.equal(reopened(data).parts[0], before)
    assert len(prepared) == 2
