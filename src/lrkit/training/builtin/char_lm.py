"""char-lm: a small causal transformer that reads a text file letter by letter."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lrkit.errors import TaskError
from lrkit.training.batches import Batch
from lrkit.training.task import Task

__all__ = ["char_lm"]

_CONTEXT = 64
_MOST_CHARACTERS = 4096  # a larger vocabulary is no text


def char_lm(path: Path) -> Task:
    """Next-letter prediction on a UTF-8 text: its first 90 % to train, then 5 % to validate and 5 % to test.

    Two layers of width 64 with 4 heads, context 64, AdamW with weight decay 0.1, 600 updates of 32 windows.
    `path` is the file, or a folder with exactly one .txt file.
    """
    tokens, characters = _tokens(_text_file(path))
    train, validation = round(0.9 * len(tokens)), round(0.95 * len(tokens))
    return Task(
        name="char-lm",
        model=lambda: CharTransformer(characters),
        loss=_next_letter_loss,
        train=_loader(tokens[:train], shuffle=True),
        validation=_loader(tokens[train:validation], shuffle=False),
        test=_loader(tokens[validation:], shuffle=False),
        optimizer=_decayed_matrices,
        metrics={"bits per character": lambda model, batch: _next_letter_loss(model, batch) / math.log(2)},
        steps=600,
    )


class CharTransformer(nn.Module):
    """Learned positions, pre-norm blocks, the embedding tied to the output."""

    def __init__(self, characters: int, *, width: int = 64, layers: int = 2, heads: int = 4) -> None:
        super().__init__()
        self.embed = nn.Embedding(characters, width)
        self.position = nn.Parameter(torch.zeros(_CONTEXT, width))
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        nn.init.normal_(self.embed.weight, std=width**-0.5)

    def forward(self, tokens: Tensor) -> Tensor:
        """Scores for the next letter, (batch, length, characters), from letters (batch, length)."""
        x = self.embed(tokens) + self.position[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return nn.functional.linear(self.norm(x), self.embed.weight)


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm, self.mlp_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.attention_norm(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(batch, length, width))
        out: Tensor = x + self.mlp(self.mlp_norm(x))
        return out


class _Windows(Dataset[Tensor]):
    """The text cut into windows of context + 1 letters that overlap by one: each letter is predicted once an epoch."""

    def __init__(self, tokens: Tensor) -> None:
        self.tokens = tokens

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // _CONTEXT

    def __getitem__(self, index: int) -> Tensor:
        return self.tokens[index * _CONTEXT : (index + 1) * _CONTEXT + 1].long()


def _loader(tokens: Tensor, *, shuffle: bool) -> DataLoader[Tensor]:
    return DataLoader(_Windows(tokens), batch_size=32, shuffle=shuffle)


def _next_letter_loss(model: nn.Module, batch: Batch) -> Tensor:
    scores = model(batch[:, :-1])
    return nn.functional.cross_entropy(scores.flatten(0, 1), batch[:, 1:].flatten())


def _decayed_matrices(model: nn.Module, lr: float) -> torch.optim.Optimizer:
    """AdamW that decays matrices and leaves biases, norms and positions alone."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    rest = [p for p in model.parameters() if p.ndim < 2]
    groups = [
        {"params": matrices, "name": "matrices", "weight_decay": 0.1},
        {"params": rest, "name": "biases and norms", "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr)


def _text_file(path: Path) -> Path:
    if path.is_dir():
        texts = sorted(path.glob("*.txt"))
        if len(texts) != 1:
            raise TaskError(
                f"task 'char-lm': {path} holds {len(texts)} .txt files; name one with --data FILE.txt"
            )
        return texts[0]
    if not path.is_file():
        raise TaskError(f"task 'char-lm': no such text file: {path}")
    return path


def _tokens(path: Path) -> tuple[Tensor, int]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise TaskError(f"task 'char-lm': cannot read {path} as UTF-8 text: {error}") from error
    alphabet = sorted(set(text))
    shortest = 20 * (_CONTEXT + 1)
    if len(text) < shortest or len(alphabet) > _MOST_CHARACTERS:
        raise TaskError(
            f"task 'char-lm': {path} has {len(text)} letters of {len(alphabet)} kinds; it takes at least {shortest} "
            f"of at most {_MOST_CHARACTERS}"
        )
    index = {character: number for number, character in enumerate(alphabet)}
    return torch.tensor([index[character] for character in text], dtype=torch.int16), len(alphabet)
