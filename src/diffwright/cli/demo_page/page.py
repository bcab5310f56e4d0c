"""The demo's web page: one HTML file with style and pictures inside."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from string import Template

import numpy as np

from diffwright.core.images import enlarge, to_pil


@dataclass(frozen=True)
class Shot:
    """One picture, or words in its place, with a caption.

    Attributes:
        caption: Under it.
        image: uint8 (H, W, 3), or None where words stand.
        words: Shown in place of a picture.
        verdicts: (what, right) pairs, shown as marks.
    """

    caption: str
    image: np.ndarray | None = None
    words: str = ""
    verdicts: Sequence[tuple[str, bool]] = ()


@dataclass(frozen=True)
class Figure:
    """A measured figure beside what it would be without the method.

    Attributes:
        value: With its unit, e.g. ``93 %``.
        name: What was measured.
        control: The control's value with its unit.
        control_name: What the control is.
    """

    value: str
    name: str
    control: str
    control_name: str


@dataclass(frozen=True)
class Chapter:
    """What one system shows: a tile on the first screen and pictures below.

    Attributes:
        key: Anchor on the page, one word.
        title: A few words.
        before: Left picture of the tile.
        ours: Middle picture of the tile.
        truth: Right picture of the tile.
        figure: The tile's figure.
        command: What to type to do the same.
        text: A sentence or two over the pictures.
        rows: Pictures, row by row, each row with its heading.
        facts: (name, value) pairs under the pictures.
    """

    key: str
    title: str
    before: Shot
    ours: Shot
    truth: Shot
    figure: Figure
    command: str
    text: str
    rows: Sequence[tuple[str, Sequence[Shot]]] = ()
    facts: Sequence[tuple[str, str]] = field(default=())


def page(chapters: Sequence[Chapter], missing: str, footer: Sequence[tuple[str, str]]) -> str:
    """Write the page.

    Args:
        chapters: In the order of the tour.
        missing: One line on what is not built yet, or nothing.
        footer: (name, value) pairs on how the page was made.

    Returns:
        A complete HTML document that loads nothing from elsewhere.
    """
    here = files("diffwright.cli.demo_page")
    return Template((here / "page.html").read_text("utf-8")).substitute(
        style=(here / "page.css").read_text("utf-8"),
        tiles="\n".join(map(_tile, chapters)),
        missing=f'<p class="missing">{escape(missing)}</p>' if missing else "",
        chapters="\n".join(map(_chapter, chapters)),
        footer=_facts(footer),
    )


def inline(image_u8: np.ndarray, at_least: int = 256) -> str:
    """Return a picture as a ``data:`` address, enlarged by an exact whole number.

    Args:
        image_u8: uint8 (H, W, 3).
        at_least: Smallest side in pixels.
    """
    buffer = io.BytesIO()
    to_pil(enlarge(image_u8, at_least)).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def _tile(chapter: Chapter) -> str:
    figure = chapter.figure
    shots = "".join(
        _shot(shot, role)
        for shot, role in ((chapter.before, "before"), (chapter.ours, "ours"), (chapter.truth, "truth"))
    )
    return f"""<article class="tile" aria-labelledby="tile-{chapter.key}">
<div class="triple">{shots}</div>
<div class="said">
<h2 id="tile-{chapter.key}"><a href="#{chapter.key}">{escape(chapter.title)}</a></h2>
<p class="figure"><strong>{escape(figure.value)}</strong> <span>{escape(figure.name)}</span></p>
<p class="control">Control: <b>{escape(figure.control)}</b> <span>{escape(figure.control_name)}</span></p>
<pre><code>{escape(chapter.command)}</code></pre>
</div>
</article>"""


def _chapter(chapter: Chapter) -> str:
    rows = "".join(
        f'<h3>{escape(heading)}</h3><div class="row">{"".join(_shot(shot) for shot in shots)}</div>'
        for heading, shots in chapter.rows
    )
    return f"""<section id="{chapter.key}">
<h2>{escape(chapter.title)}</h2>
<p class="lead">{escape(chapter.text)}</p>
{rows}
{_facts(chapter.facts)}
</section>"""


def _shot(shot: Shot, role: str = "") -> str:
    if shot.image is None:
        shown = f'<div class="words"><p>{escape(shot.words)}</p></div>'
    else:
        high, wide = enlarge(shot.image).shape[:2]
        native = f"{shot.image.shape[1]} × {shot.image.shape[0]}"
        shown = (
            f'<img src="{inline(shot.image)}" width="{wide}" height="{high}" '
            f'title="native size {native} pixels" alt="{escape(shot.caption)}">'
        )
    marks = "".join(
        f'<span class="{"right" if right else "wrong"}">{"✓" if right else "✗"} {escape(what)}</span>'
        for what, right in shot.verdicts
    )
    label = f'<b class="role">{role}</b> ' if role else ""
    under = f'<p class="marks">{marks}</p>' if marks else ""
    return f"<figure>{shown}<figcaption>{label}{escape(shot.caption)}{under}</figcaption></figure>"


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    if not facts:
        return ""
    rows = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return f'<dl class="facts">{rows}</dl>'
