"""The residual networks of the image experiments, written out small."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Residual(nn.Module):
    """A body and a shortcut: relu(body(x) + shortcut(x)).

    Shapes:
        (B, C, H, W) -> (B, D, H / stride, W / stride).
    """

    def __init__(self, body: nn.Sequential, shortcut: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut = body, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        return torch.relu(self.body(x) + self.shortcut(x))


def _conv(before: int, after: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(before, after, size, stride, size // 2, bias=False), nn.BatchNorm2d(after)]


def _block(before: int, after: int, stride: int, *, narrow: int | None) -> Residual:
    """Return two 3x3 convolutions, or 1x1, 3x3, 1x1 through ``narrow`` channels."""
    if narrow is None:
        body = [*_conv(before, after, 3, stride), nn.ReLU(), *_conv(after, after, 3)]
    else:
        body = [*_conv(before, narrow, 1), nn.ReLU(), *_conv(narrow, narrow, 3, stride), nn.ReLU()]
        body += _conv(narrow, after, 1)
    straight = before == after and stride == 1
    shortcut = nn.Identity() if straight else nn.Sequential(*_conv(before, after, 1, stride))
    return Residual(nn.Sequential(*body), shortcut)


def resnet20(classes: int = 10, width: int = 16, blocks: int = 3) -> nn.Module:
    """Return the CIFAR ResNet-20 with 0.27 M parameters (smaller with a smaller width or fewer blocks).

    Args:
        classes: Outputs.
        width: Channels of the first stage.
        blocks: Blocks a stage; depth is 6 blocks + 2.

    Shapes:
        (B, 3, 32, 32) -> (B, classes).
    """
    layers, channels = [*_conv(3, width, 3), nn.ReLU()], width
    for stage in range(3):
        for number in range(blocks):
            stride = 2 if stage > 0 and number == 0 else 1
            layers.append(_block(channels, width << stage, stride, narrow=None))
            channels = width << stage
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def resnet8(classes: int = 10, width: int = 16) -> nn.Module:
    """Return the same net with one block a stage: 78,042 parameters.

    Args:
        classes: Outputs.
        width: Channels of the first stage.

    Shapes:
        (B, 3, 32, 32) -> (B, classes).
    """
    return resnet20(classes, width, blocks=1)


def resnet50(classes: int = 10, width: int = 64) -> nn.Module:
    """Return the ResNet-50 for 32x32 pictures that the paper uses: 161 tensors, 23,520,842 parameters.

    Args:
        classes: Outputs.
        width: Channels of the first stage's narrow layers.

    Shapes:
        (B, 3, 32, 32) -> (B, classes).
    """
    layers, channels = [*_conv(3, width, 3), nn.ReLU()], width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        narrow = width << stage
        for number in range(blocks):
            stride = 2 if stage > 0 and number == 0 else 1
            layers.append(_block(channels, 4 * narrow, stride, narrow=narrow))
            channels = 4 * narrow
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))


def shapes_of(build: Callable[..., nn.Module], **options: int) -> list[torch.Size]:
    """Return the shapes of a network's parameters without making them.

    Args:
        build: ``resnet20`` or ``resnet50``.
        **options: Its arguments.
    """
    with torch.device("meta"):
        return [param.shape for param in build(**options).parameters()]
