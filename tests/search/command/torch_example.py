"""Train a small network on drawn digits, as many an example script does. It knows nothing of lrkit."""

import argparse

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def drawn_digits(count: int, generator: torch.Generator) -> TensorDataset:
    """Ten random 8x8 prototypes, each sample one of them with noise."""
    prototypes = torch.rand(10, 64, generator=torch.Generator().manual_seed(7))
    labels = torch.randint(10, (count,), generator=generator)
    return TensorDataset(prototypes[labels] + 0.5 * torch.randn(count, 64, generator=generator), labels)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lr", type=float, default=0.1)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(0)
    train, val = drawn_digits(1024, generator), drawn_digits(512, generator)
    loader = DataLoader(train, batch_size=32, shuffle=True)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.lr, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.epochs * len(loader))
    for epoch in range(1, args.epochs + 1):
        model.train()
        for images, labels in loader:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            images, labels = val.tensors
            val_loss = F.cross_entropy(model(images), labels).item()
        print(f"epoch {epoch}/{args.epochs} train_loss={loss.item():.4f} val_loss={val_loss:.5f}")


if __name__ == "__main__":
    main()
