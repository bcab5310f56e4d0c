"""Train with DiffGradW under a scheduler, mixed precision and accelerate."""

import torch
from accelerate import Accelerator

from diffwright import DiffGradW


def main(steps: int = 40) -> list[float]:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    data = torch.utils.data.TensorDataset(inputs, inputs.sum(1, keepdim=True) / 3)
    model = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))
    optimizer = DiffGradW(model.parameters(), lr=1e-2, weight_decay=1e-2)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    loader = torch.utils.data.DataLoader(data, batch_size=64, shuffle=True)
    accelerator = Accelerator(mixed_precision="bf16", cpu=not torch.cuda.is_available())
    model, optimizer, loader, scheduler = accelerator.prepare(model, optimizer, loader, scheduler)
    losses = []
    while len(losses) < steps:
        for x, y in loader:
            with accelerator.autocast():
                loss = torch.nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            scheduler.step()
            losses.append(loss.item())
    return losses


if __name__ == "__main__":
    path = main()
    print(f"loss {path[0]:.3f} -> {path[-1]:.3f}")
