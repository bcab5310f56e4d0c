import numpy as np
import pytest
import torch

from diffwright.core.errors import ConfigError, InputError
from diffwright.metrics.judge import Guess, Judge, guesses

VALUES = {"color": ("red", "green", "blue"), "count": (1, 2, 3)}


@pytest.fixture
def judge():
    torch.manual_seed(0)
    return Judge(VALUES, widths=(8, 8, 16), depths=(1, 0, 1)).eval()


def paint(count):
    return np.random.default_rng(0).integers(0, 256, (count, 64, 64, 3), dtype=np.uint8)


def test_the_shipped_architecture_stays_within_its_budget():
    full = Judge({"kind": range(24), "color": range(10), "style": range(6), "count": range(3)})
    assert sum(p.numel() for p in full.parameters()) < 1_000_000


def test_probabilities_sum_to_one_for_each_attribute(judge):
    chances = judge.probabilities(torch.rand(5, 3, 64, 64) * 2 - 1)
    assert {name: tuple(p.shape) for name, p in chances.items()} == {"color": (5, 3), "count": (5, 3)}
    for p in chances.values():
        torch.testing.assert_close(p.sum(1), torch.ones(5))


def test_answers_are_values_and_agree_with_the_probabilities(judge):
    pictures = paint(5)
    answers = judge.answers(pictures, batch=2)
    chances = judge.probabilities(torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1)
    for name, values in VALUES.items():
        assert [a[name] for a in answers] == [values[i] for i in chances[name].argmax(1).tolist()]


def test_one_picture_is_judged_as_in_a_batch(judge):
    pictures = paint(4)
    assert judge.answers(pictures[2]) == judge.answers(pictures)[2:3]
    batch = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 127.5 - 1
    torch.testing.assert_close(judge(batch)["color"][2:3], judge(batch[2:3])["color"], atol=1e-5, rtol=1e-5)


def test_it_learns_a_color(judge):
    draws = np.random.default_rng(1)
    labels = draws.integers(0, 3, 48)
    pictures = torch.full((48, 3, 64, 64), -1.0)
    pictures[torch.arange(48), torch.from_numpy(labels)] = 1.0
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-2)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(judge(pictures)["color"], torch.from_numpy(labels)).backward()
        optimizer.step()
    shown = ((pictures + 1) * 127.5).byte().permute(0, 2, 3, 1).numpy()
    assert [a["color"] for a in judge.answers(shown)] == [VALUES["color"][i] for i in labels]


def test_saved_and_loaded_it_answers_the_same(judge, tmp_path):
    judge.save_pretrained(tmp_path / "j", card="# A judge")
    again = Judge.from_pretrained(tmp_path / "j")
    assert again.attributes == VALUES
    assert not again.training
    assert again.answers(paint(4)) == judge.answers(paint(4))


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64, 3)),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((64, 64), np.uint8),
        np.zeros((1, 64, 64, 4), np.uint8),
    ],
)
def test_pictures_of_another_form_are_refused(judge, picture):
    with pytest.raises(InputError):
        judge.answers(picture)


def test_an_attribute_needs_two_values():
    with pytest.raises(ConfigError, match="two values"):
        Judge({"color": ("red",)})


def test_guesses_on_noise_and_blanks_are_told_for_each_attribute(judge):
    for head in judge.heads.values():
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
    head.bias.data[1] = 2.0  # of count: 2
    sure = float(torch.tensor([0.0, 2.0, 0.0]).softmax(0)[1])
    for sort in guesses(judge, 8).values():
        assert sort["count"] == Guess(2, 1.0, pytest.approx(sure))
        assert sort["color"].confidence == pytest.approx(1 / 3)


def test_blanks_run_from_black_to_white_and_noise_is_the_same_each_time(judge, monkeypatch):
    seen = []
    real = judge.probabilities
    monkeypatch.setattr(judge, "probabilities", lambda images: seen.append(images) or real(images))
    assert guesses(judge, 5) == guesses(judge, 5)
    noise, blank, again, _ = seen
    assert torch.equal(noise, again)
    assert blank[:, 0, 0, 0].tolist() == [-1, -0.5, 0, 0.5, 1]
    assert (blank == blank[:, :1, :1, :1]).all()
