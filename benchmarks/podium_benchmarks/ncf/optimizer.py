"""Adam, and LazyAdam, which updates only the rows that a batch has touched."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from podium_benchmarks.ncf.config import Config
from podium_benchmarks.ncf.model import NeuMF


class LazyAdam(torch.optim.Optimizer):
    """Adam that moves only those rows of a matrix that have a gradient (tf.contrib.opt.LazyAdamOptimizer).

    The other rows' moments don't decay either. All rows share the number of steps, as there. What is not a matrix is
    treated as by Adam.
    """

    def __init__(self, params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps})
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter] = {
                    "step": 0, "mean": torch.zeros_like(parameter), "square": torch.zeros_like(parameter),
                }  # fmt: skip

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:
        """One update."""
        assert closure is None, "no trainer here has one"
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, self.state[parameter], group)

    def _update(
        self, parameter: torch.Tensor, grad: torch.Tensor, state: dict[str, Any], group: dict[str, Any]
    ) -> None:
        (beta_1, beta_2), state["step"] = group["betas"], state["step"] + 1
        # A matrix's rows that the batch has touched, else everything
        rows: Any = grad.ne(0).any(1).nonzero().flatten() if grad.dim() == 2 else slice(None)
        gradient = grad[rows]
        mean = torch.lerp(state["mean"][rows], gradient, 1 - beta_1)
        square = torch.lerp(state["square"][rows], gradient.square(), 1 - beta_2)
        state["mean"][rows], state["square"][rows] = mean, square
        size = group["lr"] * (1 - beta_2 ** state["step"]) ** 0.5 / (1 - beta_1 ** state["step"])
        # Epsilon as the paper's section 2 and TensorFlow have it: next to the uncorrected root
        parameter[rows] -= size * mean / (square.sqrt() + group["eps"])


def build_optimizer(model: NeuMF, config: Config) -> torch.optim.Optimizer:
    """Adam for everything; with lazy_adam, the embeddings are LazyAdam's."""
    settings = {
        "lr": config.opt_base_learning_rate,
        "betas": (config.opt_adam_beta_1, config.opt_adam_beta_2),
        "eps": config.opt_adam_epsilon,
    }
    if config.opt_name == "lazy_adam":
        return LazyAdam(model.parameters(), **settings)
    return torch.optim.Adam(model.parameters(), **settings, fused=True)
