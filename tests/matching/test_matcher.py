import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import diffwright
from diffwright.core.errors import Cancelled, ConfigError, InputError, WeightsMissing
from diffwright.core.images import to_tensor
from diffwright.matching.files import read_flow, read_npz
from diffwright.matching.matcher import Matcher
from diffwright.matching.stages import MatchOptions
from tests.support import tiny_match

PLAIN = MatchOptions(hypotheses=False, samples=2, steps=2)


def same(one, two, atol=0.0):
    np.testing.assert_allclose(one.flow, two.flow, atol=atol)
    np.testing.assert_allclose(one.confidence, two.confidence, atol=atol)


def test_the_result_has_the_size_of_a_and_says_where_in_b(matcher, photo):
    a, b = photo(48, 64), photo(80, 40, seed=1)
    out = matcher.match(a, b)
    assert out.flow.shape == (48, 64, 2)
    assert out.flow.dtype == np.float32
    assert out.confidence.shape == out.occlusion.shape == (48, 64)
    assert out.confidence.min() >= 0
    assert out.confidence.max() <= 1
    assert out.reverse.shape == (80, 40, 2)
    assert out.samples is None
    assert out.warp().size == (64, 48)
    assert 0 <= out.overlap <= 1
    assert np.isfinite(out.flow).all()
    assert np.isfinite(out.reverse).all()
    assert set(out.timings) == {"read", "hypotheses", "features", "diffusion", "output"}


@pytest.mark.parametrize(
    "options",
    [
        replace(PLAIN, initial="cleaned"),
        MatchOptions.faithful(),
        replace(PLAIN, stages=0, initial="cleaned"),
    ],
)
def test_a_picture_and_itself_stand_still_before_diffusion(matcher, photo, options):
    """Random features already tell cells apart; the random denoisers after them are no part of this."""
    a = photo(64, 64)
    out = matcher.match(a, a, options)
    assert np.median(np.abs(out.initial)) < 0.2


def test_seed_and_batch_decide_nothing_but_what_they_should(matcher, photo):
    firsts = [photo(48, 64), photo(64, 48, seed=2), photo(48, 64, seed=3)]
    seconds = [photo(48, 64, seed=4), photo(40, 40, seed=5), photo(48, 64, seed=6)]
    many = matcher.match(firsts, seconds, PLAIN, seed=7)
    again = matcher.match(firsts, seconds, PLAIN, seed=7)
    for number, out in enumerate(many):
        same(out, again[number])
        same(out, matcher.match(firsts[number], seconds[number], PLAIN, seed=7), atol=5e-3)
    other = matcher.match(firsts[0], seconds[0], PLAIN, seed=8, samples=2)
    assert other.samples.shape == (2, 48, 64, 2)
    assert not np.array_equal(other.flow, many[0].flow)
    np.testing.assert_allclose(
        matcher.match(firsts[0], seconds[0], PLAIN, seed=8).flow, other.flow, atol=1e-6
    )


def test_a_batch_of_one_equals_a_batch_of_many_within_a_ten_thousandth_of_a_cell(matcher, photo):
    pairs = [(photo(64, 64, seed), photo(64, 64, seed + 10)) for seed in range(3)]
    options = replace(PLAIN, stages=1)
    many = matcher.match([a for a, _ in pairs], [b for _, b in pairs], options)
    alone = matcher.match(*pairs[1], options)
    np.testing.assert_allclose(many[1].flow / 8, alone.flow / 8, atol=1e-4)


def test_all_kinds_of_pictures_are_read_alike(matcher, photo, tmp_path):
    a, b = photo(), photo(seed=1)
    Image.fromarray(a).save(tmp_path / "a.png")
    expected = matcher.match(a, b, PLAIN)
    for given in (tmp_path / "a.png", str(tmp_path / "a.png"), Image.fromarray(a), to_tensor(a)):
        same(matcher.match(given, b, PLAIN), expected, atol=1e-5)
    batch = torch.cat([to_tensor(a), to_tensor(b)])
    found = matcher.match(batch, batch.flip(0), PLAIN)
    assert len(found) == 2
    same(found[0], expected, atol=5e-3)


def test_gray_and_alpha_arrays_are_read_like_the_pictures_they_are(matcher, photo):
    picture = Image.fromarray(photo())
    for mode in ("L", "RGBA"):
        shown = picture.convert(mode)
        same(matcher.match(np.asarray(shown), picture, PLAIN), matcher.match(shown, picture, PLAIN))


def test_the_fingerprint_names_the_features_that_are_compared(matcher, photo):
    class Coder:
        pipe = torch.nn.Linear(2, 2)

        def __call__(self, image, inside):
            return matcher.model.features(image, inside).coarse

    other = Matcher(matcher.model, Coder())
    assert other.fingerprint().startswith(matcher.fingerprint() + "+")
    assert other.match(photo(), photo(seed=1), PLAIN).model == other.fingerprint()


def test_gray_palette_and_alpha_are_handled(matcher, photo):
    picture = Image.fromarray(photo())
    for mode in ("L", "1", "P", "LA", "RGBA"):
        out = matcher.match(picture.convert(mode), picture, PLAIN)
        assert np.isfinite(out.flow).all()
    gray = np.asarray(picture.convert("L"))
    same(
        matcher.match(picture.convert("L"), picture, PLAIN),
        matcher.match(np.stack([gray] * 3, axis=2), picture, PLAIN),
        atol=1e-5,
    )


@pytest.mark.parametrize("blank", ["a", "b", "both"])
def test_a_blank_picture_gives_low_confidence_and_a_warning(photo, blank):
    """Even a model that calls every match certain."""
    sure = tiny_match.model(confidence=(9.0, 0.0, 0.0, 0.0, 0.0, 0.0))
    flat = np.full((48, 64, 3), 117, np.uint8)
    pair = {"a": (flat, photo()), "b": (photo(), flat), "both": (flat, flat)}[blank]
    out = Matcher(sure).match(*pair, PLAIN)
    assert out.confidence.max() < 0.05
    assert "hardly match" in out.warnings[0]
    assert Matcher(sure).match(photo(), photo(seed=1), PLAIN).confidence.mean() > 0.9


@pytest.mark.parametrize("size", [(8, 64), (64, 8), (15, 15)])
def test_tiny_pictures_are_refused_by_name(matcher, photo, size):
    with pytest.raises(InputError, match="sides of 16"):
        matcher.match(photo(), np.zeros((*size, 3), np.uint8))


def test_the_smallest_picture_that_is_read_can_be_matched(matcher, photo):
    assert matcher.match(photo(16, 16), photo(16, 17, seed=1)).flow.shape == (16, 16, 2)


def test_unreadable_pictures_are_refused_by_name(matcher, photo, tmp_path):
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(30))
    (tmp_path / "text.png").write_text("no picture")
    for bad in (
        tmp_path / "cut.png",
        tmp_path / "text.png",
        tmp_path / "missing.png",
        None,
        5,
        np.zeros((64, 64)),
    ):
        with pytest.raises(InputError):
            matcher.match(bad, photo())
        with pytest.raises(InputError):
            matcher.match(photo(), bad)


def test_lists_must_be_as_long_and_not_empty(matcher, photo):
    for pair in (([photo()], [photo(), photo()]), ([photo()], photo()), (photo(), [photo()]), ([], [])):
        with pytest.raises(InputError, match="lists as long"):
            matcher.match(*pair)
    with pytest.raises(ConfigError, match="seed"):
        matcher.match(photo(), photo(), seed=-1)
    with pytest.raises(ConfigError, match="samples"):
        matcher.match(photo(), photo(), samples=0)


def test_each_step_is_told_and_may_stop_the_run(matcher, photo):
    told = []

    def callback(given, step, time, tensors):
        assert given is matcher
        told.append((step, tensors["stage"], round(time, 3), tuple(tensors["field"].shape)))

    matcher.match(photo(), photo(seed=1), PLAIN, callback_on_step_end=callback)
    grids = [(1, 2, 2, 8, 8)] * 2 + [(1, 2, 2, 32, 32)] * 2
    assert told == [(n, 1 + n // 2, (1.0, 0.6)[n % 2], grids[n]) for n in range(4)]

    def stop(*_):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        matcher.match(photo(), photo(seed=1), PLAIN, callback_on_step_end=stop)


def test_the_reverse_field_may_be_left_out_or_full(matcher, photo):
    a, b = photo(48, 64), photo(48, 64, seed=1)
    outs = [matcher.match(a, b, replace(PLAIN, reverse=kind)) for kind in ("off", "coarse", "full")]
    assert outs[0].reverse is None
    assert outs[1].reverse.shape == outs[2].reverse.shape == (48, 64, 2)
    same(replace(outs[0], confidence=outs[1].confidence), outs[1], atol=1e-5)


def test_saved_it_holds_flow_pictures_and_a_record(matcher, photo, tmp_path):
    out = matcher.match(photo(200, 240), photo(180, 200, seed=1), samples=2)
    folder = out.save(tmp_path / "out")
    names = {path.name for path in folder.iterdir()}
    pictures = {"warped", "flow", "confidence", "checkerboard", "overlay", "matches"}
    assert names >= {f"{name}.png" for name in pictures} | {"flow.npz", "flow.flo", "result.json"}
    arrays = read_npz(folder / "flow.npz")
    np.testing.assert_array_equal(arrays["flow"], out.flow)
    assert arrays["samples"].shape == (2, 200, 240, 2)
    assert str(arrays["direction"]) == "a_to_b"
    np.testing.assert_array_equal(read_flow(folder / "flow.flo").flow, out.flow)
    record = json.loads((folder / "result.json").read_text())
    assert record["direction"] == "a_to_b"
    assert record["size_b"] == [200, 180]
    assert len(record["model"]) == 64
    assert Image.open(folder / "warped.png").size == (240, 200)


def test_matches_are_drawn_evenly_from_confident_places(matcher, photo):
    out = matcher.match(photo(120, 160), photo(120, 160, seed=1), PLAIN)
    confidence = np.zeros((120, 160), np.float32)
    confidence[:, :80] = 0.9
    confidence[:, 80:] = 0.2
    hidden = np.zeros((120, 160), bool)
    hidden[:20] = True
    out = replace(out, confidence=confidence, occlusion=hidden)
    drawn = out.sample_matches(400)
    assert len(drawn) == 400
    assert drawn.points_a[:, 1].min() >= 20
    assert len(np.unique(drawn.points_a, axis=0)) == 400
    counts = np.histogram2d(*drawn.points_a.T, bins=(4, 5), range=((0, 160), (20, 120)))[0]
    assert counts.min() > 10
    x, y = drawn.points_a.astype(int).T
    np.testing.assert_allclose(drawn.points_b, drawn.points_a + out.flow[y, x], atol=1e-5)
    np.testing.assert_array_equal(out.sample_matches(400).points_a, drawn.points_a)
    assert out.sample_matches(400, least=0.5).points_a[:, 0].max() < 80
    assert len(out.sample_matches(10, least=0.95)) == 0


def test_a_homography_is_fitted_to_the_flow(matcher, photo):
    out = matcher.match(photo(), photo(seed=1), PLAIN)
    y, x = np.mgrid[:48, :64].astype(np.float32)
    flow = np.stack([0.1 * x + 3, -0.05 * y - 2], axis=2)
    sure = np.ones((48, 64), np.float32)
    found = replace(out, flow=flow, confidence=sure, occlusion=sure < 0).fit_homography()
    np.testing.assert_allclose(found.matrix, [[1.1, 0, 3], [0, 0.95, -2], [0, 0, 1]], atol=1e-4)
    with pytest.raises(InputError, match="four"):
        replace(out, confidence=sure * 0).fit_homography()


def test_refine_starts_from_the_given_flow_where_features_support_it(photo):
    """With denoisers that change nothing, flow that is right stays, also between cells, and wrong flow goes."""
    model = tiny_match.model()
    for stage in (model.stage1, model.stage2):
        torch.nn.init.zeros_(stage.out.weight)
        torch.nn.init.zeros_(stage.out.bias)
    still = Matcher(model)
    b = photo(80, 80)
    a = b[8:72, 10:74]
    b = b[8:72, 8:72]
    right = np.zeros((64, 64, 2), np.float32)
    right[..., 0] = 2.0
    kept = still.refine(right, a, b, PLAIN)
    middle = (slice(12, 52), slice(12, 52))
    assert np.median(np.abs(kept.flow[middle] - right[middle])) < 0.3
    wrong = still.refine(right * 20, a, b, PLAIN).flow[middle]
    assert np.median(np.abs(wrong - right[middle])) < 8
    sparse = np.full((64, 64, 2), np.nan, np.float32)
    sparse[::2, ::2] = right[::2, ::2]
    same(still.refine(sparse, a, b, PLAIN), kept, atol=1e-3)
    with pytest.raises(InputError, match="unknown everywhere"):
        still.refine(np.full((64, 64, 2), np.nan), a, b, PLAIN)


@pytest.mark.parametrize(
    "flow", [np.zeros((48, 64)), np.zeros((64, 48, 2)), np.zeros((48, 64, 2), int), "flow"]
)
def test_flow_that_does_not_fit_is_refused(matcher, photo, flow):
    with pytest.raises(InputError):
        matcher.refine(flow, photo(48, 64), photo())


def test_saved_and_loaded_it_matches_alike(matcher, photo, tmp_path):
    matcher.save_pretrained(tmp_path / "m")
    again = Matcher.from_pretrained(tmp_path / "m", device="cpu", dtype="float32")
    out = again.match(photo(), photo(seed=1), PLAIN)
    assert np.abs(out.flow - matcher.match(photo(), photo(seed=1), PLAIN).flow).mean() < 0.5
    with pytest.raises(ConfigError, match="dtype"):
        Matcher.from_pretrained(tmp_path / "m", dtype="float8")
    with pytest.raises(ConfigError, match="device"):
        Matcher.from_pretrained(tmp_path / "m", device="nowhere")
    with pytest.raises(WeightsMissing):
        Matcher.from_pretrained("pocket-nothing")


def test_half_precision_gives_nearly_the_same(matcher, photo):
    half = Matcher(matcher.model, dtype=torch.bfloat16)
    one, two = (m.match(photo(), photo(seed=1), replace(PLAIN, stages=1)) for m in (matcher, half))
    assert np.median(np.abs(one.flow - two.flow)) < 4


def test_it_is_a_public_name():
    assert diffwright.Matcher is Matcher
