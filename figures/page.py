"""Pages that need no network: templates, plotly itself, and a policy that lets nothing else run or load."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from figures.panel import Panel

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, plotly: str | None, **values: Any) -> str:
    """A page from a template of this package; every value is escaped unless it is `Markup`.

    Args:
        template: its file name.
        plotly: plotly's source, inlined once; None if the template loads the file beside it.
        values: what the template names.
    """
    from markupsafe import Markup

    style, draw = _read("style.css"), _read("draw.js")
    inline = [draw] if plotly is None else [plotly, draw]
    return (
        _environment()
        .get_template(template)
        .render(
            policy=policy(inline, beside=plotly is None),
            style=Markup(style),
            draw=Markup(draw),
            plotly=None if plotly is None else Markup(plotly),
            **values,
        )
    )


def policy(inline_scripts: list[str], beside: bool) -> str:
    """A Content-Security-Policy that allows exactly these inline scripts and no request to anywhere.

    With `beside`, scripts from the page's own folder are allowed too.
    """
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in inline_scripts
    )
    own = "'self' file: " if beside else ""
    return (
        f"default-src 'none'; script-src {own}{hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def plotly_script() -> str:
    """The source of plotly.js as this plotly ships it, with newlines as an HTML parser will see them."""
    from plotly.offline import get_plotlyjs

    return get_plotlyjs().replace("\r\n", "\n").replace("\r", "\n")


def figure_page(panel: Panel, plotly_file: str) -> str:
    """A page for one figure, which loads plotly from the file of that name beside it."""
    return render("figure.html.jinja", None, panel=panel, plotly_file=plotly_file)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    from figures.theme import percent
    from figures.wording import number

    environment = Environment(
        loader=PackageLoader("figures", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(number=number, percent=percent)
    return environment


def _read(name: str) -> str:
    return (files("figures") / "templates" / name).read_text(encoding="utf-8").strip() + "\n"
