"""PNG with three 16-bit channels, as KITTI stores flow; Pillow would cut them to eight bits.

Reference:
    W3C, Portable Network Graphics, third edition, sections 5, 9 and 10.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np

from diffwright.core.errors import InputError

SIGNATURE = b"\x89PNG\r\n\x1a\n"
STEP = 6
"""Bytes a pixel."""


def encode(pixels: np.ndarray) -> bytes:
    """Code an array as PNG, each row as differences to the row above.

    Args:
        pixels: uint16.

    Shapes:
        (H, W, 3)
    """
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").view(np.uint8).reshape(height, width * STEP)
    above = np.vstack([np.zeros_like(rows[:1]), rows[:-1]])
    lines = np.hstack([np.full((height, 1), 2, np.uint8), rows - above])
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines.tobytes(), 6)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in parts)


def decode(data: bytes, name: str, max_pixels: int) -> np.ndarray:
    """Read such a PNG.

    Args:
        data: The file.
        name: What to call it in a message.
        max_pixels: How many are accepted.

    Shapes:
        -> uint16 (H, W, 3)

    Raises:
        InputError: it is another kind of PNG, damaged, or too large.
    """
    header, body = _read_chunks(data, name)
    width, height, depth, color, method, filtering, interlace = struct.unpack(">IIBBBBB", header)
    if (depth, color, method, filtering, interlace) != (16, 2, 0, 0, 0):
        raise InputError(
            f"{name} is a PNG of {depth} bits and color type {color}; expected KITTI's 16-bit RGB flow"
        )
    if not 0 < width * height <= max_pixels:
        raise InputError(f"{name} has {width} x {height} pixels; 1 to {max_pixels} are accepted")
    wanted = height * (1 + width * STEP)
    try:
        unpacker = zlib.decompressobj()
        lines = unpacker.decompress(body, wanted)
    except zlib.error as error:
        raise InputError(f"{name} is damaged ({error}); fetch it again") from error
    if len(lines) != wanted or (not unpacker.eof and unpacker.decompress(unpacker.unconsumed_tail, 1)):
        raise InputError(f"{name} does not hold {width} x {height} pixels; fetch it again")
    table = np.frombuffer(lines, np.uint8).reshape(height, 1 + width * STEP)
    if table[:, 0].max() > 4:
        raise InputError(f"{name} uses an unknown row filter; fetch it again")
    pixels = _unfilter(table[:, 0], table[:, 1:].reshape(height, width, STEP))
    return pixels.reshape(height, width * STEP).view(">u2").astype(np.uint16).reshape(height, width, 3)


def _unfilter(kinds: np.ndarray, coded: np.ndarray) -> np.ndarray:
    """Undo the row filters along diagonals, on which all pixels depend only on earlier ones."""
    height, width = coded.shape[:2]
    plain = np.zeros((height + 1, width + 1, STEP), np.uint8)
    for diagonal in range(height + width - 1):
        y = np.arange(max(0, diagonal - width + 1), min(height, diagonal + 1))
        x = diagonal - y
        left = plain[y + 1, x].astype(np.int16)
        up = plain[y, x + 1].astype(np.int16)
        corner = plain[y, x].astype(np.int16)
        kind = kinds[y][:, None]
        guess = np.select(
            [kind == 1, kind == 2, kind == 3, kind == 4],
            [left, up, (left + up) // 2, _paeth(left, up, corner)],
            np.int16(0),
        )
        plain[y + 1, x + 1] = (coded[y, x] + guess).astype(np.uint8)
    return np.ascontiguousarray(plain[1:, 1:])


def _paeth(left: np.ndarray, up: np.ndarray, corner: np.ndarray) -> np.ndarray:
    """Whichever neighbour is closest to left + up - corner, in this order."""
    target = left + up - corner
    by_left, by_up, by_corner = abs(target - left), abs(target - up), abs(target - corner)
    return np.where(
        (by_left <= by_up) & (by_left <= by_corner), left, np.where(by_up <= by_corner, up, corner)
    )


def _read_chunks(data: bytes, name: str) -> tuple[bytes, bytes]:
    header, body, place = b"", [], len(SIGNATURE)
    while data.startswith(SIGNATURE) and place + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, place)
        kind, content = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        check = data[place + 8 + length : place + 12 + length]
        if len(check) < 4 or struct.unpack(">I", check)[0] != zlib.crc32(kind + content):
            break
        if kind == b"IHDR" and length == 13:
            header = content
        elif kind == b"IDAT":
            body.append(content)
        elif kind == b"IEND" and header and body:
            return header, b"".join(body)
        place += 12 + length
    raise InputError(f"{name} is a damaged or cut off PNG; fetch it again")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
