import io
import resource
import struct
import time
import zlib
from contextlib import suppress

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from diffwright.core.errors import InputError, JobFailed
from diffwright.core.images import enlarge, load_image, save_png, to_pil, to_tensor, to_u8


def picture(height=24, width=32):
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 7 % 256, y * 9 % 256, (x + y) * 4 % 256], axis=-1).astype(np.uint8)


def encoded(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width, height):
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", body) + png_chunk(b"IEND", b"")
    )


def jpeg_bomb():
    data = bytearray(encoded(to_pil(picture()), "JPEG"))
    place = data.index(b"\xff\xc0") + 5
    data[place : place + 4] = struct.pack(">HH", 65000, 65000)
    return bytes(data)


def webp_bomb():
    data = bytearray(encoded(to_pil(picture()), "WEBP", lossless=True))
    place = data.index(b"VP8L") + 9
    bits = struct.unpack("<I", data[place : place + 4])[0] & 0xF0000000
    data[place : place + 4] = struct.pack("<I", bits | 16382 << 14 | 16382)
    return bytes(data)


def animation(kind):
    frames = [to_pil(np.roll(picture(), shift, axis=1)) for shift in range(3)]
    return encoded(frames[0], kind, save_all=True, append_images=frames[1:], duration=50)


def refused():
    good = encoded(to_pil(picture()), "PNG")
    jpeg = encoded(to_pil(picture()), "JPEG")
    webp = encoded(to_pil(picture()), "WEBP")
    return {
        "bomb 88 MP": png_bomb(9400, 9400),
        "bomb 177 MP": png_bomb(13300, 13300),
        "bomb 10 GP": png_bomb(100_000, 100_000),
        "bomb one long row": png_bomb(2**31 - 1, 16),
        "bomb jpeg": jpeg_bomb(),
        "bomb webp": webp_bomb(),
        "over 40 MP with allowed sides": png_bomb(8000, 8000),
        "side over 8192": png_bomb(8193, 16),
        "side under 16": encoded(to_pil(picture(15, 64)), "PNG"),
        "zero size": png_bomb(0, 0),
        "png cut": good[: len(good) // 2],
        "png cut after its header": good[:40],
        "png with a wrong checksum": good[:45] + b"\xff" + good[46:],
        "jpeg cut": jpeg[: len(jpeg) // 2],
        "webp cut": webp[: len(webp) // 2],
        "empty": b"",
        "one byte": b"\x89",
        "text": b"not a picture",
        "gif": encoded(to_pil(picture()), "GIF"),
        "svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="64" height="64"/>',
        "bmp": encoded(to_pil(picture()), "BMP"),
        "tiff": encoded(to_pil(picture()), "TIFF"),
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 64 64\n",
        "animated png": animation("PNG"),
        "animated webp": animation("WEBP"),
        "cmyk jpeg": encoded(to_pil(picture()).convert("CMYK"), "JPEG"),
        "pickle": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x04evil\x94.",
    }


@pytest.mark.parametrize("name", list(refused()))
def test_bad_file_is_refused_quickly_with_one_sentence(tmp_path, name):
    path = tmp_path / "photo.png"
    path.write_bytes(refused()[name])
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(InputError) as caught:
        load_image(path)
    assert time.process_time() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000
    assert "photo.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("source", ["missing.png", ".", "/dev/zero", "a\0b.png", "x" * 5000])
def test_what_is_no_file_is_refused(source):
    with pytest.raises(InputError):
        load_image(source)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "txt"])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_content_decides_and_not_the_extension(tmp_path, kind, suffix):
    path = tmp_path / f"photo.{suffix}"
    path.write_bytes(encoded(to_pil(picture()), kind, **({"lossless": True} if kind == "WEBP" else {})))
    got = load_image(path)
    assert got.shape == (24, 32, 3)
    assert got.dtype == np.uint8
    if kind != "JPEG":
        np.testing.assert_array_equal(got, picture())


def test_sixteen_bits_are_rounded_to_eight(tmp_path):
    deep = (picture()[..., 0].astype(np.uint32) * 257).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    np.testing.assert_array_equal(load_image(tmp_path / "deep.png")[..., 1], picture()[..., 0])


def test_palette_gray_and_one_bit_become_rgb(tmp_path):
    for mode in ("P", "L", "1"):
        converted = to_pil(picture()).convert(mode)
        converted.save(tmp_path / f"{mode}.png")
        np.testing.assert_array_equal(
            load_image(tmp_path / f"{mode}.png"), np.array(converted.convert("RGB"))
        )


def test_transparent_pixels_are_shown_on_white(tmp_path):
    layer = np.dstack([picture(), np.full((24, 32), 255, np.uint8)])
    layer[:12, :, 3] = 0
    Image.fromarray(layer).save(tmp_path / "layer.png")
    got = load_image(tmp_path / "layer.png")
    assert (got[:12] == 255).all()
    np.testing.assert_array_equal(got[12:], picture()[12:])


def test_palette_transparency_is_shown_on_white(tmp_path):
    flat = Image.new("P", (32, 24), 0)
    flat.putpalette([10, 20, 30] + [0] * 765)
    flat.save(tmp_path / "palette.png", transparency=0)
    assert (load_image(tmp_path / "palette.png") == 255).all()


def test_camera_orientation_is_applied(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    to_pil(picture()).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(load_image(tmp_path / "turned.png"), np.rot90(picture(), -1))


def test_damaged_exif_is_a_typed_error_or_ignored(tmp_path):
    to_pil(picture()).save(tmp_path / "odd.jpg", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 64)
    with suppress(InputError):
        assert load_image(tmp_path / "odd.jpg").shape == (24, 32, 3)


def test_tensor_and_bytes_round_trip_exactly():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    tensor = to_tensor(levels)
    assert tensor.shape == (1, 3, 16, 16)
    assert (tensor.min().item(), tensor.max().item()) == (-1, 1)
    np.testing.assert_array_equal(to_u8(tensor)[0], levels)
    np.testing.assert_array_equal(load_image(tensor), levels)
    np.testing.assert_array_equal(load_image(tensor[0]), levels)


def test_array_and_pil_give_a_copy():
    source = picture()
    got = load_image(source)
    got[:] = 0
    assert source.any()
    np.testing.assert_array_equal(load_image(to_pil(source)), source)


@pytest.mark.parametrize(
    "source",
    [
        np.zeros((24, 32, 2), np.uint8),
        np.zeros((24, 32, 5), np.uint8),
        np.zeros((24, 32, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        torch.zeros(2, 3, 24, 32),
        torch.zeros(3, 24, 32, dtype=torch.uint8),
        torch.full((3, 24, 32), 2.0),
        torch.full((3, 24, 32), float("nan")),
        Image.new("CMYK", (32, 24)),
        Image.new("F", (32, 24)),
        Image.new("RGB", (8, 8)),
        None,
        7,
    ],
    ids=lambda source: type(source).__name__,
)
def test_other_objects_are_refused(source):
    with pytest.raises(InputError):
        load_image(source)


def test_nan_pixels_of_a_model_are_an_error():
    with pytest.raises(JobFailed, match="float32"):
        to_u8(torch.full((1, 3, 4, 4), float("nan")))


def test_png_is_written_whole(tmp_path):
    save_png(picture(), tmp_path / "new" / "out.png")
    np.testing.assert_array_equal(load_image(tmp_path / "new" / "out.png"), picture())
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.png"]


def test_enlarging_repeats_pixels():
    big = enlarge(picture(24, 32), 256)
    assert big.shape == (264, 352, 3)
    np.testing.assert_array_equal(big[5::11, 5::11], picture(24, 32))
    assert enlarge(big, 256) is not None
    assert enlarge(big, 256).shape == big.shape


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(["PNG", "JPEG", "WEBP"]), st.data())
def test_mutated_files_give_a_picture_or_an_input_error(tmp_path_factory, kind, data):
    content = bytearray(encoded(to_pil(picture()), kind))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "mutated.png"
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with suppress(InputError):
        assert load_image(path).dtype == np.uint8
