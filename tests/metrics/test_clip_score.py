import json

import numpy as np
import pytest
import torch

from diffwright.core.errors import InputError, UnsafeWeights, WeightsCorrupt, WeightsMissing
from diffwright.metrics.clip_score import ClipScore
from tests.support.tiny import tokenizer


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny ``CLIPModel`` directory, as transformers saves it."""
    from transformers import CLIPConfig, CLIPModel

    words = tokenizer()
    text = {
        "vocab_size": len(words),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "eos_token_id": len(words) - 1,
        "bos_token_id": len(words) - 2,
    }
    vision = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 16,
        "patch_size": 8,
        "projection_dim": 8,
    }
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("clip") / "tiny"
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)).save_pretrained(path)
    words.save_pretrained(path)
    (path / "preprocessor_config.json").write_text(
        json.dumps({"image_mean": [0.5, 0.4, 0.3], "image_std": [0.2, 0.2, 0.2]})
    )
    return path


@pytest.fixture
def copied(folder, tmp_path):
    import shutil

    return shutil.copytree(folder, tmp_path / "copy")


def test_the_score_is_the_cosine_of_the_librarys_own_model(folder):
    from transformers import CLIPModel

    pictures = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    score = ClipScore.from_pretrained(folder)(pictures, "the red cat")
    model = CLIPModel.from_pretrained(folder).eval()
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor([0.5, 0.4, 0.3]).view(3, 1, 1)) / 0.2
    ids = tokenizer()(["the red cat"], return_tensors="pt").input_ids
    with torch.no_grad():
        expected = model(input_ids=ids, pixel_values=pixels).logits_per_image[:, 0] / model.logit_scale.exp()
    assert score == pytest.approx(expected.numpy(), abs=1e-6)
    assert score.dtype == np.float64


def test_pictures_of_other_sizes_are_resized_and_cropped(folder):
    scorer = ClipScore.from_pretrained(folder)
    flat = np.full((1, 40, 64, 3), 120, dtype=np.uint8)
    assert scorer(flat, "cat") == pytest.approx(scorer(flat[:, :16, :16], "cat"), abs=1e-5)


def test_a_pipeline_with_both_towers_is_a_scorer(folder, tmp_path):
    from safetensors.torch import save_file
    from transformers import CLIPModel, CLIPVisionModelWithProjection

    model = CLIPModel.from_pretrained(folder)
    whole = tmp_path / "pipeline"
    model.text_model.save_pretrained(whole / "text_encoder")
    vision = CLIPVisionModelWithProjection(model.config.vision_config)
    vision.load_state_dict({k: v for k, v in model.state_dict().items() if k.startswith("vi")}, strict=True)
    vision.save_pretrained(whole / "image_encoder")
    tokenizer().save_pretrained(whole / "tokenizer")
    (whole / "feature_extractor").mkdir()
    (whole / "feature_extractor" / "preprocessor_config.json").write_text(
        (folder / "preprocessor_config.json").read_text()
    )
    head = {
        "text_projection.weight": model.text_projection.weight.detach(),
        "logit_scale": model.logit_scale.detach().reshape(1),
    }
    save_file(head, whole / "contrastive_head.safetensors")
    pictures = np.random.default_rng(1).integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    ours = ClipScore.from_pretrained(whole)(pictures, "mug")
    assert ours == pytest.approx(ClipScore.from_pretrained(folder)(pictures, "mug"), abs=1e-6)


def test_damaged_unsafe_and_foreign_folders_are_refused(copied, tmp_path):
    config = json.loads((copied / "config.json").read_text())
    (copied / "config.json").write_text(json.dumps({**config, "auto_map": {"AutoModel": "evil.Model"}}))
    with pytest.raises(UnsafeWeights, match="auto_map"):
        ClipScore.from_pretrained(copied)
    (copied / "config.json").write_text(json.dumps({**config, "vision_config": None}))
    with pytest.raises(WeightsMissing, match="no CLIP model"):
        ClipScore.from_pretrained(copied)
    wide = {**config, "vision_config": {**config["vision_config"], "hidden_size": 32}}
    (copied / "config.json").write_text(json.dumps(wide))
    with pytest.raises(WeightsCorrupt):
        ClipScore.from_pretrained(copied)
    with pytest.raises(WeightsMissing):
        ClipScore.from_pretrained(tmp_path / "nowhere")


def test_a_missing_normalisation_is_refused(copied):
    (copied / "preprocessor_config.json").write_text('{"image_mean": [0.5, 0.5]}')
    with pytest.raises(WeightsCorrupt, match="image_mean"):
        ClipScore.from_pretrained(copied)


def test_other_arrays_are_refused(folder):
    with pytest.raises(InputError, match="uint8"):
        ClipScore.from_pretrained(folder)(np.zeros((1, 16, 16, 3)), "cat")
