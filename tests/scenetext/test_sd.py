import pytest
import torch

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt
from diffwright.core.seeding import generators
from diffwright.scenetext.dual import install
from diffwright.scenetext.sampling import write
from diffwright.scenetext.sd import SdSceneText, wrap
from tests.support.tiny import pipeline


def write_with(model):
    image, mask = torch.zeros(1, 3, 32, 64), torch.zeros(1, 1, 32, 64, dtype=torch.bool)
    mask[..., 8:24, 8:56] = True
    return write(model, model.vae, image, mask, ["Tea"], ["a cat"], generators=generators([0]), steps=2)


def test_an_inpainting_pipeline_writes_and_what_it_learned_goes_around_it_again(tmp_path):
    torch.manual_seed(0)
    model = SdSceneText(pipeline("inpaint"), width=8).eval()
    out = write_with(model)
    assert out.shape == (1, 3, 32, 64)
    model.save_pretrained(tmp_path / "learned")
    again = wrap(pipeline("inpaint", seed=5), tmp_path / "learned")
    assert again.settings == model.settings
    pairs = zip(model.learned().values(), again.learned().values(), strict=True)
    for a, b in pairs:
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_plain_stable_diffusion_is_refused_with_advice():
    with pytest.raises(UnsupportedBackbone, match="scenetext-sd"):
        wrap(pipeline("inpaint"))
    with pytest.raises(UnsupportedBackbone, match="inpainting checkpoint"):
        SdSceneText(pipeline("sd1"))


def test_a_damaged_configuration_is_refused(tmp_path):
    model = SdSceneText(pipeline("inpaint"), width=8)
    model.save_pretrained(tmp_path / "m")
    path = tmp_path / "m" / "config.json"
    path.write_text(path.read_text().replace('"width": 8', '"width": "8"'))
    with pytest.raises(WeightsCorrupt, match="no character encoder"):
        wrap(pipeline("inpaint"), tmp_path / "m")


def test_the_full_size_has_sixteen_sites_and_its_shapes_fit():
    from diffusers import UNet2DConditionModel

    from diffwright.scenetext.dual import Conditions

    with torch.device("meta"):
        unet = UNet2DConditionModel(in_channels=9, cross_attention_dim=768)
        assert len(install(unet, 32)) == 16
        told = Conditions(torch.zeros(1, 77, 768), None, torch.zeros(1, 24, 32))
        out = unet(torch.zeros(1, 9, 16, 64), torch.zeros(1), told).sample
    assert out.shape == (1, 4, 16, 64)
    count = sum(p.numel() for p in unet.parameters())
    assert 1.0e9 < count < 1.2e9
