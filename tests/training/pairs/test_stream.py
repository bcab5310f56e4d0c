import numpy as np
import pytest
import torch
from accelerate.utils import send_to_device

from diffwright.core.errors import ConfigError
from diffwright.core.geometry import pixel_grid
from diffwright.matching.fields import sample
from diffwright.metrics.pictures import psnr
from diffwright.training.pairs.engine import Engine
from diffwright.training.pairs.figures import measured, residual_scale
from diffwright.training.pairs.stream import TURNED, PairOptions, Stream, turned_back

SMALL = {"render_share": 0.0, "view_pairs": 0, "size": 64, "pool": 3, "fixed": 3}


@pytest.fixture(scope="module")
def stream(tmp_path_factory):
    views = tmp_path_factory.mktemp("views")
    return Stream(PairOptions(**{**SMALL, "view_pairs": 1, "view_share": 0.5, "views": views}))


def test_a_batch_is_a_function_of_its_numbers(stream):
    for first in range(0, 40, 4):  # upright and turned ones
        numbers = torch.arange(first, first + 4)
        for one, two in zip(stream.batch(numbers), stream.batch(numbers), strict=True):
            assert one is two is None or torch.equal(one, two)
    assert not torch.equal(stream.batch(torch.arange(4)).flow, stream.batch(torch.arange(4, 8)).flow)


def test_some_batches_are_turned_and_lie_on_a_canvas(stream):
    sides = [stream.batch(torch.arange(n, n + 2)).image_b.shape[-1] for n in range(0, 60, 2)]
    assert set(sides) == {64, 96}
    assert 0 < sides.count(96) < 15


def test_a_device_that_renders_gets_the_same_batch(stream, monkeypatch):
    numbers = torch.arange(8, 12)
    here = stream.batch(numbers)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    sketch = send_to_device(stream.batch(numbers), torch.device("cpu"))
    there = stream.lesson(sketch)
    for one, two in zip(here, there, strict=True):
        assert one is two is None or torch.equal(one, two)


def test_what_trains_and_what_measures_never_meet(stream):
    fixed = stream.unseen.canvases
    assert not any(torch.equal(a, b) for a in stream.canvases for b in fixed)
    lessons = stream.fixed(part=2)
    assert [len(lesson.flow) for lesson in lessons[""]] == [2, 1]
    assert [len(lesson.flow) for lesson in lessons["world_"]] == [2, 1]
    assert [lesson.image_b.shape[-1] for lesson in lessons["turned_"]] == [96]


def test_turned_pairs_still_fit_their_flow(smooth, shapes):
    pairs = Engine(smooth, shapes, 64, TURNED, photometric=False, objects=0).batch(range(12))
    lesson = turned_back(pairs)
    side = lesson.image_b.shape[-1]
    place = pixel_grid(64, 64) + lesson.flow + (side - 64) / 2
    warped = sample(lesson.image_b, place)
    shown = sample(lesson.inside.float(), place)[:, 0] > 0.99
    seen = lesson.visible & shown
    assert seen.sum() > 0.8 * lesson.visible.sum()
    assert float(psnr(warped, lesson.image_a, seen).nanmedian()) > 28
    turn = torch.atan2(
        lesson.flow[:, 1].diff(dim=2).mean((1, 2)), 1 + lesson.flow[:, 0].diff(dim=2).mean((1, 2))
    )
    assert float(torch.rad2deg(turn).abs().median()) < 30


def test_the_truth_measures_without_error(stream):
    lessons = stream.fixed(part=3)[""]

    def fields(lesson):
        truth = torch.nn.functional.avg_pool2d(lesson.flow, 2) / 2
        return {"": truth, "_zero": truth * 0}

    figures = measured({"": lessons}, fields, "cpu")
    assert figures["aepe"] < 0.5 < figures["aepe_zero"]
    assert figures["pck5"] > 95
    assert set(figures) == {"aepe", "pck5", "aepe_zero", "pck5_zero"}
    assert residual_scale(lessons, lambda lesson: fields(lesson)["_zero"]) > 1
    assert residual_scale(lessons, lambda lesson: fields(lesson)[""]) == 0.25


def test_shares_are_checked():
    with pytest.raises(ConfigError, match="turned"):
        PairOptions(turned=1.5)
    with pytest.raises(ConfigError, match="pool"):
        PairOptions(pool=0)
    assert np.isclose(PairOptions().render_share, 0.15)
