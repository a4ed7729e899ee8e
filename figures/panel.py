"""A panel: a figure with the words that belong to it, and its safe form inside a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True)
class Panel:
    """A figure and what a reader needs beside it.

    Attributes:
        name: file name without suffix, also the figure's id in the page.
        figure: the plotly figure.
        title: what it shows, as a heading.
        how_to_read: one or two sentences: axes, marks, what to look for.
        n_note: what the intervals are over, and how many seeds, questions and answers.
        alt: one sentence for readers who cannot see it.
    """

    name: str
    figure: go.Figure
    title: str
    how_to_read: str
    n_note: str
    alt: str

    @property
    def height(self) -> int:
        """Height in pixels, so that the page does not jump when the figure is drawn."""
        return int(self.figure.layout.height or 400)  # type: ignore[attr-defined]

    @property
    def json(self) -> str:
        """The figure as JSON that is safe inside a script element."""
        return script_safe(self.figure.to_json(remove_uids=True) or "{}")


def script_safe(json_text: str) -> str:
    """JSON that means the same but can neither end a script element nor open a comment in one."""
    replacements = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for character, escaped in replacements.items():
        json_text = json_text.replace(character, escaped)
    return json_text
