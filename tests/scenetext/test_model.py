import pytest
import torch

from diffwright.core.errors import ConfigError, InputError, WeightsMissing
from diffwright.scenetext.model import FAITHFUL, SceneTextConfig, SceneTextModel, region_waves
from tests.scenetext.tiny import model

ARMS = {"improved": {}, "faithful": FAITHFUL, "instruction only": {"character_branch": False}}


def inputs(count=2, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(count, 8, 8, 32, generator=g)
    mask = torch.zeros(count, 1, 8, 32)
    mask[..., 2:6, 4:28] = 1
    return x, mask, torch.randn(x.shape, generator=g), torch.tensor([10, 700][:count])


def test_the_pocket_size_keeps_its_budget():
    net = SceneTextModel()
    assert sum(p.numel() for p in net.parameters()) <= 5_000_000


@pytest.mark.parametrize("arm", ARMS)
def test_arms_predict(arm):
    net = model(**ARMS[arm])
    said = net.encode(["OPEN", None], ['Write "OPEN"', "Write"])
    assert net.predict(*inputs(), said).shape == (2, 8, 8, 32)
    assert net.scheduler.config.prediction_type == net.config.prediction


def test_words_reach_the_picture_and_missing_ones_leave_the_mean():
    net = model()
    x = inputs()
    a, b = (net.predict(*x, net.encode([w] * 2, ["Write"] * 2)) for w in ("OPEN", "CLOSED"))
    assert not torch.allclose(a, b, atol=1e-5)
    said = net.encode([None, "a"], ["Write", None])
    assert said.told.tolist() == [[True, False], [False, True]]
    nothing, space = net.encode([None], [None]), net.encode([" "], [" "])
    assert nothing.told.tolist() == [[True, True]]
    assert torch.equal(nothing.characters, space.characters)
    with pytest.raises(InputError, match="as many"):
        net.encode(["a"], [])


def test_a_batch_of_one_equals_a_batch_of_many():
    net = model()
    x, mask, masked, t = inputs()
    texts, sentences = ["I", "MOUNTAIN"], ["Write", 'Write "MOUNTAIN" in font: Noto Serif and color: red']
    many = net.predict(x, mask, masked, t, net.encode(texts, sentences))
    one = net.predict(x[:1], mask[:1], masked[:1], t[:1], net.encode(texts[:1], sentences[:1]))
    assert torch.allclose(many[:1], one, atol=1e-4)


def test_cells_know_their_place_in_the_region():
    mask = torch.zeros(2, 1, 4, 8, dtype=torch.bool)
    mask[0, 0, 1:3, 2:6] = True
    found = region_waves(mask)
    assert found.shape == (2, 14, 4, 8)
    first = torch.tensor(0.125 * torch.pi).sin()
    assert found[0, 0, 0, 2] == pytest.approx(float(first))
    assert found.isfinite().all()


def test_saved_and_loaded_it_is_the_same(tmp_path):
    net = model()
    net.half().float()
    net.save_pretrained(tmp_path / "m", card="# tiny")
    again = SceneTextModel.from_pretrained(tmp_path / "m")
    assert again.config == net.config
    for name, tensor in net.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
    said = net.encode(["ab"] * 2, ["x"] * 2)
    assert torch.equal(net.predict(*inputs(), said), again.predict(*inputs(), said))


def test_errors_say_what_was_expected(tmp_path):
    with pytest.raises(WeightsMissing):
        SceneTextModel.from_pretrained(tmp_path / "none")
    for bad in ({"widths": (20,)}, {"attention": (1, 1)}, {"prediction": "x0"}, {"character_width": 6},
                {"places": 1}, {"reader_widths": (8,)}, {"blocks": 0}):  # fmt: skip
        with pytest.raises(ConfigError):
            SceneTextConfig(**bad)
    with pytest.raises(ConfigError, match="places"):
        SceneTextModel(place=True)
