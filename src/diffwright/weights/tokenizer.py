"""The CLIP tokenizer, built from its vocabulary and merges only.

A tokenizer's configuration could name other files or arguments; only its special tokens and length are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffwright.core.errors import UnsupportedBackbone, WeightsCorrupt
from diffwright.weights.components import refuse_code
from diffwright.weights.folder import Folder

MAX_BYTES = 16 * 2**20
LONGEST = 1024
SPECIAL = ("unk_token", "bos_token", "eos_token", "pad_token")
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")


def load_tokenizer(folder: Folder, part: str) -> Any:
    """Load a CLIP tokenizer from ``tokenizer.json``, or from ``vocab.json`` and ``merges.txt``.

    Args:
        folder: the model's directory.
        part: ``tokenizer`` or ``tokenizer_2``.

    Returns:
        A ``transformers.CLIPTokenizer``.

    Raises:
        WeightsError: files are missing, damaged, or of another kind of tokenizer.
    """
    from transformers import CLIPTokenizer

    config = folder.json(f"{part}/tokenizer_config.json")
    refuse_code(config, f"{part}/tokenizer_config.json")
    declared = str(config.get("tokenizer_class", "CLIPTokenizer"))
    if declared not in ("CLIPTokenizer", "CLIPTokenizerFast"):
        raise UnsupportedBackbone(f"{part} of class {declared[:60]!r} is not supported, only CLIPTokenizer")
    length = config.get("model_max_length", 77)
    if type(length) is not int or not 1 <= length <= LONGEST:
        raise WeightsCorrupt(f"{part} has model_max_length {str(length)[:40]}, expected 1 to {LONGEST}")
    vocab, merges, added = _read(folder, part, config)
    specials = _special_tokens(folder, part, config)
    try:
        tokenizer = CLIPTokenizer(
            vocab=vocab,
            merges=merges,  # pyright: ignore[reportArgumentType]
            model_max_length=length,
            **specials,
        )
        _add(tokenizer, part, added)
    except WeightsCorrupt:
        raise
    except Exception as error:
        raise WeightsCorrupt(
            f"{part} holds no sound vocabulary ({str(error)[:120]}); fetch it again"
        ) from error
    return tokenizer


def _read(
    folder: Folder, part: str, config: Mapping[str, Any]
) -> tuple[dict[str, int], list[tuple[str, str]], dict[int, Any]]:
    added: dict[int, Any] = {}
    if folder.has(f"{part}/tokenizer.json"):
        whole = folder.json(f"{part}/tokenizer.json", MAX_BYTES)
        model = whole.get("model")
        if not isinstance(model, dict) or model.get("type") != "BPE":
            raise UnsupportedBackbone(f"{part}/tokenizer.json holds no byte-pair model, which CLIP needs")
        vocab, lines = model.get("vocab"), model.get("merges")
        added |= {_id(part, token): token for token in _list(part, whole.get("added_tokens", []))}
    else:
        vocab = folder.json(f"{part}/vocab.json", MAX_BYTES)
        lines = folder.text(f"{part}/merges.txt", MAX_BYTES).splitlines()
        lines = [line for line in lines if line and not line.startswith("#version")]
        if folder.has(f"{part}/added_tokens.json"):
            extra = folder.json(f"{part}/added_tokens.json")
            added |= {_id(part, {"id": number}): {"content": text} for text, number in extra.items()}
    decoder = config.get("added_tokens_decoder", {})
    for number, token in decoder.items() if isinstance(decoder, dict) else ():
        added[_id(part, {"id": int(number) if number.isdecimal() else None})] = token
    if not isinstance(vocab, dict) or not all(type(number) is int for number in vocab.values()):
        raise WeightsCorrupt(f"{part} holds no vocabulary of text and numbers; fetch it again")
    if set(vocab.values()) != set(range(len(vocab))):
        raise WeightsCorrupt(
            f"the vocabulary of {part} does not number its entries from 0 up; fetch it again"
        )
    return vocab, [_pair(part, line) for line in _list(part, lines)], added


def _special_tokens(folder: Folder, part: str, config: Mapping[str, Any]) -> dict[str, Any]:
    found = {key: config[key] for key in SPECIAL if config.get(key) is not None}
    if "added_tokens_decoder" not in config and folder.has(f"{part}/special_tokens_map.json"):
        older = folder.json(f"{part}/special_tokens_map.json")
        found |= {key: older[key] for key in SPECIAL if older.get(key) is not None}
    return {key: _token(part, value, special=True) for key, value in found.items()}


def _token(part: str, value: Any, special: bool) -> Any:
    from transformers import AddedToken

    if isinstance(value, str):
        return value
    if not isinstance(value, dict) or not isinstance(value.get("content"), str):
        raise WeightsCorrupt(f"{part} has the token {str(value)[:60]}, expected text; fetch it again")
    flags = {flag: bool(value[flag]) for flag in FLAGS if flag in value}
    return AddedToken(value["content"], special=special, **flags)


def _add(tokenizer: Any, part: str, added: Mapping[int, Any]) -> None:
    for number, token in sorted(added.items()):
        text = str(_token(part, token, special=bool(token.get("special"))))
        if text not in tokenizer.get_vocab():
            tokenizer.add_tokens([_token(part, token, special=bool(token.get("special")))])
        if tokenizer.convert_tokens_to_ids(text) != number:
            raise WeightsCorrupt(f"{part} gives its token {text[:40]!r} another number than {number}")


def _id(part: str, token: Any) -> int:
    number = token.get("id") if isinstance(token, dict) else None
    if type(number) is not int or number < 0:
        raise WeightsCorrupt(f"{part} has an added token without a number; fetch it again")
    return number


def _list(part: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise WeightsCorrupt(f"{part} holds {str(value)[:40]!r} where a list is expected; fetch it again")
    return value


def _pair(part: str, line: Any) -> tuple[str, str]:
    pieces = line.split(" ") if isinstance(line, str) else line
    if (
        not isinstance(pieces, list)
        or len(pieces) != 2
        or not all(isinstance(piece, str) for piece in pieces)
    ):
        raise WeightsCorrupt(f"{part} has the merge {str(line)[:40]!r}, expected two pieces; fetch it again")
    return pieces[0], pieces[1]
