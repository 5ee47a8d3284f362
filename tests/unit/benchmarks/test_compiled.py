"""A compiled step computes what the same step computes uncompiled, and nothing is compiled on the clock."""

from __future__ import annotations

import dataclasses
import functools

import pytest
import torch
from torch.nn import functional

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.precision import is_compiled, mixed_precision
from podium_benchmarks.gnmt import config as gnmt_config
from podium_benchmarks.gnmt import train as gnmt
from podium_benchmarks.minigo import config as minigo_config
from podium_benchmarks.minigo import networks
from podium_benchmarks.minigo import train as minigo
from podium_benchmarks.ncf import config as ncf_config
from podium_benchmarks.ncf import train as ncf
from podium_benchmarks.transformer import config as transformer_config
from podium_benchmarks.transformer import train as transformer

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, device=CPU, cores=1)
OFF = mixed_precision("fp32", CPU)
TRANSLATION = {"hidden_size": 16, "layers": 3, "precision": "fp32", "max_sequence_length": 12}
TRANSFORMER = dataclasses.replace(transformer_config.TINY, **TRANSLATION, filter_size=32, global_batch_size=60)
TRANSLATORS = {
    "gnmt": (gnmt, dataclasses.replace(gnmt_config.TINY, **TRANSLATION, global_batch_size=5)),
    "transformer": (transformer, TRANSFORMER),
    "transformer with torch's attention, as on a GPU": (transformer, dataclasses.replace(TRANSFORMER, dropout=0.0)),
}
# A warm-up's game has fewer positions
MINIGO = dataclasses.replace(minigo_config.TINY, global_batch_size=200, precision="fp32", compile="yes")
SHAPES = [(5, (9, 7)), (8, (4, 9)), (1, (6, 5)), (3, (11, 11)), (2, (12, 3)), (4, (4, 4))]


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> list[torch.fx.GraphModule]:
    """Those made so far; they are run by Python, which needs no compiler."""
    made: list[torch.fx.GraphModule] = []

    def keep(graph: torch.fx.GraphModule, inputs: object) -> torch.fx.GraphModule:
        made.append(graph)
        return graph

    torch._dynamo.reset()
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=keep))
    return made


def gradients(model, forward_backward, *inputs, **settings):
    model.zero_grad()
    torch.manual_seed(3)  # of dropout
    loss = forward_backward(model, *inputs, **settings)
    return [loss, *(parameter.grad.clone() for parameter in model.parameters())]


@pytest.mark.parametrize("case", TRANSLATORS)
def test_sentences_of_any_number_and_length_run_through_the_programs_of_the_warm_up(case, programs):
    train, config = TRANSLATORS[case]
    plain, compiled = (train.build_model(dataclasses.replace(config, compile=setting), 100, 0, ALONE).train()
                       for setting in ("no", "yes"))  # fmt: skip
    train.warm_up(plain, config, ALONE, OFF)
    assert not programs
    train.warm_up(compiled, config, ALONE, OFF)
    made = len(programs)
    assert made
    for sentences, lengths in SHAPES:
        batch = train.synthetic_batch(sentences, lengths, CPU, 12)
        ours, expected = (
            gradients(model, train.forward_backward, batch, 0.1, scale=0.5, autocast=OFF) for model in (compiled, plain)
        )
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    compiled.eval()
    with torch.inference_mode():
        compiled(
            *([batch.source, batch.source_lengths] if train is gnmt else [batch.source]), batch.target, batch.positions
        )
    assert len(programs) == made
    called = {node.target for graph in programs for node in graph.graph.nodes}
    assert functional.scaled_dot_product_attention not in called  # on a GPU, each length of a mask has its own program


@pytest.mark.parametrize("ranks", [1, 8])
@pytest.mark.parametrize(
    ("train", "config"),
    [(train, preset) for train, configs in ((gnmt, gnmt_config), (transformer, transformer_config))
     for preset in (configs.FULL, configs.TINY)],
    ids=["gnmt full", "gnmt tiny", "transformer full", "transformer tiny"],
)  # fmt: skip
def test_the_second_batch_of_a_warm_up_differs_in_all_that_varies(train, config, ranks, monkeypatch):
    """Sizes that stay the same, or equal each other, become part of the program: other sizes are then compiled anew."""
    shapes = []

    def note(network, batch, smoothing, *, scale, autocast):
        shapes.append((len(batch.source), batch.source.shape[1], len(batch.positions) // len(batch.source)))

    monkeypatch.setattr(train, "forward_backward", note)
    train.warm_up(torch.nn.Identity(), config, dataclasses.replace(ALONE, world_size=ranks), OFF)
    first, second, third = shapes
    assert all(size != other for size, other in zip(first, second, strict=True))
    assert len(set(second)) == len(second)
    assert min(second) > 1  # 0 and 1 are never a program's for all
    assert third == second  # the first step with new sizes compiles them


def test_ncf_is_compiled_by_a_model_of_the_same_size(programs):
    """The run's own is built on the clock."""
    config = dataclasses.replace(ncf_config.TINY, compile="yes", global_batch_size=10)
    ncf.warm_up(config, 7, 9, ALONE)
    assert len(programs) == 1
    plain, compiled = (ncf.build_model(config, 7, 9, 1, ALONE) for _ in range(2))
    ncf.compile_training(compiled, 10)
    for count in (10, 4, 10):
        users, items = torch.randint(7, (count,)), torch.randint(9, (count,))
        labels = torch.randint(2, (count,)).float()
        pairs = users, items, labels
        ours, expected = (
            gradients(model, ncf.forward_backward, *pairs, scale=0.5, autocast=OFF) for model in (compiled, plain)
        )
        torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)
    assert len(programs) == 1


def test_minigo_learns_compiled_and_plays_as_it_is(programs):
    run = minigo.Run(MINIGO, 0, ALONE, Log(enabled=False))
    compiled = networks.build_model(MINIGO, 0, ALONE)
    plain = networks.build_model(dataclasses.replace(MINIGO, compile="no"), 0, ALONE)
    minigo.warm_up(compiled, compiled, run)
    made = len(programs)
    assert made
    torch.manual_seed(0)
    for count in (200, 2, 200):
        batch = dataclasses.replace(minigo.synthetic_batch(MINIGO, ALONE), winners=torch.rand(200))
        batch = minigo.Batch(
            torch.randint_like(batch.planes, 2)[:count], batch.chances[:count], batch.winners[:count], count
        )
        ours, expected = (
            gradients(model, minigo.forward_backward, batch, run, scale=0.5) for model in (compiled, plain)
        )
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-6)
    player = networks.frozen(compiled)
    with torch.no_grad():
        for parameter in compiled.parameters():
            parameter.zero_()
        played, expected = (model(batch.planes.float())[0] for model in (player, networks.frozen(plain)))
    torch.testing.assert_close(played, expected)  # by its own weights, not those of the model that it was copied from
    assert len(programs) == made


@pytest.mark.parametrize("config", [gnmt_config.FULL, transformer_config.FULL, ncf_config.FULL, minigo_config.FULL])
def test_by_default_only_gpus_are_compiled_for(config):
    assert is_compiled(config.compile, torch.device("cuda"))
    assert not is_compiled(config.compile, CPU)
