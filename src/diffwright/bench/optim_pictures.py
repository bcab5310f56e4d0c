"""Labelled 32x32 pictures for the optimizer experiment: CIFAR-10 as JPEG scans, and the official CIFAR-100."""

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffwright.core.errors import InputError


@dataclass(frozen=True)
class Pictures:
    """A training and a test set.

    Attributes:
        name: Name of the data in figures, such as ``cifar10``.
        train: Pictures to train on.
        train_labels: Their classes.
        test: Pictures to test on.
        test_labels: Their classes.
        classes: Number of classes.

    Shapes:
        train (N, 3, 32, 32) and test (M, 3, 32, 32), float, normalised a channel; labels (N,) and (M,), int64.
    """

    name: str
    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor
    classes: int


def read_jpeg_scans(file: str | Path, limit: int | None = None) -> Pictures:
    """Read CIFAR-10 stored as one JPEG header and a scan a picture (keys header, lens, scans, y_train, y_test).

    Args:
        file: The npz file.
        limit: Use at most so many pictures of each set, evenly spaced.

    Returns:
        The pictures; the file is sorted by class, training shuffles.

    Raises:
        InputError: The file lacks a key, or a picture cannot be decoded.
    """
    with np.load(file, allow_pickle=False) as data:
        missing = {"header", "lens", "scans", "y_train", "y_test"} - set(data)
        if missing:
            raise InputError(
                f"{file} lacks {', '.join(sorted(missing))}; give a file of CIFAR-10 JPEG scans."
            )
        header, scans, lens = data["header"].tobytes(), data["scans"].tobytes(), data["lens"].astype(np.int64)
        train_labels, test_labels = data["y_train"], data["y_test"]
    ends = np.cumsum(lens)
    pictures = []
    train_index = _spaced(len(train_labels), limit)
    test_index = _spaced(len(test_labels), limit)
    for i in np.concatenate([train_index, len(train_labels) + test_index]):
        content = header + scans[ends[i] - lens[i] : ends[i]] + b"\xff\xd9"
        try:
            with Image.open(io.BytesIO(content), formats=["JPEG"]) as picture:
                pictures.append(np.asarray(picture.convert("RGB")))
        except OSError as error:
            raise InputError(
                f"picture {i} of {file} is no JPEG ({error}); give an undamaged file."
            ) from error
    both = np.stack(pictures)
    cut = len(train_index)
    labels = train_labels[train_index], test_labels[test_index]
    return _pictures("cifar10", both[:cut], labels[0], both[cut:], labels[1], 10)


def read_cifar100(file: str | Path, limit: int | None = None) -> Pictures:
    """Read the official ``cifar-100-binary.tar.gz``.

    Args:
        file: The archive.
        limit: Use at most so many pictures of each set, evenly spaced.

    Returns:
        The pictures with their 100 fine classes.

    Raises:
        InputError: The archive lacks a part.
    """
    parts = {}
    with tarfile.open(file) as archive:
        for name in ("train", "test"):
            try:
                member = archive.extractfile(f"cifar-100-binary/{name}.bin")
            except KeyError:
                member = None
            if member is None:
                raise InputError(
                    f"{file} holds no cifar-100-binary/{name}.bin; give cifar-100-binary.tar.gz."
                )
            rows = np.frombuffer(member.read(), np.uint8).reshape(-1, 3074)
            rows = rows[_spaced(len(rows), limit)]
            parts[name] = rows[:, 2:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), rows[:, 1]
    (train, labels), (test, test_labels) = parts["train"], parts["test"]
    return _pictures("cifar100", train, labels, test, test_labels, 100)


def rotated(pictures: Pictures, seed: int = 0) -> Pictures:
    """Return a stand-in with four times the classes: each picture turned by a random multiple of 90 degrees.

    Args:
        pictures: The original.
        seed: Of the turns, which are the same for every optimizer.

    Returns:
        As many pictures; class + classes * turn is the new class.
    """
    generator = torch.Generator().manual_seed(seed)

    def turn(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        turns = torch.randint(4, (len(images),), generator=generator)
        made = torch.empty_like(images)
        for quarter in range(4):
            made[turns == quarter] = images[turns == quarter].rot90(quarter, (2, 3))
        return made, labels + pictures.classes * turns

    train, test = turn(pictures.train, pictures.train_labels), turn(pictures.test, pictures.test_labels)
    name, classes = f"{pictures.name}_rotated", 4 * pictures.classes
    return Pictures(name, train[0], train[1], test[0], test[1], classes)


def _spaced(count: int, limit: int | None) -> np.ndarray:
    kept = count if limit is None else min(count, limit)
    return np.linspace(0, count - 1, kept).astype(np.int64)


def _pictures(
    name: str, train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray, classes: int
) -> Pictures:
    mean, std = train.mean((0, 1, 2)), train.std((0, 1, 2))

    def tensor(images: np.ndarray) -> Tensor:
        return torch.from_numpy(((images - mean) / std).astype(np.float32)).permute(0, 3, 1, 2).contiguous()

    numbers = [torch.from_numpy(each.astype(np.int64)) for each in (labels, test_labels)]
    return Pictures(name, tensor(train), numbers[0], tensor(test), numbers[1], classes)
