import pytest
import torch

from diffwright.diffusion.prompts import encode
from diffwright.editing.bank import Shown, decoder_attentions, on_tokens, recorded, shown


@pytest.fixture
def case(pipes):
    pipe = pipes("sd1")
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, 4, 8, 12, generator=draw) for _ in range(2))
    words = encode(pipe, ["a cat"])
    with torch.no_grad():
        yield pipe.unet, a, b, lambda z: pipe.unet(z, torch.tensor(400), words.expand(len(z), -1, -1)).sample


def hooks_left(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_only_the_way_up_is_recorded(case):
    unet, a, _, run = case
    attentions = decoder_attentions(unet)
    with recorded(attentions) as states:
        run(a)
    assert attentions
    assert set(states) == {site.name for site in attentions}
    assert all(name.startswith("unet.up.") for name in states)
    assert hooks_left(unet) == 0


def test_its_own_bank_changes_nothing_and_another_one_does(case):
    unet, a, b, run = case
    attentions = decoder_attentions(unet)
    plain = run(a)
    with recorded(attentions) as states:
        run(a)
    with shown(attentions, [Shown(states)], own=False):
        torch.testing.assert_close(run(a), plain)
        other = run(b)
    assert not torch.allclose(other, run(b), atol=1e-5)
    assert hooks_left(unet) == 0


def test_own_states_beside_equal_ones_change_nothing(case):
    unet, a, _, run = case
    attentions = decoder_attentions(unet)
    with recorded(attentions) as states:
        run(a)
    with shown(attentions, [Shown(states)], own=True):
        torch.testing.assert_close(run(a), run(a))
        with_bank = run(a)
    torch.testing.assert_close(with_bank, run(a), rtol=1e-4, atol=1e-5)


def test_one_bank_serves_a_batch(case):
    unet, a, b, run = case
    attentions = decoder_attentions(unet)
    with recorded(attentions) as states:
        run(a)
    for own in (True, False):
        with shown(attentions, [Shown(states)], own=own):
            both = run(torch.cat([a, b]))
            torch.testing.assert_close(both[:1], run(a), rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(both[1:], run(b), rtol=1e-4, atol=1e-5)


def test_masks_choose_tokens_and_an_empty_choice_shows_the_own_states(case):
    unet, a, b, run = case
    attentions = decoder_attentions(unet)
    with recorded(attentions) as states:
        run(a)
    left, none = torch.zeros(8, 12, dtype=torch.bool), torch.zeros(8, 12, dtype=torch.bool)
    left[:, :4] = True
    part = Shown(states, left)
    name = attentions[-1].name
    assert part.tokens(name).shape[1] == states[name].shape[1] // 3
    with shown(attentions, [Shown(states, none)], own=False):
        torch.testing.assert_close(run(b), run(b))
        empty = run(b)
    torch.testing.assert_close(empty, run(b))


def test_masks_shrink_with_the_layer():
    mask = torch.zeros(8, 12, dtype=torch.bool)
    mask[:4, :6] = True
    assert on_tokens(mask, 96).sum() == 24
    assert on_tokens(mask, 24).sum() == 6
    assert on_tokens(mask, 6).shape == (6,)
