import pytest
import torch
from torch import nn

from diffwright.diffusion.hooks import input_of, replaced, swapped, taps
from diffwright.diffusion.sites import find, sites
from tests.support.tiny import text_encoder

IDS = torch.tensor([[1, 5, 7, 9]])


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return text_encoder(64)


def hooks_left(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@torch.no_grad()
def run(encoder, ids=IDS):
    return encoder(ids).last_hidden_state


def test_swapped_puts_another_module_in_place(encoder):
    clean, original = run(encoder), encoder.encoder.layers[0].mlp
    with swapped(encoder, "encoder.layers.0.mlp", nn.Identity()):
        assert not torch.allclose(run(encoder), clean)
    assert encoder.encoder.layers[0].mlp is original
    assert torch.equal(run(encoder), clean)


def test_taps_record_each_call_of_tuples_and_tensors(encoder):
    chosen = [find(encoder, name) for name in ("te.0.attn", "te.0.mlp", "te.0.block")]
    before = hooks_left(encoder)
    with taps(chosen) as seen:
        run(encoder)
        run(encoder)
    assert {name: len(calls) for name, calls in seen.items()} == {site.name: 2 for site in chosen}
    assert all(calls[0].shape == (1, 4, 32) for calls in seen.values())
    assert hooks_left(encoder) == before


def test_taps_of_inputs_give_what_a_module_reads(encoder):
    with (
        taps([find(encoder, "te.0.attn.out")], inputs=True) as read,
        taps([find(encoder, "te.0.attn")]) as out,
    ):
        run(encoder)
    layer = find(encoder, "te.0.attn.out").linear
    torch.testing.assert_close(layer(read["te.0.attn.out"][0]), out["te.0.attn"][0])


@pytest.mark.parametrize("name", ["te.0.attn", "te.1.mlp", "te.2.block"])
def test_replaced_changes_the_rest_and_only_inside_the_block(encoder, name):
    clean = run(encoder)
    before = hooks_left(encoder)
    with replaced(find(encoder, name), lambda x: x * 0):
        assert not torch.allclose(run(encoder), clean)
    with replaced(find(encoder, name), lambda x: x):
        assert torch.equal(run(encoder), clean)
    assert hooks_left(encoder) == before
    assert torch.equal(run(encoder), clean)


def test_hooks_and_modules_come_off_after_exceptions(encoder):
    clean, before = run(encoder), hooks_left(encoder)
    site = find(encoder, "te.0.attn")

    def fail(_):
        raise ValueError("inside")

    with pytest.raises(ValueError, match="inside"), taps(sites(encoder)), replaced(site, fail):
        run(encoder)
    with pytest.raises(ValueError, match="inside"), swapped(encoder, "encoder.layers.0.mlp", nn.Identity()):
        fail(run(encoder))
    with pytest.raises(ValueError, match="early"):
        input_of(site, lambda: (_ for _ in ()).throw(ValueError("early")))
    assert hooks_left(encoder) == before
    assert torch.equal(run(encoder), clean)


def test_input_of_stops_at_the_site(encoder):
    passed = []
    handle = encoder.encoder.layers[1].register_forward_hook(lambda *_: passed.append(1))
    site = find(encoder, "te.0.mlp.out")
    with taps([site], inputs=True) as seen:
        run(encoder)
    passed.clear()
    before = hooks_left(encoder)
    torch.testing.assert_close(input_of(site, lambda: run(encoder)), seen["te.0.mlp.out"][0])
    assert not passed
    assert hooks_left(encoder) == before
    handle.remove()
    assert torch.equal(run(encoder), run(encoder))


def test_input_of_a_site_that_is_not_passed_fails(encoder):
    with pytest.raises(RuntimeError, match="without passing"):
        input_of(find(encoder, "te.0.mlp"), lambda: None)
