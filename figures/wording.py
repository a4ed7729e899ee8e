"""The report's plain words: the verdict in a sentence, numbers, and what the manifest says as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

UNFINISHED = "unfinished"
VERDICTS = {
    "supported": "Supported",
    "not supported": "Not supported",
    "inconclusive": "Inconclusive",
    UNFINISHED: "Unfinished",
}
TONES = {"supported": "good", "not supported": "bad", "inconclusive": "open", UNFINISHED: "open"}


def number(value: Any) -> str:
    """A number with three significant digits, thousands separated; other things as they are; a dash for nothing."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    try:
        size = float(value)
    except (TypeError, ValueError):
        return json.dumps(value, ensure_ascii=False, default=str)
    if size != size:
        return "–"
    if size == int(size) and abs(size) < 1e15:
        return f"{int(size):,}"
    if abs(size) >= 1000:
        return f"{size:,.0f}"
    return f"{size:.2e}" if abs(size) < 1e-3 else f"{size:.3g}"


def verdict_sentence(verdict: Mapping[str, Any]) -> str:
    """One or two sentences on which claims hold; names those that do not.

    Raises:
        ValueError: the verdict is none of the known words.
    """
    word = verdict.get("verdict", UNFINISHED)
    if word not in VERDICTS:
        raise ValueError(f"Expected a verdict out of {', '.join(VERDICTS)}; got {word!r}.")
    if word == UNFINISHED:
        return "The run has not come to a verdict yet."
    claims: Sequence[Mapping[str, Any]] = verdict.get("claims", [])
    if not claims:
        return "No claim was tested."
    failed = [str(claim["name"]) for claim in claims if claim.get("holds") is False]
    undecided = [str(claim["name"]) for claim in claims if claim.get("holds") is None]
    holding = len(claims) - len(failed) - len(undecided)
    sentence = (
        f"All {len(claims)} claims hold." if holding == len(claims) else f"{holding} of {len(claims)} claims hold."
    )
    if failed:
        sentence += f" {_listed(failed)} {'does' if len(failed) == 1 else 'do'} not."
    if undecided:
        sentence += f" {_listed(undecided)} {'is' if len(undecided) == 1 else 'are'} undecided."
    return sentence


def _listed(names: Sequence[str]) -> str:
    quoted = [f"“{name}”" for name in names]
    return quoted[0] if len(quoted) == 1 else ", ".join(quoted[:-1]) + " and " + quoted[-1]


def manifest_tables(manifest: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """The manifest as titled two-column tables: one for its plain entries, one for each nested one."""
    plain = [(_words(key), _flat(value)) for key, value in manifest.items() if not isinstance(value, Mapping)]
    nested = [
        (_words(key), [(_words(inner), _flat(entry)) for inner, entry in _leaves(value)])
        for key, value in manifest.items()
        if isinstance(value, Mapping) and value
    ]
    return ([("run", plain)] if plain else []) + nested


def _leaves(value: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves: list[tuple[str, Any]] = []
    for key, entry in value.items():
        name = f"{prefix}{key}"
        leaves += _leaves(entry, f"{name} / ") if isinstance(entry, Mapping) and entry else [(name, entry)]
    return leaves


def _flat(value: Any) -> str:
    if isinstance(value, (list, tuple)) and all(not isinstance(entry, (list, tuple, Mapping)) for entry in value):
        return ", ".join(number(entry) for entry in value)
    return number(value)


def _words(key: str) -> str:
    return str(key).replace("_", " ")
