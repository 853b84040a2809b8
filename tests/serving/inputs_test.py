import numpy as np
import polars as pl
import pytest

from hlr_jax import InputError
from hlr_jax.serving.inputs import read_histories, read_new_users, read_pairs


def test_histories_are_read_as_logs_are(tmp_path):
    (tmp_path / "h[1].csv").write_text("who,item,what\nann,i1,x\nann,i2,y\n")
    (tmp_path / "h1.csv").write_text("who,item,what\nbob,i1,x\n")
    frame = read_histories(tmp_path / "h[1].csv", user_column="who")
    assert frame.rows() == [("ann", "i1"), ("ann", "i2")]
    assert read_histories(tmp_path, user_column="who", item_column="what").height == 3
    with pytest.raises(InputError, match=r"no\.csv: no such file"):
        read_histories(tmp_path / "no.csv")
    (tmp_path / "half.csv").write_text("user,item\nann,\n")
    with pytest.raises(InputError, match='column "item" is empty'):
        read_histories(tmp_path / "half.csv")


def test_items_of_users_as_a_frame_or_a_dict():
    assert read_pairs({7: [1, 2], 8: 3, 9: []}, "here", is_new=True).rows() == [(7, "1"), (7, "2"), (8, "3")]
    assert read_pairs({7: [1, 2], "ann": 3}, "here").rows() == [("7", "1"), ("7", "2"), ("ann", "3")]
    assert read_pairs({"ann": "12", "bob": np.array([1])}, "here").rows() == [("ann", "12"), ("bob", "1")]
    assert read_pairs({30: ["ann"]}, "here", by="item", is_new=True).select("user", "item").rows() == [("ann", 30)]
    frame = pl.DataFrame({"item": ["1"], "more": [0], "user": ["7"]})
    for given in (frame, frame.lazy(), frame.to_arrow(), frame.to_pandas()):
        assert read_pairs(given, "here").rows() == [("7", "1")]
    with pytest.raises(InputError, match='here: no column "user"'):
        read_pairs(frame.select("item"), "here")
    with pytest.raises(InputError, match="here: None is not an id"):
        read_pairs({7: [None]}, "here")
    with pytest.raises(InputError, match="here: the ids mix texts and whole numbers"):
        read_pairs({7: [1], "7": [2]}, "here", is_new=True)
    with pytest.raises(InputError, match="here: pass ids as a list or a column, not a DataFrame"):
        read_pairs({7: frame}, "here")
    with pytest.raises(InputError, match="here: pass a frame of user and item, or a dict of items by user"):
        read_pairs([("ann", 1)], "here")


def test_one_person_is_called_new():
    for items in ([1, "2"], np.array([1, 2]), pl.Series([1, 2])):
        assert read_new_users(items).rows() == [("new", "1"), ("new", "2")]
    assert read_new_users("12").rows() == [("new", "12")]


def test_a_new_user_without_items_is_named_not_passed_over():
    assert read_new_users({7: [1], 8: 2}).rows() == [(7, "1"), (8, "2")]
    with pytest.raises(InputError, match=r"^histories: 2 of 3 users have no item, such as 8; leave them out, or"):
        read_new_users({7: [1], 8: [], 9: np.array([])})
