"""The notebooks run from top to bottom, and what is stored in them is what they show."""

import re
from pathlib import Path

import pytest
from nbformat import NotebookNode, read

from notebooks.execute import METADATA, NOTEBOOKS, execute
from tests.helpers import ROOT
from tests.test_pages import find_anchors

SMALL = 700_000  # bytes
NUMBER = r"-?\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?"


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> NotebookNode:
    return read(request.param, as_version=4)


def shown(cell: NotebookNode) -> str:
    """What a cell shows as text: printed, as its value, or as an error."""
    outputs = cell.get("outputs", [])
    return "\n".join(
        each.get("text", "") + each.get("evalue", "") + each.get("data", {}).get("text/plain", "") for each in outputs
    )


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(NUMBER, text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_shows_what_is_stored_in_it(path: Path) -> None:
    stored = read(path, as_version=4)
    for old, new in zip(stored.cells, execute(path).cells, strict=True):
        kinds, stored_kinds = ([output.output_type for output in cell.get("outputs", [])] for cell in (new, old))
        assert kinds == stored_kinds, new.source
        # Processors round differently: after thousands of steps losses differ in their third digit.
        assert numbers(shown(new)) == pytest.approx(numbers(shown(old)), rel=0.02, abs=0.02), new.source


def test_every_cell_is_stored_with_its_output_and_nothing_of_the_machine(notebook: NotebookNode) -> None:
    assert notebook.metadata == METADATA
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert set(cell.metadata) <= {"tags"}
        assert not re.search(r"/(tmp|home|root)/|outputs/\d", shown(cell)), cell.source
        wanted = "raises-exception" in cell.metadata.get("tags", [])
        assert wanted == any(output.output_type == "error" for output in cell.outputs), cell.source


def test_notebooks_are_small_enough_to_be_read_on_the_web() -> None:
    assert len(NOTEBOOKS) == 2
    assert all(path.stat().st_size < SMALL for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_links_of_notebooks_lead_somewhere(path: Path) -> None:
    text = "\n".join(cell.source for cell in read(path, as_version=4).cells if cell.cell_type == "markdown")
    links = [link for link in re.findall(r"\]\(([^()\s]+)\)", text) if not link.startswith("https://")]
    assert links
    for link in links:
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve()
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in find_anchors(target), link


def test_the_own_network_takes_twenty_lines() -> None:
    cells = read(ROOT / "notebooks" / "your_own_network.ipynb", as_version=4).cells
    (code,) = [cell.source for cell in cells if "class Gated" in cell.source]
    assert len([line for line in code.splitlines() if line.strip()]) == 20


def test_the_lecture_reproduces_its_losses() -> None:
    cells = read(ROOT / "notebooks" / "lecture.ipynb", as_version=4).cells
    text = "\n".join(map(shown, cells))
    for loss in ("17.7697", "13.6564", "4.4147", "0.3367", "0.2561"):
        assert loss in text
