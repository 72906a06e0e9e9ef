"""A text file is read piece by piece, so that memory does not limit its size.

Its documents are its stripped lines without the empty ones, or it is a single one that runs over all lines.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from makemore.config.schema import DataConfig, Source
from makemore.data import brown
from makemore.errors import FileError, UserError
from makemore.memory import check_memory

PIECE = 2**20  # characters read at a time
BUNDLED = Path(__file__).parent / "bundled" / "names.txt"
MAKEMORE_URL = "https://raw.githubusercontent.com/karpathy/makemore/master/names.txt"
MAKEMORE_SHA256 = "0a30b5557f192f32ab962680889aac5f6fda0f4cecf40a6d0b5694f58ea8cc4d"
DOWNLOADS = {Source.makemore: (MAKEMORE_URL, MAKEMORE_SHA256), Source.brown: (brown.URL, brown.SHA256)}


def locate(data: DataConfig) -> list[Path]:
    """The text's file, or those of train, dev and test; raises UserError if one cannot be downloaded."""
    if data.source is Source.names:
        return [BUNDLED]
    if data.path is not None:
        given = [path for path in (data.path, data.dev_path, data.test_path) if path is not None]
        paths = [Path(os.path.expanduser(path)) for path in given]  # noqa: PTH111 (Path's raises where there is no such user)
        if data.source is Source.brown and not is_brown(paths[0]):
            raise UserError(f"data=brown data.path={data.path} must be NLTK's brown.zip; data=text reads other texts")
        return paths
    url, digest = DOWNLOADS[data.source]
    return [download(data.source, url, digest)]


def is_brown(path: Path) -> bool:
    """Whether a file is read as NLTK's Brown corpus: by its suffix alone, also with data=text."""
    return path.suffix.lower() == ".zip"


def name_wanted(path: Path) -> str:
    """What to name instead of a file that is not usable."""
    return "name NLTK's brown.zip" if is_brown(path) else "name a UTF-8 text file, one document per line"


def download(source: Source, url: str, digest: str) -> Path:
    """Downloads a file into the cache unless it is there; raises UserError if that fails, or the SHA-256 differs."""
    import pooch
    import requests

    cached = Path(pooch.os_cache("makemore")) / url.rpartition("/")[2]
    instead = (
        "use the bundled list: data=names"
        if source is Source.makemore
        else "name a copy of your own: data.path=brown.zip"
    )
    if not cached.exists():
        try:
            pooch.retrieve(url, f"sha256:{digest}", fname=cached.name, path=cached.parent)
        except (requests.RequestException, OSError, ValueError) as error:
            raise UserError(
                f"data={source.value}: {url} could not be downloaded ({type(error).__name__}); "
                f"save it by hand as {cached}, or {instead}"
            ) from error
    if hashlib.sha256(cached.read_bytes()).hexdigest() != digest:
        raise UserError(
            f"data={source.value}: {cached} is not the file that was downloaded from {url} (SHA-256 {digest}); "
            f"move it away to download it anew, or {instead}"
        )
    return cached


@contextlib.contextmanager
def name_keys(data: DataConfig) -> Iterator[None]:
    """Adds the key that named a file, such as data.dev_path, to an error about it."""
    try:
        yield
    except FileError as error:
        for key in ("path", "dev_path", "test_path"):
            given = getattr(data, key)
            if given is not None and Path(os.path.expanduser(given)) == error.path:  # noqa: PTH111
                raise UserError(f"data.{key}={given} {error.why}") from None
        raise


def check(path: Path) -> None:
    """Raises UserError for what is not a file that can be read, without reading it."""
    with explain_failed_reads(path):
        if path.exists() and not (path.is_file() or path.is_dir()):
            raise FileError(path, f"is a device or a pipe; {name_wanted(path)}")
        if path.is_file() and path.stat().st_size == 0:  # as those of /proc, some of which never end
            raise FileError(path, f"is empty; {name_wanted(path)}")
        with path.open("rb"):
            # Lines are held as ids twice, in the order of the file and in that of the splits.
            check_memory(2 * path.stat().st_size, f"{path}", "take a part of it")


@contextlib.contextmanager
def explain_failed_reads(path: Path) -> Iterator[None]:
    """Turns an error of the file system into a UserError."""
    try:
        yield
    except OSError as error:
        raise FileError(path, f"cannot be read: {error.strerror}; {name_wanted(path)}") from None


def read(path: Path) -> list[str]:
    """The documents of a UTF-8 text file, a line each. Raises UserError if it is unusable."""
    return [document for piece in read_lines(path) for document in piece]


def read_lines(path: Path) -> Iterator[list[str]]:
    """The stripped lines of a UTF-8 text file piece by piece, without the empty ones. Raises UserError if unusable."""
    empty = True
    for text in read_pieces(path, "\n"):
        # Blank lines go first: as strings they would take fifty times the memory.
        lines = re.sub(r"\n\s+", "\n", text).split("\n")
        if documents := [document for document in map(str.strip, lines) if document]:
            empty = False
            yield documents
    if empty:
        raise FileError(path, "holds no documents; it must have at least one line that is not blank")


def read_pieces(path: Path, separator: str | None) -> Iterator[str]:
    r"""The text of a UTF-8 file in pieces that end where one of the separator's characters stands, or anywhere.

    Line feeds alone end a line: `\r\n` and `\r` become one, form feeds and Unicode's own separators stay. Raises
    UserError if the file is unusable.
    """
    check(path)
    if is_brown(path):
        yield from brown.read(path)
        return
    rest: list[str] = []
    with explain_failed_reads(path), path.open(encoding="utf-8-sig") as file:
        try:
            while text := file.read(PIECE):
                if "\0" in text:
                    raise FileError(path, f"is binary (it holds NUL bytes); {name_wanted(path)}")
                cut = len(text) if separator is None else max(map(text.rfind, separator)) + 1
                if cut > 0:
                    yield "".join([*rest, text[:cut]])
                    rest = []
                rest.append(text[cut:])
        except UnicodeDecodeError:
            line = find_undecodable_line(path)
            raise FileError(path, f"is not UTF-8: see line {line}; convert it to UTF-8 first") from None
    if any(rest):
        yield "".join(rest)


def find_undecodable_line(path: Path) -> int:
    """The number of the first line that is not UTF-8."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    return 1
