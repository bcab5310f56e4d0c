import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from diffwright.cli.demo_page.page import Chapter, Figure, Shot, inline, page

NASTY = "<script>alert('x')</script> & \"quotes\" $style"


def picture(side=64):
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


@pytest.fixture
def html():
    shot = Shot(NASTY, picture(), verdicts=[("duck", True), ("red", False)])
    chapter = Chapter(
        key="paint",
        title=NASTY,
        before=Shot("words", words=NASTY),
        ours=shot,
        truth=shot,
        figure=Figure("93 %", NASTY, "21 %", NASTY),
        command=NASTY,
        text=NASTY,
        rows=[(NASTY, [shot])],
        facts=[(NASTY, NASTY)],
    )
    return page([chapter], NASTY, [(NASTY, NASTY)])


def test_nothing_is_loaded_from_elsewhere(html):
    assert set(re.findall(r'(?:src|href)="([^":]*)', html)) <= {"data", "#paint"}
    assert "url(" not in html
    assert "@import" not in html
    assert "<link" not in html


def test_words_of_the_user_stay_words(html):
    assert "<script" not in html
    assert html.count("&lt;script&gt;") >= 10
    assert "$style" in html


def test_pictures_are_inline_described_and_enlarged_by_a_whole_number(html):
    data = re.findall(
        r'<img src="data:image/png;base64,([^"]+)" width="256" height="256" title="native', html
    )
    assert len(data) == 3
    with Image.open(io.BytesIO(base64.b64decode(data[0]))) as shown:
        assert (np.asarray(shown) == picture().repeat(4, 0).repeat(4, 1)).all()
    assert html.count("<img") == html.count('alt="')


@pytest.mark.parametrize(("side", "shown"), [(32, 256), (48, 288), (300, 300)])
def test_enlargement_is_exact_at_every_size(side, shown):
    data = inline(picture(side)).split(",")[1]
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert opened.size == (shown, shown)


def test_a_tile_has_before_ours_truth_with_figure_control_and_command(html):
    tile = html[html.index("<article") : html.index("</article>")]
    assert [tile.index(f'<b class="role">{role}</b>') for role in ("before", "ours", "truth")] == sorted(
        tile.index(f'<b class="role">{role}</b>') for role in ("before", "ours", "truth")
    )
    assert all(piece in tile for piece in ("93 %", "Control: <b>21 %</b>", "<pre><code>"))
    assert "prefers-color-scheme: dark" in html
