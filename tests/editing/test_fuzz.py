"""Whatever is asked for ends in a picture or in a typed error."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from diffwright.core.errors import DiffwrightError
from diffwright.editing.editor import ImageEditor
from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace, Resize
from diffwright.editing.presets import PRESETS
from tests.editing.conftest import quick
from tests.support.tiny import pipeline

NUMBER = st.one_of(st.floats(-60, 60), st.sampled_from([0.0, float("nan"), float("inf"), -1e9, 1e9, 0.5]))
SCALE = st.one_of(st.floats(0.2, 3), st.sampled_from([0.0, -1.0, 100.0, float("nan"), 0.05, 20.0]))
POINT = st.one_of(
    st.tuples(st.integers(0, 15), st.integers(0, 15)).map(lambda p: (float(p[0]), float(p[1]))),
    st.tuples(NUMBER, NUMBER),
)


@st.composite
def pictures(draw):
    size = draw(st.tuples(st.integers(16, 40), st.integers(16, 40)))
    if draw(st.integers(0, 9)) == 0:
        size = (16, 120) if draw(st.booleans()) else (110, 70)
    seed = draw(st.integers(0, 3))
    return np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8)


@st.composite
def masks(draw, size):
    """Boxes, specks, scattered pixels, everything, nothing, and now and then another size."""
    height, width = size
    kind = draw(st.sampled_from(["box", "box", "box", "speck", "scatter", "all", "none", "wrong"]))
    if kind == "wrong":
        return np.ones((height + 1, width), bool)
    mask = np.zeros(size, bool)
    if kind == "scatter":
        return np.random.default_rng(draw(st.integers(0, 5))).random(size) < 0.1
    if kind in ("box", "speck"):
        x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
        w, h = (1, 1) if kind == "speck" else (draw(st.integers(1, width)), draw(st.integers(1, height)))
        mask[y : y + h, x : x + w] = True
    return mask if kind != "all" else ~mask


@st.composite
def operations(draw, size):
    kind = draw(st.sampled_from(["move", "resize", "drag", "replace", "paste", "remove"]))
    if kind == "drag":
        count = draw(st.integers(0, 4))
        starts, ends = (tuple(draw(POINT) for _ in range(count)) for _ in range(2))
        return Drag(starts, ends, draw(st.one_of(st.none(), masks(size))))
    if kind in ("replace", "paste"):
        other = draw(pictures())
        theirs = draw(masks(other.shape[:2]))
        if kind == "paste":
            return Paste(other, theirs, draw(POINT), draw(SCALE))
        return Replace(draw(masks(size)), other, theirs)
    mask = draw(masks(size))
    if kind == "move":
        return Move(mask, (draw(NUMBER), draw(NUMBER)), draw(SCALE))
    return Resize(mask, draw(SCALE)) if kind == "resize" else Remove(mask)


PIPE = pipeline("sd1")
DONE = {"pictures": 0, "errors": 0}


@settings(max_examples=500, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(st.data())
def check(data):
    picture = data.draw(pictures())
    asked = data.draw(st.lists(operations(picture.shape[:2]), min_size=0, max_size=4))
    name = data.draw(st.sampled_from(sorted(PRESETS)))
    few = quick(
        name, steps=2, begin_at=0.0, guided=1.0, travel=(0.0, 1.0), noisy=(0.0, 1.0), passes=2, bank_from=0.0
    )
    editor = ImageEditor(PIPE, few)
    try:
        result = editor.set_image(picture).edit(asked, keep_outside=data.draw(st.booleans()))
    except DiffwrightError:
        DONE["errors"] += 1
        return
    out = np.asarray(result.images[0])
    assert out.shape == picture.shape
    assert out.dtype == np.uint8
    DONE["pictures"] += 1


def test_five_hundred_requests_end_in_a_picture_or_a_typed_error():
    check()
    assert DONE["pictures"] > 100
    assert DONE["errors"] > 50
