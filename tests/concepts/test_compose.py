import pytest
import torch

from diffwright.concepts.edit import ConceptEdit, Rewrite, edit_concepts
from diffwright.concepts.modes import frame_of, solve
from diffwright.concepts.patch import Patch
from diffwright.core.errors import InputError, WeightsError
from diffwright.diffusion.sites import find
from diffwright.weights.fingerprint import fingerprint
from tests.support.tiny import pipeline

SITE = "te.0.attn.out"


def changed(pipe, edit, strength=1.0):
    weight = find(pipe, SITE).linear.weight
    before = weight.detach().clone()
    with edit.applied(pipe, strength):
        return weight.detach() - before


def test_solves_of_orthogonal_keys_add_up_to_the_joint_solve():
    draw = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(12, 12, generator=draw, dtype=torch.float64))[0]
    keys, residuals = 3 * basis[:5], torch.randn(5, 7, generator=draw, dtype=torch.float64)
    frame = frame_of("ridge", keys[:0], lam=0.4)
    joint = solve(frame, keys, residuals).dense()
    apart = solve(frame, keys[:2], residuals[:2]).dense() + solve(frame, keys[2:], residuals[2:]).dense()
    torch.testing.assert_close(joint, apart, atol=1e-12, rtol=0)
    held = basis[7:9] + basis[9:11]  # orthogonal to all keys: what holds them costs nothing
    strict = frame_of("null-space", held, lam=0.4, null_threshold=0.5)
    torch.testing.assert_close(solve(strict, keys, residuals).dense(), joint, atol=1e-12, rtol=0)


def test_a_composed_edit_is_the_sum_and_comes_off_bit_by_bit(tmp_path):
    pipe = pipeline("sd1")
    base = fingerprint(pipe)
    one, other = (edit_concepts(pipe, [pair], lam=1e-4) for pair in (("cat", "dog"), ("mug", "red")))
    both = ConceptEdit.compose([one, other.scaled(-0.5)])
    assert both.pairs == (("cat", "dog"), ("mug", "red"))
    assert (both.parts, both.fits) == (2, one.fits + other.fits)
    assert "composed of 2 edits" in both.report()
    sum_of = changed(pipe, one) + changed(pipe, other, -0.5)
    torch.testing.assert_close(changed(pipe, both), sum_of, atol=1e-6, rtol=0)
    again = ConceptEdit.load(both.save(tmp_path / "both.safetensors"))
    assert again.parts == 2
    assert torch.equal(changed(pipe, again), changed(pipe, both))
    one.apply(pipe)
    other.apply(pipe, -0.5)
    stacked = find(pipe, SITE).linear.weight.detach().clone()
    other.revert(pipe)
    one.revert(pipe)
    assert fingerprint(pipe) == base
    with both.applied(pipe):
        torch.testing.assert_close(find(pipe, SITE).linear.weight.detach(), stacked, atol=1e-6, rtol=0)
    assert fingerprint(pipe) == base


def test_the_dial_is_linear_and_zero_is_nothing():
    pipe = pipeline("sd1")
    edit = edit_concepts(pipe, [("cat", "dog")], lam=1e-4)
    whole = changed(pipe, edit)
    for strength in (-1.0, 0.25, 2.0):
        torch.testing.assert_close(changed(pipe, edit, strength), strength * whole, atol=1e-6, rtol=0)
        torch.testing.assert_close(changed(pipe, edit.scaled(strength)), strength * whole, atol=1e-6, rtol=0)
    assert not changed(pipe, edit.scaled(0.0)).any()


def test_edits_that_do_not_go_together_are_refused():
    pipe = pipeline("sd1")
    edit = edit_concepts(pipe, [("cat", "dog")], lam=1e-4)
    with pytest.raises(InputError, match="at least one"):
        ConceptEdit.compose([])
    with pytest.raises(InputError, match="sent to"):
        ConceptEdit.compose([edit, edit_concepts(pipe, [("cat", "mug")], lam=1e-4)])
    with pytest.raises(WeightsError, match="different base"):
        ConceptEdit.compose([edit, edit_concepts(pipeline("sd1", seed=1), [("mug", "red")], lam=1e-4)])
    patch = edit.patches[0]
    elsewhere = ConceptEdit([Patch("te.1.attn.out", patch.factors, "x", patch.path)], [Rewrite.erase("mug")])
    assert [p.site for p in ConceptEdit.compose([edit, elsewhere]).patches] == [SITE, "te.1.attn.out"]
