import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from makemore.inference import page
from makemore.models import model_file
from tests.helpers import Train, refused


def data_of(path: Path) -> Any:
    (data,) = re.findall(r'id="run">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL)
    return json.loads(data)


def test_a_run_leaves_the_page_that_is_written_for_it_later(train: Train, few_names: Path) -> None:
    run = train("data=text", f"data.path={few_names}", "steps=20", "logger=none", "callbacks=[none,explore]")
    path = run.folder / page.NAME
    data = data_of(path)
    assert data["devLoss"] == run.metrics["best_dev_loss"]
    path.unlink()
    trained = model_file.load(run.folder)
    assert page.write_page(trained, run.folder / model_file.NAME) == path
    assert data_of(path) == data | {"devLoss": pytest.approx(data["devLoss"], abs=1e-6)}
    with refused("few_names.txt", "no longer holds"):
        page.write_page(replace(trained, held_out=["0", "0"]), path)
    with refused("nowhere/explore.html", "cannot be written"):
        page.write_page(trained, run.folder / "nowhere" / model_file.NAME)


def test_a_run_without_such_a_network_goes_on_without_the_page(
    train: Train, few_names: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        run = train("data=text", f"data.path={few_names}", "logger=none", "model=ngram", "callbacks=[none,explore]")
    assert not (run.folder / page.NAME).exists()
    assert [record for record in caplog.messages if page.NAME in record and "model=ngram" in record]
    with refused("explore=true", "model=ngram"):
        page.write_page(model_file.load(run.folder), run.folder / model_file.NAME)
