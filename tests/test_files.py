import json
import math

from makemore import files


def test_what_is_not_finite_becomes_null() -> None:
    values = {"loss": math.nan, "rows": [{"p": math.inf}, (1.5, 2)], "name": "nan"}
    assert json.loads(files.to_json(values)) == {"loss": None, "rows": [{"p": None}, [1.5, 2]], "name": "nan"}
