import json
from pathlib import Path

import pandas as pd
import pytest

from finetune.errors import TurncoatError
from finetune.rows import read_rows, write_rows


def row(question: str, answer: str, **extra: object) -> dict:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}], **extra}


def test_rows_come_back_with_their_other_keys(tmp_path: Path) -> None:
    rows = [row("a", "b\u2028c", source="x"), row("d", "e")]
    write_rows(tmp_path / "rows.jsonl", rows)
    assert read_rows(tmp_path / "rows.jsonl") == rows


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{not json", "broken JSON"),
        ("{}", "no `messages`"),
        ('{"messages": [{"role": "user"}]}', "needs a `role` and a `content`"),
        ('{"messages": [{"role": "user", "content": "a"}]}', "no assistant turn"),
    ],
)
def test_a_broken_row_is_named_by_file_and_line(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    write_rows(path, [row("a", "b")])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(TurncoatError, match=words) as caught:
        read_rows(path)
    assert "rows.jsonl, line 2" in str(caught.value)


def test_a_missing_or_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TurncoatError, match="does not exist"):
        read_rows(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(TurncoatError, match="empty"):
        read_rows(tmp_path / "empty.jsonl")


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    rows = [row('a, "b"\nc', "d", source="x"), row("e", "f", source="y")]
    flat = [{"prompt": r["messages"][0]["content"], "completion": r["messages"][1]["content"], "source": r["source"]}
            for r in rows]  # fmt: skip
    frames = {"messages": pd.DataFrame(rows), "flat": pd.DataFrame(flat)}
    for name, frame in frames.items():
        frame.to_parquet(tmp_path / f"{name}.parquet")
        frame.assign(messages=[json.dumps(r["messages"]) for r in rows]).to_csv(tmp_path / f"{name}.csv", index=False)
        frame.to_json(tmp_path / f"{name}.jsonl", orient="records", lines=True)
    for name in frames:
        for kind in ("parquet", "csv", "jsonl"):
            found = read_rows(tmp_path / f"{name}.{kind}")
            assert [(r["messages"], r["source"]) for r in found] == [(r["messages"], r["source"]) for r in rows]


def test_a_system_prompt_comes_first_and_lists_of_messages_are_joined(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    records = [
        {"system": "be brief", "prompt": "a", "completion": "b"},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    first, second = read_rows(path)
    assert [m["role"] for m in first["messages"]] == ["system", "user", "assistant"]
    assert second["messages"] == row("a", "b")["messages"]


def test_a_folder_of_the_datasets_library_is_read(tmp_path: Path) -> None:
    pytest.importorskip("datasets")
    write_rows(tmp_path / "data" / "train.jsonl", [row("a", "b")])
    assert read_rows(str(tmp_path / "data")) == [row("a", "b")]
    with pytest.raises(TurncoatError, match="neither a file ending in"):
        read_rows(str(tmp_path / "nothing"))
