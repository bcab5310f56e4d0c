"""Ways to turn a sound tiny model into a hostile one: ``CASES`` maps a name to (change, expected error).

A change gets the model's folder and a pickle that would leave a trace if it were ever loaded.
"""

import gzip
import io
import json
import os
import struct
import zipfile

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from diffwright.core.errors import UnsafeWeights, UnsupportedBackbone, WeightsCorrupt, WeightsMissing

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
PYTHON = "import os, pathlib\npathlib.Path({trace!r}).mkdir()\nclass Evil: pass\n"


def edit(name, **changes):
    """Change keys of a JSON file; a value of None with key ``drop`` removes keys."""

    def change(folder, payload):
        path = folder / name
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


def index(**changes):
    return edit("model_index.json", **changes)


def write(name, data):
    """Replace a file by bytes, or by what a function makes of the payload."""

    def change(folder, payload):
        (folder / name).unlink(missing_ok=True)
        (folder / name).write_bytes(data(payload) if callable(data) else data)

    return change


def code_beside(library):
    """An index that names a module, with that module in the folder and in the working directory."""

    def change(folder, payload):
        for place in (folder, folder / "unet"):
            (place / "evil.py").write_text(PYTHON.format(trace=str(folder.parent / "executed")))
            (place / "pipeline.py").write_text(PYTHON.format(trace=str(folder.parent / "executed")))
        index(unet=[library, "Evil"])(folder, payload)

    return change


def link(name, target):
    def change(folder, payload):
        outside = folder.parent / "outside"
        path = folder / name
        if path.is_dir() or target == "outside":
            path.rename(outside)
        else:
            path.unlink()
        path.symlink_to(outside if target == "outside" else target)

    return change


def pipe_file(name):
    def change(folder, payload):
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


def folder_instead(name):
    def change(folder, payload):
        (folder / name).unlink()
        (folder / name).mkdir()

    return change


def only(*names, part="unet"):
    """Leave pickles as the only weights of a part."""

    def change(folder, payload):
        for path in (folder / part).glob("*.safetensors"):
            path.unlink()
        for name in names:
            (folder / part / name).write_bytes(payload)

    return change


def cut(name, size):
    def change(folder, payload):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: size if size >= 1 else int(len(data) * size)])

    return change


def header(change_header, name=UNET):
    """Change the JSON header of a safetensors file."""

    def change(folder, payload):
        data = (folder / name).read_bytes()
        (length,) = struct.unpack("<Q", data[:8])
        entries = json.loads(data[8 : 8 + length])
        text = change_header(entries)
        text = text if isinstance(text, bytes) else json.dumps(entries).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])

    return change


def entry(**changes):
    return header(lambda entries: entries["conv_in.weight"].update(changes))


def swap_offsets(entries):
    entries["conv_norm_out.weight"]["data_offsets"] = entries["conv_norm_out.bias"]["data_offsets"]


def gap(entries):
    for item in entries.values():
        if "data_offsets" in item:
            item["data_offsets"] = [offset + 8 for offset in item["data_offsets"]]


def tensors(change_tensors, name=UNET):
    def change(folder, payload):
        loaded = load_file(folder / name)
        change_tensors(loaded)
        save_file(loaded, folder / name)

    return change


def one_value(value):
    def change(loaded):
        loaded["conv_in.weight"][0, 0, 0, 0] = value

    return tensors(change)


def flip(name, position, bit=0):
    def change(folder, payload):
        data = bytearray((folder / name).read_bytes())
        data[position] ^= 1 << bit
        (folder / name).write_bytes(bytes(data))

    return change


def zipped(payload, depth=1):
    for _ in range(depth):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("archive/data.pkl", payload)
        payload = buffer.getvalue()
    return payload


def torch_file(payload):
    buffer = io.BytesIO()
    torch.save({"conv_in.weight": torch.zeros(2)}, buffer)
    return buffer.getvalue()


def numpy_file(payload):
    buffer = io.BytesIO()
    np.save(buffer, np.array([{"evil": 1}], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def sparse(folder, payload):
    with (folder / UNET).open("wb") as file:
        file.write(struct.pack("<Q", 90 * 2**20) + b"{")
        file.truncate(100 * 2**20)


def shards(target):
    def change(folder, payload):
        (folder / UNET).unlink()
        (folder / "unet" / "weights.bin").write_bytes(payload)
        listing = {"metadata": {}, "weight_map": {"conv_in.weight": target}}
        (folder / "unet" / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(listing))

    return change


DEEP = b'{"a":' * 9_000 + b"1" + b"}" * 9_000
VOCAB = "tokenizer/tokenizer.json"


def vocabulary(change_model):
    def change(folder, payload):
        whole = json.loads((folder / VOCAB).read_text())
        change_model(whole["model"])
        (folder / VOCAB).write_text(json.dumps(whole))

    return change


INDEX_CASES = {
    "pipeline with code of its own": (index(_class_name=["pipeline", "Evil"]), UnsafeWeights),
    "pipeline by path": (index(_class_name="../pipeline.Evil"), UnsupportedBackbone),
    "pipeline of another kind": (index(_class_name="FluxPipeline"), UnsupportedBackbone),
    "pipeline that is no text": (index(_class_name=7), UnsupportedBackbone),
    "custom_pipeline": (index(custom_pipeline="pipeline.py"), UnsafeWeights),
    "trust_remote_code": (index(trust_remote_code=True), UnsafeWeights),
    "private key": (index(_module="evil"), UnsafeWeights),
    "system library": (index(unet=["os", "system"]), UnsafeWeights),
    "builtins": (index(scheduler=["builtins", "eval"]), UnsafeWeights),
    "module in the folder": (code_beside("evil"), UnsafeWeights),
    "module in a part": (code_beside("unet.evil"), UnsafeWeights),
    "library below an allowed one": (index(unet=["diffusers.utils", "Evil"]), UnsafeWeights),
    "library of the cache of remote code": (index(unet=["diffusers_modules", "Evil"]), UnsafeWeights),
    "safety checker of a foreign library": (index(safety_checker=["evil", "Evil"]), UnsafeWeights),
    "foreign class of a dropped part": (
        index(feature_extractor=["transformers", "AutoModel"]),
        UnsupportedBackbone,
    ),
    "class that loads by name": (index(text_encoder=["transformers", "AutoModel"]), UnsupportedBackbone),
    "onnx part": (index(unet=["diffusers", "OnnxRuntimeModel"]), UnsupportedBackbone),
    "class of another part": (index(unet=["diffusers", "AutoencoderKL"]), UnsupportedBackbone),
    "part above the folder": (index(**{"../outside": ["diffusers", "AutoencoderKL"]}), UnsafeWeights),
    "part by absolute path": (index(**{"/etc": ["diffusers", "AutoencoderKL"]}), UnsafeWeights),
    "part by windows path": (index(**{"..\\x": ["diffusers", "AutoencoderKL"]}), UnsafeWeights),
    "part more": (index(controlnet=["diffusers", "ControlNetModel"]), UnsupportedBackbone),
    "part missing": (index(unet=[None, None]), UnsupportedBackbone),
    "second encoder in a small pipeline": (
        index(text_encoder_2=["transformers", "CLIPTextModelWithProjection"]),
        UnsupportedBackbone,
    ),
    "entry of three": (index(unet=["diffusers", "UNet2DConditionModel", "x"]), WeightsCorrupt),
    "entry of lists": (index(unet=[["diffusers"], {}]), WeightsCorrupt),
    "setting that is no boolean": (index(requires_safety_checker={"__class__": "x"}), WeightsCorrupt),
    "index absent": (lambda folder, payload: (folder / "model_index.json").unlink(), WeightsMissing),
    "index empty": (write("model_index.json", b""), WeightsCorrupt),
    "index not JSON": (write("model_index.json", b"unet: !!python/object:os.system"), WeightsCorrupt),
    "index a pickle": (write("model_index.json", lambda payload: payload), WeightsCorrupt),
    "index an array": (write("model_index.json", b"[1, 2]"), WeightsCorrupt),
    "index huge": (write("model_index.json", b'{"a": "' + b"x" * 2_000_000 + b'"}'), WeightsCorrupt),
    "index deep": (write("model_index.json", DEEP), WeightsCorrupt),
    "index with a key twice": (write("model_index.json", b'{"unet": 1, "unet": 2}'), WeightsCorrupt),
    "index with a long number": (write("model_index.json", b'{"a": ' + b"9" * 9999 + b"}"), WeightsCorrupt),
    "index in UTF-16": (write("model_index.json", '{"a": 1}'.encode("utf-16")), WeightsCorrupt),
    "index linked from outside": (link("model_index.json", "outside"), UnsafeWeights),
    "index a device": (link("model_index.json", "/dev/zero"), UnsafeWeights),
    "index a pipe": (pipe_file("model_index.json"), UnsafeWeights),
    "index a folder": (folder_instead("model_index.json"), UnsafeWeights),
}

FILE_CASES = {
    "pickle under a safetensors name": (write(UNET, lambda payload: payload), UnsafeWeights),
    "torch file under a safetensors name": (write(UNET, torch_file), UnsafeWeights),
    "zip under a safetensors name": (write(TEXT, zipped), UnsafeWeights),
    "zip in zip": (write(UNET, lambda payload: zipped(payload, 3)), UnsafeWeights),
    "gzip": (write(UNET, gzip.compress), UnsafeWeights),
    "numpy objects": (write(UNET, numpy_file), WeightsCorrupt),
    "old pickle": (write(UNET, b"cos\nsystem\n(S'touch executed'\ntR."), WeightsCorrupt),
    "only .bin": (only("diffusion_pytorch_model.bin"), UnsafeWeights),
    "only .ckpt": (only("model.ckpt", part="vae"), UnsafeWeights),
    "only .bin of the text encoder": (only("pytorch_model.bin", part="text_encoder"), UnsafeWeights),
    "no weights": (only(), WeightsMissing),
    "empty": (write(UNET, b""), WeightsCorrupt),
    "four bytes": (cut(UNET, 4), WeightsCorrupt),
    "cut in the header": (cut(UNET, 100), WeightsCorrupt),
    "cut in half": (cut(UNET, 0.5), WeightsCorrupt),
    "one byte short": (
        lambda folder, _: cut(UNET, (folder / UNET).stat().st_size - 1)(folder, _),
        WeightsCorrupt,
    ),
    "bytes after the end": (
        lambda folder, _: (folder / UNET).open("ab").write(b"PK\x03\x04more"),
        WeightsCorrupt,
    ),
    "header of 2^64 bytes": (write(UNET, b"\xff" * 64), WeightsCorrupt),
    "header longer than the file": (write(UNET, struct.pack("<Q", 4096) + b"{}"), WeightsCorrupt),
    "header bomb": (sparse, WeightsCorrupt),
    "header deep": (header(lambda entries: DEEP), WeightsCorrupt),
    "header not JSON": (header(lambda entries: b"{not json}"), WeightsCorrupt),
    "header an array": (header(lambda entries: b"[]"), WeightsCorrupt),
    "header with a tensor twice": (header(lambda entries: b'{"a": 1, "a": 1}'), WeightsCorrupt),
    "bit flip in the length": (flip(UNET, 0), WeightsCorrupt),
    "bit flip in the header": (flip(UNET, 9, 1), WeightsCorrupt),
    "infinite weights": (one_value(float("-inf")), WeightsCorrupt),
    "NaN weights": (one_value(float("nan")), WeightsCorrupt),
    "overlapping offsets": (header(swap_offsets), WeightsCorrupt),
    "gap before the first tensor": (header(gap), WeightsCorrupt),
    "offsets backwards": (entry(data_offsets=[10, 2]), WeightsCorrupt),
    "offsets beyond the end": (entry(data_offsets=[2**40, 2**40 + 2304]), WeightsCorrupt),
    "offsets as text": (entry(data_offsets=["0", "1"]), WeightsCorrupt),
    "negative shape": (entry(shape=[-16, -4, 3, 3]), WeightsCorrupt),
    "shape overflow": (entry(shape=[2**62, 2**62]), WeightsCorrupt),
    "shape as booleans": (entry(shape=[True] * 4), WeightsCorrupt),
    "shape of many dimensions": (entry(shape=[1] * 5000), WeightsCorrupt),
    "integers as weights": (entry(dtype="I32"), WeightsCorrupt),
    "eight bits as weights": (entry(dtype="F8_E4M3"), WeightsCorrupt),
    "unknown type": (entry(dtype="OBJECT"), WeightsCorrupt),
    "type that is no text": (entry(dtype=["F32"]), WeightsCorrupt),
    "entry with more keys": (entry(code="import os"), WeightsCorrupt),
    "metadata that is no text": (
        header(lambda entries: entries.update(__metadata__={"a": 1})),
        WeightsCorrupt,
    ),
    "tensor missing": (tensors(lambda loaded: loaded.pop("conv_in.weight")), WeightsCorrupt),
    "tensor more": (tensors(lambda loaded: loaded.update(extra=torch.zeros(2))), WeightsCorrupt),
    "tensor of another shape": (
        tensors(lambda loaded: loaded.update({"conv_in.weight": torch.zeros(16, 4, 1, 1)})),
        WeightsCorrupt,
    ),
    "weights linked from outside": (link(UNET, "outside"), UnsafeWeights),
    "weights linked in a circle": (link(UNET, "diffusion_pytorch_model.safetensors"), WeightsMissing),
    "weights a device": (link(UNET, "/dev/urandom"), UnsafeWeights),
    "weights a pipe": (pipe_file(UNET), UnsafeWeights),
    "part linked from outside": (link("unet", "outside"), UnsafeWeights),
    "shards above the folder": (shards("../../outside.safetensors"), UnsafeWeights),
    "shards by absolute path": (shards("/etc/passwd"), UnsafeWeights),
    "shards that are pickles": (shards("weights.bin"), UnsafeWeights),
    "shards that are absent": (shards("a.safetensors"), WeightsMissing),
}

CONFIG_CASES = {
    "auto_map": (edit("unet/config.json", auto_map={"AutoModel": "evil.Evil"}), UnsafeWeights),
    "downloaded kernels": (
        edit("text_encoder/config.json", attn_implementation="evil/kernels"),
        UnsafeWeights,
    ),
    "quantizer": (edit("text_encoder/config.json", quantization_config={"quant_method": "x"}), UnsafeWeights),
    "weights elsewhere": (edit("text_encoder/config.json", transformers_weights="../x.bin"), UnsafeWeights),
    "tokenizer code": (
        edit("tokenizer/tokenizer_config.json", auto_map={"AutoTokenizer": ["e.E"]}),
        UnsafeWeights,
    ),
    "tokenizer class": (edit("tokenizer/tokenizer_config.json", tokenizer_class="Evil"), UnsupportedBackbone),
    "class of the UNet": (edit("unet/config.json", _class_name="EvilModel"), UnsupportedBackbone),
    "width bomb": (edit("unet/config.json", block_out_channels=[2**40, 2**40]), WeightsCorrupt),
    "width bomb within limits": (edit("unet/config.json", block_out_channels=[2**20] * 2), WeightsCorrupt),
    "vocabulary bomb": (edit("text_encoder/config.json", vocab_size=10**12), WeightsCorrupt),
    "layer bomb": (edit("text_encoder/config.json", num_hidden_layers=10**6), WeightsCorrupt),
    "layer bomb in the UNet": (edit("unet/config.json", layers_per_block=10**5), WeightsCorrupt),
    "layer bomb by lists": (
        edit("unet/config.json", transformer_layers_per_block=[500, 500], layers_per_block=[9, 9]),
        WeightsCorrupt,
    ),
    "block bomb": (edit("unet/config.json", down_block_types=["DownBlock2D"] * 9999), WeightsCorrupt),
    "unknown block": (edit("unet/config.json", mid_block_type="os.system"), WeightsCorrupt),
    "unknown activation": (edit("text_encoder/config.json", hidden_act="os.system"), WeightsCorrupt),
    "schedule bomb": (edit("scheduler/scheduler_config.json", num_train_timesteps=10**12), WeightsCorrupt),
    "schedule of text": (edit("scheduler/scheduler_config.json", beta_start="evil"), WeightsCorrupt),
    "schedule without end": (edit("scheduler/scheduler_config.json", beta_end=float("inf")), WeightsCorrupt),
    "prediction of another kind": (
        edit("scheduler/scheduler_config.json", prediction_type="sample"),
        UnsupportedBackbone,
    ),
    "UNet with classes": (edit("unet/config.json", class_embed_type="timestep"), UnsupportedBackbone),
    "length bomb": (edit("tokenizer/tokenizer_config.json", model_max_length=10**30), WeightsCorrupt),
    "vocabulary with holes": (vocabulary(lambda model: model["vocab"].update(x=10**9)), WeightsCorrupt),
    "vocabulary of text": (vocabulary(lambda model: model["vocab"].update({"!": "0"})), WeightsCorrupt),
    "more words than rows": (vocabulary(lambda model: model["vocab"].update(xyzzy=525)), WeightsCorrupt),
    "merge of three": (vocabulary(lambda model: model["merges"].append("a b c")), WeightsCorrupt),
    "merge without its word": (vocabulary(lambda model: model["merges"].append(["q", "q"])), WeightsCorrupt),
    "another tokenizer model": (vocabulary(lambda model: model.update(type="Unigram")), UnsupportedBackbone),
    "tokenizer linked from outside": (link(VOCAB, "outside"), UnsafeWeights),
    "tokenizer absent": (lambda folder, payload: (folder / VOCAB).unlink(), WeightsMissing),
    "config absent": (lambda folder, payload: (folder / "vae/config.json").unlink(), WeightsMissing),
}

CASES = INDEX_CASES | FILE_CASES | CONFIG_CASES
