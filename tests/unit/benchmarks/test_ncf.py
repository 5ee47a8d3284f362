"""NCF's parts: negatives, the hit rule, ratings."""

import dataclasses

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.ncf import data
from podium_benchmarks.ncf.config import TINY
from podium_benchmarks.ncf.eval import TOP, hits

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
    ratings = data.read_ratings(file)
    assert (ratings.users, ratings.items) == (2, 3)
    assert ratings.held_out.tolist() == [2, 2]  # movie 500 for both
    assert ratings.train_users.tolist() == [0, 0, 1, 1]
    assert ratings.train_items.tolist() == [0, 1, 0, 1]
