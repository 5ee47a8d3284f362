"""NeuMF: matrix factorization next to a perceptron (mlcommons/training v0.5, recommendation/pytorch/neumf.py)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

from podium_benchmarks.ncf.config import Config

ML_20M_USERS, ML_20M_ITEMS = 138_493, 26_744


class NeuMF(nn.Module):
    """users (B,), items (B,) int64 -> (B,) logits of "this user rates this item"."""

    def __init__(self, *, users: int, items: int, mf_factors: int, mlp_widths: Sequence[int]) -> None:
        super().__init__()
        self.mf_users, self.mf_items = nn.Embedding(users, mf_factors), nn.Embedding(items, mf_factors)
        self.mlp_users = nn.Embedding(users, mlp_widths[0] // 2)
        self.mlp_items = nn.Embedding(items, mlp_widths[0] // 2)
        self.mlp = nn.ModuleList(nn.Linear(*widths) for widths in pairwise(mlp_widths))
        self.output = nn.Linear(mlp_widths[-1] + mf_factors, 1)

    def forward(self, users: torch.Tensor, items: torch.Tensor) -> torch.Tensor:
        mf = self.mf_users(users) * self.mf_items(items)
        mlp = torch.cat([self.mlp_users(users), self.mlp_items(items)], dim=1)
        for layer in self.mlp:
            mlp = F.relu(layer(mlp))
        return self.output(torch.cat([mf, mlp], dim=1)).squeeze(1)


def full_model(config: Config) -> NeuMF:
    """The network that the settings describe, for the users and items of ml-20m, without its initial weights."""
    return NeuMF(users=ML_20M_USERS, items=ML_20M_ITEMS, mf_factors=config.mf_factors, mlp_widths=config.mlp_widths)


def initialize(model: NeuMF) -> None:
    """Embeddings N(0, 0.01), perceptron Glorot uniform, output LeCun uniform; biases keep torch's default."""
    for embedding in (model.mf_users, model.mf_items, model.mlp_users, model.mlp_items):
        nn.init.normal_(embedding.weight, std=0.01)
    for layer in model.mlp:
        nn.init.xavier_uniform_(layer.weight)
    bound = math.sqrt(3.0 / model.output.in_features)
    nn.init.uniform_(model.output.weight, -bound, bound)
