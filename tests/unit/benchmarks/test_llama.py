"""Llama 3.1: the network, its initialization, loss, schedule and sequences as their definitions have them."""

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import distributed
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.llama31_8b import data as llama_data
from podium_benchmarks.llama31_8b import model as llama_model
from podium_benchmarks.llama31_8b import train as llama_train
from podium_benchmarks.llama31_8b.config import FULL, TINY
from podium_benchmarks.llama31_8b.parallel import build_model

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
SMALL = dataclasses.replace(TINY, hidden_size=32, filter_size=48, heads=4, kv_heads=2, layers=3, vocab_size=50,
                            max_sequence_length=24, precision="fp32")  # fmt: skip
IDS = torch.randint(50, (2, 25), generator=torch.Generator().manual_seed(1))


@pytest.fixture
def ungrouped():
    """Leaves the group of one process that a sharded model has formed."""
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def plain_model(config=SMALL, seed=3):
    """Not sharded; weights of a size at which every part of the network matters."""
    model = llama_model.Llama(config)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.data.normal_(0, 0.3, generator=generator).add_(1.0 if parameter.dim() == 1 else 0.0)
    return model


# ---- the network


def definition(model, ids):
    """Llama 3.1 written down head by head, with rotations as complex numbers."""
    config, weights = model.config, dict(model.named_parameters())
    size = config.hidden_size // config.heads

    def norm(x, weight):
        return x / torch.sqrt((x * x).mean(-1, keepdim=True) + 1e-5) * weight

    turns = []
    for pair in range(size // 2):
        frequency = 500_000 ** (-2 * pair / size)
        wavelength = 2 * math.pi / frequency
        if wavelength > 8192:
            frequency /= 8
        elif wavelength >= 2048:
            smooth = (8192 / wavelength - 1) / 3
            frequency = (1 - smooth) * frequency / 8 + smooth * frequency
        turns.append(torch.polar(torch.ones(len(ids)), torch.arange(len(ids)) * frequency))
    turns = torch.stack(turns, 1)  # (S, size / 2)

    def turned(x):
        points = torch.complex(x[:, : size // 2], x[:, size // 2 :]) * turns
        return torch.cat([points.real, points.imag], 1)

    x = weights["embedding.weight"][ids]
    for layer in range(config.layers):
        w = {name.removeprefix(f"blocks.{layer}."): value for name, value in weights.items()}
        queries, keys, values = (norm(x, w["attention_norm.weight"]) @ w["attention.qkv.weight"].T).split(
            [config.heads * size, config.kv_heads * size, config.kv_heads * size], 1
        )
        mixed = []
        for head in range(config.heads):
            shared = head // (config.heads // config.kv_heads)
            query = turned(queries[:, head * size : (head + 1) * size])
            key = turned(keys[:, shared * size : (shared + 1) * size])
            scores = (query @ key.T / math.sqrt(size)).masked_fill(
                torch.ones(len(ids), len(ids)).triu(1) > 0, -math.inf
            )
            mixed.append(scores.softmax(1) @ values[:, shared * size : (shared + 1) * size])
        x = x + torch.cat(mixed, 1) @ w["attention.out.weight"].T
        gate, up = (norm(x, w["feed_forward_norm.weight"]) @ w["feed_forward.gate_up.weight"].T).chunk(2, 1)
        x = x + (gate / (1 + torch.exp(-gate)) * up) @ w["feed_forward.down.weight"].T
    return norm(x, weights["norm.weight"]) @ weights["head.weight"].T


def test_logits_are_those_of_the_definition():
    model = plain_model()
    with torch.no_grad():
        found, wanted = model(IDS), torch.stack([definition(model, ids) for ids in IDS])
    assert wanted.std() > 1
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_logits_are_those_of_transformers():
    transformers = pytest.importorskip("transformers")
    model, config = plain_model(), SMALL
    stretched = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                 "original_max_position_embeddings": 8192, "rope_theta": 5e5}  # fmt: skip
    other = transformers.LlamaForCausalLM(transformers.LlamaConfig(
        vocab_size=config.vocab_size, hidden_size=config.hidden_size, intermediate_size=config.filter_size,
        num_hidden_layers=config.layers, num_attention_heads=config.heads, num_key_value_heads=config.kv_heads,
        rms_norm_eps=1e-5, rope_theta=5e5, rope_parameters=stretched, rope_scaling=stretched,
        max_position_embeddings=131_072, tie_word_embeddings=False,
    )).eval()  # fmt: skip
    mapped = {"model.embed_tokens.weight": model.embedding.weight, "model.norm.weight": model.norm.weight,
              "lm_head.weight": model.head.weight}  # fmt: skip
    for layer, block in enumerate(model.blocks):
        place, size = f"model.layers.{layer}.", config.head_size
        query, key, value = block.attention.qkv.weight.split([n * size for n in block.attention.split])
        gate, up = block.feed_forward.gate_up.weight.chunk(2)
        mapped |= {f"{place}self_attn.q_proj.weight": query, f"{place}self_attn.k_proj.weight": key,
                   f"{place}self_attn.v_proj.weight": value, f"{place}mlp.gate_proj.weight": gate,
                   f"{place}mlp.up_proj.weight": up, f"{place}mlp.down_proj.weight": block.feed_forward.down.weight,
                   f"{place}self_attn.o_proj.weight": block.attention.out.weight,
                   f"{place}input_layernorm.weight": block.attention_norm.weight,
                   f"{place}post_attention_layernorm.weight": block.feed_forward_norm.weight}  # fmt: skip
    other.load_state_dict(mapped)
    with torch.no_grad():
        torch.testing.assert_close(model(IDS), other(IDS).logits, rtol=1e-5, atol=1e-5)


def test_attention_is_computed_in_fp32_on_a_cpu_and_in_the_weights_type_elsewhere(monkeypatch):
    kinds, attend = [], functional.scaled_dot_product_attention

    def spy(*tensors, **settings):
        kinds.append({(tensor.device.type, tensor.dtype) for tensor in tensors})
        return attend(*tensors, **settings)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    for device in ("cpu", "meta"):
        attention = llama_model.Attention(SMALL).to(device, torch.bfloat16)
        x = torch.zeros(1, 24, 32, device=device, dtype=torch.bfloat16)
        found = attention(x, llama_model.rotation_of(24, 8, torch.device(device)))
        assert (found.shape, found.dtype) == (x.shape, torch.bfloat16)
    assert kinds == [{("cpu", torch.float32)}, {("meta", torch.bfloat16)}]


def test_positions_beyond_2048_turn_as_llama_3_1_has_it():
    """Head size 128: the fastest 29 pairs keep their frequency, the slowest 29 have an eighth, 6 lie between."""
    found = llama_model.frequencies(128, torch.device("cpu"))
    plain = 5e5 ** -(torch.arange(64) / 64)
    ratio = found / plain
    wavelengths = 2 * math.pi / plain
    assert torch.equal(ratio == 1, wavelengths < 2048)
    torch.testing.assert_close(ratio[wavelengths > 8192], torch.full((int((wavelengths > 8192).sum()),), 1 / 8))
    between = ratio[(wavelengths > 2048) & (wavelengths < 8192)]
    assert (between.diff() < 0).all()
    assert len(between) == 6


def test_the_summed_loss_in_parts_has_the_value_and_gradients_of_the_whole():
    whole, parts = (plain_model(dataclasses.replace(SMALL, loss_tokens_at_once=size)) for size in (1000, 7))
    targets = IDS[:, 1:].clone()
    targets[1, 5:] = llama_model.IGNORED
    wanted = functional.cross_entropy(whole(IDS[:, :-1]).flatten(0, 1), targets.flatten(), reduction="sum")
    found = parts(IDS[:, :-1], targets)
    assert found.item() == pytest.approx(wanted.item(), rel=1e-6)
    wanted.backward()
    found.backward()
    for one, other in zip(parts.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5)


def test_activations_computed_twice_give_the_same_gradients():
    kept, twice = (plain_model(dataclasses.replace(SMALL, activation_checkpointing=again)) for again in (False, True))
    for model in (kept, twice):
        model(IDS[:, :-1], IDS[:, 1:]).backward()
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(kept.parameters(), twice.parameters(), strict=True))


def test_initial_weights_are_those_of_the_reference(ungrouped):
    """NeMo's Llama 3.1: standard deviation 0.02, and 0.02 / sqrt(2 layers) where a branch joins the residual stream."""
    config = dataclasses.replace(SMALL, hidden_size=128, filter_size=256, layers=2)
    weights = {name: value.full_tensor() for name, value in build_model(config, 5, ALONE).named_parameters()}
    for name in ("embedding", "head", "blocks.0.attention.qkv", "blocks.1.feed_forward.gate_up"):
        assert weights[f"{name}.weight"].std().item() == pytest.approx(0.02, rel=0.03), name
    for name in ("blocks.0.attention.out", "blocks.1.feed_forward.down"):
        assert weights[f"{name}.weight"].std().item() == pytest.approx(0.01, rel=0.03), name
    assert all((value == 1).all() for name, value in weights.items() if "norm" in name)
    assert not torch.equal(weights["blocks.0.attention.qkv.weight"], weights["blocks.1.attention.qkv.weight"])
    distributed.destroy_process_group()
    again = build_model(config, 5, ALONE)
    assert all(torch.equal(weights[name], value.full_tensor()) for name, value in again.named_parameters())


def test_utilization_counts_the_matrix_products_of_the_definition():
    """torch counts attention to all positions; the definition has the half of them that came before."""
    model = plain_model()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(IDS[:, :-1])
    positions = IDS[:, :-1].numel()
    unneeded = SMALL.layers * 4 * SMALL.hidden_size * (24 - 12.5) * positions
    assert llama_model.tensor_flops_per_token(SMALL) * positions / 3 == counter.get_total_flops() - unneeded
    # 6 operations for each of 7.5 G weights in products, and attention
    assert llama_model.tensor_flops_per_token(FULL) == pytest.approx(6 * 7.505e9 + 12 * 32 * 4096 * 4096.5, rel=1e-3)


# ---- optimizer and schedule


def test_the_schedule_is_the_reference_s():
    """NeMo's CosineAnnealing, to 1e-6 at 20 steps: the full preset's warm-up of 128 steps and cosine to 1.2 M."""
    base, end, warmup, last = 8e-4, 8e-5, 128, 1_200_000

    def reference(step):
        if step <= warmup:
            return base * (step + 1) / (warmup + 1)
        return (base - end) * 0.5 * (1 + math.cos(math.pi * (step - warmup) / (last - warmup))) + end

    steps = [0, 1, 2, 63, 127, 128, 129, 200, 384, 1000, 4096, 5376, 6144, 10_000, 50_000, 100_000, 300_000, 600_000,
             900_000, 1_200_000]  # fmt: skip
    assert [llama_train.learning_rate(FULL, step) for step in steps] == pytest.approx(
        [reference(step) for step in steps], rel=1e-6
    )
    assert llama_train.learning_rate(FULL, 128) == 8e-4
    assert llama_train.learning_rate(FULL, 1_200_000) == pytest.approx(8e-5)


def test_the_optimizer_has_the_settings_that_the_log_prints():
    config = dataclasses.replace(FULL, layers=1, hidden_size=32, filter_size=48, heads=4, kv_heads=2, vocab_size=50)
    model = llama_model.Llama(config)
    matrices, vectors = llama_train.build_optimizer(model, config).param_groups
    printed = config.log_values()
    assert matrices["betas"] == (printed["opt_adamw_beta_1"], printed["opt_adamw_beta_2"]) == (0.9, 0.95)
    assert matrices["eps"] == printed["opt_adamw_epsilon"] == 1e-5
    assert matrices["weight_decay"] == printed["opt_adamw_weight_decay"] == 0.1
    assert vectors["weight_decay"] == 0
    assert {id(parameter) for parameter in vectors["params"]} == {
        id(parameter) for name, parameter in model.named_parameters() if "norm" in name
    }
    assert printed["opt_end_learning_rate"] == pytest.approx(8e-5)
    assert printed["opt_learning_rate_decay_steps"] == 1_200_000 - 128
    assert FULL.eval_interval_steps * FULL.global_batch_size == 12_288
    assert dataclasses.replace(FULL, global_batch_size=100).eval_interval_steps == 123  # CEIL(12288 / 100)


# ---- sequences


def write_indexed(prefix, documents, kind=np.int32, code=4):
    """PREFIX.bin and PREFIX.idx as Megatron writes them: header, lengths, pointers, document index."""
    lengths = np.array([len(document) for document in documents], np.int32)
    ids = np.concatenate([np.asarray(document, kind) for document in documents])
    ends = np.cumsum(lengths, dtype=np.int64) * ids.itemsize
    header = (b"MMIDIDX\x00\x00", (1).to_bytes(8, "little"), code.to_bytes(1, "little"),
              len(documents).to_bytes(8, "little"), (len(documents) + 1).to_bytes(8, "little"))  # fmt: skip
    parts = (lengths, ends - lengths * ids.itemsize, np.arange(len(documents) + 1, dtype=np.int64))
    Path(f"{prefix}.idx").write_bytes(b"".join([*header, *(part.tobytes() for part in parts)]))
    ids.tofile(f"{prefix}.bin")


@pytest.mark.parametrize(("kind", "code"), [(np.int32, 4), (np.uint16, 8), (np.uint8, 1)])
def test_sequences_share_a_token_and_cross_documents(tmp_path, kind, code):
    write_indexed(tmp_path / "x", [[1, 2, 3], [], [4], [5, 6, 7, 8, 9, 10], [11, 12]], kind, code)
    documents = llama_data.read_indexed(tmp_path / "x")
    found = llama_data.Sequences(documents, np.array([3, 1, 0, 2, 4]), 4)
    # 5 6 7 8 9 10 | 1 2 3 | 4 | 11 12
    assert [found[n].tolist() for n in range(len(found))] == [[5, 6, 7, 8, 9], [9, 10, 1, 2, 3]]


def counting(tmp_path, documents=40, evaluation=30):
    """A data set in which every token is another number: document n has n % 7 + 3 of them."""
    for name, count, first in ((llama_data.TRAIN, documents, 0), (llama_data.VALIDATION, evaluation, 10_000)):
        ends = first + np.cumsum([n % 7 + 3 for n in range(count)])
        write_indexed(tmp_path / name, [range(end - n % 7 - 3, end) for n, end in enumerate(ends)])
    return tmp_path


COUNTING = dataclasses.replace(SMALL, max_sequence_length=4, global_batch_size=6, eval_samples=7, vocab_size=20_000)


def batches(folder, count, consumed=0, seed=5, world_size=1, rank=0, accumulation=1):
    ranks = dataclasses.replace(ALONE, rank=rank, world_size=world_size)
    data = llama_data.Data(COUNTING, folder, seed, ranks, accumulation)
    stream = data.batches(consumed)
    return [torch.cat(next(stream)).tolist() for _ in range(count)]


def test_every_epoch_has_every_sequence_once_in_an_order_of_its_own(tmp_path):
    folder = counting(tmp_path)
    per_epoch = llama_data.Data(COUNTING, folder, 5, ALONE, 1).train_samples
    assert per_epoch == 58  # of 235 tokens
    found = [sequence for batch in batches(folder, 20) for sequence in batch]
    for epoch in (found[:per_epoch], found[per_epoch : 2 * per_epoch]):
        tokens = [token for sequence in epoch for token in sequence[:-1]]
        assert len(set(tokens)) == len(tokens) == 4 * per_epoch
    assert found[:per_epoch] != found[per_epoch : 2 * per_epoch]
    assert batches(folder, 2) == batches(folder, 2)
    assert batches(folder, 2) != batches(folder, 2, seed=6)


def test_a_resumed_run_goes_on_with_the_next_sample(tmp_path):
    folder = counting(tmp_path)
    assert batches(folder, 15)[11:] == batches(folder, 4, consumed=66)  # in the second epoch


def test_ranks_share_a_batch(tmp_path):
    folder = counting(tmp_path)
    (whole,) = batches(folder, 1)
    parts = [batches(folder, 1, world_size=3, rank=rank, accumulation=2)[0] for rank in range(3)]
    assert sorted(sequence for part in parts for sequence in part) == sorted(whole)


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_validation_sequence_counts_once(tmp_path, world_size):
    """7 sequences, the first of the set in their order, and as many batches on each rank."""
    folder, counted, sizes = counting(tmp_path), [], set()
    for rank in range(world_size):
        ranks = dataclasses.replace(ALONE, rank=rank, world_size=world_size)
        pairs = list(llama_data.Data(COUNTING, folder, 5, ranks, 1).validation())
        sizes.add(len(pairs))
        counted += [(i, t) for inputs, targets in pairs
                    for i, t in zip(inputs.tolist(), targets.tolist(), strict=True) if t[0] != llama_model.IGNORED]  # fmt: skip
    first = 10_000
    assert sorted(counted) == [
        ([first + 4 * n + k for k in range(4)], [first + 4 * n + k + 1 for k in range(4)]) for n in range(7)
    ]
    assert len(sizes) == 1


def test_the_text_has_the_documentation_in_it_and_a_part_held_out():
    train, validation = llama_data.read_text()
    assert len(train.ids) > 140_000
    assert 0.05 < len(validation.ids) / len(train.ids) < 0.2
    everything = llama_data.TEXT.read_bytes()
    for documents in (train, validation):
        first = documents.ids[: documents.lengths[0]].tobytes()
        assert first in everything


def test_a_data_set_that_does_not_fit_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"the validation set has 43 sequences of 4 tokens, and eval_samples is 99"):
        llama_data.Data(dataclasses.replace(COUNTING, eval_samples=99), counting(tmp_path), 5, ALONE, 1)
    with pytest.raises(DataError, match=r"the training set has 58 sequences of 4 tokens, and global_batch_size is 60"):
        llama_data.Data(dataclasses.replace(COUNTING, global_batch_size=60), tmp_path, 5, ALONE, 1)
    data = llama_data.Data(dataclasses.replace(COUNTING, vocab_size=100), tmp_path, 5, ALONE, 1)
    with pytest.raises(
        DataError, match=r"the training set has the token \d+, and vocab_size is 100: train with the vocab"
    ):
        next(data.batches(0))


def test_files_that_are_not_a_data_set_are_refused_by_name(tmp_path):
    def refusal(folder=tmp_path, config=COUNTING):
        with pytest.raises(UsageError) as caught:
            llama_data.check_data(config, folder)
        return str(caught.value)

    assert f"--data {tmp_path / 'none'} is not a folder; expected c4-train.en_6_text_document and" in refusal(
        tmp_path / "none"
    )
    assert "has no c4-train.en_6_text_document.idx, c4-train.en_6_text_document.bin, c4-validation" in refusal()
    assert "vocab_size 128256 needs a data set: give --data DIR; expected c4-train" in refusal(None, FULL)
    counting(tmp_path)
    llama_data.check_data(COUNTING, tmp_path)
    index, ids = (tmp_path / f"{llama_data.TRAIN}.{ending}" for ending in ("idx", "bin"))
    good = index.read_bytes()
    ids.write_bytes(ids.read_bytes()[:20])
    assert f"{ids} has 20 bytes, too few for 40 documents" in refusal()
    index.write_bytes(good[:-8])
    assert f"{index} has 834 bytes instead of 842: it is incomplete" in refusal()
    index.write_bytes(good[:17] + b"\x06" + good[18:])
    assert f"{index}: tokens of type 6 are not whole numbers" in refusal()
    index.write_bytes(b"PK\x03\x04")
    assert f"{index} is not an index of Megatron's, version 1" in refusal()
