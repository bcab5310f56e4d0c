import json
import subprocess
import sys

import pytest
import torch

from diffwright.core.errors import (
    InputError,
    JobFailed,
    UnsafeWeights,
    UnsupportedBackbone,
    WeightsCorrupt,
    WeightsMissing,
)
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.manifest import write_manifest
from diffwright.weights.module import load_module, save_module
from diffwright.weights.verify import check_finite, check_shipped


class Net(torch.nn.Module):
    def __init__(self, width=4, layers=(1, 2)):
        super().__init__()
        self.linear = torch.nn.Linear(width, width)
        self.norm = torch.nn.BatchNorm1d(width)
        self.register_buffer("scale", torch.linspace(0, 1, width), persistent=False)
        self.layers = list(layers)


class Other(Net):
    pass


@pytest.fixture
def saved(tmp_path):
    net = Net(6)
    return net, save_module(tmp_path / "net", net, {"width": 6, "layers": [3]}, "# Card\n")


def test_round_trip_is_exact(saved):
    net, folder = saved
    again = load_module(folder, Net)
    assert fingerprint(again) == fingerprint(net)
    assert torch.equal(again.scale, net.scale)
    assert again.layers == [3]
    assert not again.training
    assert (folder / "README.md").read_text() == "# Card\n"


def test_half_storage_loads_as_singles(tmp_path):
    net = Net()
    whole = save_module(tmp_path / "whole", net, {})
    half = save_module(tmp_path / "half", net, {}, dtype=torch.float16)
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (whole, half)]
    assert sizes[1] < sizes[0]
    again = load_module(half, Net)
    assert again.linear.weight.dtype == torch.float32
    assert torch.equal(again.linear.weight, net.linear.weight.half().float())
    assert again.norm.num_batches_tracked.dtype == torch.int64
    assert net.linear.weight.dtype == torch.float32


def test_saving_again_replaces_and_foreign_files_protect(saved):
    net, folder = saved
    save_module(folder, net, {"width": 6})
    assert not (folder / "README.md").exists()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"notes\.txt"):
        save_module(folder, net, {"width": 6})


def test_config_that_is_no_json_leaves_nothing(tmp_path):
    with pytest.raises(JobFailed):
        save_module(tmp_path / "net", Net(), {"width": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"width": 7}, WeightsCorrupt),
        ({"width": 10**12}, WeightsCorrupt),
        ({"width": 2**20}, WeightsCorrupt),
        ({"width": "six"}, WeightsCorrupt),
        ({"unknown": 1}, WeightsCorrupt),
        ({"_class": "Other"}, UnsupportedBackbone),
        ({"_class": None}, UnsupportedBackbone),
    ],
)
def test_wrong_configuration(saved, changes, error):
    _, folder = saved
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(error):
        load_module(folder, Net)


def test_other_class_and_missing_or_unsafe_files(saved, tmp_path):
    _, folder = saved
    with pytest.raises(UnsupportedBackbone, match="Other"):
        load_module(folder, Other)
    with pytest.raises(WeightsMissing):
        load_module(tmp_path / "nowhere", Net)
    weights = folder / "model.safetensors"
    weights.unlink()
    with pytest.raises(WeightsMissing):
        load_module(folder, Net)
    torch.save({}, weights)
    with pytest.raises(UnsafeWeights):
        load_module(folder, Net)


def test_fingerprint_tells_every_difference():
    base = {"a": torch.arange(4.0), "b": torch.ones(2, 2)}
    same = {"b": torch.ones(2, 2), "a": torch.arange(8.0)[::2] / 2}
    assert fingerprint(base) == fingerprint(same)
    others = [
        base | {"a": torch.tensor([0.0, 1.0, 2.0, 3.0000002])},
        base | {"a": torch.tensor([-0.0, 1.0, 2.0, 3.0])},
        base | {"a": torch.arange(4.0).double()},
        base | {"b": torch.ones(4)},
        {"a": base["b"], "b": base["a"]},
        {"a": base["a"]},
        base | {"c": torch.zeros(0)},
    ]
    digests = {fingerprint(other) for other in others}
    assert len(digests) == len(others)
    assert fingerprint(base) not in digests


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_fingerprint_takes_every_type(dtype):
    assert len(fingerprint({"a": torch.ones(3, dtype=dtype), "b": torch.ones((), dtype=dtype)})) == 64


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_one_value_that_is_not_finite_is_found_anywhere(dtype, value):
    for place in (0, 4095, 8191):
        tensor = torch.full((8192,), torch.finfo(dtype).max, dtype=dtype)
        check_finite({"a": tensor, "none": tensor[:0], "number": torch.ones(2, dtype=torch.int64)}, "net")
        tensor[place] = value
        with pytest.raises(WeightsCorrupt, match="NaN or infinity in 'a'"):
            check_finite({"a": tensor}, "net")


def test_manifest_covers_every_visible_file(tmp_path):
    root = tmp_path / "pocket"
    save_module(root / "pocket-judge", Net(), {})
    listed = json.loads(write_manifest(root).read_text())["files"]
    assert sorted(listed) == ["pocket-judge/config.json", "pocket-judge/model.safetensors"]
    check_shipped(root, "pocket-judge")
    (root / "pocket-judge" / "config.json").write_text("{}")
    with pytest.raises(WeightsCorrupt, match=r"config\.json differs"):
        check_shipped(root, "pocket-judge")


def test_manifest_is_written_by_command(tmp_path):
    save_module(tmp_path / "pocket-judge", Net(), {})
    command = [sys.executable, "-m", "diffwright.weights.manifest", str(tmp_path)]
    subprocess.run(command, check=True)
    check_shipped(tmp_path, "pocket-judge")
