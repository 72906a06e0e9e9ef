from pathlib import Path

from hydra_plugins.makemore_launcher.ray import pack, unpack
from tests.helpers import composed
from tests.sweeps.made import begin, leave


def test_a_run_comes_home_whole_and_overwrites_nothing(tmp_path: Path) -> None:
    away, home = tmp_path / "away", tmp_path / "home"
    run = begin(away, "model.hidden=5")
    leave(run, composed("model.hidden=5"))
    (run / "best.ckpt").write_bytes(bytes(range(256)))
    packed = pack(run)
    unpack(packed, home)
    files = {path.relative_to(away): path.read_bytes() for path in away.rglob("*") if path.is_file()}
    assert {path.relative_to(home): path.read_bytes() for path in home.rglob("*") if path.is_file()} == files
    (home / run.name / "best.ckpt").write_text("mine")
    unpack(packed, home)
    assert (home / run.name / "best.ckpt").read_text() == "mine"
