import math

import pytest
import torch
from diffusers import DDIMScheduler

from diffwright.core.errors import ConfigError
from diffwright.diffusion.schedules import Schedule
from tests.support.tiny import scheduler

KINDS = ("sd1", "sd2", "pocket")


def some(seed, shape=(1, 4, 3, 5)):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_fifty_steps_are_the_published_ones():
    schedule = Schedule.of(scheduler("sd1"), 50)
    assert schedule.timesteps == tuple(981 - 20 * i for i in range(50))
    levels = scheduler("sd1").alphas_cumprod
    assert schedule.alpha_bar[1] == pytest.approx(float(levels[961]))
    assert schedule.alpha_bar[50] == pytest.approx(float(levels[0])), "set_alpha_to_one is off there"
    assert [round(schedule.sigma(i), 3) for i in (11, 19)] == [0.384, 0.33]


def test_a_schedule_without_signal_at_its_end_is_never_asked_for_it():
    for steps in (2, 20, 50, 333):
        schedule = Schedule.of(scheduler("pocket"), steps)
        assert len(schedule) == steps
        assert 0 < schedule.alpha_bar[0] < schedule.alpha_bar[-1] == 1.0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("eta", [0.0, 0.7])
def test_a_step_without_guidance_is_that_of_diffusers(kind, eta):
    theirs = DDIMScheduler.from_config(
        scheduler(kind).config,
        timestep_spacing="leading",
        steps_offset=1,
        set_alpha_to_one=False,
        clip_sample=False,
    )
    theirs.set_timesteps(25)
    schedule = Schedule.of(theirs, 25)
    z, out, noise = some(1), some(2), some(3)
    for i in (0, 7, 23):
        t = int(theirs.timesteps[i])
        assert t == schedule.timesteps[i]
        want = theirs.step(out, t, z, eta=eta, variance_noise=noise if eta else None).prev_sample
        epsilon = schedule.epsilon(out, z, i)
        torch.testing.assert_close(
            schedule.step(z, epsilon, i, eta=eta, noise=noise), want, rtol=1e-4, atol=1e-4
        )


def test_guidance_enters_the_picture_and_not_the_direction():
    schedule = Schedule.of(scheduler("sd1"), 50)
    z, epsilon, g = some(1), some(2), some(3)
    for i, coefficient in ((0, 1.12), (10, 1.06), (20, 0.96), (29, 0.79)):
        change = schedule.step(z, epsilon, i, g) - schedule.step(z, epsilon, i)
        torch.testing.assert_close(change, -coefficient * g, rtol=0.01, atol=0.01)


def test_noise_may_differ_from_place_to_place():
    schedule = Schedule.of(scheduler("sd1"), 50)
    z, epsilon, n = some(1), some(2), some(3)
    eta = torch.zeros(1, 1, 3, 5, dtype=torch.float64)
    eta[..., 2:] = 0.4
    mixed = schedule.step(z, epsilon, 15, eta=eta, noise=n)
    torch.testing.assert_close(mixed[..., :2], schedule.step(z, epsilon, 15)[..., :2])
    torch.testing.assert_close(mixed[..., 2:], schedule.step(z, epsilon, 15, eta=0.4, noise=n)[..., 2:])


def test_a_carry_there_and_back_is_the_identity():
    schedule = Schedule.of(scheduler("sd2"), 20)
    z, epsilon = some(1), some(2)
    there = schedule.carried(z, epsilon, 12, 5)
    torch.testing.assert_close(schedule.carried(there, epsilon, 5, 12), z)


def test_velocity_becomes_epsilon():
    theirs = scheduler("sd2")
    schedule = Schedule.of(theirs, 20)
    x0, epsilon, i = some(1), some(2), 6
    t = torch.tensor([schedule.timesteps[i]])
    z, v = theirs.add_noise(x0, epsilon, t), theirs.get_velocity(x0, epsilon, t)
    torch.testing.assert_close(schedule.epsilon(v, z, i), epsilon, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(schedule.clean(z, epsilon, i), x0, rtol=1e-4, atol=1e-4)
    assert math.isclose(schedule.alpha_bar[i], float(theirs.alphas_cumprod[t]), rel_tol=1e-6)


def test_odd_numbers_of_steps_and_other_predictions_are_refused():
    with pytest.raises(ConfigError, match="steps is 500"):
        Schedule.of(scheduler("sd1"), 500)
    other = scheduler("sd1")
    other.register_to_config(prediction_type="sample")
    with pytest.raises(ConfigError, match="sample"):
        Schedule.of(other, 10)
