from dataclasses import replace

import pytest
import torch
from torch import Tensor

from diffwright.editing import energies
from diffwright.editing.energies import WEIGHTS, Region, content_energy, edit_energy
from diffwright.editing.frame import Frame
from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace, Resize
from diffwright.editing.regions import plan
from tests.editing.conftest import SIZE, box, noise_picture

FRAME = Frame((0, 0, 48, 32), SIZE, (8, 12))
GRID = FRAME.cells
MASK = box(8, 8, 20, 20)
OPERATIONS = {
    "move": Move(MASK, (14, 2)),
    "resize": Resize(MASK, 0.6),
    "drag": Drag(((10.0, 10.0), (18.0, 18.0)), ((16.0, 10.0), (26.0, 20.0)), box(4, 4, 34, 28)),
    "replace": Replace(MASK, noise_picture(), box(20, 10, 40, 30)),
    "paste": Paste(noise_picture(), box(20, 10, 40, 30), (14.0, 14.0), 0.7),
    "remove": Remove(MASK),
}


def laid_out(*names):
    return plan([OPERATIONS[name].place(SIZE) for name in names], FRAME, [FRAME] * len(names))


def maps(seed, grid=GRID, channels=(5, 3)):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(c, *grid, generator=draw, dtype=torch.float64) for c in channels]


def numeric_slope(energy, f: Tensor, step=1e-5):
    slope = torch.zeros_like(f)
    flat, out = f.view(-1), slope.view(-1)
    for k in range(0, flat.numel(), 7):
        old = flat[k].item()
        flat[k] = old + step
        high = energy().item()
        flat[k] = old - step
        low = energy().item()
        flat[k] = old
        out[k] = (high - low) / (2 * step)
    return slope


@pytest.mark.parametrize("names", [(n,) for n in OPERATIONS] + [("move", "drag", "paste", "remove")])
def test_gradients_agree_with_finite_differences(names):
    p = laid_out(*names)
    gud, gen = [maps(1), maps(2)], maps(3)

    def energy():
        return edit_energy(p.regions, gen, gud) + content_energy(p.regions, gen, gud[0], p.share, p.share)

    for tap in gen:
        tap.requires_grad_()
    exact = torch.autograd.grad(energy(), gen)
    with torch.no_grad():
        for tap, slope in zip(gen, exact, strict=True):
            numeric = numeric_slope(energy, tap.data)
            seen = numeric != 0
            assert seen.any()
            torch.testing.assert_close(slope.view(-1)[::7], numeric.view(-1)[::7], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", OPERATIONS)
def test_no_gradient_flows_into_the_guide(name):
    p = laid_out(name)
    gud = [[t.requires_grad_() for t in maps(s)] for s in (1, 2)]
    gen = [t.requires_grad_() for t in maps(3)]
    total = edit_energy(p.regions, gen, gud) + content_energy(p.regions, gen, gud[0], p.share, p.share)
    slopes = torch.autograd.grad(total, [*gud[0], *gud[1]], allow_unused=True)
    assert all(slope is None or not slope.any() for slope in slopes)


@pytest.mark.parametrize("name", ["move", "resize", "drag", "paste"])
def test_the_edit_energy_is_least_where_the_object_has_arrived(name):
    p = laid_out(name)
    gud = [maps(1), maps(2)]
    arrived = [t.clone() for t in gud[0]]
    region = p.regions[0]
    for tap, f in enumerate(arrived):
        for gen, places in zip(region.gen, region.places, strict=True):
            f[:, gen] = energies.sampled(gud[region.guide][tap], places)
    region = replace(region, weights=replace(region.weights, contrast=0.0))
    least = 2 * region.weights.scale * region.weights.layer * region.weights.edit / 5
    assert edit_energy([region], arrived, gud).item() == pytest.approx(least, rel=1e-6)
    assert edit_energy([region], maps(9), gud).item() > least * 1.2


def test_similarities_lie_between_zero_and_one_and_have_no_pole():
    a = maps(1)[0].flatten(1)
    for s, want in ((a, 1.0), (-a, 0.0)):
        assert energies.local_similarity(a, s).item() == pytest.approx(want)
        assert energies.global_similarity(a, s).item() == pytest.approx(want)
    assert energies.inverse(torch.tensor(0.0)) == 1.0
    assert energies.inverse(torch.tensor(1.0)) == pytest.approx(0.2)
    assert energies.local_similarity(a[:, :0], a[:, :0]) == 0


def test_the_published_weights():
    assert {name: w.scale for name, w in WEIGHTS.items() if name != "remove"} == {
        **{"move": 0.08 * 500, "resize": 0.08 * 500, "drag": 0.04 * 2000},
        **{"replace": 0.04 * 2000, "paste": 0.04 * 1500},
    }
    assert WEIGHTS["move"].edit == WEIGHTS["paste"].edit == WEIGHTS["drag"].edit == 4
    assert (WEIGHTS["replace"].edit, WEIGHTS["replace"].content) == (3.5, 5)
    assert (WEIGHTS["move"].contrast, WEIGHTS["move"].inpaint) == (0.2, 0.8)


def test_a_vacated_place_is_drawn_to_its_surroundings_and_away_from_the_object():
    p = laid_out("remove")
    gud, gen = maps(1), maps(1)
    hole = p.regions[0].vacated
    assert hole.any()
    full = content_energy(p.regions, gen, gud, p.share, p.share)
    for tap, f in zip(gen, gud, strict=True):
        tap[:, hole] = f[:, p.share].mean(1, keepdim=True)
    assert content_energy(p.regions, gen, gud, p.share, p.share) < full


def test_places_between_cells_are_interpolated():
    f = torch.arange(4.0)[None, None].expand(1, 3, 4)
    at = torch.tensor([[-0.75, 0.0], [0.0, 0.0], [5.0, 0.0]])
    torch.testing.assert_close(energies.sampled(f, at), torch.tensor([[0.0, 1.5, 3.0]]))


def test_regions_are_plain_values():
    region = laid_out("move").regions[0]
    assert isinstance(region, Region)
    assert region.guide == 0
    assert laid_out("move", "paste", "replace").regions[2].guide == 2
