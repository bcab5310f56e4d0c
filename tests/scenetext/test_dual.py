import pytest
import torch
from diffusers import Transformer2DModel
from torch.utils.checkpoint import checkpoint

from diffwright.core.errors import ConfigError, UnsupportedBackbone
from diffwright.scenetext.dual import Conditions, DualTransformer, install, recorded
from tests.support.tiny import unet


def transformer(context):
    return Transformer2DModel(2, 8, 16, norm_num_groups=4, cross_attention_dim=context).eval()


def sites():
    torch.manual_seed(0)
    return transformer(12), transformer(8)


def conditions(told=None, keep=True):
    c = Conditions(torch.randn(2, 5, 12), None, torch.randn(2, 4, 8), None, told)
    marks = torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]]).bool()
    return c._replace(characters_keep=marks) if keep else c


def test_it_is_the_mean_of_two_stock_transformers():
    said, read = sites()
    dual, h, c = DualTransformer(said, read), torch.randn(2, 16, 4, 8), conditions()
    a = said(h, encoder_hidden_states=c.instruction).sample
    b = read(h, encoder_hidden_states=c.characters, encoder_attention_mask=c.characters_keep.float()).sample
    assert torch.allclose(dual(h, c).sample, (a + b) / 2, atol=1e-5)


def test_a_branch_left_out_leaves_the_mean_exactly():
    said, read = sites()
    told = torch.tensor([[True, False], [False, True]])
    dual, h, c = DualTransformer(said, read), torch.randn(2, 16, 4, 8), conditions(told, keep=False)
    out = dual(h, c).sample
    assert torch.equal(out[0], said(h, encoder_hidden_states=c.instruction).sample[0])
    assert torch.equal(out[1], read(h, encoder_hidden_states=c.characters).sample[1])
    nothing = dual(h, c._replace(told=torch.zeros(2, 2, dtype=torch.bool)), return_dict=False)[0]
    assert torch.equal(nothing, h)
    single = DualTransformer(said, None)(h, c._replace(told=None)).sample
    assert torch.equal(single, said(h, encoder_hidden_states=c.instruction).sample)


def test_padding_has_no_influence():
    dual, h, c = DualTransformer(*sites()), torch.randn(2, 16, 4, 8), conditions()
    other = torch.where(c.characters_keep[..., None], c.characters, 99.0)
    assert torch.equal(dual(h, c).sample, dual(h, c._replace(characters=other)).sample)


def test_every_site_of_a_stock_unet_is_replaced_and_the_instance_alone():
    net, other = unet("inpaint"), unet("inpaint")
    names = install(net, 8)
    assert len(names) == len({id(net.get_submodule(name)) for name in names}) == 4
    assert not any(isinstance(m, DualTransformer) for m in other.modules())
    heads = net.get_submodule(names[0]).characters.transformer_blocks[0].attn2.heads
    assert heads == 2
    out = net(torch.randn(2, 9, 16, 16), 5, conditions()._replace(instruction=torch.randn(2, 5, 32))).sample
    assert out.shape == (2, 4, 16, 16)
    with pytest.raises(UnsupportedBackbone, match="unchanged"):
        install(net, 8)
    with pytest.raises(ConfigError, match="divide"):
        install(unet("inpaint"), 8, heads=7)
    with pytest.raises(UnsupportedBackbone, match="no cross-attention"):
        install(torch.nn.Sequential(torch.nn.Linear(2, 2)), 8)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_recorded_is_the_attention_and_has_gradients(checkpointing):
    torch.manual_seed(0)
    net = unet("inpaint").train()
    install(net, 8)
    if checkpointing:
        net.enable_gradient_checkpointing(lambda f, *a: checkpoint(f, *a, use_reentrant=False))
    c = conditions()._replace(instruction=torch.randn(2, 5, 32))
    with recorded(net) as readings:
        net(torch.randn(2, 9, 16, 16), torch.tensor([5, 9]), c)
    assert len(readings) == 4
    maps = [reading.attention(c.characters_keep) for reading in readings.values()]
    assert {m.shape[1] for m in maps} == {64}
    for m in maps:
        assert torch.allclose(m.sum(-1), torch.ones(m.shape[:2]), atol=1e-5)
        assert (m[0, :, 3] == 0).all()
    sum(m[..., 1].mean() for m in maps).backward()
    site = net.get_submodule(next(iter(readings))).characters.transformer_blocks[0]
    assert float(site.attn2.to_k.weight.grad.abs().sum()) > 0
    assert not any(m._forward_hooks for m in net.modules())
