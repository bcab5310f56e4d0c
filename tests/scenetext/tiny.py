"""A scene text model of a few thousand parameters, and drawn strips."""

import torch
from PIL import Image, ImageDraw, ImageFont

from diffwright.scenetext.model import SceneTextModel

TINY = {
    "widths": (16, 32), "character_width": 8, "character_layers": 1, "instruction_width": 8,
    "instruction_layers": 1, "reader_widths": (8, 8, 8, 16), "reader_layers": 1,
}  # fmt: skip


def model(seed=0, **changes):
    torch.manual_seed(seed)
    return SceneTextModel(**{**TINY, **changes}).eval()


def strip(text, size=20, ink=20, ground=220):
    picture = Image.new("L", (128, 32), ground)
    ImageDraw.Draw(picture).text((6, 4), text, fill=ink, font=ImageFont.load_default(size))
    data = torch.tensor(list(picture.getdata()), dtype=torch.float32).view(1, 32, 128)
    return data / 127.5 - 1
