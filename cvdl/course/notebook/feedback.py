"""How the course speaks in a notebook: a card, as text and as HTML for light and dark themes."""

from dataclasses import dataclass, field
from html import escape

from cvdl.tables import table

# A symbol and a word carry the meaning; colour only helps. The greys and hues hold 3:1 on white and black.
LOOKS = {
    "right": ("✓", "#2e9e5b"),
    "partly": ("◐", "#b8860b"),
    "wrong": ("✗", "#d2691e"),
    "open": ("○", "#808080"),
}


@dataclass
class Feedback:
    """A headline, rows of a table (strings), and lines of text; `state` is a key of LOOKS."""

    state: str
    headline: str
    lines: list[str] = field(default_factory=list)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    def __repr__(self):
        below = [*table(self.rows), *self.lines]
        return "\n".join([f"{LOOKS[self.state][0]} {self.headline}", *(f"  {line}" for line in below)])

    def _repr_html_(self):
        symbol, colour = LOOKS[self.state]
        cell = "text-align:left;padding:.1em 1em .1em 0;background:transparent;color:inherit;vertical-align:top"
        rows = "".join("<tr>" + "".join(f'<td style="{cell}">{escape(c)}</td>' for c in r) + "</tr>" for r in self.rows)
        rows = f'<table style="border:0;margin:.4em 0">{rows}</table>' if rows else ""
        lines = "".join(f'<div style="margin-top:.3em">{escape(line)}</div>' for line in self.lines)
        return (
            f'<div style="border-left:5px solid {colour};padding:.3em .9em;margin:.3em 0;color:inherit">'
            f"<strong>{symbol} {escape(self.headline)}</strong>{rows}{lines}</div>"
        )


def say(state, headline, *lines):
    """Show a card at once: as rich output in a notebook, printed elsewhere."""
    card = Feedback(state, headline, list(lines))
    if in_notebook():
        from IPython.display import display

        display(card)
    else:
        print(card)


def in_notebook():
    """Is an IPython kernel running this?"""
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    return getattr(get_ipython(), "kernel", None) is not None


def running_cell():
    """The number of the running cell, as in its prompt; None outside a notebook."""
    if not in_notebook():
        return None
    from IPython import get_ipython

    return get_ipython().execution_count


def in_namespace(name):
    """What `name` means in the notebook at present, or None."""
    if not in_notebook():
        return None
    from IPython import get_ipython

    return get_ipython().user_ns.get(name)


def cells_run():
    """The sources of the cells that have been run in this notebook, in order, the current one last."""
    if not in_notebook():
        return []
    from IPython import get_ipython

    return list(get_ipython().history_manager.input_hist_raw)
