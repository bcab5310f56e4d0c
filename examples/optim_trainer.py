"""Hand DiffGradW to transformers' Trainer."""

import sys
import tempfile

import torch
from transformers import Trainer, TrainingArguments

from diffwright import DiffGradW


class Regression(torch.nn.Module):
    """A small network in the form the Trainer wants: it returns its loss."""

    def __init__(self):
        super().__init__()
        self.body = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.Tanh(), torch.nn.Linear(32, 1))

    def forward(self, x, labels=None):
        """Return loss and outputs."""
        y = self.body(x)
        return {"loss": torch.nn.functional.mse_loss(y, labels), "logits": y}


def main(out: str | None = None, steps: int = 30) -> float:
    torch.manual_seed(0)
    inputs = torch.randn(256, 8)
    data = [{"x": x, "labels": x.sum(0, keepdim=True) / 3} for x in inputs]
    model = Regression()
    optimizer = DiffGradW(model.parameters(), lr=1e-2)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.1, total_iters=steps)
    arguments = TrainingArguments(
        output_dir=out or tempfile.mkdtemp(),
        max_steps=steps,
        per_device_train_batch_size=64,
        report_to=[],
        use_cpu=not torch.cuda.is_available(),
        disable_tqdm=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=data, optimizers=(optimizer, scheduler))
    return trainer.train().training_loss


if __name__ == "__main__":
    print(f"mean training loss {main(*sys.argv[1:]):.3f}")
