"""The README and docs/: their links, the tables that benchmarks write, and the README's Python."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks import figures, leaderboard, measuring
from tests.helpers import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)


def find_anchors(page: Path) -> set[str]:
    """The headings of a page as GitHub links to them: lower case, hyphens for spaces, no punctuation."""
    headings = re.findall(r"^#+ (.+)$", without_code(read(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = without_code(read(page))
    links = re.findall(r"\]\(([^()\s]+)\)", text) + re.findall(r"<img src=\"([^\"]+)\"", text)
    for link in links:
        if link.startswith("https://"):
            continue
        if workflow := re.fullmatch(r"\.\./\.\./actions/workflows/([\w.]+\.yml)(?:/badge\.svg)?", link):  # on GitHub
            assert page.name == "README.md" and (ROOT / ".github" / "workflows" / workflow[1]).is_file(), link
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.is_file(), link
        if anchor:
            assert anchor in find_anchors(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_that_pages_run_exist(page: Path) -> None:
    for module in re.findall(r"python -m ((?:benchmarks|makemore)[\w.]*\w)", read(page)):
        assert importlib.util.find_spec(module) is not None, module


def test_the_readme_is_one_page() -> None:
    lines = read(ROOT / "README.md").splitlines()
    assert max(len(line) for line in lines if not line.startswith("|")) <= 150
    assert len([word for word in " ".join(lines).split() if re.search(r"\w", word)]) <= 900


def test_the_leaderboards_are_those_of_the_measurements() -> None:
    rows = measuring.kept("leaderboard")
    for page, table in (
        (leaderboard.PAGE, leaderboard.table(rows)),
        (leaderboard.README, leaderboard.short_table(rows)),
    ):
        assert f"{leaderboard.BEGIN}\n{table}\n{leaderboard.END}" in read(page)


def test_every_picture_is_shown_and_made_by_a_command() -> None:
    pictures = {path.name for path in (ROOT / "docs").iterdir() if path.suffix in (".png", ".svg", ".gif")}
    assert pictures == {*figures.ALL, "hparams.png", "explore.png"}  # two screenshots
    shown = " ".join(map(read, PAGES))
    assert all(name in shown for name in pictures)
    for name, arguments in {**figures.RUNS, **figures.SWEEPS}.items():
        command = f"python train.py {'-m ' if name in figures.SWEEPS else ''}{arguments}".strip()
        assert f"`{command}`" in shown, command


def test_pictures_of_kept_results_are_drawn_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "DOCS", tmp_path)
    for name in figures.RESULTS:
        figures.make(name, tmp_path)
        with Image.open(tmp_path / name) as made, Image.open(ROOT / "docs" / name) as shown:
            assert made.size == shown.size
            # Fonts are drawn alike by all versions of matplotlib, but for single pixels.
            apart = np.abs(np.asarray(made.convert("L"), dtype=float) - np.asarray(shown.convert("L"), dtype=float))
            assert (apart > 64).mean() < 0.02


def test_the_python_of_the_readme_runs(trained: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", read(ROOT / "README.md"), re.DOTALL)
    done = subprocess.run([sys.executable, "-c", code], cwd=trained, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"(\S 0\.\d\d\n){5}", done.stdout)
