"""NCF's parts: negatives, the hit rule, ratings."""

import dataclasses

import numpy as np
import pytest
import torch

from podium_benchmarks.core.cli import DataError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.ncf import data
from podium_benchmarks.ncf.config import FULL, TINY
from podium_benchmarks.ncf.eval import TOP, hits
from podium_benchmarks.ncf.generate import generate, make_pairs
from podium_benchmarks.ncf.optimizer import LazyAdam
from podium_benchmarks.ncf.ratings import read_ratings

ALONE = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
SMALL = dataclasses.replace(TINY, generated_users=50, generated_items=40, generated_ratings=15)


def test_negatives_are_never_training_positives_and_are_fresh_each_epoch():
    ratings = data.generate(SMALL)
    positives = set(zip(ratings.train_users.tolist(), ratings.train_items.tolist(), strict=True))
    training = data.Data(SMALL, ratings, 1, ALONE)
    epochs = []
    for seed in (1, 2):
        batches = list(training.epoch(seed))
        users, items, labels = (torch.cat([batch[part] for batch in batches]).tolist() for part in range(3))
        pairs = list(zip(users, items, labels, strict=True))
        assert sorted((u, i) for u, i, label in pairs if label) == sorted(positives)
        negatives = sorted((u, i) for u, i, label in pairs if not label)
        assert len(negatives) == SMALL.negatives * len(positives)
        assert not positives & set(negatives)
        epochs.append(negatives)
    assert epochs[0] != epochs[1]


def test_evaluation_negatives_are_not_in_the_training_set():
    ratings = data.generate(SMALL)
    evaluation = data.Data(SMALL, ratings, 1, ALONE)
    positives = set(zip(ratings.train_users.tolist(), ratings.train_items.tolist(), strict=True))
    assert evaluation.eval_candidates.shape == (50, 1 + SMALL.eval_negatives)
    assert torch.equal(evaluation.eval_candidates[:, 0], ratings.held_out)
    for user, candidates in zip(evaluation.eval_users.tolist(), evaluation.eval_candidates.tolist(), strict=True):
        assert not positives & {(user, item) for item in candidates}


@pytest.mark.parametrize(
    ("better", "equal", "hit"),
    [(0, 0, True), (9, 0, True), (10, 0, False), (0, 9, True), (0, 10, False), (5, 4, True), (5, 5, False)],
)
def test_among_equal_scores_the_held_out_item_comes_last(better, equal, hit):
    others = 20 - better - equal
    scores = torch.tensor([[0.5] + [0.9] * better + [0.5] * equal + [0.1] * others])
    assert hits(scores, torch.arange(21).unsqueeze(0)).tolist() == [hit]


def test_a_candidate_drawn_twice_counts_once():
    candidates = torch.tensor([[3] + [7] * 15 + [8, 9]])
    scores = torch.tensor([[0.5] + [0.9] * 17])
    assert TOP == 10
    assert hits(scores, candidates).tolist() == [True]  # only 7, 8 and 9 are ahead


def test_a_negative_equal_to_the_held_out_item_is_no_rival():
    candidates = torch.tensor([[3, *range(10, 19), 3, 3]])
    scores = torch.tensor([[0.5] + [0.9] * 9 + [0.5, 0.5]])
    assert hits(scores, candidates).tolist() == [True]


def test_the_last_rating_by_time_is_held_out(tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text(
        "userId,movieId,rating,timestamp\n"
        "10,500,4.0,300\n10,100,3.5,100\n10,200,1.0,200\n"
        "20,200,5.0,50\n20,500,2.0,60\n20,100,2.0,40\n"
    )  # fmt: skip
    ratings = read_ratings(file, 2)
    assert (ratings.users, ratings.items) == (2, 3)
    assert ratings.held_out.tolist() == [2, 2]  # movie 500 for both
    assert ratings.train_users.tolist() == [0, 0, 1, 1]
    assert ratings.train_items.tolist() == [0, 1, 0, 1]


HEADER = "userId,movieId,rating,timestamp\n"


def test_users_with_few_ratings_are_left_out_as_the_reference_does(tmp_path):
    """With them go movies that nobody else has rated; the full preset asks for 20 ratings."""
    file = tmp_path / "ratings.csv"
    file.write_text(
        HEADER + "5,50,4.0,1\n10,500,4.0,300\n10,100,3.5,100\n10,300,1.0,200\n5,500,4.0,2\n7,100,1.0,1\n"
    )  # fmt: skip
    everyone = read_ratings(file, 2)
    assert (everyone.users, everyone.items) == (2, 4)
    ratings = read_ratings(file, 3)
    assert (ratings.users, ratings.items) == (1, 3)
    assert (ratings.train_users.tolist(), ratings.train_items.tolist()) == ([0, 0], [0, 1])
    assert ratings.held_out.tolist() == [2]
    with pytest.raises(DataError, match=r"ratings.csv has no user with 4 ratings \(min_ratings\), only up to 3"):
        read_ratings(file, 4)
    assert (FULL.min_ratings, TINY.min_ratings) == (20, 2)
    with pytest.raises(ValueError, match="min_ratings must be 2 or more"):
        dataclasses.replace(FULL, min_ratings=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("user,movie\n1,2,3,4\n", "line 1: expected userId,movieId,rating,timestamp, not 'user,movie'"),
        (HEADER + "1,2,3.0,4\n1,3,3.0\n", "line 3: 3 values instead of the 4 of userId,movieId,rating,timestamp"),
        (HEADER + "1,2,3.0,4\n\n1,3,3.0,5\n", "line 3 is empty: remove it"),
        (HEADER + "1,2,3.0,4\n1,x,3.0,5\n", "line 3: movieId must be a whole number, not 'x'"),
        (HEADER + "1,2,3.0,4\n1,,3.0,5\n", "line 3: movieId must be a whole number, not ''"),
        (HEADER + "1,2,3.0,4\n1,3,3.0.0,5\n", "line 3: rating must be a number, not '3.0.0'"),
        (HEADER + "1,2,.,4\n1,3,3.0,5\n", "line 2: rating must be a number, not '.'"),
        (HEADER + "1,2,3.0,4\n1,3,3.0,-5\n", "line 3: timestamp must be a whole number, not '-5'"),
        (HEADER + "1,2,3.0,4\n1,3,3.0,1.5\n", "line 3: timestamp must be a whole number, not '1.5'"),
        (HEADER + "1,2,3.0,4\n1,3,3.0,5\n1,2,1.0,6\n", "line 4: user 1 has rated this movie before"),
        (HEADER, "has no ratings: expected lines of userId,movieId,rating,timestamp"),
    ],
)  # fmt: skip
def test_what_is_no_rating_is_reported_with_its_line(text, message, tmp_path):
    file = tmp_path / "ratings.csv"
    file.write_text(text)
    with pytest.raises(DataError) as refused:
        read_ratings(file, 2)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)


def test_lines_are_read_alike_in_one_block_and_in_many(tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    pairs = make_pairs(30, 200, 900, random)
    lines = [f"{pair // 200 + 5},{pair % 200 + 1000},{random.integers(1, 11) / 2},{random.integers(1, 10**10)}"
             for pair in pairs]  # fmt: skip
    file = tmp_path / "ratings.csv"
    file.write_text(HEADER + "\n".join(lines))  # the last line without its end
    whole = read_ratings(file, 2)
    monkeypatch.setattr("podium_benchmarks.ncf.ratings.BLOCK_BYTES", 100)
    file.write_text(HEADER + "\n".join(lines).replace("\n", "\r\n") + "\r\n")
    parts = read_ratings(file, 2)
    assert (whole.users, whole.items, len(whole.train_users)) == (30, 200, 870)
    for name in ("train_users", "train_items", "held_out"):
        assert torch.equal(getattr(whole, name), getattr(parts, name))
    users, items, times = (
        np.array([line.split(",")[column] for line in lines], dtype=np.int64) for column in (0, 1, 3)
    )
    for user in range(30):
        mine = users == user + 5
        last = items[mine][times[mine].argmax()]
        assert np.unique(items)[whole.held_out[user]] == last


def test_generated_users_like_a_cluster_of_items(tmp_path, capsys):
    asked = ("--users", "61", "--items", "243", "--ratings", "1530", "--clusters", "8")
    assert generate(["--out", str(tmp_path), *asked]) == 0
    ratings = read_ratings(tmp_path / "ratings.csv", 20)
    users = torch.cat([ratings.train_users, torch.arange(61, dtype=torch.int32)])
    items = torch.cat([ratings.train_items.long(), ratings.held_out])
    assert (ratings.users, ratings.items, len(items)) == (61, 243, 1530)
    first = torch.arange(9) * 243 // 8
    assert (torch.bucketize(items, first, right=True) - 1 == users % 8).all()
    assert sorted(set(torch.bincount(users).tolist())) == [25, 26]
    assert generate(["--out", str(tmp_path), *asked[:-1], "10"]) == 2
    assert "--clusters 10 of 24 items are too small for 26 ratings per user" in capsys.readouterr().err


def test_generated_ratings_have_the_shape_asked_for(tmp_path, capsys):
    asked = ["--users", "60", "--items", "300", "--ratings", "2000"]
    assert generate(["--out", str(tmp_path), *asked]) == 0
    assert "2,000 ratings of 60 users and 300 items" in capsys.readouterr().out
    ratings = read_ratings(tmp_path / "ratings.csv", 20)
    assert (ratings.users, ratings.items, len(ratings.train_users)) == (60, 300, 1940)
    assert torch.bincount(ratings.train_users).min() >= 19
    by_item = torch.bincount(ratings.train_items, minlength=300)
    assert by_item[:30].sum() > 3 * by_item[-30:].sum()
    assert generate(["--out", str(tmp_path), "--users", "60", "--items", "300", "--ratings", "100"]) == 2
    assert "must be at least 20 per user and 1 per item" in capsys.readouterr().err


def test_lazy_adam_is_adam_for_rows_that_every_batch_touches():
    generator = torch.Generator().manual_seed(1)
    start = torch.randn(6, 4, generator=generator)
    lazy, usual = start.clone().requires_grad_(), start.clone().requires_grad_()
    optimizers = (
        LazyAdam([lazy], lr=0.01, betas=(0.8, 0.9), eps=1e-8),
        torch.optim.Adam([usual], lr=0.01, betas=(0.8, 0.9)),
    )
    for _ in range(5):
        lazy.grad = torch.randn(6, 4, generator=generator)
        usual.grad = lazy.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    torch.testing.assert_close(lazy, usual, rtol=1e-5, atol=1e-6)


def test_lazy_adam_leaves_untouched_rows_and_their_moments_alone():
    """Two steps by hand for a row that only the second one touches: its moments start there, the step count doesn't."""
    table, bias = torch.zeros(3, 2, requires_grad=True), torch.zeros(2, requires_grad=True)
    optimizer = LazyAdam([table, bias], lr=0.1, betas=(0.9, 0.99), eps=1e-8)
    for rows in ([0], [1]):
        table.grad, bias.grad = torch.zeros(3, 2), torch.ones(2)
        table.grad[rows] = 2.0
        before = table.detach().clone()
        optimizer.step()
        untouched = [row for row in range(3) if row not in rows]
        assert torch.equal(table.detach()[untouched], before[untouched])
    # Row 1: mean 0.1 x 2, square 0.01 x 4, corrected for two steps
    size = 0.1 * (1 - 0.99**2) ** 0.5 / (1 - 0.9**2)
    assert table[1].tolist() == pytest.approx([-size * 0.2 / 0.2] * 2, rel=1e-5)
    assert table[0].tolist() == pytest.approx([-0.1] * 2, rel=1e-5)
    assert bias.tolist() == pytest.approx([-0.2, -0.2], rel=1e-3)  # touched by both


def test_a_run_with_lazy_adam_learns(launch, log_lines):
    settings = ("--set", "opt_name=lazy_adam", "--set", "generated_users=300", "--set", "max_epochs=4", "--seed", "3")
    run = launch("ncf", *settings, "--target", "1")
    rates = [line["value"] for line in log_lines(run.stdout) if line["key"] == "eval_accuracy"]
    assert rates[-1] > rates[0]
    assert rates[-1] > 0.3  # ten of a hundred by chance


def test_broken_ratings_end_a_run_before_its_clock_starts(launch, tmp_path):
    (tmp_path / "ratings.csv").write_text(HEADER + "1,2,3.0,4\n1,x,3.0,5\n")
    run = launch("ncf", "--data", str(tmp_path))
    assert run.returncode == 2
    assert run.stderr == f"ncf: {tmp_path}/ratings.csv, line 3: movieId must be a whole number, not 'x'\n"
    assert "run_start" not in run.stdout
