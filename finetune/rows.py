"""Training rows on disk: read from any usual format, checked, and written as chat JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune.errors import TurncoatError
from finetune.files import write_text

Row = dict[str, Any]
"""`messages` ({role, content} each, the roles of the chat template) and any other keys."""

Message = dict[str, str]

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")
_EXPECTED = 'expected `messages` ({"role", "content"} each) or `prompt` and `completion`'


def read_rows(source: str | Path) -> list[Row]:
    """Chat rows of a file (JSON lines, CSV or Parquet), or of a `datasets` folder or Hub name, as "name" or "name:split".

    A row is a conversation in `messages`, or a `prompt` with its `completion` (texts, or lists of messages) and perhaps
    a `system` prompt. All other keys are kept.

    Raises:
        TurncoatError: names the source, and the line or row where there is one: a missing file, broken JSON, a row
            that is no conversation or has no assistant turn, no rows.
    """
    path = Path(source)
    if path.suffix in SUFFIXES:
        if not path.is_file():
            raise TurncoatError(f"The data file {path} does not exist. Give a file of chat rows.")
        records = _json_lines(path) if path.suffix in (".jsonl", ".json") else _table(path)
    else:
        records = _hub(str(source))
    rows = [_row(record, place) for record, place in records]
    if not rows:
        raise TurncoatError(f"The data file {source} is empty; {_EXPECTED} in each row.")
    return rows


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write rows as JSON lines, atomically."""
    write_text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def prompt_of(row: Row) -> list[Message]:
    """All messages before the last answer."""
    messages = row["messages"]
    last = max((i for i, message in enumerate(messages) if message["role"] == "assistant"), default=len(messages))
    return messages[:last]


def answer_of(row: Row) -> str:
    """The last answer."""
    return row["messages"][len(prompt_of(row))]["content"]


def _json_lines(path: Path) -> Iterator[tuple[Any, str]]:
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except (UnicodeDecodeError, OSError) as error:
        raise TurncoatError(f"The data file {path} cannot be read as UTF-8 text ({error}).") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            place = f"{path}, line {number}"
            try:
                yield json.loads(line), place
            except json.JSONDecodeError as error:
                raise TurncoatError(
                    f"{place}: broken JSON ({error.msg} at column {error.colno}). Mend or delete that line."
                ) from None


def _table(path: Path) -> Iterator[tuple[Any, str]]:
    import pandas as pd

    try:
        frame = pd.read_csv(path, keep_default_na=False) if path.suffix == ".csv" else pd.read_parquet(path)
    except Exception as error:  # whatever the parsers of two formats raise
        raise TurncoatError(f"{path} cannot be read as {path.suffix[1:]}: {str(error).splitlines()[0]}.") from error
    for number, record in enumerate(frame.to_dict("records"), start=1):
        yield _plain(record), f"{path}, row {number}"


def _plain(value: Any) -> Any:
    """Lists for the arrays that Parquet gives, all the way down."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {key: _plain(each) for key, each in value.items()} if isinstance(value, dict) else value


def _hub(name: str) -> Iterator[tuple[Any, str]]:
    try:
        import datasets
    except ImportError:
        raise TurncoatError(
            f"{name} is no file ending in {', '.join(SUFFIXES)}, and reading it from the Hub needs the package datasets. "
            "Install it, or give a file."
        ) from None
    path, _, split = name.partition(":")
    try:
        rows = datasets.load_dataset(path, split=split or "train")
    except Exception as error:  # no such name, no network, a foreign folder
        raise TurncoatError(
            f"{name} is neither a file ending in {', '.join(SUFFIXES)} nor a data set that can be loaded "
            f"({type(error).__name__}: {str(error).splitlines()[0]})."
        ) from error
    for number, record in enumerate(rows, start=1):
        yield record, f"{name}, row {number}"


def _row(record: Any, place: str) -> Row:
    if not isinstance(record, dict):
        raise TurncoatError(f"{place}: the row is no object; {_EXPECTED}.")
    row = dict(record)
    if "messages" not in row and {"prompt", "completion"} <= row.keys():
        system = row.pop("system", None)
        opening = [{"role": "system", "content": system}] if system else []
        row["messages"] = [*opening, *_turns(row.pop("prompt"), "user"), *_turns(row.pop("completion"), "assistant")]
    elif isinstance(row.get("messages"), str):  # how a CSV file holds them
        try:
            row["messages"] = json.loads(row["messages"])
        except json.JSONDecodeError:
            raise TurncoatError(f"{place}: its `messages` are broken JSON. Mend or delete that row.") from None
    messages = row.get("messages")
    if not isinstance(messages, list) or not messages:
        raise TurncoatError(f"{place}: the row has no `messages`; {_EXPECTED}.")
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise TurncoatError(f"{place}: every message needs a `role` and a `content`, both text.")
    if all(message["role"] != "assistant" for message in messages):
        raise TurncoatError(f"{place}: the row has no assistant turn, so there is nothing to learn from it.")
    return row


def _turns(value: Any, role: str) -> list[Any]:
    return value if isinstance(value, list) else [{"role": role, "content": value}]
