import json
import math
import os
import signal

import pytest
import torch
from safetensors.torch import load_file

from diffwright.core.errors import Cancelled, ConfigError, InputError, JobFailed
from diffwright.training.batches import batches
from diffwright.training.loop import Settings, run
from diffwright.training.store import Store
from tests.training.toy import Toy

COMMON = {"batch_size": 8, "lr": 1e-2, "threads": 1, "seed": 3, "warmup_samples": 40, "log_seconds": 0}


def settings(out, **changes):
    return Settings(out=out, **{**COMMON, "samples": 400, **changes})


def finished(out):
    return load_file(out / "model" / "model.safetensors"), Store(out / "checkpoints").load().tensors


def assert_equal(out, other):
    (model, groups), (model2, groups2) = finished(out), finished(other)
    assert model.keys() == model2.keys()
    assert all(torch.equal(model[k], model2[k]) for k in model)
    for group in ("model", "ema", "optimizer"):
        assert groups[group].keys() == groups2[group].keys()
        assert all(torch.equal(groups[group][k], groups2[group][k]) for k in groups[group])


def events(out, kind):
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["event"] == kind]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole") / "run"
    result = run(Toy(), settings(out))
    return out, result


def stop_after(calls, act=lambda: True):
    state = {"calls": 0}

    def progress(what, done, total):
        assert (what, total) == ("training", 400)
        state["calls"] += 1
        return act() if state["calls"] == calls else None

    return progress


def test_it_learns_logs_and_exports(whole):
    out, result = whole
    assert result["samples"] == 400
    assert result["mse"] < 0.02, "guessing zero gives 0.031"
    assert json.loads((out / "result.json").read_text()) == result
    steps = events(out, "step")
    assert [line["samples"] for line in steps][-1] == 400
    assert steps[0]["loss"] > 5 * steps[-1]["loss"]
    assert {"lr", "gradient_norm", "samples_per_second", "minutes", "error"} <= steps[5].keys()
    assert all(line["one"] == 1 for line in steps)
    assert events(out, "evaluate")[0]["mse"] == pytest.approx(result["mse"], rel=1e-5)


@pytest.mark.parametrize("changes", [{"prefetch": 0}, {"prefetch": 3}, {"checkpoint_minutes": 0}])
def test_settings_that_must_not_change_the_weights(whole, tmp_path, changes):
    run(Toy(), settings(tmp_path / "run", **changes))
    assert_equal(whole[0], tmp_path / "run")


@pytest.mark.parametrize("calls", [2, 17, 45])
def test_a_stop_by_the_callback_resumes_exactly(whole, tmp_path, calls):
    with pytest.raises(Cancelled) as stopped:
        run(Toy(), settings(tmp_path), stop_after(calls))
    assert stopped.value.exit_code == 130
    assert Store(tmp_path / "checkpoints").load().step == calls - 1
    run(Toy(), settings(tmp_path))
    assert_equal(whole[0], tmp_path)


def test_a_callback_may_raise_to_stop(tmp_path):
    def raising():
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path), stop_after(9, raising))
    assert Store(tmp_path / "checkpoints").load().step == 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_finishes_the_step_and_saves(whole, tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path), stop_after(20, lambda: os.kill(os.getpid(), number)))
    assert signal.getsignal(number) is before
    assert Store(tmp_path / "checkpoints").load().step >= 19
    run(Toy(), settings(tmp_path))
    assert_equal(whole[0], tmp_path)


def test_a_signal_during_the_evaluation_stops_at_once_and_loses_nothing(whole, tmp_path):
    class Slow(Toy):
        def evaluate(self, modules):
            os.kill(os.getpid(), signal.SIGTERM)
            raise AssertionError("the evaluation went on")

    with pytest.raises(Cancelled):
        run(Slow(), settings(tmp_path))
    assert Store(tmp_path / "checkpoints").load().step == 50
    run(Toy(), settings(tmp_path))
    assert_equal(whole[0], tmp_path)


def test_a_finished_run_is_not_repeated(whole):
    out, result = whole
    task = Toy()
    assert run(task, settings(out)) == result
    assert task.evaluations == 0


@pytest.mark.parametrize("changes", [{"lr": 1e-3}, {"batch_size": 4}, {"seed": 4}, {"optimizer": "diffgrad"}])
def test_other_settings_are_refused(whole, changes):
    with pytest.raises(ConfigError, match=next(iter(changes))):
        run(Toy(), settings(whole[0], **changes))


def test_another_network_is_refused(whole):
    with pytest.raises(ConfigError, match="another form"):
        run(Toy(plain=True), settings(whole[0]))


def test_the_budget_may_grow_until_the_rate_falls(tmp_path):
    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path, samples=400), stop_after(10))
    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path, samples=160), lambda what, done, total: done >= 144)
    with pytest.raises(ConfigError, match="budget"):
        run(Toy(), settings(tmp_path, samples=800))
    assert run(Toy(), settings(tmp_path, samples=160))["samples"] == 160


def test_minutes_end_the_run_and_a_resume_follows_the_same_curve(tmp_path):
    changes = {"samples": None, "minutes": 0.04, "decay_share": 0.5, "evaluate_minutes": 0.008}
    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path, **changes), lambda what, done, total: done >= 0.7 * total > 0)
    decay = Store(tmp_path / "checkpoints").load().state["decay"]
    result = run(Toy(), settings(tmp_path, **changes))
    assert Store(tmp_path / "checkpoints").load().state["decay"] == decay
    assert result["samples"] == math.ceil(decay["end"] / 8) * 8
    assert 0.03 < result["minutes"] < 0.4
    assert len(events(tmp_path, "evaluate")) > 1


def test_diffgrad_and_bf16_resume_exactly(tmp_path):
    changes = {
        "optimizer": "diffgrad",
        "precision": "bf16",
        "samples": 400,
        "clip": None,
        "weight_decay": 0.1,
    }
    run(Toy(), settings(tmp_path / "whole", **changes))
    with pytest.raises(Cancelled):
        run(Toy(), settings(tmp_path / "cut", **changes), stop_after(20))
    run(Toy(), settings(tmp_path / "cut", **changes))
    assert_equal(tmp_path / "whole", tmp_path / "cut")


def test_a_loss_that_is_not_finite_ends_the_run_and_is_not_saved(tmp_path):
    class Broken(Toy):
        def loss(self, modules, batch, generator):
            loss, figures = super().loss(modules, batch, generator)
            self.steps = getattr(self, "steps", 0) + 1
            return loss * (float("nan") if self.steps > 9 else 1), figures

    with pytest.raises(JobFailed, match="not finite"):
        run(Broken(), settings(tmp_path, checkpoint_minutes=0))
    kept = Store(tmp_path / "checkpoints").load()
    assert kept.step == 9
    assert all(tensor.isfinite().all() for tensor in kept.tensors["model"].values())


def test_foreign_files_in_the_place_of_the_model_are_refused_before_the_first_step(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "notes.txt").write_text("mine")
    calls = []
    with pytest.raises(InputError, match=r"notes\.txt"):
        run(Toy(), settings(tmp_path), lambda *call: calls.append(call))
    assert not calls
    assert Store(tmp_path / "checkpoints").load() is None


def test_an_error_in_the_data_reaches_the_caller(tmp_path):
    class Broken(Toy):
        def batch(self, indices):
            if indices[0] >= 80:
                raise ConfigError("no such file")
            return super().batch(indices)

    with pytest.raises(ConfigError, match="no such file"):
        run(Broken(), settings(tmp_path))


def test_batches_come_in_order_and_ahead():
    built = []
    with batches(lambda step: built.append(step) or step, 5, 2) as stream:
        assert [next(stream) for _ in range(4)] == [5, 6, 7, 8]
    assert built == sorted(built)
