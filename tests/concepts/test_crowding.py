import pytest
import torch

from diffwright.concepts.crowding import LISTED, crowding
from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.modes import frame_of, solve
from tests.support.tiny import pipeline

EYE = torch.eye(8, dtype=torch.float64)


def free(lam=1.0):
    return frame_of("ridge", EYE[:0], lam=lam)


def test_orthogonal_concepts_do_not_crowd():
    found = crowding("te.0.attn.out", free(1e-6), EYE[:3], [("a", "x"), ("b", "y"), ("c", None)])
    assert (found.concepts, found.conflicts, found.warnings) == (2, (), ())
    assert found.used == pytest.approx(2.0, abs=1e-4)
    assert found.free == 8


def test_told_apart_is_the_part_of_a_difference_that_the_solve_makes():
    lam, one = 0.3, EYE[0]
    other = one + 0.4 * EYE[1]
    keys, wanted = torch.stack([one, other]), torch.stack([EYE[4], -EYE[4]])
    change = solve(free(lam), keys, wanted).dense()
    made = float((keys @ change.T)[0, 4] - (keys @ change.T)[1, 4])
    found = crowding("site", free(lam), keys, [("a", "x"), ("b", "y")])
    assert found.conflicts[0].apart == pytest.approx(0.16 / (0.16 + 2 * lam))
    assert made / 2 == pytest.approx(found.conflicts[0].apart, abs=0.05)


def test_like_keys_clash_unless_they_become_the_same():
    keys = torch.stack([EYE[0], EYE[0], EYE[1]])
    assert crowding("s", free(), keys, [("a", "x"), ("b", "x"), ("c", "z")]).conflict_count == 0
    found = crowding("s", free(1e-3), keys, [("a", "x"), ("b", "y"), ("c", "z")])
    assert [(c.first, c.second) for c in found.conflicts] == [("a", "b")]
    assert "look alike" in found.warnings[0]
    held = crowding("s", free(1e-3), keys, [("a", "x"), ("c", None), ("d", "x")])
    assert [(c.first, c.second) for c in held.conflicts] == [("a", "c")]


def test_many_conflicts_are_counted_and_the_worst_are_listed():
    keys = EYE[:1].repeat(12, 1)
    found = crowding("s", free(), keys, [(f"a{n}", f"b{n}") for n in range(12)])
    assert found.conflict_count == 66
    assert len(found.conflicts) == LISTED
    assert "63 more pairs" in found.warnings[3]


def test_a_full_site_warns():
    keys = torch.randn(6, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    names = [(f"a{n}", "x") for n in range(6)]
    found = crowding("te.0.attn.out", free(1e-4), keys, names)
    assert "6 concepts take 6 of the 8 free directions" in found.warnings[-1]
    assert not crowding("te.0.attn.out", free(1e-4), keys[:3], names[:3]).warnings


def test_edits_tell_clashes_and_survive_the_file(tmp_path):
    pipe = pipeline("sd1")
    with pytest.warns(UserWarning, match="look alike"):
        edit = edit_concepts(pipe, [("cat", "dog"), ("mug", "red")], lam=1e4)
    assert edit.crowding[0].conflict_count == 1
    assert "free directions" in edit.report()
    assert type(edit).load(edit.save(tmp_path / "e.safetensors")).crowding == edit.crowding
    with pytest.warns(UserWarning, match="'cat' and 'cat'"):
        edit_concepts(pipe, [("cat", "dog")], ["cat"])
