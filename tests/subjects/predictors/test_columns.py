"""Tables as numbers and back: each record comes back as the file had it."""

from __future__ import annotations

from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import pytest

from testbed.core.errors import InputError
from testbed.subjects.predictors.columns import Coding
from testbed.subjects.predictors.given_form import Form

CSV = """sex,age,bmi,ca,since,code,smokes,weight
female,63,24.5,0,2015-03-01,9007199254740993,True,1
male,41,,1,2016-11-30,9007199254740995,False,2
,58,31.25,,2014-01-15,9007199254740997,True,1
male,70,22.125,2,,9007199254740999,False,1
"""


def table() -> pd.DataFrame:
    frame = pd.read_csv(StringIO(CSV))
    more = [frame.assign(age=frame.age + i, bmi=frame.bmi + i) for i in range(10)]
    return pd.concat(more, ignore_index=True)


def coded(frame: pd.DataFrame, other: pd.DataFrame | None = None, **forms: Any) -> tuple[Coding, Any]:
    made = Coding.of({"members": frame, "controls": frame if other is None else other}, [*frame.columns])
    made = Coding(made.columns, Form(**forms), made.hidden)
    return made, made.given(made.encoded(frame))


def test_records_come_back_as_they_were_in_the_file() -> None:
    made, back = coded(table())
    pd.testing.assert_frame_equal(back, table())
    x = made.encoded(table())
    assert np.isfinite(x).all()
    assert x.shape[1] == len(made.features) == 9
    assert made.features[2:4] == ("bmi", "bmi is missing")


@pytest.mark.parametrize("dtype", ["Int64", "boolean", "string", "category", "datetime64[ns]", "float32", "bool"])
def test_columns_of_other_kinds_keep_their_kind(dtype: str) -> None:
    values: dict[str, list[Any]] = {
        "Int64": [1, None, 3, 4],
        "boolean": [True, None, False, True],
        "string": ["a", None, "b", "a"],
        "category": ["a", None, "b", "a"],
        "datetime64[ns]": ["2020-01-01", None, "2021-05-05", "2020-01-01"],
        "float32": [0.1, 0.2, 0.3, 0.4],
        "bool": [True, False, True, True],
    }
    frame = pd.DataFrame({"a": pd.Series(values[dtype]).astype(dtype)})
    _, back = coded(frame)
    if dtype == "float32":
        np.testing.assert_array_equal(back.a.astype(np.float32), frame.a)
    else:
        pd.testing.assert_frame_equal(back, frame)


def test_words_may_be_given_as_categories_and_dates_as_dates() -> None:
    _, back = coded(table(), categories=True, dates=True)
    assert list(back.sex.cat.categories) == ["female", "male"]
    assert back.sex.isna().sum() == 10
    assert back.since.dtype == "datetime64[ns]"
    assert back.since.isna().sum() == 10


def test_categories_of_the_members_come_first_as_their_own_table_orders_them() -> None:
    members, controls = pd.DataFrame({"a": ["b", "c", "b"]}), pd.DataFrame({"a": ["a", "b"]})
    _, back = coded(members, controls, categories=True)
    assert list(back.a.cat.categories) == ["b", "c", "a"]


def test_numbers_beside_words_of_another_table_are_the_same_words() -> None:
    """A column of codes is read as numbers from a file in which no code has a letter."""
    members, controls = pd.DataFrame({"a": ["1", "B2", "3"]}), pd.DataFrame({"a": [1.0, np.nan, 3.0]})
    made, _ = coded(members, controls)
    assert made.given(made.encoded(controls)).a.tolist()[::2] == ["1", "3"]


def test_words_in_a_column_of_numbers_are_refused() -> None:
    members, controls = pd.DataFrame({"a": [1.5, 2.5]}), pd.DataFrame({"a": ["1.5", "unknown"]})
    with pytest.raises(InputError, match="TB-SUBJECT-039") as refused:
        coded(members, controls)
    assert "unknown'" not in str(refused.value)


def test_an_invented_record_gets_values_that_occur() -> None:
    made, _ = coded(table())
    x = made.encoded(table()) + 0.3
    back = made.given(x)
    assert set(back.sex.dropna()) <= {"male", "female"}
    assert back.age.tolist() == pytest.approx((table().age + 0.3).tolist())


def test_weights_follow_the_columns_and_are_not_given_to_the_model() -> None:
    frame = table()
    made = Coding.of({"members": frame}, ["sex", "age"]).weighing("weight")
    x = made.encoded(frame)
    assert x[:, -1].tolist() == frame.weight.tolist()
    assert made.features == ("sex", "age")
    pd.testing.assert_frame_equal(made.given(x), frame[["sex", "age"]])
