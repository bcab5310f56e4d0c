"""A run that goes on must find the options, the data and the frozen networks that it was begun with."""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from diffwright.core.errors import Cancelled, ConfigError
from diffwright.training.corpus import Renders
from diffwright.training.loop import Settings, run
from diffwright.training.origin import origin
from diffwright.training.store import Store
from diffwright.world import cache
from tests.training.toy import Toy


@dataclass(frozen=True, kw_only=True)
class Options:
    cache: Path = Path("here")
    vae: Path | None = None
    widths: tuple[int, ...] = (8, 16)
    init: Path | None = None


class Words:
    def __init__(self, *words: str) -> None:
        self.words = words

    def get_vocab(self):
        return {word: number for number, word in enumerate(self.words)}


class Course(Toy):
    """The toy with a frozen network, a tokenizer and, if wanted, other first weights or renders."""

    def __init__(self, seed=0, words=("a", "b"), first=None, renders=None) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.vae, self.tokenizer = nn.Linear(3, 3), Words(*words)
        self.trained = self.modules()["tail"]
        if first is not None:
            nn.init.constant_(self.trained.get_parameter("bias"), first)
        self.renders = renders


def settings(out):
    return Settings(out=out, samples=64, batch_size=8, seed=3, threads=1)


@pytest.fixture
def begun(tmp_path):
    with pytest.raises(Cancelled):
        run(Course(), settings(tmp_path), lambda what, done, total: done >= 16, Options(init=Path("a")))
    return tmp_path


def test_the_same_under_other_names_goes_on(begun):
    moved = Options(cache=Path("there"), vae=Path("else/where"), init=Path("b"))
    assert run(Course(), settings(begun), None, moved)["samples"] == 64


@pytest.mark.parametrize(
    ("made", "options", "names"),
    [
        (Course(), Options(init=Path("a"), widths=(8, 32)), r"widths=\[8, 16\] became \[8, 32\]"),
        (Course(), Options(), "first weights='[0-9a-f]{12}' became None"),
        (Course(first=0.5), Options(init=Path("a")), "first weights='[0-9a-f]{12}' became '[0-9a-f]{12}'"),
        (Course(seed=1), Options(init=Path("a")), "vae='[0-9a-f]{12}' became '[0-9a-f]{12}'"),
        (Course(words=("b", "a")), Options(init=Path("a")), "tokenizer='[0-9a-f]{12}' became '[0-9a-f]{12}'"),
        (Course(), None, "widths"),
    ],
)
def test_another_course_is_refused_in_one_sentence(begun, made, options, names):
    with pytest.raises(ConfigError, match=names) as refused:
        run(made, settings(begun), None, options)
    assert str(refused.value).endswith("give what it had or train into another folder")
    assert "\n" not in str(refused.value)


def test_trained_weights_are_no_frozen_network():
    assert set(origin(Course())) == {"first weights", "vae", "tokenizer"}


def test_weights_drawn_by_the_seed_are_not_compared():
    assert origin(Course(first=0.5))["first weights"] is None


def test_a_checkpoint_that_does_not_say_is_taken_with_a_warning(begun):
    store = Store(begun / "checkpoints")
    kept = store.load()
    assert kept is not None
    store.save(kept.step, kept.tensors, {k: v for k, v in kept.state.items() if k != "origin"})
    with pytest.warns(UserWarning, match="not compared"):
        assert run(Course(seed=1), settings(begun))["samples"] == 64


def test_another_or_grown_cache_is_other_data_and_a_moved_one_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 6)
    monkeypatch.setattr(cache, "SEEDS_A_SHARD", 9)
    small = cache.CacheSettings(size=16, supersample=1)

    def read(folder):
        return origin(Course(renders=Renders(folder)))["renders"]

    first = read(cache.render_cache(tmp_path / "a", 6, small, 1))
    assert first.startswith("6 pictures ")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    assert read(tmp_path / "b") == first
    pictures = np.load(tmp_path / "b" / "00000.npy")
    np.save(tmp_path / "b" / "00000.npy", 255 - pictures)
    assert read(tmp_path / "b") not in (first, None)
    assert read(cache.render_cache(tmp_path / "a", 12, small, 1)).startswith("12 pictures ")
