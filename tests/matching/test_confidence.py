import pytest
import torch

from diffwright.core.errors import InputError
from diffwright.matching.confidence import contrast, evidence, fit, fuse, gate, occluded
from diffwright.matching.fields import landing
from diffwright.matching.model import MatchConfig
from tests.support.tiny_match import affine_field


def good_and_bad():
    """Evidence of a sound match, and of one that each kind of evidence speaks against, (1, 5, 1, 2)."""
    pairs = [(0.5, 20.0), (0.3, 10.0), (0.5, 40.0), (0.6, 0.001), (0.2, 0.01)]
    return evidence(*(torch.tensor(pair).reshape(1, 1, 1, 2) for pair in pairs))


def test_sound_evidence_gives_confidence_and_bad_evidence_does_not():
    sure = fuse(good_and_bad(), MatchConfig().confidence).flatten()
    assert float(sure[0]) > 0.7
    assert float(sure[1]) < 0.1


def test_the_fit_finds_which_evidence_counts():
    draw = torch.Generator().manual_seed(0)
    found = torch.randn(4000, 5, generator=draw)
    correct = torch.rand(4000, generator=draw) < (1.0 - 2.0 * found[:, 2]).sigmoid()
    coefficients = fit(found, correct)
    assert coefficients[0] == pytest.approx(1.0, abs=0.3)
    assert coefficients[3] == pytest.approx(-2.0, abs=0.4)
    assert max(abs(coefficients[k]) for k in (1, 2, 4, 5)) < 0.2
    sure = fuse(found.T[None, :, :, None], coefficients).flatten()
    assert float((sure - correct.float()).mean().abs()) < 0.02
    with pytest.raises(InputError, match="right and wrong"):
        fit(found, torch.ones(4000, dtype=torch.bool))


def test_contrast_is_zero_for_a_blank_picture_and_ignores_the_canvas():
    assert float(contrast(torch.full((1, 3, 64, 64), 0.7)).max()) < 1e-3
    image = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    canvas = torch.nn.functional.pad(image, (32,) * 4, value=-1.0)
    inside = torch.nn.functional.pad(torch.ones(1, 1, 64, 64, dtype=torch.bool), (32,) * 4)
    whole = contrast(canvas, inside)
    torch.testing.assert_close(whole[..., 4:12, 4:12], contrast(image), atol=1e-3, rtol=1e-2)


def test_the_gate_shuts_when_either_picture_is_blank():
    place = landing(torch.zeros(1, 2, 8, 8), (8, 8))
    blank, full = torch.zeros(1, 1, 8, 8), torch.full((1, 1, 8, 8), 0.3)
    assert float(gate(full, full, place).min()) > 0.99
    assert float(gate(blank, full, place).max()) < 0.01
    assert float(gate(full, blank, place).max()) < 0.01


def test_what_leaves_b_or_does_not_come_back_is_occluded():
    shift = affine_field(16, 16, torch.eye(2), (6.0, 0.0))
    hidden = occluded(shift, -shift, (16, 16))
    assert not hidden[:, :, :10].any()
    assert hidden[:, :, 11:].all()
    assert bool(occluded(shift, shift * 0, (16, 16)).all())
    assert not occluded(shift * 0, None, (16, 16)).any()
