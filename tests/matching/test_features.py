import numpy as np
import pytest
import torch

from diffwright.core.errors import ConfigError, UnsupportedBackbone
from diffwright.matching.features import DecoderFeatures
from diffwright.matching.matcher import Matcher
from diffwright.matching.stages import MatchOptions
from tests.support import tiny, tiny_match


@pytest.fixture(scope="module")
def coder():
    return DecoderFeatures(tiny.pipeline("pocket"))


def test_levels_have_unit_length_on_the_matchers_grids(coder):
    image = torch.rand(2, 3, 64, 96) * 2 - 1
    levels = coder(image)
    assert [tuple(level.shape[-2:]) for level in levels] == [(8, 12), (4, 6)]
    for level in levels:
        torch.testing.assert_close(level.norm(dim=1), torch.ones_like(level[:, 0]), atol=1e-4, rtol=0)
    again = coder(image[1:])
    for many, one in zip(levels, again, strict=True):
        torch.testing.assert_close(many[1:], one, atol=1e-4, rtol=1e-4)


def test_what_the_canvas_adds_has_no_features(coder):
    inside = torch.zeros(1, 1, 64, 64, dtype=torch.bool)
    inside[..., 16:48, 16:48] = True
    level = coder(torch.rand(1, 3, 64, 64) * inside, inside)[0]
    assert not level[..., :2, :].any()
    assert level[..., 2:6, 2:6].any()


@pytest.mark.parametrize("kind", ["sd1", "sdxl"])
def test_other_layouts_serve_too(kind):
    assert DecoderFeatures(tiny.pipeline(kind), draws=1)(torch.rand(1, 3, 64, 64))[0].shape[-2:] == (8, 8)


def test_what_cannot_serve_is_refused():
    with pytest.raises(UnsupportedBackbone, match="inpaint"):
        DecoderFeatures(tiny.pipeline("inpaint"))
    with pytest.raises(ConfigError, match="time"):
        DecoderFeatures(tiny.pipeline("pocket"), time=2.0)


def test_the_matcher_takes_them_in_place_of_its_own(coder, photo):
    matcher = Matcher(tiny_match.model(), coder)
    a = photo(64, 64)
    out = matcher.match(a, a, MatchOptions(hypotheses=False, stages=0))
    assert np.median(np.abs(out.initial)) < 0.2


def test_they_can_be_named_when_loading(tmp_path, photo):
    tiny.folder("pocket", tmp_path / "pipe")
    tiny_match.folder(tmp_path / "m")
    matcher = Matcher.from_pretrained(tmp_path / "m", features=tmp_path / "pipe")
    assert isinstance(matcher.coder, DecoderFeatures)
