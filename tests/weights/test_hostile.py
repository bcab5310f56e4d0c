"""Hostile models end in a typed error of one sentence, quickly, with nothing executed."""

import json
import resource
import shutil
import struct
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from diffwright.core.errors import WeightsError
from diffwright.weights.load import load
from diffwright.weights.verify import read_tensors
from tests.weights.hostile import CASES


@pytest.fixture(scope="module")
def sound(models):
    """A model that loads; loading it once also imports what every case needs."""
    load(models("sd1"))
    return models("sd1")


@pytest.mark.parametrize("name", list(CASES))
def test_hostile_model_is_refused(sound, tmp_path, canary, monkeypatch, name):
    change, expected = CASES[name]
    folder = tmp_path / "model"
    shutil.copytree(sound, folder)
    change(folder, canary)
    monkeypatch.chdir(folder)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(expected) as caught:
        load(folder)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 200_000
    assert type(caught.value) is expected
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_there_are_enough_cases():
    assert len(CASES) >= 40


SMALL = save({"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.ones(5), "c": torch.zeros(0)})
LENGTH = struct.unpack("<Q", SMALL[:8])[0]
VALUES = st.one_of(
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=8),
    st.none(),
    st.booleans(),
    st.lists(st.integers(-4, 2**40), max_size=4),
    st.sampled_from(["F32", "F16", "BF16", "I64", "BOOL", "F8_E5M2", "C64"]),
)


@st.composite
def mutated(draw):
    """Bytes flipped, cut or inserted anywhere, or one value of the header replaced."""
    if draw(st.booleans()):
        header = json.loads(SMALL[8 : 8 + LENGTH])
        name = draw(st.sampled_from(sorted(header)))
        if draw(st.booleans()):
            header[name][draw(st.sampled_from(["dtype", "shape", "data_offsets", "more"]))] = draw(VALUES)
        else:
            header[draw(st.text(max_size=8))] = draw(st.one_of(VALUES, st.just(header[name])))
        text = json.dumps(header).encode("utf-8", "surrogatepass")
        return struct.pack("<Q", len(text)) + text + SMALL[8 + LENGTH :]
    data = bytearray(SMALL)
    for _ in range(draw(st.integers(1, 6))):
        data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    place = draw(st.integers(0, len(data)))
    data[place:place] = draw(st.binary(max_size=16))
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@settings(max_examples=2000, deadline=None)
@given(mutated())
def test_mutated_file_gives_finite_floats_or_a_typed_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "mutated.safetensors"
    path.write_bytes(data)
    start = time.process_time()
    try:
        tensors = read_tensors(path)
    except WeightsError:
        tensors = {}
    assert time.process_time() - start < 2
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert sum(tensor.numel() for tensor in tensors.values()) <= len(data)
