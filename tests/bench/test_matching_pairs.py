import os
from pathlib import Path

import numpy as np
import pytest
import torch

from diffwright.bench import matching_pairs as pairs
from diffwright.core.errors import InputError
from diffwright.core.geometry import warp
from diffwright.core.images import to_tensor
from diffwright.training.pairs.bank import LOOKS_ALIKE, known_prints, prints_of
from tests.support.match_files import SHIFT, write_flow_pair, write_sequence

REAL = os.environ.get("DIFFWRIGHT_PAIRS", "")


def test_flow_of_a_sequence_leads_from_picture_k_to_picture_1(tmp_path):
    write_sequence(tmp_path / "set" / "wallpaper")
    found = pairs.sequence_pairs(tmp_path, side=None)
    assert [pair.level for pair in found] == list(pairs.LEVELS)
    assert {(pair.group, pair.kind) for pair in found} == {("wallpaper", "view")}
    pair = found[0]
    assert torch.allclose(pair.flow[:, pair.valid], torch.tensor([[6.0], [-4.0]]), atol=1e-4)
    y, x = 30, 20
    assert pair.valid[y, x]
    assert (pair.image_a[y, x] == pair.image_b[y - 4, x + 6]).all()
    assert not pair.valid[:4].any(), "leaves picture 1 at the top"
    assert not pair.valid[:, -6:].any(), "and at the right"
    assert pair.valid[4:, :-6].all()


def test_the_small_protocol_scales_pictures_and_homography(tmp_path):
    write_sequence(tmp_path / "ubc", size=(64, 128))
    pair = pairs.sequence_pairs(tmp_path, side=32)[0]
    assert pair.kind == "photo"
    assert pair.image_a.shape == pair.image_b.shape == (32, 32, 3)
    assert torch.allclose(pair.flow[:, pair.valid], torch.tensor([[6 / 4], [-4 / 2]]), atol=1e-4)


def test_zero_flow_rows_are_mean_lengths_over_valid_pixels(tmp_path):
    write_sequence(tmp_path / "shift", (SHIFT, np.eye(3), SHIFT, SHIFT, SHIFT))
    rows = pairs.zero_flow_rows(pairs.sequence_pairs(tmp_path, None))
    assert rows["shift"] == pytest.approx([52**0.5, 0, 52**0.5, 52**0.5, 52**0.5], abs=1e-4)


@pytest.mark.skipif(
    not REAL, reason="set DIFFWRIGHT_PAIRS to a folder with the Oxford sequences boat and graf"
)
def test_the_protocol_is_the_published_one_on_real_sequences():
    found = pairs.sequence_pairs(Path(REAL))
    rows = pairs.zero_flow_rows(found)
    assert rows["boat"] == pytest.approx([24.54, 59.21, 96.76, 53.47, 72.38], abs=0.01)
    assert rows["graf"] == pytest.approx([32.76, 32.44, 50.00, 44.53, 55.37], abs=0.01)
    pair = next(pair for pair in found if pair.name == "graf 1-3")
    seen = warp(to_tensor(pair.image_b), pair.flow[None])[0][0].mean(0)[pair.valid]
    gray = to_tensor(pair.image_a)[0].mean(0)[pair.valid]
    assert float(torch.corrcoef(torch.stack([seen, gray]))[0, 1]) > 0.8, (
        "flow leads from picture 3 to picture 1"
    )


@pytest.mark.skipif(
    not REAL, reason="set DIFFWRIGHT_PAIRS to a folder with the sequences that the benches measure on"
)
def test_what_measures_is_known_to_the_training_that_must_refuse_it():
    known = {print_ for _, print_ in known_prints()}
    found = prints_of(Path(REAL))
    assert found
    assert {
        name for name, print_ in found if min((print_ ^ other).bit_count() for other in known) > LOOKS_ALIKE
    } == set()


def test_points_behind_the_camera_are_not_valid():
    turned = np.array([[1.0, 0, 0], [0, 1, 0], [-0.1, 0, 1]])
    flow, valid = pairs.homography_flow(turned, (8, 32), (8, 32))
    assert not valid[:, 11:].any()
    assert valid[0, 0]
    assert flow.isfinite().all()


def test_flow_pairs_keep_their_size_and_know_what_is_unknown(tmp_path):
    write_flow_pair(tmp_path / "flow", shift=(3, -2), unknown=10)
    (pair,) = pairs.flow_pairs(tmp_path)
    assert pair.name == "noise"
    assert pair.flow.shape == (2, 48, 64)
    assert not pair.valid[:10].any()
    assert pair.valid[10:].all()
    assert (pair.image_a[20, 20] == pair.image_b[18, 23]).all()


def test_portable_gray_maps_and_hpatches_names_are_read(tmp_path):
    from PIL import Image

    write_sequence(tmp_path / "i_room")
    for k in range(1, 7):
        path = tmp_path / "i_room" / f"{k}.png"
        Image.open(path).convert("L").save(path.with_suffix(".pgm"), format="PPM")
        path.unlink()
    for k in range(2, 7):
        (tmp_path / "i_room" / f"H1to{k}.txt").rename(tmp_path / "i_room" / f"H_1_{k}")
    found = pairs.sequence_pairs(tmp_path)
    assert found[4].kind == "photo"
    assert found[4].image_a.shape == (240, 240, 3)


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_pairs_is_refused(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="folder"):
        pairs.check_pairs(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "content", "words"),
    [
        ("H1to3.txt", b"1 0 0\n0 1 0\n", "invertible"),
        ("H1to3.txt", b"1 0 0\n0 0 0\n0 0 0\n", "invertible"),
        ("H1to3.txt", b"one two three", "numbers"),
        ("H1to3.txt", None, "lacks the homography"),
        ("4.png", None, "lacks the picture '4'"),
        ("4.png", b"no picture", "4.png"),
        ("H1to2.txt", b"1 0 500\n0 1 0\n0 0 1\n", "leads nowhere"),
    ],
)
def test_damaged_sequences_are_refused(tmp_path, path, content, words):
    write_sequence(tmp_path / "bad")
    (tmp_path / "bad" / path).unlink()
    if content is not None:
        (tmp_path / "bad" / path).write_bytes(content)
    with pytest.raises(InputError, match=words):
        pairs.sequence_pairs(tmp_path)


def test_flow_and_picture_of_unequal_size_are_refused(tmp_path):
    write_flow_pair(tmp_path, "one", size=(48, 64))
    write_flow_pair(tmp_path, "two", size=(32, 64))
    (tmp_path / "one.flo").write_bytes((tmp_path / "two.flo").read_bytes())
    with pytest.raises(InputError, match="must agree"):
        pairs.flow_pairs(tmp_path)
