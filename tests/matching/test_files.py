import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from diffwright.core.errors import InputError
from diffwright.matching.files import read_flow, read_npz, write_flo, write_kitti, write_npz
from diffwright.matching.png16 import SIGNATURE, _chunk, decode, encode

QUICK = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
FLOWS = arrays(
    np.float32,
    st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(2)),
    elements=st.floats(-500, 500, width=32),
)


@QUICK
@given(flow=FLOWS, data=st.data())
def test_flo_comes_back_bit_by_bit(tmp_path, flow, data):
    known = data.draw(arrays(bool, flow.shape[:2]))
    found = read_flow(write_flo(tmp_path / "a.flo", flow, known))
    np.testing.assert_array_equal(found.flow[known], flow[known])
    np.testing.assert_array_equal(found.known, known)
    assert not found.flow[~known].any()


@QUICK
@given(flow=FLOWS, data=st.data())
def test_kitti_comes_back_within_half_a_step(tmp_path, flow, data):
    known = data.draw(arrays(bool, flow.shape[:2]))
    found = read_flow(write_kitti(tmp_path / "a.png", flow, known))
    np.testing.assert_allclose(found.flow[known], flow[known], atol=1 / 128)
    np.testing.assert_array_equal(found.known, known)


def test_flow_beyond_kittis_range_is_marked_unknown(tmp_path):
    flow = np.array([[[600.0, 0.0], [511.0, -512.0]]], np.float32)
    assert read_flow(write_kitti(tmp_path / "a.png", flow)).known.tolist() == [[False, True]]


def test_npz_comes_back_with_its_direction(tmp_path):
    rng = np.random.default_rng(0)
    flow, confidence = rng.normal(size=(5, 7, 2)).astype(np.float32), rng.random((5, 7), np.float32)
    path = write_npz(tmp_path / "a.npz", flow, confidence, confidence > 0.5, reverse=-flow)
    found = read_npz(path)
    assert str(found["direction"]) == "a_to_b"
    np.testing.assert_array_equal(found["flow"], flow)
    np.testing.assert_array_equal(found["confidence"], confidence)
    np.testing.assert_array_equal(found["occlusion"], confidence > 0.5)
    np.testing.assert_array_equal(found["reverse"], -flow)
    np.testing.assert_array_equal(read_flow(path).flow, flow)


@QUICK
@given(
    pixels=arrays(np.uint16, st.tuples(st.integers(1, 7), st.integers(1, 5), st.just(3))),
    kinds=st.lists(st.integers(0, 4), min_size=7, max_size=7),
)
def test_every_row_filter_of_png_is_undone(pixels, kinds):
    """The rows are filtered here by the standard's formulas, byte by byte."""
    height, width = pixels.shape[:2]
    plain = pixels.astype(">u2").tobytes()
    rows = [bytes(width * 6), *(plain[y * width * 6 : (y + 1) * width * 6] for y in range(height))]
    lines = bytearray()
    for y in range(height):
        lines.append(kinds[y])
        for x, value in enumerate(rows[y + 1]):
            left = rows[y + 1][x - 6] if x >= 6 else 0
            up, corner = rows[y][x], rows[y][x - 6] if x >= 6 else 0
            target = left + up - corner
            paeth = min((left, up, corner), key=lambda v, target=target: abs(target - v))
            lines.append((value - (0, left, up, (left + up) // 2, paeth)[kinds[y]]) % 256)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    data = SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"tEXt", b"k\0v")
    data += _chunk(b"IDAT", zlib.compress(bytes(lines))) + _chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(data, "x", 1000), pixels)


def test_pillow_opens_what_is_written():
    from PIL import Image

    pixels = np.full((4, 5, 3), 0x1234, np.uint16)
    assert Image.open(io.BytesIO(encode(pixels))).size == (5, 4)


START = {"flo": b"PIEH", "png": SIGNATURE, "npz": b"PK\x03\x04", "none": b""}


@QUICK
@given(body=st.binary(max_size=120), kind=st.sampled_from(sorted(START)))
def test_random_bytes_are_refused_by_name(tmp_path, body, kind):
    path = tmp_path / "a.bin"
    path.write_bytes(START[kind] + body)
    with pytest.raises(InputError):
        read_flow(path)


@QUICK
@given(data=st.data(), kind=st.sampled_from(["flo", "png", "npz"]))
def test_a_damaged_file_is_refused_or_still_flow(tmp_path, data, kind):
    """One byte changed, or an end cut off: an error by name, or an array of the right form."""
    flow = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    if kind == "npz":
        path = write_npz(tmp_path / "a.npz", flow, flow[..., 0], flow[..., 0] > 3)
    else:
        path = (write_flo if kind == "flo" else write_kitti)(tmp_path / f"a.{kind}", flow)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    if data.draw(st.booleans()):
        content[place] ^= data.draw(st.integers(1, 255))
    else:
        del content[place:]
    path.write_bytes(bytes(content))
    try:
        found = read_flow(path)
    except InputError:
        return
    assert found.flow.dtype == np.float32
    assert found.flow.shape == (*found.known.shape, 2)
    assert np.isfinite(found.flow).all()


@pytest.mark.parametrize("header", [(1 << 30, 1 << 30), (-1, 5), (0, 5), (8193, 1), (1000, 1000)], ids=str)
def test_a_lying_header_is_refused_at_once(tmp_path, header):
    (tmp_path / "a.flo").write_bytes(b"PIEH" + struct.pack("<ii", *header) + bytes(64))
    with pytest.raises(InputError, match="announces"):
        read_flow(tmp_path / "a.flo")
    if min(header) > 0:
        chunks = _chunk(b"IHDR", struct.pack(">IIBBBBB", *header, 16, 2, 0, 0, 0))
        chunks += _chunk(b"IDAT", zlib.compress(bytes(64))) + _chunk(b"IEND", b"")
        (tmp_path / "a.png").write_bytes(SIGNATURE + chunks)
        with pytest.raises(InputError):
            read_flow(tmp_path / "a.png")


def test_objects_and_other_arrays_in_npz_are_refused(tmp_path):
    np.savez(tmp_path / "a.npz", flow=np.array([{}], object))
    with pytest.raises(InputError):
        read_flow(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", other=np.zeros(3))
    with pytest.raises(InputError, match="named 'flow'"):
        read_flow(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", flow=np.zeros((3, 3), np.float32))
    with pytest.raises(InputError, match="expected floats"):
        read_flow(tmp_path / "c.npz")


@pytest.mark.parametrize("name", ["missing.flo", ".", "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, name):
    with pytest.raises(InputError):
        read_flow(f"{tmp_path}/{name}")


@pytest.mark.parametrize(
    "flow", [np.zeros((2, 2)), np.zeros((2, 2, 2), int), np.full((2, 2, 2), np.nan), np.zeros((0, 2, 2))]
)
def test_what_is_no_flow_is_not_written(tmp_path, flow):
    for write in (write_flo, write_kitti):
        with pytest.raises(InputError):
            write(tmp_path / "a", flow)
    assert not list(tmp_path.iterdir())
