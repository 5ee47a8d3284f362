"""`podium-benchmarks prepare` on small archives of the real layout, up to the trainer that reads what it has made."""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import hashlib
import importlib
import io
import json
import shutil
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from tests.unit.benchmarks.coco_folder import write_folder
from tests.unit.benchmarks.trained_backbones import trained, without_statistics, write_r50

import podium_benchmarks
from podium_benchmarks.core import ids
from podium_benchmarks.core.batch_norm import BatchNorm
from podium_benchmarks.core.scenes import make_scenes
from podium_benchmarks.core.toy_language import toy_language
from podium_benchmarks.gnmt.detokenize import detokenize
from podium_benchmarks.maskrcnn import data as maskrcnn_data
from podium_benchmarks.maskrcnn import model as maskrcnn_model
from podium_benchmarks.minigo.sgf import read_games
from podium_benchmarks.prepare import coco, command, go, imagenet, movielens, wmt16, wmt17
from podium_benchmarks.prepare.archives import Archive
from podium_benchmarks.prepare.moses import tokenize
from podium_benchmarks.ssd import data as ssd_data
from podium_benchmarks.ssd import model as ssd_model

WNIDS = ["n01440764", "n01443537", "n01484850"]
REPOSITORY = Path(__file__).resolve().parents[3]


def tar(members: dict[str, bytes], mode: str = "w") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def zipped(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def jpeg(gray: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (40, 36), (gray, gray, 99)).save(buffer, "JPEG")
    return buffer.getvalue()


def known(archives: tuple[Archive, ...], folder: Path) -> tuple[Archive, ...]:
    """The archives as they are in `folder` instead of as they are in the world."""
    return tuple(
        dataclasses.replace(
            one, size=None, digest=f"md5:{hashlib.md5((folder / one.name).read_bytes()).hexdigest()}", origin="the test"
        )
        for one in archives
    )


@pytest.fixture
def prepare(monkeypatch, tmp_path, capsys):
    """Runs the command on archives in tmp_path/archives; gives the folder made and what was printed."""

    def run(benchmark: str, module, code: int = 0, *options: str) -> tuple[Path, str]:
        source = tmp_path / "archives"
        if module is not None:
            monkeypatch.setattr(module, "ARCHIVES", known(module.ARCHIVES, source))
        recipe = dataclasses.replace(podium_benchmarks.benchmark(benchmark).preparation, result_bytes=0)
        parser = argparse.ArgumentParser()
        command.add_parser(parser.add_subparsers(), {benchmark: recipe})
        words = ["prepare", benchmark, "--out", str(tmp_path / "out"), "--source", str(source), "--workers", "2"]
        assert command.run(parser.parse_args([*words, *options])) == code
        printed = capsys.readouterr()
        return tmp_path / "out", printed.out + printed.err

    (tmp_path / "archives").mkdir()
    return run


def check_sums(out: Path) -> list[str]:
    """Every visible file is listed with its digest; gives their names."""
    listed = dict(line.split("  ")[::-1] for line in (out / "SHA256SUMS").read_text().splitlines())
    there = {p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()} - {"SHA256SUMS"}
    assert listed.keys() == there
    assert all(hashlib.sha256((out / name).read_bytes()).hexdigest() == digest for name, digest in listed.items())
    return sorted(there)


def write_imagenet(folder: Path) -> None:
    """Three classes of four images; five to validate with. Class numbers run against the order of the names."""
    inner = {
        f"{wnid}.tar": tar({f"{wnid}_{n}.JPEG": jpeg(60 * k + n) for n in range(4)}) for k, wnid in enumerate(WNIDS)
    }
    (folder / imagenet.TRAIN.name).write_bytes(tar(inner))
    val = {f"ILSVRC2012_val_{number:08}.JPEG": jpeg(200 + number) for number in (3, 1, 2, 5, 4)}
    (folder / imagenet.VAL.name).write_bytes(tar(val))
    synsets = np.array([(number, wnid) for number, wnid in zip((3, 1, 2, 4), [*WNIDS, "n00001740"], strict=True)],
                       dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")])  # fmt: skip
    mat = io.BytesIO()
    scipy.io.savemat(mat, {"synsets": synsets})
    kit = {"ILSVRC2012_devkit_t12/data/meta.mat": mat.getvalue(),
           "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt": b"3\n1\n2\n1\n3\n"}  # fmt: skip
    (folder / imagenet.DEVKIT.name).write_bytes(tar(kit, "w:gz"))


def test_imagenet_becomes_shards_that_resnet_reads(prepare, tmp_path, launch, log_lines):
    write_imagenet(tmp_path / "archives")
    out, printed = prepare("resnet", imagenet)
    assert "ILSVRC2012_img_train.tar: " in printed
    assert "verified by md5 of the test" in printed
    assert check_sums(out) == ["sources.json", *(f"train/{wnid}.tar" for wnid in WNIDS),
                               *(f"val/{number:02}.tar" for number in range(5))]  # fmt: skip
    with tarfile.open(out / "train/n01443537.tar") as shard:
        assert shard.getnames() == [f"n01443537/n01443537_{n}.JPEG" for n in range(4)]
        assert shard.extractfile(shard.getnames()[2]).read() == jpeg(62)
    val = [name for shard in sorted((out / "val").iterdir()) for name in tarfile.open(shard).getnames()]  # noqa: SIM115
    labels = [WNIDS[number] for number in (0, 1, 2, 1, 0)]
    assert val == [f"{wnid}/ILSVRC2012_val_{n:08}.JPEG" for n, wnid in enumerate(labels, 1)]
    run = launch("resnet", "--preset", "tiny", "--data", str(out), "--set", "num_classes=3", "--set", "image_size=32",
                 "--set", "global_batch_size=4", "--set", "max_epochs=1")  # fmt: skip
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert (values["train_samples"], values["eval_samples"]) == (12, 5)


def test_imagenet_is_not_downloaded_for_anybody(prepare):
    _, printed = prepare("resnet", None, 1)
    assert "prepare: the license forbids to download ILSVRC2012_img_train.tar, ILSVRC2012_img_val.tar" in printed
    assert "sign up at https://image-net.org" in printed


def test_archives_that_are_not_the_real_ones_are_refused(prepare, tmp_path):
    write_imagenet(tmp_path / "archives")
    _, printed = prepare("resnet", None, 1)
    assert "instead of 1d675b47d978889d74fa0da5fadfb00e (torchvision.datasets.ImageNet)" in printed


def test_coco_is_unpacked_for_both_detectors(prepare, tmp_path, launch, log_lines, monkeypatch):
    make = {"size": 320, "classes": 4, "seed": 2}
    made = write_folder(
        tmp_path / "made", make_scenes(6, held_out=False, **make), make_scenes(2, held_out=True, **make)
    )
    for part in ("train2017", "val2017"):
        files = {f"{part}/": b"", **{f"{part}/{path.name}": path.read_bytes() for path in (made / part).iterdir()}}
        zipped(tmp_path / "archives" / f"{part}.zip", files)
    notes = {f"annotations/{path.name}": path.read_bytes() for path in (made / "annotations").iterdir()}
    zipped(
        tmp_path / "archives/annotations_trainval2017.zip",
        {**notes, "annotations/captions_val2017.json": b"{}", "../evil.jpg": b""},
    )
    narrow = {"SSD": dataclasses.replace(coco.SSD, width=4), "MASKRCNN": dataclasses.replace(coco.MASKRCNN, width=4)}
    monkeypatch.setattr(coco, "SSD", narrow["SSD"])
    monkeypatch.setattr(coco, "MASKRCNN", narrow["MASKRCNN"])
    resnet34 = trained(ssd_model.Backbone(4), ssd_data.normalize).state_dict()
    torch.save(resnet34, tmp_path / "archives" / coco.RESNET34.name)
    resnet50 = trained(
        maskrcnn_model.Backbone(4, BatchNorm), lambda photos: maskrcnn_data.normalize(photos, [(128, 128)] * 4)
    )
    write_r50(tmp_path / "archives/R-50.pkl", without_statistics(resnet50.state_dict()))
    out, _ = prepare("ssd", coco)
    names = check_sums(out)
    assert len(names) == 1 + 6 + 2 + 2 + 2 + 2
    assert {"annotations/index_train2017.pt", "annotations/index_val2017.pt"} <= set(names)
    for data, name in ((ssd_data, "SSD"), (maskrcnn_data, "MASKRCNN")):
        data.check_data(dataclasses.replace(narrow[name], num_classes=0), out)
    run = launch("ssd", "--preset", "tiny", "--data", str(out), "--set", "width=4", "--set", "global_batch_size=4",
                 "--set", "precision=fp32", "--set", "max_epochs=1")  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert {line["key"]: line["value"] for line in log_lines(run.stdout)}["eval_samples"] == 2


def test_movielens(prepare, tmp_path, launch, log_lines):
    rows = "".join(
        f"{user},{item},3.5,{user * 100 + item}\n"
        for user in range(1, 21)
        for item in range(1, 31)
        if (user + item) % 2
    )
    ratings = b"userId,movieId,rating,timestamp\n" + rows.encode()
    zipped(tmp_path / "archives/ml-20m.zip", {"ml-20m/README.txt": b"terms", "ml-20m/ratings.csv": ratings})
    out, printed = prepare("ncf", movielens)
    assert check_sums(out) == ["ratings.csv", "sources.json"]
    assert "license: GroupLens: research" in printed
    run = launch("ncf", "--preset", "tiny", "--data", str(out), "--target", "0.01", "--set", "max_epochs=1")
    assert run.returncode == 0, run.stderr
    again, printed = prepare("ncf", None)
    assert f"{again} already holds a complete data set (it has SHA256SUMS)" in printed


def test_minigo_has_four_games(prepare, tmp_path):
    games = {f"9x9_pro_{name}.sgf": f"(;SZ[9];B[ee];W[{move}])" for name, move in
             (("IYHN", "ed"), ("IYMD", "ef"), ("YKSH", "de"), ("YSIY", "fe"))}  # fmt: skip
    for name, text in games.items():
        (tmp_path / "archives" / name).write_text(text)
    out, _ = prepare("minigo", go)
    assert check_sums(out) == [*games, "sources.json"]
    assert [len(game.moves) for game in read_games(out, 9)] == [2, 2, 2, 2]


def test_the_reference_games_are_the_known_ones():
    """Read in place where they are at hand; they are not ours to keep."""
    folder = REPOSITORY.parent / "shared/data/go9x9/reference"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    for archive in go.ARCHIVES:
        data = (folder / archive.name).read_bytes()
        assert (len(data), f"sha256:{hashlib.sha256(data).hexdigest()}") == (archive.size, archive.digest)


def write_wmt(folder: Path, module) -> tuple[list[str], list[str]]:
    """The toy language in the places of the corpora, with what a real corpus has of dirt."""
    english, german = toy_language(330)
    parts = [(english[start : start + 100], german[start : start + 100]) for start in (0, 100, 200)]
    parts[0][0][10] += " & so"
    parts[0][0][3], parts[1][1][4] = "", "   "  # one side is missing
    parts[2][0][5] += "\x07\u2028 end"
    for (archive, stem), (one, other) in zip(module.CORPORA, parts, strict=True):
        texts = {f"training/{stem}.en": "\n".join(one) + "\n", f"training/{stem}.de": "\n".join(other) + "\n",
                 "training/europarl-v7.fr-en.en": "autre\n"}  # fmt: skip
        (folder / archive.name).write_bytes(tar({name: text.encode() for name, text in texts.items()}, "w:gz"))
    held_out = english[300:], german[300:]

    def sgm(lines: list[str]) -> bytes:
        segments = "".join(f'<seg id="{n}">{line} &amp; so</seg>\n' for n, line in enumerate(lines, 1))
        return f'<srcset setid="newstest2014"><doc>\n{segments}</doc></srcset>'.encode()

    (folder / "dev.tgz").write_bytes(tar({"dev/newstest2014-deen-ref.en.sgm": sgm(held_out[0]),
                                          "dev/newstest2014-deen-src.de.sgm": sgm(held_out[1])}, "w:gz"))  # fmt: skip
    return held_out


def write_references(folder: Path, held_out: tuple[list[str], list[str]]) -> None:
    """What the Transformer's reference adds to the corpora: its vocabulary and newstest2014."""
    for language, lines in zip(("en", "de"), held_out, strict=True):
        (folder / f"newstest2014.{language}").write_text("".join(f"{line} & so\n" for line in lines))
    pieces = ["<pad>_", "<EOS>_", "puh_", *map(chr, range(ord(" "), ord("~") + 1)), "ß"]
    (folder / wmt17.VOCABULARY).write_text("".join(f"'{piece}'\n" for piece in pieces))


TRANSLATORS = {"transformer": ("--set", "vocab_size=2000", "--set", "max_sequence_length=80"),
               "gnmt": ("--set", "vocab_size=2000", "--set", "global_batch_size=8")}  # fmt: skip


@pytest.mark.parametrize(("benchmark_name", "module"), [("transformer", wmt17), ("gnmt", wmt16)])
def test_wmt_becomes_ids_that_the_trainer_reads(benchmark_name, module, prepare, tmp_path, launch, log_lines):
    english, german = write_wmt(tmp_path / "archives", module)
    if benchmark_name == "transformer":
        write_references(tmp_path / "archives", (english, german))
    out, printed = prepare(benchmark_name, module)
    data = importlib.import_module(f"podium_benchmarks.{benchmark_name}.data")
    files = [f"{part}.{kind}" for part in ids.PARTS for kind in ("ids", "lengths")]
    assert check_sums(out) == sorted([*files, "ids.json", "newstest2014.de", "sources.json", data.VOCABULARY])
    index = ids.read_index(out, benchmark_name, data.VOCABULARY)
    pairs = 300 if benchmark_name == "transformer" else 298  # GNMT's reference cleans its text
    assert index.sentences == {"train.en": pairs, "train.de": pairs, "newstest2014.en": 30}
    assert f"{pairs} pairs" in printed
    assert "newstest2014.de: differs from the reference" in printed
    assert "newstest2014.de" in index.differs
    tokens = data.read_vocabulary(out / data.VOCABULARY)

    def text(part: str) -> list[str]:
        sentences = ids.open_part(out, index, part)
        return [
            tokens.decode(row)
            for row in (sentences.padded(torch.tensor([n]))[0].tolist() for n in range(len(sentences)))
        ]

    assert text("newstest2014.en") == [f"{line} & so" for line in english]
    assert (out / "newstest2014.de").read_text() == "".join(f"{line} & so\n" for line in german)
    if benchmark_name == "transformer":  # nothing is left out or cleaned
        source = text("train.en")
        assert (source[3], source[10].endswith(" & so"), "\x07\u2028 end" in source[205]) == ("", True, True)
        assert ids.open_part(out, index, "train.en").lengths[3] == 1, "an empty side is its end alone"
    run = launch(
        benchmark_name, "--preset", "tiny", "--data", str(out), "--set", "max_epochs=1", *TRANSLATORS[benchmark_name]
    )
    assert run.returncode == 0, run.stderr
    values = {line["key"]: line["value"] for line in log_lines(run.stdout)}
    assert values["eval_samples"] == 30
    assert 200 < values["train_samples"] <= pairs
    closed = launch(benchmark_name, "--data", str(out), *TRANSLATORS[benchmark_name], PODIUM_DIVISION="closed")
    assert (closed.returncode, closed.stdout) == (2, "")
    assert "a closed run needs the reference's data, but of --data" in closed.stderr


def test_another_vocabulary_than_the_references_is_refused(prepare, tmp_path, monkeypatch):
    write_references(tmp_path / "archives", write_wmt(tmp_path / "archives", wmt17))
    own = wmt17.VOCABULARY_FILE
    known_ones = known(wmt17.ARCHIVES, tmp_path / "archives")
    monkeypatch.setattr(wmt17, "ARCHIVES", (*known_ones[:-1], own))
    out, printed = prepare("transformer", None, 1)
    assert f"{own.name} has" in printed
    assert "bytes instead of 324,027: delete it and download it again" in printed
    assert not (out / "SHA256SUMS").exists()


@pytest.mark.parametrize(("benchmark_name", "names", "differ"), [
    ("gnmt", [*wmt16.REFERENCE_MD5, wmt16.VOCABULARY], 4),
    ("transformer", ["train.en", "train.de", "newstest2014.en", "newstest2014.de", wmt17.VOCABULARY], 3),
])  # fmt: skip
def test_text_that_is_there_already_is_encoded(benchmark_name, names, differ, prepare, tmp_path):
    write_references(tmp_path / "archives", (["a"], ["a"]))
    for name in names:
        if name != wmt17.VOCABULARY:
            (tmp_path / "archives" / name).write_text("a\n")
    out, printed = prepare(benchmark_name, None)
    assert len(check_sums(out)) == 9
    assert "9 files, taken over from" in printed
    assert printed.count("differs from the reference") == differ
    (tmp_path / "archives" / names[1]).write_text("a\n\n")
    shutil.rmtree(out)
    _, printed = prepare(benchmark_name, None, 1)
    assert f"{names[1]}, line 2: empty; remove the line from both languages' files" in printed


def test_subwords_are_spelled_as_subword_nmt_does():
    lines = ["lower lowest low", "newer newest new"] * 20
    encoding = wmt16.learn(lines, 30)
    (line,) = wmt16.segment(["lowest slow zebra"], encoding)
    assert line.replace("@@ ", "").startswith("lowest s")
    assert line.count("<unk>") >= 1, "letters that were never seen"
    words = wmt16.vocabulary(encoding)
    assert len(words) == len(set(words)) <= 30
    assert {piece for piece in line.split() if piece != "<unk>"} <= set(words)


@pytest.mark.parametrize(("language", "text", "words"), [
    ("en", "Hello, world!", "Hello , world !"),
    ("en", "It's the dogs' 1,000.5 bones (2.5%).", "It &apos;s the dogs &apos; 1,000.5 bones ( 2.5 % ) ."),
    ("en", "Mr. Smith and Dr. No met on Jan. 5.", "Mr. Smith and Dr. No met on Jan . 5 ."),
    ("en", "He said \"no\" & left... twice.", "He said &quot; no &quot; &amp; left ... twice ."),
    ("en", "the U.S. approach, e.g. this", "the U.S. approach , e.g. this"),
    ("en", "well-known a_b [x|y]", "well-known a _ b &#91; x &#124; y &#93;"),
    ("en", "cats, 3, and 4,5", "cats , 3 , and 4,5"),
    ("de", "Das ist's, z.B. am 3. Mai.", "Das ist &apos; s , z.B. am 3. Mai ."),
    ("de", "Größe: 5,3 km", "Größe : 5,3 km"),
])  # fmt: skip
def test_mosess_words(language, text, words):
    assert tokenize(text, language) == words


def test_words_can_be_put_together_again():
    """On real sentences, read in place where they are at hand; what cannot is odd text, such as an &amp; in it."""
    folder = REPOSITORY.parent / "shared/data/multi30k"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    for language in ("en", "de"):
        lines = gzip.decompress((folder / f"train.{language}.gz").read_bytes()).decode().split("\n")[:5000]
        whole = sum(detokenize(tokenize(line, language)) == " ".join(line.split()) for line in lines)
        assert whole >= 0.99 * len(lines)


def test_the_example_fills_a_claim():
    """tests/api applies it; here the command is one that exists."""
    import yaml

    claim, job = yaml.safe_load_all((REPOSITORY / "examples/prepare-data.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    program, *words = container["command"]
    assert program == "podium-benchmarks"
    parser = argparse.ArgumentParser()
    recipes = {record.name: record.preparation for record in podium_benchmarks.benchmarks()}
    command.add_parser(parser.add_subparsers(), recipes)
    arguments = parser.parse_args(words)
    mount = container["volumeMounts"][0]["mountPath"]
    assert str(arguments.out).startswith(mount)
    assert (
        job["spec"]["template"]["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    )


def test_sources_are_recorded(prepare, tmp_path):
    zipped(tmp_path / "archives/ml-20m.zip", {"ml-20m/ratings.csv": b"userId,movieId,rating,timestamp\n"})
    out, _ = prepare("ncf", movielens)
    (row,) = json.loads((out / "sources.json").read_text())
    assert row["url"] == "https://files.grouplens.org/datasets/movielens/ml-20m.zip"
    assert row["sha256"] == hashlib.sha256((tmp_path / "archives/ml-20m.zip").read_bytes()).hexdigest()
