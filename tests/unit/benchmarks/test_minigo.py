"""MiniGo part by part: network, features, search, games, examples, recorded games."""

import dataclasses
import math
import tarfile

import numpy as np
import pytest
import torch
from tests.unit.benchmarks.test_minigo_board import board, point

from podium_benchmarks.core.cli import DataError, UsageError
from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.minigo import data, networks, sgf, train
from podium_benchmarks.minigo import eval as evaluation
from podium_benchmarks.minigo.board import BLACK, WHITE, Position, geometry
from podium_benchmarks.minigo.config import FULL, NETWORKS, TINY, SearchSettings
from podium_benchmarks.minigo.features import encode, evaluator
from podium_benchmarks.minigo.model import PolicyValue, full_model
from podium_benchmarks.minigo.predict import predict
from podium_benchmarks.minigo.search import Forest
from podium_benchmarks.minigo.selfplay import Resignation, match, self_play

CPU = torch.device("cpu")
ALONE = Ranks(rank=0, world_size=1, device=CPU, cores=1)
PASS = 25


def even(positions):
    """Every move is as likely, every game open."""
    return np.full((len(positions), PASS + 1), 1 / 26, dtype=np.float32), np.zeros(len(positions), dtype=np.float32)


# --- network and features


@pytest.mark.parametrize(("network", "count"), [("v0.5", 191_386), ("v0.6", 190_775)])
def test_the_full_networks_have_the_reference_sizes(network, count):
    with torch.device("meta"):
        model = full_model(dataclasses.replace(FULL, network=network))
    assert sum(parameter.numel() for parameter in model.parameters()) == count


def test_v0_5_s_default_on_five_lines():
    bias, momentum = NETWORKS["v0.5"]
    model = PolicyValue(size=5, width=8, blocks=5, features=16, bias=bias, momentum=momentum)
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_034
    moves, winner = model(torch.zeros(3, 17, 5, 5))
    assert (moves.shape, winner.shape) == ((3, 26), (3,))
    assert model.policy_bn.momentum == pytest.approx(1 - 0.997)


def test_the_network_sees_eight_boards_and_whose_turn_it_is():
    position = Position(geometry(5))
    for name in ("A1", "B1", "C1"):
        position = position.play(point(name))
    (planes,) = encode([position])  # White is to play: A1 and C1 are the other's
    seen = [{geometry(5).name(int(place)) for place in plane.nonzero()[0]} for plane in planes]
    assert seen[:6] == [{"B1"}, {"A1", "C1"}, {"B1"}, {"A1"}, set(), {"A1"}]
    assert seen[6:] == [set()] * 11
    assert encode([position.play(PASS)])[0, 16].all()  # Black's turn


def test_a_board_may_be_seen_from_any_side():
    """A network that says of each move whose stone lies there must say so of the right points, however it looks."""

    class Mirror(torch.nn.Module):
        def forward(self, planes):
            return torch.cat([planes[:, 0].flatten(1) * 9, torch.zeros(len(planes), 1)], 1), planes[:, 16].mean((1, 2))

    position = Position(geometry(5)).play(point("B4")).play(PASS)
    autocast = torch.autocast("cpu", torch.bfloat16, enabled=False)
    evaluate = evaluator(Mirror(), CPU, autocast, np.random.default_rng(3))
    chances, values = evaluate([position] * 50)
    assert set(chances.argmax(1).tolist()) == {point("B4")}
    assert values.tolist() == [1] * 50


def test_what_decays_differs_between_the_rounds():
    for network, decayed_shifts in (("v0.5", True), ("v0.6", False)):
        config = dataclasses.replace(TINY, network=network)
        model = networks.build_model(config, 1, ALONE)
        decaying, free = networks.make_optimizer(model, config).param_groups
        names = {id(parameter): name for name, parameter in model.named_parameters()}
        assert (decaying["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)
        assert ("stem_bn.bias" in {names[id(p)] for p in decaying["params"]}) is decayed_shifts
        assert "moves.bias" in {names[id(p)] for p in free["params"]}


# --- search


def searched(position, evaluate=even, **settings):
    forest = Forest(1, 5, SearchSettings(**{"readouts": 200, "komi": 0.5, **settings}), evaluate)
    forest.reset(0, position)
    forest.search(np.array([0]))
    return forest


@pytest.mark.parametrize("leaves", [1, 8])
def test_a_search_adds_as_many_visits_as_there_are_readouts(leaves):
    forest = searched(Position(geometry(5)), leaves=leaves, readouts=77)
    assert forest.visits(0).sum() == 77
    forest.search(np.array([0]))
    assert forest.visits(0).sum() == 154


def test_no_lost_visit_stays_behind():
    """With an open game everywhere, all values are 0 once the real ones have replaced the virtual losses."""
    forest = searched(Position(geometry(5)), readouts=60, leaves=8)
    used = int(forest._used[0])
    known = forest._n[0, :used] > 0
    ended = forest._value[0, :used] != 0
    assert not ended.any()  # sixty readouts don't reach two passes from an empty board
    assert np.abs(forest._w[0, :used][known]).max() < 1e-5
    assert forest.expected_result(0) == pytest.approx(0)


def test_the_root_s_visits_are_those_of_the_nodes_below():
    forest = searched(Position(geometry(5)), readouts=150, leaves=4)
    for node in range(int(forest._used[0])):
        for move in np.flatnonzero(forest._n[0, node]):
            child = forest._child[0, node, move]
            assert forest._n[0, node, move] >= forest._n[0, child].sum()


def test_illegal_moves_are_never_visited():
    position = board("""
        .X...
        X....
        ...XX
        ..XO.
        ..XXX""", WHITE)  # fmt: skip
    visits = searched(position, readouts=300).visits(0)
    assert visits[point("A5")] == 0
    legal = position.legal()
    assert all(visits[move] == 0 for move, bit in enumerate(position.geometry.bits) if not bit & legal)


def test_it_passes_to_win_and_does_not_pass_to_lose():
    """Where the other has passed, a pass ends the game: good for who is ahead, bad for who is behind."""
    text = """
        .X.O.
        .X.O.
        .XXO.
        .X.O.
        .X.O."""
    for color, best in ((BLACK, True), (WHITE, False)):
        position = board(text, color, passes=1)
        visits = searched(position).visits(0)
        assert bool(visits.argmax() == PASS) is best


def test_what_is_known_of_a_move_stays_after_it_was_made():
    forest = searched(Position(geometry(5)), readouts=120, leaves=4)
    move = int(forest.visits(0).argmax())
    child = int(forest._child[0, 0, move])
    below, count = forest._n[0, child].copy(), int(forest._n[0, child].sum())
    forest.advance([0], [move])
    assert forest.position(0).moves == 1
    assert np.array_equal(forest.visits(0), below)
    assert int(forest._used[0]) <= count + 1
    fresh = searched(forest.position(0), readouts=120, leaves=4)
    forest.search(np.array([0]))
    assert forest.visits(0).sum() == count + 120
    assert fresh.visits(0).sum() == 120


def test_games_don_t_disturb_each_other():
    """A game's tree is the same alone and among others."""
    empty = Position(geometry(5))
    starts = [empty, empty.play(12), board(". . . . .".replace(" ", "") + " XXXX. OOOO. ..... .....")]
    together = Forest(3, 5, SearchSettings(readouts=40, leaves=4, komi=0.5), even)
    for seat, start in enumerate(starts):
        together.reset(seat, start)
    together.search(np.array([0, 1, 2]))
    for seat, start in enumerate(starts):
        alone = searched(start, readouts=40, leaves=4)
        assert np.array_equal(together.visits(seat), alone.visits(0))


def test_v0_5_explores_by_a_constant():
    forest = searched(Position(geometry(5)), c_puct=1.38, c_puct_base=0.0, first_play_penalty=0.0, readouts=1)
    scores = forest._scores(np.array([0]), np.array([0]))[0]
    n = forest._n[0, 0]
    expected = 1.38 / 26 * math.sqrt(1) / (1 + n)
    assert scores == pytest.approx(expected, abs=1e-6)


# --- games


def games_of(config=TINY, numbers=range(6), at_a_time=4, seed=3, resignation=None):
    model = networks.frozen(networks.build_model(config, 1, ALONE))
    player = train.Run(config, seed, ALONE, Log(enabled=False)).player(model)
    settings = config.search(8)
    resignation = resignation or Resignation(threshold=2.0, disabled_ratio=0.0)
    return list(self_play(player, settings, 5, numbers, at_a_time=at_a_time, seed=seed, resignation=resignation))


def test_games_end_and_are_won_by_their_score():
    games = games_of()
    assert sorted(game.number for game in games) == list(range(6))
    for game in games:
        last = game.positions[-1]
        assert last.moves < 50
        assert game.winner in {BLACK, WHITE}
        assert all(visits.sum() >= 8 for visits in game.visits)


def test_nobody_resigns_in_the_games_where_that_is_off():
    always = games_of(resignation=Resignation(threshold=0.001, disabled_ratio=0.0))
    never = games_of(resignation=Resignation(threshold=0.001, disabled_ratio=1.0))
    assert sum(len(game.positions) for game in always) < sum(len(game.positions) for game in never) / 2


def test_a_match_counts_the_first_player_s_wins_with_either_color():
    random = np.random.default_rng(1)  # no two games are the same

    def knows_the_score(positions):
        chances = even(positions)[0] + random.random((len(positions), 26), dtype=np.float32) / 100
        values = [math.tanh(position.score(0.5) / 5) * position.to_play for position in positions]
        return chances, np.array(values, dtype=np.float32)

    settings = SearchSettings(readouts=16, leaves=4, komi=0.5)
    wins = match(knows_the_score, even, settings, 5, range(20))
    assert wins >= 14
    assert match(even, knows_the_score, settings, 5, range(20)) <= 6


# --- examples


def test_examples_are_the_positions_of_games_that_somebody_won():
    games = games_of()
    examples = data.examples_of(games, 5)
    assert len(examples) == sum(len(game.positions) for game in games)
    assert examples.chances.sum(1).numpy() == pytest.approx(1)
    assert set(examples.winners.tolist()) <= {1.0, -1.0}
    games[0].winner = 0
    assert len(data.examples_of(games, 5)) == len(examples) - len(games[0].positions)
    assert len(data.examples_of([], 5)) == 0


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_each_example_is_trained_on_once_and_alike_for_any_number_of_ranks(world_size):
    examples = data.examples_of(games_of(), 5)
    config = dataclasses.replace(TINY, global_batch_size=50)
    parts = [list(data.batches(examples, config, 9, Ranks(rank, world_size, CPU, 1))) for rank in range(world_size)]
    assert sum(len(batch.winners) for part in parts for batch in part) == len(examples)
    assert [batch.global_count for batch in parts[0]][-1] == len(examples) % 50 or 50
    first = torch.cat([part[0].planes for part in parts])
    alone = next(data.batches(examples, config, 9, ALONE))
    assert torch.equal(first, alone.planes)


def test_boards_and_moves_turn_together():
    """A plane with a single stone, and a visit to the same point: wherever one goes, the other must go."""
    planes, chances = torch.zeros(25, 17, 25, dtype=torch.uint8), torch.zeros(25, 26)
    planes[torch.arange(25), 0, torch.arange(25)] = 1
    chances[torch.arange(25), torch.arange(25)] = 1
    examples = data.Examples(planes, chances, torch.ones(25))
    turned = torch.cat([batch.planes[:, 0].flatten(1) for batch in data.batches(examples, TINY, 4, ALONE)])
    wanted = torch.cat([batch.chances[:, :-1] for batch in data.batches(examples, TINY, 4, ALONE)])
    assert torch.equal(turned.float(), wanted)
    order = torch.randperm(25, generator=torch.Generator().manual_seed(4))  # as `batches` draws it
    assert not torch.equal(turned.argmax(1), order)


def test_a_part_of_the_window_can_be_sampled():
    examples = data.examples_of(games_of(), 5)
    half = dataclasses.replace(TINY, sampling_share=0.5)
    count = sum(batch.global_count for batch in data.batches(examples, half, 1, ALONE))
    assert count == round(len(examples) / 2)


# --- rates


def test_rates_are_given_singly_or_between_boundaries():
    steps = {"opt_learning_rate_decay_boundary_steps": (3, 5), "opt_learning_rate_warmup_steps": 2}
    single = dataclasses.replace(TINY, opt_base_learning_rate=(1.0,), **steps)
    assert [train.learning_rate(single, step) for step in range(7)] == pytest.approx([0, 0.5, 1, 1, 0.1, 0.1, 0.01])
    listed = dataclasses.replace(TINY, opt_base_learning_rate=(1.0, 0.3, 0.2), **steps)
    assert [train.learning_rate(listed, step) for step in range(7)] == pytest.approx([0, 0.5, 1, 1, 0.3, 0.3, 0.2])
    with pytest.raises(ValueError, match="opt_base_learning_rate must be one rate above 0, or 3 for 2 boundaries"):
        dataclasses.replace(TINY, opt_base_learning_rate=(1.0, 0.1), **steps)


# --- recorded games


def record(text, size=5):
    return sgf.read_game("game.sgf", text, size)


def test_a_recorded_game_is_played_through():
    found = record("(;GM[1]SZ[5]C[a (comment\\] with brackets)];B[cc];W[dd];B[];W[cd]C[x];B[tt])")
    assert [geometry(5).name(move) for move in found.moves] == ["C3", "D2", "C2"]
    assert [position.moves for position in found.positions] == [0, 1, 3]  # passes are made, not predicted


def test_only_the_main_line_counts():
    found = record("(;SZ[5];B[aa](;W[bb];B[cc])(;W[dd]))")
    assert [geometry(5).name(move) for move in found.moves] == ["A5", "B4", "C3"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("(;SZ[9];B[aa])", "line 1: board size 9, but 5 is asked for"),
        ("(;SZ[5]\n;B[aa]\n;W[aa])", "line 3: move 2 is illegal: A5 is taken"),
        ("(;SZ[5];B[aa];B[bb])", "line 1: move 2: B plays twice in a row, or White begins"),
        ("(;SZ[5];B[ff])", "line 1: move 1: 'ff' is not a point of a 5x5 board"),
        ("(;SZ[5]AB[aa];W[bb])", "line 1: stones placed before the game (AB) are not supported"),
        ("(;SZ[5])", "line 1: no move in it"),
        ("nothing", "line 1: no game: an SGF file starts with (;"),
        ("(;SZ[5];B[ba];W[aa])", "line 1: move 2 is illegal"),
    ],
)
def test_what_can_t_be_played_is_reported_with_file_and_line(text, message):
    if message.endswith("move 2 is illegal"):
        text, message = "(;SZ[5];B[ba];W[ee];B[ab];W[aa])", "line 1: move 4 is illegal: A5 is suicide"
    with pytest.raises(DataError) as refused:
        record(text)
    assert str(refused.value) == f"game.sgf, {message}"


@pytest.fixture
def games(tmp_path):
    """Two files and an archive with a third game."""
    (tmp_path / "a.sgf").write_text("(;SZ[5];B[cc];W[dd];B[cd])")
    (tmp_path / "b.sgf").write_text("(;SZ[5];B[bb];W[cb])")
    (tmp_path / "c.sgf").write_text("(;SZ[5];B[dd];W[cb];B[aa];W[ea])")
    with tarfile.open(tmp_path / "more.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "c.sgf", "folder/c.sgf")
    (tmp_path / "c.sgf").unlink()
    return tmp_path


def test_games_are_read_from_files_and_archives(games):
    found = sgf.read_games(games, 5)
    assert [len(one.moves) for one in found] == [3, 2, 4]
    assert found[2].name.endswith("more.tar.gz:folder/c.sgf")
    (games / "more.tar.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"more\.tar\.gz can't be read as an archive"):
        sgf.read_games(games, 5)


def test_a_network_that_knows_the_moves_predicts_all_of_them(games):
    records = sgf.read_games(games, 5)
    answers = {
        (position.black, position.white, position.to_play): move
        for one in records
        for position, move in zip(one.positions, one.moves, strict=True)
    }

    def knows(positions):
        chances = np.full((len(positions), 26), 1e-4, dtype=np.float32)
        for row, position in enumerate(positions):
            chances[row, answers.get((position.black, position.white, position.to_play), PASS)] = 1
        return chances, np.zeros(len(positions), dtype=np.float32)

    first_moves = {one.moves[0] for one in records}
    assert len(first_moves) == 3  # of the empty board only one of the three can be right
    share = evaluation.predicted_ratio(dataclasses.replace(TINY, eval_readouts=8), knows, records, ALONE)
    assert share == pytest.approx(7 / 9)


def test_predict_tells_of_each_file_and_of_all(games, capsys):
    small = ["--board-size", "5", "--width", "4", "--blocks", "1", "--features", "4", "--readouts", "4"]
    assert predict(["--data", str(games), *small]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[1].split(" % of ")[1] for line in lines] == [
        "3 moves predicted", "2 moves predicted", "4 moves predicted", "9 moves predicted",
    ]  # fmt: skip
    assert predict(["--data", str(games), "--board-size", "9"]) == 2
    assert "board size 5, but 9 is asked for" in capsys.readouterr().err
    assert predict(["--data", str(games / "none")]) == 2
    assert "does not exist; expected .sgf files" in capsys.readouterr().err


def test_weights_are_kept_whole_and_others_are_refused(tmp_path):
    model = networks.build_model(TINY, 1, ALONE)
    networks.save_weights(model, tmp_path / "run" / "000001.pt")
    other = networks.build_model(TINY, 2, ALONE)
    networks.load_weights(other, tmp_path / "run" / "000001.pt")
    assert torch.equal(other.moves.weight, model.moves.weight)
    assert [file.name for file in (tmp_path / "run").iterdir()] == ["000001.pt"]
    with pytest.raises(UsageError, match=r"000001\.pt does not hold a network of this board size"):
        networks.load_weights(
            networks.build_model(dataclasses.replace(TINY, width=8), 1, ALONE), tmp_path / "run" / "000001.pt"
        )
