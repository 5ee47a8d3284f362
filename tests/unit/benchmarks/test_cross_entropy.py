"""The loss over a large vocabulary is torch's, in value and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from podium_benchmarks.core import cross_entropy
from podium_benchmarks.core.cross_entropy import summed_cross_entropy

VOCABULARY, WIDTH, SCALE = 50, 8, 0.25


def whole(hidden, weight, bias, words, smoothing):
    logits = functional.linear(hidden, weight, bias).float()
    return functional.cross_entropy(logits, words, reduction="sum", label_smoothing=smoothing)


def value_and_gradients(loss, count, *, bias, smoothing, dtype=torch.float64, precision=None):
    generator = torch.Generator().manual_seed(7)
    shapes = ((count, WIDTH), (VOCABULARY, WIDTH), *([(VOCABULARY,)] if bias else []))
    leaves = [torch.randn(shape, generator=generator, dtype=dtype).requires_grad_() for shape in shapes]
    words = torch.randint(VOCABULARY, (count,), generator=generator)
    inputs = leaves if bias else [*leaves, None]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        value = loss(*inputs, words, smoothing)
    (value * SCALE).backward()
    return [value.detach(), *(leaf.grad for leaf in leaves)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("count", [0, 3, 8, 19])  # parts of 8: none, less than one, one, two and a rest
def test_value_and_gradients_are_those_of_all_words_at_once(count, smoothing, bias, monkeypatch):
    monkeypatch.setitem(cross_entropy.AT_ONCE, "cpu", 8)
    settings = {"bias": bias, "smoothing": smoothing, "dtype": torch.float32}
    for ours, expected in zip(
        value_and_gradients(summed_cross_entropy, count, **settings), value_and_gradients(whole, count, **settings),
        strict=True,
    ):  # fmt: skip
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
        assert ours.dtype == torch.float32


def test_in_bf16_it_is_as_near_to_the_exact_gradients_as_all_words_at_once(monkeypatch):
    monkeypatch.setitem(cross_entropy.AT_ONCE, "cpu", 8)
    exact = value_and_gradients(whole, 100, bias=True, smoothing=0.1)
    settings = {"bias": True, "smoothing": 0.1, "dtype": torch.float32, "precision": "bf16"}
    ours, torchs = (value_and_gradients(loss, 100, **settings) for loss in (summed_cross_entropy, whole))
    for our, torch_s, right in zip(ours, torchs, exact, strict=True):
        off, torch_off = ((value - right).norm() / right.norm() for value in (our, torch_s))
        assert off < max(1.2 * torch_off, 1e-3)
    assert ours[1].dtype == ours[2].dtype == torch.float32


def test_no_more_logits_exist_at_a_time_than_those_of_a_part(monkeypatch):
    monkeypatch.setitem(cross_entropy.AT_ONCE, "cpu", 8)
    made = []
    log_softmax = functional.log_softmax
    monkeypatch.setattr(
        functional, "log_softmax", lambda x, **more: made.append(tuple(x.shape)) or log_softmax(x, **more)
    )
    value_and_gradients(summed_cross_entropy, 19, bias=False, smoothing=0.1, dtype=torch.float32)
    assert made == [(8, VOCABULARY), (8, VOCABULARY), (3, VOCABULARY)]
