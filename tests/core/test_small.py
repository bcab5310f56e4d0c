"""Errors, checks, seeding, progress, results and strict JSON: short promises each."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from diffwright.core import checks, errors
from diffwright.core.progress import report
from diffwright.core.results import Result, Stopwatch
from diffwright.core.seeding import generator, generators
from diffwright.core.strict_json import parse_object


def test_exit_codes():
    codes = {
        errors.DiffwrightError: 5,
        errors.ConfigError: 2,
        errors.MissingExtra: 2,
        errors.InputError: 3,
        errors.WeightsMissing: 4,
        errors.WeightsCorrupt: 4,
        errors.UnsafeWeights: 4,
        errors.UnsupportedBackbone: 4,
        errors.JobFailed: 5,
        errors.Cancelled: 130,
    }
    assert {kind: kind.exit_code for kind in codes} == codes


def test_core_imports_no_torch():
    modules = ("errors", "progress", "atomic", "results", "checks", "images", "masks", "geometry", "seeding")
    lines = [f"import diffwright.core.{name}" for name in modules]
    code = "\n".join(["import sys", *lines, "assert 'torch' not in sys.modules"])
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "1", None, True])
def test_in_range(value):
    checks.in_range("strength", 0.5, 0, 1)
    with pytest.raises(errors.ConfigError, match="strength"):
        checks.in_range("strength", value, 0, 1)


@pytest.mark.parametrize("value", [0, 101, 2.0, True, "2"])
def test_whole(value):
    checks.whole("steps", 1, 1, 100)
    with pytest.raises(errors.ConfigError, match="steps"):
        checks.whole("steps", value, 1, 100)


def test_one_of_offers_the_closest_name():
    checks.one_of("style", "photo", ["photo", "pencil"])
    with pytest.raises(errors.ConfigError, match="did you mean 'pencil'"):
        checks.one_of("style", "pencill", ["photo", "pencil"])


@pytest.mark.parametrize("value", ["a\0b", "x" * 1001, 7, None])
def test_text(value):
    checks.text("prompt", "a red mug")
    with pytest.raises(errors.InputError):
        checks.text("prompt", value)


def test_finite_and_shape():
    checks.finite("flow", torch.zeros(3))
    for bad in (float("inf"), torch.tensor([0.0, float("nan")])):
        with pytest.raises(errors.InputError):
            checks.finite("flow", bad)
    assert checks.shape("image", torch.zeros(2, 3, 5, 5), ("B", 3, "S", "S")) == {"B": 2, "S": 5}
    for wrong in (torch.zeros(2, 4, 5, 5), torch.zeros(2, 3, 5, 6), torch.zeros(3, 5, 5)):
        with pytest.raises(errors.InputError, match="image"):
            checks.shape("image", wrong, ("B", 3, "S", "S"))


def test_a_seed_gives_the_same_numbers_alone_and_among_others():
    first = torch.randn(8, generator=generator(7))
    again = [torch.randn(8, generator=g) for g in generators([3, 7])][1]
    assert torch.equal(first, again)


@pytest.mark.parametrize("seed", [-1, 2**63, 1.0, True, "1", None])
def test_other_seeds_are_refused(seed):
    with pytest.raises(errors.ConfigError):
        generator(seed)


def test_progress_reports_and_cancels():
    seen = []
    report(lambda *call: seen.append(call), "denoising", 1, 4)
    report(None, "denoising", 2, 4)
    assert seen == [("denoising", 1, 4)]
    with pytest.raises(errors.Cancelled, match="3 of 4"):
        report(lambda *_: True, "denoising", 3, 4)


def test_result_is_saved_whole_and_replaced(tmp_path):
    pixels = np.full((16, 16, 3), 9, np.uint8)
    result = Result(
        images=[Image.fromarray(pixels)] * 2,
        figures={"drop": 0.5},
        warnings=["the edit changed nothing"],
        timings={"solve": 0.123456},
        command="diffwright fix",
        seeds=[1, 2],
        model="abc",
    )
    result.save(tmp_path / "out")
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["seeds"] == [1, 2]
    assert record["model"] == "abc"
    assert record["figures"] == {"drop": 0.5}
    assert record["images"] == ["image_000.png", "image_001.png"]
    assert (np.array(Image.open(tmp_path / "out" / "image_001.png")) == pixels).all()
    Result(images=[Image.fromarray(pixels)], names=["strip"]).save(tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".diffwright", "result.json", "strip.png",
    ]  # fmt: skip


def test_result_with_nan_leaves_nothing(tmp_path):
    with pytest.raises(errors.JobFailed):
        Result(figures={"psnr": float("nan")}).save(tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_picture_and_the_folder_beside_it_come_together_or_not_at_all(tmp_path):
    pixels = np.full((16, 16, 3), 9, np.uint8)
    result = Result(images=[Image.fromarray(pixels)], names=["strip"])
    assert result.save_beside(tmp_path / "out.png", "strip") == tmp_path / "out"
    assert (tmp_path / "out.png").read_bytes() == (tmp_path / "out" / "strip.png").read_bytes()
    (tmp_path / "torn.png").mkdir()
    with pytest.raises(errors.JobFailed):
        result.save_beside(tmp_path / "torn.png", "strip")
    assert not (tmp_path / "torn").exists()


def test_stopwatch_adds_up():
    watch = Stopwatch()
    for _ in range(2):
        with watch("step"):
            pass
    assert list(watch.timings) == ["step"]
    assert watch.timings["step"] >= 0


@pytest.mark.parametrize(
    "data",
    [
        b"", b"[]", b"1", b"{", b"{'a': 1}", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"\xff\xfe{\0}\0",
        b'{"a":' * 50_000 + b"1" + b"}" * 50_000, b'{"a": ' + b"9" * 10_000 + b"}",
    ],
    ids=lambda data: repr(data[:12]),
)  # fmt: skip
def test_unsound_json_is_refused(data):
    with pytest.raises(errors.WeightsCorrupt):
        parse_object(data, "the file")


def test_sound_json_with_infinity_is_read():
    assert parse_object(b'{"a": [1, -Infinity]}', "the file") == {"a": [1, float("-inf")]}
