import numpy as np
import torch

from diffwright.editing.frame import Frame
from diffwright.editing.operations import Drag, Move, Paste, Remove, Replace
from diffwright.editing.regions import plan
from tests.editing.conftest import SIZE, box, noise_picture

FRAME = Frame((0, 0, 48, 32), SIZE, (8, 12))
MASK = box(8, 8, 20, 20)


def laid_out(*operations, margin=0):
    return plan([o.place(SIZE) for o in operations], FRAME, [FRAME] * len(operations), margin)


def test_a_move_pairs_each_cell_with_where_it_came_from():
    p = laid_out(Move(MASK, (12, 4)))
    (region,), cells = p.regions, FRAME.cells
    assert region.gen[0].sum() == region.gud.sum() == 36
    y, x = torch.nonzero(region.gen[0], as_tuple=True)
    want = torch.stack([(x - 6 + 0.5) / cells[1], (y - 2 + 0.5) / cells[0]], dim=1) * 2 - 1
    torch.testing.assert_close(region.places[0], want)


def test_zones_of_a_move():
    p = laid_out(Move(MASK, (8, 0)), margin=1)
    assert p.edited.sum() == 9
    assert p.loose.sum() == 15
    assert p.vacated.sum() == 6
    assert not (p.vacated & p.edited).any()
    assert p.free.sum() == 5 * 7
    assert p.kept.all()
    assert (~p.share).sum() == 4 * 15
    assert p.moves[0][0].sum() == len(p.moves[0][1]) == 9


def test_a_drag_has_a_patch_a_handle():
    p = laid_out(Drag(((9.0, 9.0),), ((21.0, 9.0),), box(4, 4, 30, 20)))
    (region,) = p.regions
    assert region.gen[0].sum() == 9
    assert region.places[0].shape == (9, 2)
    assert region.vacated.sum() == 9
    assert p.moves[0][0].sum() == 9, "three by three latents are carried"


def test_handles_in_the_corners_lose_the_cells_outside():
    p = laid_out(Drag(((47.0, 31.0),), ((0.0, 0.0),), np.ones(SIZE, bool)))
    assert p.regions[0].gen[0].sum() == 4
    assert p.regions[0].places[0].shape == (4, 2)


def test_states_of_what_disappears_are_not_shown():
    assert laid_out(Remove(MASK)).kept.sum() == 96 - 9
    assert laid_out(Replace(MASK, noise_picture(), MASK)).kept.sum() == 96 - 9
    assert laid_out(Paste(noise_picture(), MASK, (30.0, 16.0))).kept.sum() < 96


def test_a_removal_vacates_and_edits_nothing():
    p = laid_out(Remove(MASK))
    assert not p.edited.any()
    assert p.vacated.sum() == 9
    assert p.regions[0].vacated.sum() == 36
    assert len(p.moves[0][1]) == 0


def test_what_one_operation_takes_is_not_vacated_by_another():
    p = laid_out(Remove(MASK), Move(box(30, 8, 42, 20), (-22, 0)))
    assert not (p.vacated & p.edited).any()
    assert [r.guide for r in p.regions] == [0, 0]


def test_what_was_moved_is_carried_where_nothing_else_was_left():
    assert laid_out(Move(MASK, (10, 0))).carried.sum() == 12
    assert laid_out(Move(MASK, (11, 0))).carried.sum() == 9, "a cell that is mostly left is painted anew"
    assert laid_out(Paste(noise_picture(), MASK, (30.0, 16.0))).carried.sum() >= 9
    assert not laid_out(Remove(MASK)).carried.any()
    drag = laid_out(Drag(((9.0, 9.0),), ((21.0, 9.0),), MASK))
    assert drag.carried.any()
    assert not (drag.carried & ~drag.loose).any()
    over = laid_out(Move(MASK, (10, 0)), Remove(box(20, 8, 30, 20)))
    assert over.carried.sum() == 3, "what a later operation touches is not held"


def test_a_plan_goes_to_a_device_with_everything():
    p = laid_out(Move(MASK, (8, 0))).to(torch.device("cpu"))
    assert p.regions[0].weights.edit == 4
