"""Files that are never half-written, and fingerprints that say what they were made from."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.errors import TurncoatError

if TYPE_CHECKING:
    import pandas as pd

_FINGERPRINT_KEY = b"turncoat.fingerprint"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; on success it is flushed and renamed into place.

    Works for a file or a directory. On any failure the partial output is removed and `path` is as before.

    Raises:
        TurncoatError: the place cannot be written (read-only, no permission, disk full).
    """
    partial = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.partial"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        if partial.is_file():
            with partial.open("rb+") as handle:
                os.fsync(handle.fileno())
        if path.is_dir():
            _remove(path)
        partial.replace(path)
    except BaseException as error:
        _remove(partial)
        known = disk_error(error, path)
        if known is not None:
            raise known from error
        raise


def disk_error(error: BaseException, path: Path) -> TurncoatError | None:
    """The user's version of a failure to write to a disk; None if the error is of another kind."""
    number = getattr(error, "errno", None)
    # safetensors tells the reason in words alone
    if number == errno.ENOSPC or "No space left on device" in str(error):
        return TurncoatError(
            f"The disk is full: {path} could not be written. Free some space and run again; it goes on from here."
        )
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return TurncoatError(f"{path} cannot be written (read-only or no permission). Choose another place with --out.")
    if number in (errno.ENOTDIR, errno.EEXIST):
        return TurncoatError(
            f"{path} cannot be written: a file stands where a folder is needed. Choose another place with --out."
        )
    return None


def _remove(path: Path) -> None:
    import shutil

    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically, with sorted keys, so that equal values give equal bytes."""
    write_text(path, json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def write_table(path: Path, frame: pd.DataFrame, made_from: str = "") -> None:
    """Write a data frame as Parquet, atomically, carrying the fingerprint of what it was made from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(frame, preserve_index=False)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), _FINGERPRINT_KEY: made_from.encode()})
    with replacing(path) as partial:
        pq.write_table(table, partial)


def read_table(path: Path) -> pd.DataFrame:
    """Read a Parquet table.

    Raises:
        TurncoatError: the file is missing or is no readable Parquet file.
    """
    import pandas as pd
    import pyarrow as pa

    try:
        return pd.read_parquet(path)
    except FileNotFoundError:
        raise TurncoatError(f"The table {path} does not exist. Run `turncoat run` on its recipe to make it.") from None
    except (pa.ArrowInvalid, OSError) as error:
        raise TurncoatError(f"The table {path} is damaged ({error}). Delete it and run again to remake it.") from error


def table_fingerprint(path: Path) -> str | None:
    """The fingerprint a table carries; None if it is missing or unreadable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        metadata = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowInvalid):
        return None
    return metadata.get(_FINGERPRINT_KEY, b"").decode()


def fingerprint(*parts: Any) -> str:
    """A short stable hash of JSON-like values (and of anything that prints the same every time)."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """A short hash of a file's bytes."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()[:16]
