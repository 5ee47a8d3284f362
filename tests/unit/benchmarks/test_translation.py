"""GNMT and the Transformer: networks, losses, schedules and batches as their definitions have them."""

import dataclasses
import math
import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.dropout import Dropout
from podium_benchmarks.core.precision import lacks_bf16_lstm, mixed_precision
from podium_benchmarks.gnmt import config as gnmt_config
from podium_benchmarks.gnmt import data as gnmt_data
from podium_benchmarks.gnmt import eval as gnmt_eval
from podium_benchmarks.gnmt import train as gnmt_train
from podium_benchmarks.transformer import config as transformer_config
from podium_benchmarks.transformer import data as transformer_data
from podium_benchmarks.transformer import eval as transformer_eval
from podium_benchmarks.transformer import model as transformer_model
from podium_benchmarks.transformer import train as transformer_train

EVAL = {"gnmt": gnmt_eval, "transformer": transformer_eval}
ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
SIZES = {"hidden_size": 16, "layers": 3, "precision": "fp32"}
GNMT = dataclasses.replace(gnmt_config.TINY, **SIZES)
TRANSFORMER = dataclasses.replace(transformer_config.TINY, **SIZES, filter_size=32)
SOURCE = torch.tensor([[5, 6, 7, 8, 1], [9, 4, 1, 0, 0]])
TARGET = torch.tensor([[2, 7, 6, 5, 3], [2, 9, 3, 0, 0]])
LENGTHS = torch.tensor([5, 3])


def build(module, config):
    """A network without dropout."""
    return module.build_model(config, 12, 0, ALONE).eval()


# ---- networks


def test_transformer_starts_as_the_reference_does():
    model = transformer_train.build_model(dataclasses.replace(TRANSFORMER, hidden_size=64), 5000, 0, ALONE)
    assert model.embedding.std().item() == pytest.approx(64**-0.5, rel=0.02)
    attention, feed_forward = model.decoder[0].source_attention, model.decoder[0].feed_forward
    glorot = math.sqrt(6 / (64 + 64))  # of each matrix: key and value are stored together, but start on their own
    for matrix in (attention.query.weight, *attention.key_value.weight.split(64), attention.output.weight):
        assert 0.95 * glorot < matrix.abs().max().item() <= glorot
    assert feed_forward.inner.weight.abs().max().item() <= math.sqrt(6 / (64 + 32))
    assert feed_forward.inner.bias.abs().max() == feed_forward.outer.bias.abs().max() == 0
    assert {name.rsplit(".", 1)[1] for name, _ in attention.named_parameters()} == {"weight"}


def test_gnmt_starts_as_the_reference_does():
    model = gnmt_train.build_model(GNMT, 500, 0, ALONE)
    attention = model.decoder.attention
    assert (attention.scale.item(), attention.bias.abs().max().item()) == (16**-0.5, 0)
    for name, parameter in model.named_parameters():
        if "attention" not in name or name.endswith("weight"):
            expected = 0.0 if "bias_hh" in name else 0.1
            assert 0.8 * expected <= parameter.abs().max().item() <= expected, name


def test_sinusoids_are_sines_then_cosines():
    table = transformer_model.sinusoids(4, 6, torch.device("cpu"))
    scales = [1.0, 1e4**-0.5, 1e-4]
    expected = [math.sin(3 * scale) for scale in scales] + [math.cos(3 * scale) for scale in scales]
    assert table[3].tolist() == pytest.approx(expected)


def test_the_transformer_sees_only_the_words_before():
    model = build(transformer_train, TRANSFORMER)
    changed = TARGET.clone()
    changed[0, 3] = 11
    positions = torch.arange(5)
    before, after = (model(SOURCE, target, positions) for target in (TARGET, changed))
    assert torch.equal(before[:4], after[:4])
    assert not torch.equal(before[4], after[4])


@pytest.mark.parametrize("benchmark_name", ["gnmt", "transformer"])
def test_padding_changes_nothing(benchmark_name):
    if benchmark_name == "gnmt":
        model = build(gnmt_train, GNMT)
        both = model(SOURCE, LENGTHS, TARGET, torch.arange(4, 6))  # both words of the second sentence
        alone = model(SOURCE[1:, :3], LENGTHS[1:], TARGET[1:, :3], torch.arange(2))
    else:
        model = build(transformer_train, TRANSFORMER)
        both = model(SOURCE, TARGET, torch.arange(5, 8))
        alone = model(SOURCE[1:, :3], TARGET[1:, :3], torch.arange(3))
    torch.testing.assert_close(both, alone)


@pytest.mark.parametrize("benchmark_name", ["gnmt", "transformer"])
def test_decoding_word_by_word_gives_the_logits_of_training(benchmark_name):
    """Also with two hypotheses of each sentence in the beam, which share its memory."""
    beam, positions = 2, torch.arange(5)
    if benchmark_name == "gnmt":
        model = build(gnmt_train, GNMT)
        inputs = TARGET[0, :-1].tolist()
        expected = model(SOURCE, LENGTHS, TARGET, positions[:4])
        memory, state = model.start(SOURCE, LENGTHS, beam)
    else:
        model = build(transformer_train, TRANSFORMER)
        inputs = [transformer_model.PAD, *TARGET[0, :-1].tolist()]
        expected = model(SOURCE, TARGET, positions)
        memory, state = model.start(SOURCE, beam)
    for position, word in enumerate(inputs):
        words = torch.tensor([4, word, 4, 4])  # the second hypothesis of the first sentence is the one to follow
        logits, state, _ = model.step(words, position, memory, state)
        if position == 0:
            words = torch.tensor([word] * 4)
        torch.testing.assert_close(logits[1], expected[position])


def test_gnmt_pays_attention_to_real_words_alone():
    model = build(gnmt_train, GNMT)
    memory, state = model.start(SOURCE, LENGTHS, 1)
    _, _, weights = model.step(torch.tensor([2, 2]), 0, memory, state)
    assert weights.sum(1).tolist() == pytest.approx([1.0, 1.0])
    assert weights[1, 3:].tolist() == [0.0, 0.0]


def test_dropout_keeps_the_mean_and_drops_its_share():
    torch.manual_seed(0)
    dropped = Dropout(0.1)(torch.ones(1001, 333, requires_grad=True))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.1, abs=0.003)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.003)
    assert dropped.max().item() == pytest.approx(1 / 0.9, rel=1e-4)
    layer = Dropout(0.1).eval()
    assert layer(dropped) is dropped


def test_dropout_passes_gradients_where_it_kept_a_value():
    x = torch.randn(7, 9, requires_grad=True)
    dropped = Dropout(0.5)(x)
    (dropped * torch.arange(63.0).view(7, 9)).sum().backward()
    assert torch.equal(x.grad, torch.where(dropped == 0, 0.0, torch.arange(63.0).view(7, 9) * 2))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_attention_with_dropout_computes_what_torchs_does(precision):
    """On a CPU: with dropout so rare that nothing is dropped, causal and to a source with padding."""
    torch.manual_seed(0)
    attention = transformer_model.Attention(32, 4, dropout=1e-6)
    x, memory, mask = torch.randn(2, 5, 32), torch.randn(2, 7, 32), torch.arange(7).expand(2, 1, 1, 7) < 4
    grads = []
    for training in (True, False):
        attention.train(training).zero_grad()
        with mixed_precision(precision, ALONE.device):
            within = attention.attend(x, *attention.remember(x), causal=True)
            across = attention.attend(x, *attention.remember(memory), mask)
        (within.float().square().sum() + across.float().square().sum()).backward()
        grads.append([within, across, *(parameter.grad for parameter in attention.parameters())])
    near = {"rtol": 1e-5, "atol": 1e-5} if precision == "fp32" else {"rtol": 0.05, "atol": 0.05}
    torch.testing.assert_close(grads[0], grads[1], **near)


def test_attention_drops_its_weights():
    torch.manual_seed(0)
    attention = transformer_model.Attention(32, 4, dropout=0.5)
    x = torch.randn(1, 5, 32)
    first, second = (attention.attend(x, *attention.remember(x)) for _ in range(2))
    assert not torch.equal(first, second)
    attention.eval()
    first, second = (attention.attend(x, *attention.remember(x)) for _ in range(2))
    assert torch.equal(first, second)


# ---- losses


def test_transformer_loss_is_the_references():
    """utils/metrics.py: 1 - e on the right word, e / (V - 1) on the others, minus the least value that can have."""
    logits, words = torch.randn(3, 7), torch.tensor([0, 3, 6])
    soft = torch.full((3, 7), 0.1 / 6).scatter(1, words.unsqueeze(1), 0.9)
    entropy = -(0.9 * math.log(0.9) + 6 * (0.1 / 6) * math.log(0.1 / 6))
    expected = -(soft * logits.log_softmax(1)).sum() - 3 * entropy
    same = torch.eye(7)  # as the embedding: what it is multiplied with are the logits
    assert transformer_model.smoothed_loss(logits, same, words, 0.1).item() == pytest.approx(expected.item(), rel=1e-5)
    assert transformer_model.smoothed_loss(soft.log(), same, words, 0.1).item() == pytest.approx(0.0, abs=1e-5)
    plain = functional.cross_entropy(logits, words, reduction="sum")
    assert transformer_model.smoothed_loss(logits, same, words, 0.0).item() == pytest.approx(plain.item())


def test_gnmt_loss_is_the_references():
    """seq2seq/train/smoothing.py: 0.9 of the cross-entropy, 0.1 of the mean over all words; padding counts nothing."""
    model = build(gnmt_train, GNMT)
    positions = torch.tensor([0, 1, 2, 3, 4, 5])
    batch = gnmt_data.Batch(SOURCE, LENGTHS, TARGET, positions, 2, 6)
    off = mixed_precision("fp32", ALONE.device)
    loss = gnmt_train.forward_backward(model, batch, 0.1, scale=0.5, autocast=off)
    log_p = model(SOURCE, LENGTHS, TARGET, torch.arange(8)).log_softmax(1)
    words = TARGET[:, 1:].flatten()
    each = -0.9 * log_p.gather(1, words.unsqueeze(1)).squeeze(1) - 0.1 * log_p.mean(1)
    assert loss.item() == pytest.approx(each[words != 0].sum().item(), rel=1e-5)


# ---- schedules


def test_a_transformer_rate_given_as_the_scale_or_as_the_rate_after_warmup():
    settings = {"hidden_size": 1024, "opt_learning_rate_warmup_steps": 1000}
    scale, rate = (
        dataclasses.replace(TRANSFORMER, opt_base_learning_rate=base, **settings) for base in (2.0, 0.001976)
    )
    assert scale.peak_learning_rate == pytest.approx(rate.peak_learning_rate, rel=3e-4)
    assert (scale.log_values()["opt_base_learning_rate"], rate.log_values()["opt_base_learning_rate"]) == (
        2.0,
        0.001976,
    )


GNMT_SCHEDULE = {"opt_base_learning_rate": 2e-3, "opt_learning_rate_warmup_steps": 200, "schedule_epochs": 5,
                 "opt_learning_rate_remain_steps": 6453, "opt_learning_rate_decay_interval": 809}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        # test_published_language.py has the published schedules; from 2/3 of 5 x 1,000 steps on, four evenly spaced
        ({"opt_learning_rate_remain_steps": 0.666, "opt_learning_rate_decay_interval": 0},
         {3328: 2e-3, 3329: 1e-3, 3329 + 417: 5e-4, 3329 + 3 * 417: 1.25e-4, 4999: 1.25e-4}),
        ({"opt_learning_rate_remain_steps": 0.666, "opt_learning_rate_decay_interval": 0, "max_epochs": 50},
         {3328: 2e-3, 3329: 1e-3}),
        ({"opt_learning_rate_alt_decay_func": False, "opt_learning_rate_remain_steps": 0.666},
         {3329: 1e-3, 3329 + 417: 5e-4}),
        ({"opt_learning_rate_alt_warmup_func": False}, {0: 1e-5, 99: 1e-3, 199: 2e-3}),
        ({"opt_learning_rate_decay_steps": 1, "opt_learning_rate_decay_factor": 0.1}, {6453: 2e-4, 99999: 2e-4}),
        ({"opt_learning_rate_warmup_steps": 0}, {0: 2e-3}),
    ],
)  # fmt: skip
def test_gnmt_learning_rate(changes, expected):
    config = dataclasses.replace(gnmt_config.FULL, **GNMT_SCHEDULE | changes)
    found = {step: gnmt_train.learning_rate(config, step, steps_per_epoch=1000) for step in expected}
    assert found == pytest.approx(expected)


# ---- batches


def test_transformer_buckets_are_the_references():
    config = dataclasses.replace(TRANSFORMER, max_sequence_length=12, global_batch_size=100)
    lengths = torch.tensor([1, 7, 8, 9, 10, 12, 13, 12])
    kept = (lengths <= 12).nonzero().squeeze(1)
    found = [(lengths[rows].tolist(), size) for rows, size in transformer_data.buckets(lengths, kept, config)]
    # bounds 8, 9, 10, 11, 13: a batch of one bucket has at most 100 // bound sentences
    assert found == [([1, 7], 12), ([8], 11), ([9], 10), ([10], 9), ([12, 12], 7)]


def test_gnmt_buckets_are_the_references():
    config = dataclasses.replace(GNMT, max_sequence_length=50, length_buckets=5)
    lengths = torch.tensor([3, 9, 10, 19, 20, 49, 50, 51])
    assert [lengths[rows].tolist() for rows in gnmt_data.buckets(lengths, config)] == [
        [3, 9],
        [10, 19],
        [20],
        [],
        [49, 50],
    ]


@pytest.mark.parametrize("module", [gnmt_data, transformer_data])
def test_ranks_share_batches_of_the_same_pairs(module):
    """Each pair of the epoch is on one rank; together the ranks have what one alone has."""
    config = GNMT if module is gnmt_data else TRANSFORMER
    config = dataclasses.replace(config, toy_pairs=900)

    def pairs(rank, world_size, seed=7):
        data = module.Data(config, None, Ranks(rank, world_size, torch.device("cpu"), 1))
        found = []
        for batch in data.epoch(seed):
            assert len(batch.positions) <= batch.global_tokens
            found.append([(tuple(s[s > 0].tolist()), tuple(t[t > 0].tolist()))
                          for s, t in zip(batch.source, batch.target, strict=True)])  # fmt: skip
        return data, found

    data, alone = pairs(0, 1)
    shares = [pairs(rank, 3)[1] for rank in range(3)]
    assert [[*a, *b, *c] for a, b, c in zip(*shares, strict=True)] == alone
    everything = sorted(pair for batch in alone for pair in batch)
    assert len(everything) == data.train_samples
    assert len(set(everything)) == len(everything)
    assert len(alone) == data.steps_per_epoch
    assert alone != pairs(0, 1, seed=8)[1]
    if module is transformer_data:
        assert len(everything) == 400
        assert all(len(batch) * max(len(side) for pair in batch for side in pair) <= config.global_batch_size
                   for batch in alone)  # fmt: skip


def test_a_rank_without_a_sentence_contributes_gradients_of_zero():
    """The last batch of a bucket may have fewer sentences than there are ranks."""
    model = build(transformer_train, TRANSFORMER)
    none = torch.zeros((0, 1), dtype=torch.int64)
    batch = transformer_data.Batch(none, none, torch.zeros(0, dtype=torch.int64), 1, 5)
    off = mixed_precision("fp32", ALONE.device)
    loss = transformer_train.forward_backward(model, batch, 0.1, scale=1.0, autocast=off)
    assert loss.item() == 0
    assert all(parameter.grad.abs().sum() == 0 for parameter in model.parameters())


@pytest.mark.parametrize("benchmark_name", ["gnmt", "transformer"])
def test_bf16_trains_and_decodes(benchmark_name):
    """As on a GPU: one step and one search, close to fp32."""
    train, config = (gnmt_train, GNMT) if benchmark_name == "gnmt" else (transformer_train, TRANSFORMER)
    if benchmark_name == "gnmt" and lacks_bf16_lstm("bf16", ALONE.device):
        pytest.skip("this CPU has no LSTM in bf16")
    model = build(train, config)
    losses, translations = [], []
    for precision in ("fp32", "bf16"):
        autocast = mixed_precision(precision, ALONE.device)
        torch.manual_seed(1)
        batch = train.synthetic_batch(4, (6, 6), ALONE.device, 12)
        losses.append(train.forward_backward(model, batch, 0.1, scale=1.0, autocast=autocast).item())
        with autocast:
            translations.append(EVAL[benchmark_name].translate(model, SOURCE, LENGTHS, config))
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert len(translations[0]) == len(translations[1]) == 2


@pytest.mark.parametrize("supported", [True, False])
def test_a_cpu_without_an_lstm_in_bf16_is_named_before_the_log_begins(supported, launch, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: supported)
    assert lacks_bf16_lstm("bf16", ALONE.device) is not supported
    assert not lacks_bf16_lstm("auto", ALONE.device)
    assert not lacks_bf16_lstm("bf16", torch.device("cuda"))
    if not supported:
        run = launch("gnmt", "--set", "precision=bf16")
        assert (run.returncode, run.stdout) == (2, "")
        assert "precision bf16 takes a GPU or a CPU with AVX-512" in run.stderr


# ---- the full networks

FULL_STEP = """
import resource, torch
from podium_benchmarks.{name} import config, train
torch.manual_seed(0)
model, step, tokens = train.synthetic_step(config.FULL, torch.device("cpu"), tokens=32)
before = [parameter.detach().sum(dtype=torch.float64) for parameter in model.parameters()]
loss = step().item() / tokens
after = [parameter.detach().sum(dtype=torch.float64) for parameter in model.parameters()]
moved = sum(map(torch.ne, before, after)).item()
gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
print(sum(parameter.numel() for parameter in model.parameters()), len(before), moved, loss, gigabytes)
"""


@pytest.mark.parametrize(("name", "parameters", "vocabulary"),
                         [("gnmt", 160_671_297, 32_320), ("transformer", 210_804_736, 33_708)])  # fmt: skip
def test_a_full_training_step_fits_in_6_gigabytes(name, parameters, vocabulary):
    run = subprocess.run(
        [sys.executable, "-c", FULL_STEP.format(name=name)], capture_output=True, text=True, check=True
    )
    count, tensors, moved, loss, gigabytes = map(float, run.stdout.split())
    assert (count, moved) == (parameters, tensors)
    assert loss == pytest.approx(math.log(vocabulary), rel=0.15)  # the first guess is about even
    assert gigabytes < 6
