import hashlib
import os
import tracemalloc
from pathlib import Path

import pooch
import pytest
import requests

from makemore.config.schema import DataConfig, Source
from makemore.data import corpus
from tests.helpers import refused


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "text.txt"
    path.write_bytes(content)
    return path


def test_bundled_list_is_the_public_one_of_2018() -> None:
    digest = hashlib.sha256(corpus.BUNDLED.read_bytes()).hexdigest()
    assert digest == "a311634f5113663f131a60cd0c76afb8420199991dbd9045773b8a2949ada835"
    assert len(corpus.read(corpus.BUNDLED)) == 32_178


def test_lecture_list_has_32033_names_of_which_2539_occur_twice(lecture_names: Path) -> None:
    names = corpus.read(lecture_names)
    assert len(names) == 32_033
    assert len(names) - len(set(names)) == 2_539


def test_documents_are_stripped_lines_and_blank_ones_are_left_out(tmp_path: Path) -> None:
    path = written(tmp_path, "\ufeff emma\r\n\r\n  mary ann \nst. ives\nzoë\r名前\u2028x\n\n".encode())
    assert corpus.read(path) == ["emma", "mary ann", "st. ives", "zoë", "名前\u2028x"]


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"", ""),
        (b" \n\n", ""),
        (b"em\0ma", ""),
        ("zoë\nj\u00f6rg".encode("latin-1"), "line 1"),
    ],
)
def test_unusable_files_are_named_with_what_is_wrong(tmp_path: Path, content: bytes, named: str) -> None:
    path = written(tmp_path, content)
    with refused(path, named):
        corpus.read(path)


def test_missing_file_and_folder_are_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "nowhere.txt", tmp_path, tmp_path / ("x" * 300), Path("/dev/zero"), tmp_path / "pipe"):
        with refused(path):
            corpus.read(path)


def test_blank_lines_take_no_memory(tmp_path: Path) -> None:
    path = written(tmp_path, 300_000 * b" \n\r\n" + b"emma\n" + 300_000 * b"\n" + b"ava")
    tracemalloc.start()
    assert corpus.read(path) == ["emma", "ava"]
    assert tracemalloc.get_traced_memory()[1] < 6 * path.stat().st_size
    tracemalloc.stop()


def test_a_file_that_does_not_fit_into_memory_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.touch()
    os.truncate(path, 2**43)  # without content on the disk
    with refused(path, f"{2 * 2**43 / 1e9:,.0f} GB"):
        corpus.read(path)


@pytest.mark.skipif(not Path("/proc/kmsg").exists(), reason="this system has no /proc")
def test_a_file_of_the_kernel_that_never_ends_is_refused() -> None:
    with refused("/proc/kmsg"):
        corpus.read(Path("/proc/kmsg"))


class TestLectureList:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cached = tmp_path / "names.txt"
        monkeypatch.setattr(pooch, "os_cache", lambda _: tmp_path)
        self.data = DataConfig(source=Source.makemore, path=None)

    def test_offline_names_the_url_the_place_for_the_file_and_the_bundled_list(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def offline(*args: object, **kwargs: object) -> None:
            raise requests.ConnectionError

        monkeypatch.setattr(requests, "get", offline)
        with refused(corpus.MAKEMORE_URL, self.cached, "data=names"):
            corpus.locate(self.data)

    def test_file_put_there_by_hand_is_used_without_a_download(self, lecture_names: Path) -> None:
        self.cached.write_bytes(lecture_names.read_bytes())
        assert corpus.locate(self.data) == [self.cached]

    def test_another_file_in_its_place_is_refused_and_left_alone(self) -> None:
        self.cached.write_text("emma\n")
        with refused(self.cached, corpus.MAKEMORE_SHA256):
            corpus.locate(self.data)
        assert self.cached.read_text() == "emma\n"
