"""``podium score`` on made-up logs of every format, and on the published ones where they are."""

from __future__ import annotations

import csv
import json
from datetime import UTC, datetime

import pytest

from podium.rounds import load_rounds
from podium.stores import FileStore
from tests.unit.cli.logs import START, mllog, v05_run, v06_run, v07_run, write
from tests.unit.scoring.test_published import EXPECTED, LOGS


@pytest.mark.skipif(not EXPECTED.exists(), reason="the published logs are not here")
def test_the_published_rounds(podium_json):
    code, entries = podium_json("score", LOGS)
    assert code == 0
    found = {(e["round"], e["org"], e["system"], e["benchmark"]): e for e in entries}
    rows = list(csv.DictReader(EXPECTED.open()))
    assert len(found) == len(rows)
    for row in rows:
        entry = found[row["round"], row["org"], row["system"], row["benchmark"]]
        assert (entry["runs"], entry["failed"]) == (int(row["logs"]), int(row["failed"]))
        assert entry["minutes"] == pytest.approx(float(row["olympic_minutes"]), abs=0.01)
        assert (entry["valid"], entry["scaling"], entry["findings"]) == (True, 1.0, [])


TIMES = (60, 120, 180, 240, 300)  # the mean of the middle three is 3 minutes


@pytest.mark.parametrize(
    ("make", "folder", "round_"),
    [
        (lambda t: v05_run("resnet", t, 0.75), "v0.5.0/acme/submission/results/box/resnet", "v0.5"),
        (lambda t: v06_run("resnet", t, 0.76), "training_results_v0.6/acme/results/box/resnet", "v0.6"),
        (lambda t: v06_run("resnet", t, 0.76), "acme/results/box/resnet", "v0.6"),
        (lambda t: v07_run("resnet", t, 0.76), "v0.7/acme/box/resnet", "v0.7"),
        (lambda t: v07_run("bert", t, 0.721), "training_results_v2.0/acme/results/box/bert", "v2.0"),
        (lambda t: v07_run("rnnt", t, 0.05), "v1.1/acme/results/box/rnnt", "v1.1"),
    ],
)
def test_every_round_and_layout(podium_json, tmp_path, make, folder, round_):
    runs = [make(t) for t in (*TIMES, *TIMES)[: 5 if folder.endswith("resnet") else 10]]
    write(tmp_path / folder, runs)
    for place in (tmp_path, tmp_path / folder, (tmp_path / folder).parent, tmp_path.as_uri()):
        code, (entry,) = podium_json("score", place)
        assert (entry["round"], entry["org"], entry["system"]) == (round_, "acme", "box")
        assert entry["minutes"] == pytest.approx(3)
        assert (code, entry["valid"], entry["findings"]) == (0, True, [])


@pytest.mark.parametrize("spelling", ["v0.6", "0.6", "0.6.0", "v0.6.0"])
def test_a_round_has_several_spellings_and_an_entry_its_facts(podium_json, tmp_path, spelling):
    folder = write(tmp_path / "runs", [v06_run("resnet", t, 0.76) for t in TIMES])
    code, (entry,) = podium_json("score", folder, "--round", spelling)
    assert (code, entry["round"], entry["minutes"]) == (0, "v0.6", 3)
    facts = {"round", "org", "system", "benchmark", "runs", "failed", "scaling", "minutes", "valid", "findings"}
    assert facts <= entry.keys()


@pytest.mark.parametrize("system", ["resnet_submission/skx8180", "cloud_v2.8/resnet-tpuv2-8/tpu"])
def test_an_organization_with_a_folder_for_each_submission(podium_json, tmp_path, system):
    """Intel's and Google's in v0.5."""
    submission, _, own = system.rpartition("/")
    folder = tmp_path / "training_results_v0.5/v0.5.0/acme" / submission / "results" / own / "resnet"
    write(folder, [v05_run("resnet", t, 0.75) for t in TIMES])
    for place in (tmp_path, folder.parents[2], folder):
        code, (entry,) = podium_json("score", place)
        assert (code, entry["org"], entry["system"], entry["minutes"]) == (0, "acme", system, 3)


def test_a_system_without_folders_of_benchmarks(podium_json, tmp_path):
    """Alibaba's in v0.7: results/<system>/result_1.txt, and times in seconds."""
    runs = [
        [line.replace("time_ms", "time_s") for line in v07_run("resnet", t, 0.76, start=START / 1000)] for t in TIMES
    ]
    write(tmp_path / "v0.7/acme/results/v100-256", runs)
    for place in (tmp_path, tmp_path / "v0.7/acme/results/v100-256"):
        code, (entry,) = podium_json("score", place)
        assert (code, entry["system"], entry["benchmark"], entry["org"]) == (0, "v100-256", "resnet", "acme")
        assert entry["minutes"] == pytest.approx(3000)


def test_the_round_is_reported_by_the_date_when_nothing_else_does(podium_json, tmp_path):
    start = datetime(2021, 5, 14, tzinfo=UTC).timestamp()
    write(tmp_path / "runs", [v07_run("resnet", t, 0.76, start=start) for t in TIMES])
    code, (entry,) = podium_json("score", tmp_path)
    assert (code, entry["round"], entry["org"], entry["benchmark"]) == (0, "v1.0", "ACME", "resnet")
    assert entry["notes"] == ["taken for a result of v1.0 by its date; set another round with --round"]
    _, (entry,) = podium_json("score", tmp_path, "--round", "0.7")
    assert (entry["round"], entry["notes"]) == ("v0.7", [])


def test_one_failure_is_the_slowest_and_two_are_too_many(podium_json, tmp_path):
    good = [v06_run("ssd", t, 0.24) for t in TIMES]
    aborted = v06_run("ssd", 1, 0.22, "aborted")
    code, (entry,) = podium_json("score", write(tmp_path / "a", [aborted, *good[:4]]))
    assert (code, entry["failed"], entry["valid"]) == (0, 1, True)
    assert entry["minutes"] == pytest.approx((120 + 180 + 240) / 3 / 60)
    code, (entry,) = podium_json("score", write(tmp_path / "b", [aborted, aborted, *good[:3]]))
    assert (code, entry["failed"], entry["valid"], entry["minutes"]) == (1, 2, False, None)
    messages = [finding["message"] for finding in entry["findings"]]
    assert "invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest" in messages
    assert "result_0.txt: quality 0.22, target 0.23; run_stop says 'aborted'" in messages


def test_a_success_that_the_evaluations_do_not_bear_out_is_a_failure(podium_json, tmp_path):
    runs = [v06_run("ssd", t, 0.24) for t in TIMES[:4]] + [v06_run("ssd", 10, 0.22)]
    code, (entry,) = podium_json("score", write(tmp_path / "ssd", runs))
    assert (code, entry["failed"], entry["valid"]) == (1, 1, True)
    (finding,) = entry["findings"]
    assert (finding["rule"], finding["where"]) == ("log.quality.claim", "result_4.txt")
    assert finding["message"] == "quality 0.22, target 0.23, although run_stop says success"


def test_unet3d_drops_four_at_each_end(podium_json, tmp_path):
    runs = [v07_run("unet3d", 60 * n, 0.91) for n in range(1, 37)] + [v07_run("unet3d", 1, 0.9, "aborted")] * 4
    code, (entry,) = podium_json("score", write(tmp_path / "v1.0/acme/results/box/unet3d", runs))
    assert (code, entry["failed"], entry["minutes"]) == (0, 4, 20.5)


def stable_diffusion(seconds, *evaluations, status="success"):
    """Two metrics in two lines, and a run_stop of the checkpoint, which is earlier than its evaluation."""
    start = 1_714_000_000.0  # between v3.1 and v4.0
    lines = [mllog("submission_benchmark", "stable_diffusion", -5, start), mllog("run_start", None, 0, start)]
    for count, (fid, clip) in enumerate(evaluations, start=1):
        at, samples = seconds + 1000 * count, 512_000 * count
        lines += [mllog("eval_accuracy", fid, at, start, samples_count=samples, metric="FID"),
                  mllog("eval_accuracy", clip, at + 100, start, samples_count=samples, metric="CLIP")]  # fmt: skip
    return [*lines, mllog("run_stop", None, seconds, start, status=status)]


def test_stable_diffusion_needs_both_metrics_in_one_evaluation(podium_json, tmp_path):
    good = [stable_diffusion(60 * n, (234.7, 0.07), (97.0, 0.157), (86.5, 0.159)) for n in range(1, 10)]
    never = stable_diffusion(30, (89.0, 0.14), (91.0, 0.16))
    folder = tmp_path / "training_results_v4.0/acme/results/box/stable_diffusion"
    code, (entry,) = podium_json("score", write(folder, [*good, never]))
    assert (code, entry["round"], entry["failed"], entry["minutes"]) == (1, "v4.0", 1, 5.5)
    found = {(finding["rule"], finding["where"]) for finding in entry["findings"]}
    assert ("log.quality.claim", "result_9.txt") in found


def test_checkpoints_of_stable_diffusion_are_evaluated_in_any_order(podium_json, tmp_path):
    """The earliest one that passes counts for the scaling factor, not the one that was evaluated first."""
    folder = tmp_path / "training_results_v4.0/acme/results/box/stable_diffusion"
    runs = [stable_diffusion(60 * n, (91.0, 0.14), *[(86.5, 0.16)] * 8) for n in range(1, 11)]
    for run in runs:
        run[2:-1] = [line for at in range(len(run) - 3, 1, -2) for line in run[at : at + 2]]
        run.insert(1, mllog("global_batch_size", 1024, -5, 1_714_000_000.0))
    write(folder, runs)
    factor = load_rounds()["v4.0"].benchmarks["stable_diffusion"].reference_point(1024).mean / 1_024_000
    (folder / "scaling.json").write_text(json.dumps({"scaling_factor": factor}))
    _, (entry,) = podium_json("score", folder)
    assert (entry["scaling"], [f for f in entry["findings"] if f["rule"] == "score.scaling"]) == (factor, [])


def test_of_a_hundred_ncf_runs_the_first_fifty_by_start_that_converged(podium_json, tmp_path):
    good = {n: v05_run("ncf", 60, 0.636, at=-1000 * n) for n in range(1, 100, 2)}
    runs = [good.get(n) or v05_run("ncf", 30, 0.6, success="false") for n in range(100)]
    code, (entry,) = podium_json("score", write(tmp_path / "v0.5/acme/box/ncf", runs))
    assert (code, entry["failed"], entry["minutes"], len(entry["dropped"])) == (0, 50, 1.0, 2)


@pytest.mark.parametrize(
    ("round_", "benchmark", "epochs", "logged", "factor", "wrong"),
    [
        ("v3.0", "resnet", 35, "1.0043956", 1.0043956, ""),  # the reference needs 35.1538 epochs at this batch size
        ("v3.0", "resnet", 34, "1.0339", 1.0339367, ""),  # rounded
        ("v3.0", "resnet", 35, "1.3", 1.0043956, "scaling_factor is 1.3, the reference points give 1.0044"),
        ("v3.0", "resnet", 35, "0.5", 1.0043956, "scaling_factor is 0.5, the reference points give 1.0044"),
        ("v3.0", "resnet", 36, "1.3", 1.0, "scaling_factor is 1.3, the reference points give 1"),
        ("v3.0", "resnet", 35, "100000.0", 1.0043956, "scaling_factor is 100000, the reference points give 1.0044"),
        ("v3.0", "resnet", 35, "-2", 1.0, "scaling_factor -2 is not a positive number"),
        ("v3.1", "unet3d", 2100, "1.0795", 1.0795, ""),  # its points count samples, 168 in an epoch
        ("v3.0", "resnet", 35, "0", 1.0, "scaling_factor 0 is not a positive number"),
        ("v3.0", "resnet", 35, "1e999", 1.0, "scaling_factor 'unreadable' is not a positive number"),
        ("v3.0", "resnet", 35, "NaN", 1.0, "scaling_factor 'unreadable' is not a positive number"),
        ("v3.0", "resnet", 35, "true", 1.0, "scaling_factor True is not a positive number"),
        (
            "v2.1",
            "dlrm",
            1,
            "1.0036",
            1.0036,
            "no reference point confirms the scaling_factor 1.0036, which is applied",
        ),
        ("v2.1", "dlrm", 1, "1.5", 1.0, "scaling_factor 1.5 is not applied: it is not between 1 and 1.2"),
        ("v2.1", "dlrm", 1, "0.9", 1.0, "scaling_factor 0.9 is not applied: it is not between 1 and 1.2"),
        ("v1.0", "resnet", 35, "1.05", 1.0, "scaling_factor 1.05 is not applied: v1.0 scales no score"),
    ],
)
def test_scaling(podium_json, tmp_path, round_, benchmark, epochs, logged, factor, wrong):
    """Only what the reference convergence points give is applied."""
    quality, size, times = (0.91, 56, TIMES * 8) if benchmark == "unet3d" else (0.81, 3264, TIMES)
    runs = [
        [
            *lines[:3],
            mllog("global_batch_size", size, 1),
            mllog("eval_accuracy", quality, t - 1, epoch_num=epochs),
            lines[-1],
        ]
        for t in times
        for lines in [v07_run(benchmark, t, quality)]
    ]
    folder = write(tmp_path / round_ / "acme/results/box" / benchmark, runs)
    (folder / "scaling.json").write_text(f'{{"scaling_factor": {logged}}}')
    _, (entry,) = podium_json("score", tmp_path)
    assert entry["scaling"] == pytest.approx(factor, rel=1e-4)
    assert entry["minutes"] == pytest.approx(3 * entry["scaling"])
    found = [finding["message"] for finding in entry["findings"] if finding["rule"] == "score.scaling"]
    assert [text[: len(wrong)] for text in found] == ([wrong] if wrong else [])


@pytest.mark.parametrize(("sizes", "wrong"), [([3264], 0), ([3264, 6528], 1)])
def test_the_factor_of_bert_is_by_samples_and_of_one_batch_size(podium_json, tmp_path, sizes, wrong):
    """Its points count samples, which some logs have in train_samples, with another number of epochs."""
    samples = load_rounds()["v3.1"].benchmarks["bert"].reference_point(3264).mean / 1.05
    runs = [v07_run("bert", 60, 0.73) for _ in range(10)]
    for number, run in enumerate(runs):
        size = sizes[number % len(sizes)]
        run[1:1] = [mllog("global_batch_size", size, -1), mllog("train_samples", round(samples), -1)]
    folder = write(tmp_path / "v3.1/acme/results/box/bert", runs)
    (folder / "scaling.json").write_text('{"scaling_factor": 1.05}')
    _, (entry,) = podium_json("score", tmp_path)
    assert [f["rule"] for f in entry["findings"]].count("score.scaling") == wrong


def test_missing_and_broken_logs_are_named(podium_json, tmp_path):
    runs = [v06_run("ssd", t, 0.24) for t in TIMES[:4]]
    runs[1] = runs[1][:-1]
    runs[2] = [*runs[2], ":::MLL 5 x: {"]
    runs[3] = [line.replace('"ssd"', '"resnet"') for line in runs[3]]
    code, (entry,) = podium_json("score", write(tmp_path / "ssd", runs))
    found = {(finding["rule"], finding["where"], finding["line"]) for finding in entry["findings"]}
    assert code == 1
    assert {
        ("log.run_stop.missing", "result_1.txt", None),
        ("log.unreadable", "result_2.txt", 5),
        ("log.benchmark", "result_3.txt", None),
        ("score.runs", ".", None),
    } <= found


def test_a_log_without_an_mlperf_line_is_a_run_that_did_not_converge(podium_json, tmp_path):
    runs = [v06_run("ssd", t, 0.24) for t in TIMES]
    runs[0] = ["Traceback (most recent call last):"]
    code, (entry,) = podium_json("score", write(tmp_path / "one", runs))
    assert (code, entry["failed"], entry["valid"], entry["official"]) == (1, 1, True, True)
    assert (entry["minutes"], entry["dropped"]) == (4.0, [0, 1]), "the fastest, and the empty one as the slowest"
    assert [finding["rule"] for finding in entry["findings"]] == ["log.empty"]
    code, (entry,) = podium_json("score", write(tmp_path / "two", [runs[0], *runs[:4]]))
    assert (code, entry["failed"], entry["valid"]) == (1, 2, False)
    assert (
        entry["findings"][-1]["message"]
        == "invalid: 2 attempts did not converge, at most 1 may be dropped as the slowest"
    )


def test_a_benchmark_of_nobodys_is_scored_by_its_run_stop_and_said_to_be(podium_json, tmp_path):
    runs = [[mllog("run_start"), mllog("run_stop", None, t, status="success")] for t in (*TIMES, *TIMES)]
    code, (entry,) = podium_json("score", write(tmp_path / "v9.0/acme/box/novel", runs), "--round", "v6.1")
    assert (code, entry["minutes"]) == (1, 3.0)
    assert entry["findings"][0]["rule"] == "score.benchmark.unknown"


def test_podiums_own_result(podium_json, tmp_path):
    for index, seconds in enumerate(TIMES, start=1):
        folder = tmp_path / f"team/mine-1234/attempts/{index:03}"
        folder.mkdir(parents=True)
        (folder / "result.txt").write_text("\n".join(v07_run("resnet", seconds, 0.65)) + "\n")
    result = {"round": "v0.6", "benchmark": "resnet", "division": "open", "target": {"top1": 0.6}}
    (tmp_path / "team/mine-1234/result.json").write_text(json.dumps({**result, "system": {"name": "laptop"}}))
    code, (entry,) = podium_json("score", tmp_path)
    assert (code, entry["round"], entry["system"], entry["minutes"]) == (0, "v0.6", "laptop", 3.0)
    (folder / "result.txt").write_text("")
    code, (entry,) = podium_json("score", tmp_path)
    assert (code, entry["minutes"]) == (1, None)
    assert entry["findings"][-1]["message"] == "invalid: attempt 5 could not be measured", "as the operator says"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("/no/such",), "/no/such: no such file or folder"),
        (("{empty}",), "no result_<number>.txt found"),
        (("{empty}", "--round", "v0.4"), "--round v0.4: no such round; choose one of v0.5, v0.6, v0.7"),
        (("ftp://x/y",), "is not a supported results URL"),
    ],
)
def test_wrong_use(podium_json, tmp_path, arguments, sentence):
    code, text = podium_json("score", *(a.replace("{empty}", str(tmp_path)) for a in arguments))
    assert (code, sentence in text) == (2, True), text


def test_the_table_fits_80_columns(podium_text, tmp_path):
    write(tmp_path / "v0.6/NVIDIA/dgx1_n130_ngc19.05_pytorch/transformer", [v06_run("transformer", 60, "25.3")] * 10)
    code, text = podium_text("score", tmp_path)
    assert code == 0
    assert "dgx1_n130_ngc19.05_pytorch  transformer        10  0.0%    1.000" in text
    assert max(map(len, text.splitlines())) <= 80


def test_scores_below_a_minute_are_in_seconds_unless_another_is_longer(podium_text, tmp_path):
    write(tmp_path / "v0.6/acme/box/ssd", [v06_run("ssd", seconds, 0.24) for seconds in (11, 12, 13, 14, 15)])
    _, text = podium_text("score", tmp_path)
    assert ("Seconds" in text, "13.00" in text, "Minutes" in text) == (True, True, False), text
    assert "score              13.00 s, 95 % between" in podium_text("variance", tmp_path)[1]
    write(tmp_path / "v0.6/acme/box/resnet", [v06_run("resnet", t, 0.76) for t in TIMES])
    _, text = podium_text("score", tmp_path)
    assert ("Minutes" in text, "0.217" in text, "Seconds" in text) == (True, True, False), text


def test_a_bucket_is_a_place_like_a_folder(podium_json, tmp_path, monkeypatch):
    """What the folders above the logs say is read off the URL; a real server answers in tests/api."""
    write(tmp_path / "box/resnet", [v06_run("resnet", t, 0.76) for t in TIMES])

    def bucket(url, **options):
        store = FileStore(tmp_path)
        store.url = url
        given = {"endpoint_url": "http://minio:9000", "addressing": "virtual"}
        assert options == {"region": None, "checksum": None, **given}
        return store

    monkeypatch.setenv("PODIUM_RESULTS_ENDPOINT", "http://minio:9000")
    monkeypatch.setenv("PODIUM_RESULTS_ADDRESSING", "virtual")
    monkeypatch.setattr("podium.cli.places.open_store", bucket)
    code, (entry,) = podium_json("score", "s3://results/training_results_v0.6/acme/results")
    assert (code, entry["org"], entry["system"], entry["minutes"]) == (0, "acme", "box", 3.0)


def test_the_factor_is_by_the_attempts_that_count(podium_json, tmp_path):
    """Of twelve, 1 to 10; the others converged twice as fast."""
    samples = load_rounds()["v3.1"].benchmarks["bert"].reference_point(3264).mean / 1.03
    runs = [v07_run("bert", 60 + number, 0.73) for number in range(12)]
    for number, run in enumerate(runs):
        count = round(samples if 0 < number < 11 else samples / 2)
        run[1:1] = [mllog("global_batch_size", 3264, -1), mllog("train_samples", count, -1)]
    folder = write(tmp_path / "v3.1/acme/results/box/bert", runs)
    (folder / "scaling.json").write_text('{"scaling_factor": 1.03}')
    _, (entry,) = podium_json("score", tmp_path)
    assert (entry["designated"], entry["scaling"]) == ([*range(1, 11)], 1.03)
    for command in ("score", "review"):
        _, found = podium_json(command, tmp_path)
        findings = found["findings"] if command == "review" else found[0]["findings"]
        assert not {f["rule"] for f in findings} & {"score.scaling", "review.scaling", "review.convergence"}
