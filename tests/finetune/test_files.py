from pathlib import Path

import pandas as pd
import pytest

from finetune.errors import TurncoatError
from finetune.files import fingerprint, read_table, replacing, table_fingerprint, write_json, write_table, write_text


def test_a_failure_leaves_the_old_file_and_no_trace(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_replaces_a_folder_as_a_whole(tmp_path: Path) -> None:
    for names in (("a", "b"), ("c",)):
        with replacing(tmp_path / "folder") as partial:
            partial.mkdir()
            for name in names:
                (partial / name).write_text(name)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["c"]


def test_a_table_carries_what_it_was_made_from(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": [1, 2], "b": [0.5, None], "c": ["x", "y"]})
    write_table(tmp_path / "t.parquet", frame, "made-from-this")
    pd.testing.assert_frame_equal(read_table(tmp_path / "t.parquet"), frame)
    assert table_fingerprint(tmp_path / "t.parquet") == "made-from-this"
    assert table_fingerprint(tmp_path / "none.parquet") is None


def test_a_truncated_table_is_one_clear_sentence(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    write_table(path, pd.DataFrame({"a": range(100)}))
    path.write_bytes(path.read_bytes()[:-20])
    assert table_fingerprint(path) is None
    with pytest.raises(TurncoatError, match=r"damaged.*run again"):
        read_table(path)


def test_a_place_under_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TurncoatError, match="a file stands where a folder is needed"):
        write_text(tmp_path / "file" / "below", "x")


def test_equal_values_give_equal_bytes_and_hashes(tmp_path: Path) -> None:
    write_json(tmp_path / "one", {"b": 1, "a": [2.5, "ü"]})
    write_json(tmp_path / "two", {"a": [2.5, "ü"], "b": 1})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert fingerprint({"b": 1, "a": 2}) == fingerprint({"a": 2, "b": 1}) != fingerprint({"a": 2, "b": 2})
