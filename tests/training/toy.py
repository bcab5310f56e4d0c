"""A small exact task: the mean of noisy pixels, with batch norm, dropout and channels-last weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from diffwright.training.ema import named_tensors


class Toy:
    name = "toy"

    def __init__(self, delay: float = 0.0) -> None:
        torch.manual_seed(5)
        head = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.1), nn.Flatten())
        self._modules = {"head": head.to(memory_format=torch.channels_last), "tail": nn.Linear(64, 1)}
        self.evaluations = 0
        self.seen: list[Tensor] = []

    def modules(self) -> dict[str, nn.Module]:
        return self._modules

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        self.seen.append(indices)
        pixels = torch.stack(
            [torch.randn(2, 4, 4, generator=torch.Generator().manual_seed(int(i))) for i in indices]
        )
        return pixels, pixels.mean((1, 2, 3))[:, None]

    def loss(self, modules, batch, generator):
        pixels, target = batch
        noise = torch.randn(pixels.shape, generator=generator, device=pixels.device)
        guess = modules["tail"](modules["head"](pixels + 0.1 * noise))
        loss = (guess - target).square().mean()
        return loss, {"error": loss.detach().sqrt(), "one": 1.0}

    def evaluate(self, modules) -> dict[str, float]:
        self.evaluations += 1
        assert not modules["head"].training
        pixels, target = self.batch(torch.arange(10**6, 10**6 + 32))
        guess = modules["tail"](modules["head"](pixels))
        return {"mse": float((guess - target).square().mean())}

    def export(self, modules, directory: Path) -> None:
        tensors = {k: v.detach().contiguous() for k, v in named_tensors(modules).items()}
        save_file(tensors, directory / "model.safetensors")
