import pytest
import torch

from diffwright.concepts.edit import edit_concepts
from diffwright.concepts.edited_folder import save_edited, save_reverted
from diffwright.core.errors import InputError
from diffwright.weights.fingerprint import fingerprint
from diffwright.weights.load import load
from tests.support.tiny import pipeline


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_a_model_is_edited_and_reverted_on_disk_bit_by_bit(tmp_path, dtype):
    pipe = pipeline("pocket").to(dtype)
    base = fingerprint(pipe)
    edit = edit_concepts(pipe, [("cat", "dog")], site=["te.0.attn.out", "te.1.mlp.out"], lam=1e-4)
    save_edited(pipe, edit, tmp_path / "edited")
    assert fingerprint(pipe) == base
    edited = load(tmp_path / "edited", dtype=dtype)
    assert fingerprint(edited) != base
    edit.apply(pipe)
    assert fingerprint(edited) == fingerprint(pipe)
    save_reverted(edited, tmp_path / "edited", tmp_path / "base")
    assert fingerprint(load(tmp_path / "base", dtype=dtype)) == base


def test_a_folder_without_an_edit_cannot_be_reverted(tmp_path):
    with pytest.raises(InputError, match="no applied edit"):
        save_reverted(pipeline("sd1"), tmp_path, tmp_path / "base")
    assert not (tmp_path / "base").exists()
