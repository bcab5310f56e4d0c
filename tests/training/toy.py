"""A small exact task: the mean of noisy pixels, with batch norm, dropout and channels-last weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffwright.training.ema import named_tensors


class Toy:
    name = "toy"

    def __init__(self, plain: bool = False) -> None:
        torch.manual_seed(5)
        self.plain = plain
        convolution = nn.Conv2d(2, 4, 3, padding=1)
        between = [] if plain else [nn.BatchNorm2d(4), nn.Dropout(0.1)]
        head = nn.Sequential(convolution, *between, nn.Flatten())
        self._modules = {"head": head.to(memory_format=torch.channels_last), "tail": nn.Linear(64, 1)}
        self.evaluations = 0

    def modules(self) -> dict[str, nn.Module]:
        return self._modules

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        pixels = [torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(int(i))) for i in indices]
        return torch.stack(pixels), torch.stack(pixels).mean((1, 2, 3))[:, None]

    def loss(self, modules, batch, generator):
        pixels, target = batch
        if not self.plain:
            pixels = pixels + 0.1 * torch.randn(pixels.shape, generator=generator, device=pixels.device)
        loss = (modules["tail"](modules["head"](pixels)) - target).square().mean()
        return loss, {"error": loss.detach().sqrt(), "one": 1.0}

    def evaluate(self, modules) -> dict[str, float]:
        assert not modules["head"].training
        self.evaluations += 1
        pixels, target = self.batch(torch.arange(10**6, 10**6 + 32))
        return {"mse": float((modules["tail"](modules["head"](pixels)) - target).square().mean())}

    def export(self, modules, directory: Path) -> None:
        tensors = {name: tensor.detach().contiguous() for name, tensor in named_tensors(modules).items()}
        save_file(tensors, directory / "model.safetensors")
