import pytest
import torch

from diffwright.core.errors import ConfigError
from diffwright.core.seeding import generators
from diffwright.matching.diffusion import (
    ddim,
    initial_noise,
    levels,
    q_sample,
    robust_average,
    spread,
    table,
)


def test_the_cosine_table_is_the_papers():
    alpha_bar = [level.alpha_bar for level in table(5)]
    torch.testing.assert_close(
        torch.tensor(alpha_bar), torch.tensor([0.8987, 0.6475, 0.3408, 0.0941, 0.00009]), atol=1e-4, rtol=0
    )
    beta = [1 - now / before for now, before in zip(alpha_bar, [1, *alpha_bar], strict=False)]
    torch.testing.assert_close(
        torch.tensor(beta), torch.tensor([0.1013, 0.2795, 0.4736, 0.7241, 0.999]), atol=1e-4, rtol=0
    )
    assert [level.time for level in table(5)] == [0.2, 0.4, 0.6, 0.8, 1.0]


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 10])
def test_an_oracle_gives_back_its_field_exactly(steps):
    truth = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(0))
    noise = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(1))
    told = []
    found = ddim(
        lambda x, level, previous: truth, noise, levels(steps, 5), lambda i, *rest: told.append((i, rest[0]))
    )
    torch.testing.assert_close(found, truth, atol=1e-6, rtol=0)
    assert [i for i, _ in told] == list(range(steps))
    assert told[0][1].time == 1.0


def test_on_the_way_it_passes_the_noised_field_of_each_level():
    """With an oracle, x_t stays sqrt(alpha_bar) x0 + sqrt(1 - alpha_bar) eps for one eps."""
    truth, eps = torch.full((1, 2, 2, 2), 3.0), torch.randn(1, 2, 2, 2)
    run = levels(5, 5)
    start = q_sample(truth, run[0].alpha_bar, eps)
    seen = []
    ddim(lambda x, level, previous: truth, start, run, lambda i, level, x, x0: seen.append(x))
    for level, x in zip(run[1:], seen, strict=False):
        torch.testing.assert_close(x, q_sample(truth, level.alpha_bar, eps), atol=1e-4, rtol=1e-4)


def test_the_previous_prediction_is_handed_on():
    given = []

    def denoise(x, level, previous):
        given.append(previous)
        return torch.full_like(x, level.time)

    ddim(denoise, torch.zeros(1, 2, 2, 2), levels(3, 3))
    assert given[0] is None
    assert [float(g.mean()) for g in given[1:]] == pytest.approx([1.0, 2 / 3])


def test_fewer_steps_use_trained_levels_and_more_refine():
    assert [level.time for level in levels(2, 5)] == [1.0, 0.6]
    assert [level.time for level in levels(1, 5)] == [1.0]
    assert levels(5, 5) == table(5)[::-1]
    assert len(levels(10, 5)) == 10
    with pytest.raises(ConfigError, match="steps is 0"):
        levels(0, 5)


def test_noise_belongs_to_the_pair_not_to_the_batch():
    like = torch.zeros(1)
    both = initial_noise(generators([7, 8]), 3, (4, 5), like)
    assert both.shape == (6, 2, 4, 5)
    assert torch.equal(both[3:], initial_noise(generators([8]), 3, (4, 5), like))


def test_the_robust_average_ignores_a_lone_sample_of_another_mode():
    samples = torch.zeros(1, 3, 2, 4, 4)
    samples[:, 2] = 30.0
    log_b = torch.zeros(1, 3, 1, 4, 4)
    assert float(robust_average(samples, log_b).abs().max()) < 0.5
    assert float(spread(samples).min()) > 10
    one = torch.randn(1, 1, 2, 4, 4)
    torch.testing.assert_close(robust_average(one, torch.zeros(1, 1, 1, 4, 4)), one[:, 0])
    assert not spread(one).any()


def test_the_robust_average_trusts_the_confident_sample():
    samples = torch.stack([torch.zeros(2, 4, 4), torch.full((2, 4, 4), 8.0)])[None]
    log_b = torch.tensor([-3.0, 2.0]).reshape(1, 2, 1, 1, 1).expand(1, 2, 1, 4, 4)
    assert float(robust_average(samples, log_b).max()) < 0.1
