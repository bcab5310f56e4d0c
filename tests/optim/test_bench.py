"""The bench at toy size: figure names, the reference values of the synthetic study, the image experiment."""

import io
import json
import tarfile
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from PIL import Image

from diffwright.bench import harness, optim, optim_images, optim_regret, optim_synthetic
from diffwright.bench.optim_nets import resnet20, resnet50, shapes_of
from diffwright.bench.optim_pictures import read_cifar100, read_jpeg_scans, rotated
from diffwright.core.errors import ConfigError, InputError


def test_the_synthetic_study_reproduces_the_reference_to_1e_9_and_the_derivatives_are_right():
    found = optim_synthetic.figures()
    assert found["synthetic_error"].value <= 1e-9
    for name, (function, derivative) in optim_synthetic.FUNCTIONS.items():
        for x in (-0.95, -0.7, -0.45, -0.2, 0.15, 0.3, 0.45, 0.7):
            numeric = (function(x + 1e-6) - function(x - 1e-6)) / 2e-6
            assert derivative(x) == pytest.approx(numeric, abs=1e-4), (name, x)


def test_the_synthetic_study_is_drawn(tmp_path):
    optim_synthetic.plot(tmp_path / "paths.png")
    with Image.open(tmp_path / "paths.png") as picture:
        assert picture.width > 800


def test_the_weighted_median_is_the_best_fixed_point():
    rng = np.random.default_rng(0)
    values, weights = rng.standard_normal((31, 2)), rng.uniform(0.2, 1.8, (31, 2))
    found = optim_regret.weighted_median(values, weights)
    costs = (weights * np.abs(values[:, None] - values)).sum(1)
    assert found.tolist() == values[costs.argmin(0), [0, 1]].tolist()


def test_adams_counter_example_and_its_repair():
    found = optim_regret.figures(quick=True)
    assert found["counter_x_adam"].value > 0.9
    assert found["counter_x_adam_amsgrad"].value < -0.9
    assert found["regret_slope"].value < -0.3


def test_names_of_the_quick_figures_and_an_unknown_part():
    found = optim.run(True, parts=("speed", "memory"))
    names = ("cpu_step_ratio_adam", "cpu_speedup_pytorch_optimizer", "cpu_speedup_torch_optimizer")
    assert {*names, "tiny_tensors_ratio", "state_bytes_per_parameter"} <= set(found)
    assert found["state_bytes_per_parameter"].value == 12
    assert found["state_bytes_per_parameter_bf16"].value == 10
    with pytest.raises(ConfigError, match="weather; it has speed"):
        harness.run("optim", True, parts=("weather",))


def test_the_networks_are_those_of_the_paper_and_of_the_registration():
    assert len(shapes_of(resnet50)) == 161
    assert sum(shape.numel() for shape in shapes_of(resnet50)) == 23_520_842
    assert 0.27e6 < sum(shape.numel() for shape in shapes_of(resnet20)) < 0.28e6
    assert resnet50(7, width=2)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A file of random pictures in the layout of the CIFAR-10 JPEG scans."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(120):
        file = io.BytesIO()
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "JPEG", quality=75)
        made.append(file.getvalue())
    start = made[0].index(b"\xff\xda") + 14
    assert len({content[:start] for content in made}) == 1
    bodies = [content[start:-2] for content in made]
    path = tmp_path_factory.mktemp("scans") / "scans.npz"
    labels = np.arange(120) % 10
    np.savez(
        path,
        header=np.frombuffer(made[0][:start], np.uint8),
        lens=np.array([len(body) for body in bodies], np.uint16),
        scans=np.frombuffer(b"".join(bodies), np.uint8),
        y_train=labels[:100].astype(np.uint8),
        y_test=labels[100:].astype(np.uint8),
    )
    return path


def test_pictures_are_read_normalised_and_turned(scans):
    pictures = read_jpeg_scans(scans)
    assert pictures.train.shape == (100, 3, 32, 32)
    assert pictures.test.shape == (20, 3, 32, 32)
    assert abs(pictures.train.mean()) < 1e-5
    turned = rotated(pictures)
    assert turned.classes == 40
    quarter = (turned.train_labels - pictures.train_labels) // 10
    assert set(quarter.tolist()) == {0, 1, 2, 3}
    for i in (0, 50, 99):
        assert torch.equal(turned.train[i], pictures.train[i].rot90(int(quarter[i]), (1, 2)))


def test_augmentation_shifts_by_at_most_four_and_flips():
    images = torch.arange(8 * 3 * 32 * 32).float().reshape(8, 3, 32, 32)
    made = optim_images.augment(images, torch.Generator().manual_seed(0))
    assert made.shape == images.shape
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    for before, after in zip(padded, made, strict=True):
        crops = [before[:, y : y + 32, x : x + 32] for y in range(9) for x in range(9)]
        assert any(torch.equal(after, crop) or torch.equal(after, crop.flip(2)) for crop in crops)


def test_the_image_experiment_runs_resumes_and_compares(scans, tmp_path):
    results = tmp_path / "results.jsonl"
    options = {"cifar": scans, "results": results, "arms": ("adam", "adam_half", "diffgrad", "aliased")}
    found = optim.run(True, parts=("images",), **options)
    lines = results.read_text().splitlines()
    assert len(lines) == 2 * 4 * 5
    for name in (
        "cifar_diffgrad_minus_adam",
        "cifar_diffgrad_minus_adam_half",
        "cifar_aliased_minus_adam_half",
    ):
        assert found[f"{name}_low"].value <= found[name].value <= found[f"{name}_high"].value
        assert 0 < found[f"{name}_p"].value <= 1
    assert "cifar10_rotated_diffgrad_minus_adam" in found
    again = optim.run(True, parts=("images",), **options)
    assert results.read_text().splitlines() == lines
    assert again == found
    losses = {(row["arm"], row["seed"]): row["loss"] for row in map(json.loads, lines[:20])}
    assert losses["aliased", 0] != losses["adam", 0]


def test_registered_arms_and_seeds():
    seeds = {arm: count for arm, (count, _) in optim_images.ARMS.items()}
    assert [arm for arm, count in seeds.items() if count == 5] == [
        "adam",
        "adam_half",
        "diffgrad",
        "aliased",
        "scale_free",
    ]
    others = [arm for arm, count in seeds.items() if count == 2]
    assert others == ["adamw", "sgdm", "amsgrad", "rmsprop", "adagrad", "adadelta"]


def test_a_missing_or_foreign_file_is_named(tmp_path):
    with pytest.raises(InputError, match="there is no file"):
        optim.run(True, parts=("images",), cifar=tmp_path / "nothing.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(1))
    with pytest.raises(InputError, match="lacks header"):
        optim.run(True, parts=("images",), cifar=tmp_path / "other.npz")


def archive_of(path, **members):
    """A small stand-in for the official CIFAR-100 archive: rows of coarse class, fine class and a picture."""
    with tarfile.open(path, "w:gz") as archive:
        for name, count in members.items():
            rows = np.zeros((count, 3074), np.uint8)
            rows[:, 1] = np.arange(count)
            rows[:, 2:] = np.random.default_rng(0).integers(0, 256, (count, 3072))
            entry = tarfile.TarInfo(f"cifar-100-binary/{name}.bin")
            entry.size = rows.nbytes
            archive.addfile(entry, io.BytesIO(rows.tobytes()))
    return path


def test_cifar100_is_read_as_far_as_the_limit_and_what_lacks_is_named(tmp_path):
    whole = read_cifar100(archive_of(tmp_path / "whole.tar.gz", train=10, test=4), limit=5)
    assert (len(whole.train), len(whole.test), whole.classes) == (5, 4, 100)
    assert whole.train_labels.tolist() == [0, 2, 4, 6, 9]
    with pytest.raises(InputError, match=r"no cifar-100-binary/test\.bin"):
        read_cifar100(archive_of(tmp_path / "half.tar.gz", train=10))


def test_a_line_that_a_killed_run_left_half_written_is_run_again(tmp_path):
    trial = optim_images.plan("cifar10", ["adam"], net="resnet8", epochs=1, batch=8, limit=8, bf16=False)[0]
    file = tmp_path / "results.jsonl"
    line = json.dumps({**asdict(trial), "accuracy": 50.0})
    file.write_text(line + "\n" + line[:40])
    assert optim_images._finished(file) == {trial: {"accuracy": 50.0}}
    other = replace(trial, seed=1)
    optim_images._append(file, {**asdict(other), "accuracy": 60.0})
    assert optim_images._finished(file) == {trial: {"accuracy": 50.0}, other: {"accuracy": 60.0}}
