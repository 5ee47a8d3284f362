"""WMT's English and German: archives, their texts, and what both translation benchmarks make of them."""

from __future__ import annotations

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from html import unescape
from pathlib import Path, PurePosixPath

from podium_benchmarks.core.text import NO_TEXT
from podium_benchmarks.prepare.archives import Archive, PrepareError
from podium_benchmarks.prepare.files import written

_ORIGIN = "the lists of TensorFlow Datasets"  # tensorflow/datasets, url_checksums/wmt1{6,7}_translate.txt
COMMON_CRAWL = Archive("training-parallel-commoncrawl.tgz",
                       "http://www.statmt.org/wmt13/training-parallel-commoncrawl.tgz", 918_311_367,
                       "sha256:c7a74e2ea01ac6c920123108627e35278d4ccb5701e15428ffa34de86fa3a9e5", _ORIGIN)  # fmt: skip
EUROPARL = Archive("training-parallel-europarl-v7.tgz",
                   "http://www.statmt.org/wmt13/training-parallel-europarl-v7.tgz", 657_632_379,
                   "sha256:0224c7c710c8a063dfd893b0cc0830202d61f4c75c17eb8e31836103d27d96e7", _ORIGIN)  # fmt: skip
NEWS_11 = Archive("training-parallel-nc-v11.tgz",
                  "http://data.statmt.org/wmt16/translation-task/training-parallel-nc-v11.tgz", 75_178_032,
                  "sha256:cfe8ab047e05043476e498ee765c98e939c7b7d6d294e856344c84476b619d6a", _ORIGIN)  # fmt: skip
NEWS_12 = Archive("training-parallel-nc-v12.tgz",
                  "http://data.statmt.org/wmt17/translation-task/training-parallel-nc-v12.tgz", 168_591_139,
                  "sha256:2b45f30ef1d550d302fd17dd3a5cbe19134ccc4c2cf50c2dae534aee600101a2", _ORIGIN)  # fmt: skip
DEV = Archive("dev.tgz", "http://data.statmt.org/wmt19/translation-task/dev.tgz", 38_654_961,
              "sha256:7a7deccf82ebb05ba508dba5eb21356492224e8f630ec4f992132b029b4b25e7", _ORIGIN)  # fmt: skip
LANGUAGES = ("en", "de")
# newstest2014 was translated in both directions; this is the set that both references evaluate with
NEWSTEST_2014 = {"en": "newstest2014-deen-ref.en.sgm", "de": "newstest2014-deen-src.de.sgm"}
SEGMENT = re.compile(r"<seg[^>]*>\s*(.*?)\s*</seg>", re.DOTALL)


def clean(line: str) -> str:
    """Without control characters and repeated spaces."""
    return " ".join(NO_TEXT.sub(" ", line).split())


def read_pairs(
    archives: dict[str, Path], corpora: Sequence[tuple[Archive, str]], tidy: Callable[[str], str] = clean
) -> Iterator[tuple[str, str]]:
    """English and German of each sentence of the corpora, in their order, each line as `tidy` returns it."""
    for archive, stem in corpora:
        texts = _members(archives[archive.name], [f"{stem}.{language}" for language in LANGUAGES])
        # not splitlines(): U+2028 and others end no line here
        english, german = (text.decode(errors="replace").removesuffix("\n").split("\n") for text in texts)
        if len(english) != len(german):
            raise PrepareError(f"{archives[archive.name]}: {stem} has {len(english):,} English and {len(german):,} "
                               "German lines: download it again")  # fmt: skip
        yield from zip(map(tidy, english), map(tidy, german), strict=True)


def read_newstest(dev: Path) -> tuple[list[str], list[str]]:
    """newstest2014, 3,003 sentences in both languages."""
    texts = _members(dev, list(NEWSTEST_2014.values()))
    english, german = ([clean(unescape(one)) for one in SEGMENT.findall(text.decode())] for text in texts)
    if not english or len(english) != len(german):
        raise PrepareError(f"{dev}: newstest2014 has {len(english)} English and {len(german)} German sentences")
    return english, german


def write_lines(path: Path, lines: Sequence[str]) -> None:
    with written(path) as file:
        for line in lines:
            file.write(f"{line}\n".encode())


def _members(path: Path, names: Sequence[str]) -> list[bytes]:
    """Files of an archive by their last names, read in one pass."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                if name in names and member.isfile() and not name.startswith("._"):
                    reader = archive.extractfile(member)
                    assert reader is not None, "it is a file"
                    found[name] = reader.read()
                if len(found) == len(names):
                    break
    except (tarfile.TarError, OSError, EOFError) as error:
        raise PrepareError(f"{path} can't be read ({error}): download it again") from error
    if missing := [name for name in names if name not in found]:
        raise PrepareError(f"{path} lacks {', '.join(missing)}: it must be {path.name} of its home")
    return [found[name] for name in names]
