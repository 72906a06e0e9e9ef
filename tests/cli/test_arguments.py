from pathlib import Path

import pytest

from makemore.cli.arguments import is_sweep, quote


@pytest.mark.parametrize(
    ("typed", "quoted"),
    [
        ("checkpoint=a=b,c", 'checkpoint="a=b,c"'),
        ("against=a=b,c", 'against="a=b,c"'),
        ("data.dev_path=my file", 'data.dev_path="my file"'),
        ("neighbours=[the,of ]", 'neighbours=["the","of"]'),
        ("data.path=my file (1).txt", 'data.path="my file (1).txt"'),
        ("prefix=1", 'prefix="1"'),
        ('prefix=a"b', 'prefix="a\\"b"'),
        ("prefix=null", 'prefix="null"'),
        ("prefix=a\\", 'prefix="a\\\\"'),
        ("prefix=${n}", 'prefix="\\${n}"'),
        ("prefix='x'", "prefix='x'"),
        ("prefix", "prefix"),
        ("steps=3", "steps=3"),
        ("checkpoint=null", "checkpoint=null"),
        ("words=[zoë, null,a b]", 'words=["zoë","null","a b"]'),
        ("words=['x','y z']", "words=['x','y z']"),
        ("words=[]", "words=[]"),
    ],
)
def test_paths_and_parts_of_names_may_contain_any_character(typed: str, quoted: str) -> None:
    assert quote([typed]) == [quoted]


def test_a_list_of_paths_may_contain_runs_of_a_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for run in ("0_a=1,b=2", "1_a=1,b=3", "plain"):
        (tmp_path / run).mkdir()
    assert quote(["key=[0_a=1,b=2,plain,1_a=1,b=3]"]) == ['key=["0_a=1,b=2","plain","1_a=1,b=3"]']
    assert quote(["key=[plain,nowhere]", "key=plain"]) == ["key=[plain,nowhere]", "key=plain"]


@pytest.mark.parametrize("flag", ["-m", "--multirun", "--multi", "hydra.mode=MULTIRUN"])
def test_a_sweep_separates_values_by_commas(flag: str) -> None:
    assert is_sweep([flag, "data.path=a,b"])
    assert quote([flag, "data.path=a,b"]) == [flag, "data.path=a,b"]
    assert not is_sweep(["--cfg", "job", "seed=1,2"])
