import json

import numpy as np
import pytest

from diffwright.core.errors import Cancelled, ConfigError, InputError
from diffwright.world import cache
from diffwright.world.cache import CacheSettings, draw, is_core, load, render_cache
from diffwright.world.render import render
from diffwright.world.scene_json import scene_from_json, scene_to_json
from diffwright.world.splits import is_held_out
from diffwright.world.vocabulary import CORE_KINDS

SMALL = CacheSettings(size=16, supersample=1)


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(cache, "SHARD", 6)
    monkeypatch.setattr(cache, "SEEDS_A_SHARD", 9)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_cache_is_rendered_by_processes_and_resumed_with_equal_bytes(tmp_path, small_shards):
    steps = []
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / ".cache.json.0a.tmp").write_text("{")  # as a rendering leaves it that is killed at once
    out = render_cache(tmp_path / "c", 11, SMALL, 2, lambda what, done, total: steps.append((done, total)))
    assert steps == [(0, 12), (6, 12), (12, 12)]
    (out / ".cache.json.0a.tmp").unlink()
    first = files(out)
    # or that is killed while it writes a shard, whose text comes first
    (out / "00001.npy").rename(out / ".00001.npy.0a.tmp")
    render_cache(out, 12, SMALL, 1)
    assert files(out) == first
    opened = load(out)
    assert len(opened) == 12
    image, scene = opened[7]
    assert isinstance(opened.images[0], np.memmap)
    assert (image == render(scene, 16, 1).image_u8[0].numpy()).all()
    assert [s.seed for s in opened.scenes()][:2] == [opened.scene(0).seed, opened.scene(1).seed]
    assert opened.gather([3, 9]).shape == (2, 16, 16, 3)
    with pytest.raises(IndexError):
        opened[12]


def test_progress_can_stop_the_rendering(tmp_path, small_shards):
    with pytest.raises(Cancelled):
        render_cache(tmp_path / "c", 6, SMALL, 1, lambda *_: True)


def test_other_settings_foreign_folders_and_crossed_splits_are_refused(tmp_path, small_shards):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("hello")
    with pytest.raises(InputError, match="something else"):
        render_cache(tmp_path / "mine", 6, SMALL)
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "cache.json").write_text(json.dumps({"size": 8}))
    with pytest.raises(InputError, match="another folder"):
        render_cache(tmp_path / "made", 6, SMALL)
    with pytest.raises(ConfigError, match="split"):
        render_cache(tmp_path / "cross", 6, CacheSettings(start_seed=2**30 - 2))
    with pytest.raises(InputError, match="no rendered shard"):
        load(tmp_path / "made")


def test_a_damaged_shard_is_refused(tmp_path):
    (tmp_path / "00000.npy").write_bytes(b"no numbers")
    (tmp_path / "00000.jsonl").write_text("")
    with pytest.raises(InputError, match="render again"):
        load(tmp_path)


def test_drawn_scenes_leave_held_out_pairs_out_and_keep_the_core_share():
    scenes = draw(list(range(120)), CacheSettings(core_share=0.75))
    assert 105 < len(scenes) < 120
    assert not any(is_held_out(scene) for scene in scenes)
    assert all(s.things[0].kind in CORE_KINDS for s in scenes if is_core(s.seed, 0.75))
    assert 0.7 < np.mean([is_core(seed, 0.75) for seed in range(2000)]) < 0.8


def test_a_scene_survives_json_bit_for_bit():
    for scene in draw(list(range(10)), CacheSettings(core_share=0.5)):
        assert scene_from_json(json.loads(json.dumps(scene_to_json(scene)))) == scene


@pytest.mark.parametrize(
    "change",
    [
        lambda r: r.pop("lamp"),
        lambda r: r.update(extra=1),
        lambda r: r.update(things=[]),
        lambda r: r.update(things="duck"),
        lambda r: r.update(seed="7"),
        lambda r: r.update(style=3),
        lambda r: r.update(style="oil"),
        lambda r: r["things"][0].update(size=float("nan")),
        lambda r: r["things"][0].update(size=-1.0),
        lambda r: r["things"][0].update(x="left"),
        lambda r: r["camera"].update(target=[0, 1]),
        lambda r: r["camera"].update(target=[0, 1, None]),
    ],
)
def test_a_changed_record_is_refused(change):
    record = json.loads(json.dumps(scene_to_json(draw([3], CacheSettings())[0])))
    change(record)
    with pytest.raises((InputError, ConfigError)):
        scene_from_json(record)


def test_a_record_that_is_no_dictionary_is_refused():
    with pytest.raises(InputError, match="list"):
        scene_from_json([1])
