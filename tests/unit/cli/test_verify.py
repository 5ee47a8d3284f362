"""``podium verify``: what is proven of a signed result, and what every change of it breaks."""

from __future__ import annotations

import hashlib
import json
import random

import pytest
import typer
from typer.testing import CliRunner

from podium.cli.errors import UsageError
from podium.cli.main import app
from podium.cli.verify import verify as command
from podium.results import ledger
from podium.results.signature import new_signing_key
from podium.stores import NotFound, open_store
from podium.submissions import result_paths, verify
from tests.unit.results.signed import KEY, PUBLIC, made

MUTATIONS = 200


class Files:
    """A store of files in memory."""

    url = "memory:"

    def __init__(self, files):
        self.files = files

    def get(self, key):
        if key not in self.files:
            raise NotFound(key)
        return self.files[key]

    def chunks(self, key):
        yield self.get(key)

    def list(self, prefix=""):
        return sorted(key for key in self.files if key.startswith(prefix))


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    return made(tmp_path_factory.mktemp("signed"))


def said(files, key=PUBLIC):
    return [(finding.rule, finding.field) for finding in verify(Files(files), "", key).findings]


def test_a_signed_result_is_proven(result):
    found = verify(Files(result), "", PUBLIC)
    assert found.findings == ()
    assert found.sentence == (
        f"Proven: the holder of key {PUBLIC.keyid} signed its 13 files and the 14 lines of its ledger as the operator "
        "stored them, with each of the 3 tries that were made; not proven: that the program and its nodes did what they "
        "logged, and that no other run was made."
    )


# ---- mutations: each returns what was changed, and the rule and place that must name it ----


def resealed(files):
    """Make SHA256SUMS fit again, as someone would who cannot sign."""
    names = [name for name in files if name not in ("SHA256SUMS", "statement.dsse.json", "podium.pub")]
    text = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(names))
    return {**files, "SHA256SUMS": text.encode()}


def rechained(files, entries):
    """Make a ledger of `entries` whose chain holds and whose digests are those of the files."""
    lines, head = [], ledger.Head()
    for entry in entries:
        document = {**entry, "n": head.records + 1, "previous": head.sha256}
        if "files" in document:
            document["files"] = {n: hashlib.sha256(files[n]).hexdigest() for n in document["files"] if n in files}
        lines.append(json.dumps(document).encode() + b"\n")
        head = ledger.Head(head.records + 1, hashlib.sha256(lines[-1]).hexdigest())
    return {**files, "ledger.jsonl": b"".join(lines)}


def entries_of(files):
    return [record.entry for record in ledger.read(files["ledger.jsonl"])]


def a_byte(files, rng):
    name = rng.choice(sorted(files))
    content = bytearray(files[name])
    at = rng.randrange(len(content))
    content[at] ^= 1 << rng.randrange(8)
    if name in ("statement.dsse.json", "podium.pub"):
        return {**files, name: bytes(content)}, {("verify.signature", name)}, True
    rule = {"SHA256SUMS": "verify.signature", "ledger.jsonl": "verify.ledger"}.get(name, "verify.files")
    return {**files, name: bytes(content)}, {(rule, name)}, False


def a_dropped_attempt(files, rng):
    folder = rng.choice(["attempts/001/tries/0/", "attempts/002/"])
    left = {name: content for name, content in files.items() if not name.startswith(folder)}
    names = {("verify.files", name) for name in files if name.startswith(folder)}
    if rng.random() < 0.5:
        return left, names, False
    document = json.loads(files["result.json"])
    number = (1, 0) if "tries" in folder else (2, 0)
    document["attempts"] = [a for a in document["attempts"] if (a["index"], a["try"]) != number]
    left["result.json"] = json.dumps(document).encode()
    return resealed(left), {("verify.tries", "result.json"), ("verify.signature", "SHA256SUMS")}, False


def a_swapped_seed(files, rng):
    name = rng.choice(["result.json", "attempts/001/attempt.json", "attempts/002/attempt.json"])
    one, other = rng.sample([b'"seed": 11', b'"seed": 12', b'"seed": 13', b'"seed": 99'], 2)
    content = files[name].replace(one, b"\0").replace(other, one).replace(b"\0", other)
    if content == files[name]:
        content = files[name].replace(b'"seed": 12', b'"seed": 98').replace(b'"seed": 13', b'"seed": 98')
    changed = {**files, name: content}
    if rng.random() < 0.5:
        return changed, {("verify.files", name), ("verify.tries", name)}, False
    return (
        resealed(changed),
        {("verify.ledger", name), ("verify.tries", name), ("verify.signature", "SHA256SUMS")},
        False,
    )


def a_reordered_record(files, rng):
    lines = files["ledger.jsonl"].splitlines(keepends=True)
    one, other = rng.sample(range(len(lines)), 2)
    lines[one], lines[other] = lines[other], lines[one]
    changed = {**files, "ledger.jsonl": b"".join(lines)}
    return changed, {("verify.ledger", "ledger.jsonl"), ("verify.signature", "ledger.jsonl")}, False


def a_moved_clock(files, rng):
    lines = files["ledger.jsonl"].splitlines(keepends=True)
    at = rng.randrange(len(lines))
    document = json.loads(lines[at])
    document["time"] = f"2026-01-01T00:{rng.randrange(60):02}:00.000Z"
    lines[at] = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
    changed = {**files, "ledger.jsonl": b"".join(lines)}
    expected = {("verify.ledger", "ledger.jsonl"), ("verify.signature", "ledger.jsonl")}
    return (resealed(changed) if at < len(lines) - 1 and rng.random() < 0.5 else changed), expected, False


def sums_made_again(files, rng):
    name = rng.choice([name for name in files if name.startswith(("attempts/", "run", "system"))])
    changed = resealed({**files, name: files[name] + b"\n"})
    return changed, {("verify.ledger", name), ("verify.signature", "SHA256SUMS")}, False


def everything_made_again(files, rng):
    """A log, its digests, the ledger and SHA256SUMS: only the signature is left."""
    name = rng.choice(["attempts/001/result.txt", "attempts/002/result.txt"])
    changed = {**files, name: files[name].replace(b'"value": 19', b'"value": 18')}
    changed = resealed(rechained(changed, entries_of(files)))
    return changed, {("verify.signature", "SHA256SUMS"), ("verify.signature", "ledger.jsonl")}, True


def a_forged_beginning(files, rng):
    """As above, but of lines that a checkpoint had: the ledger's own entries contradict it."""
    name = rng.choice(["attempts/001/result.txt", "attempts/002/result.txt"])
    changed = {**files, name: files[name].replace(b'"value": 3}', b'"value": 4}')}
    changed = resealed(rechained(changed, entries_of(files)))
    return changed, {("verify.checkpoint", name), ("verify.signature", "ledger.jsonl")}, False


def a_try_that_was_never_made(files, rng):
    entries = [entry for entry in entries_of(files) if (entry.get("attempt"), entry.get("try")) != (1, 0)]
    changed = resealed(rechained(files, entries))
    return changed, {("verify.tries", "ledger.jsonl"), ("verify.signature", "ledger.jsonl")}, False


def another_pod(files, rng):
    """Everything but the signature is made again, and a try ran elsewhere."""
    entries = [dict(entry) for entry in entries_of(files)]
    entry = rng.choice([entry for entry in entries if entry["kind"] == "try"])
    entry["pods"] = [{**pod, rng.choice(["node", "name"]): "another"} for pod in entry["pods"]]
    changed = resealed(rechained(files, entries))
    name = {(1, 0): "001/tries/0", (1, 1): "001", (2, 0): "002"}[entry["attempt"], entry["try"]]
    return changed, {("verify.tries", f"attempts/{name}/attempt.json"), ("verify.signature", "ledger.jsonl")}, False


def an_added_file(files, rng):
    name = rng.choice(["attempts/003/result.txt", "attempts/001/logs/pod-1.log.gz", "notes.txt"])
    return {**files, name: b"x"}, {("verify.files", name)}, False


def another_signer(files, rng):
    statement = json.loads(new_signing_key().sign({"SHA256SUMS": "00" * 32}, {"run": {}, "x": 1}))
    return (
        {**files, "statement.dsse.json": json.dumps(statement).encode()},
        {("verify.signature", "statement.dsse.json")},
        True,
    )


def no_signature(files, rng):
    left = {name: content for name, content in files.items() if name != "statement.dsse.json"}
    return left, {("verify.signature", "statement.dsse.json")}, True


def a_signature_of_another_result(files, rng):
    envelope = KEY.sign({"SHA256SUMS": "00" * 32, "ledger.jsonl": "00" * 32}, {"run": {"name": "another"}})
    expected = {("verify.signature", name) for name in ("SHA256SUMS", "ledger.jsonl", "result.json")}
    return {**files, "statement.dsse.json": envelope}, expected, True


def a_change_that_says_the_same(files, rng):
    """Of the two files that SHA256SUMS cannot list: their content is the same when it is read."""
    name = rng.choice(["statement.dsse.json", "podium.pub"])
    change = rng.choice([lambda text: text + b"\n", lambda text: text.replace(b"\n", b"\r\n")])
    return {**files, name: change(files[name])}, {("verify.signature", name)}, True


def another_key_beside(files, rng):
    return {**files, "podium.pub": new_signing_key().public_pem.encode()}, {("verify.signature", "podium.pub")}, True


KINDS = [
    a_byte, a_dropped_attempt, a_swapped_seed, a_reordered_record, a_moved_clock, sums_made_again, everything_made_again,
    a_forged_beginning, a_try_that_was_never_made, an_added_file, another_signer, no_signature,
    a_signature_of_another_result, another_key_beside, another_pod, a_change_that_says_the_same,
]  # fmt: skip


@pytest.mark.parametrize("number", range(MUTATIONS))
def test_every_mutation_is_named(result, number):
    """And without the key, unless only the signature can show it."""
    rng = random.Random(number)
    kind = KINDS[number % len(KINDS)]
    files, expected, needs_key = kind(result, rng)
    assert files != result
    found = set(said(files))
    assert expected <= found, f"{kind.__name__}: {found}"
    assert verify(Files(files), "", PUBLIC).sentence.startswith("Not verified: ")
    unsigned = set(said(files, None))
    assert bool(unsigned) is not needs_key, f"{kind.__name__}: {unsigned}"


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("admitted", "run"), ("admitted", "round"), ("admitted", "benchmark"), ("admitted", "division"),
        ("admitted", "pinned"), ("result", "outcome"), ("result", "timeToTrainMinutes"), ("result", "valid"),
        ("result", "official"),
    ],
)  # fmt: skip
def test_the_first_and_the_last_line_say_what_the_result_says(result, kind, name):
    """Everything but the signature is made again."""
    entries = [dict(entry) for entry in entries_of(result)]
    (entry,) = (entry for entry in entries if entry["kind"] == kind)
    entry[name] = {"image": "another"} if name == "pinned" else "another"
    assert said(resealed(rechained(result, entries)), None) == [("verify.ledger", "result.json")]


# ---- hostile input ----


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"[1]\n", b"{}\n", b'{"kind": []}\n', b'{"kind": "try", "attempt": [1], "try": {}}\n', b"\xff\n",
        b'{"kind": "end", "attempt": 1, "try": 0, "files": [1]}\n', b'{"kind": "result", "files": {"a": 1}}\n',
        b'{"kind": "checkpoint", "attempt": 1, "try": 0, "logBytes": -5, "segment": 3}\n', b"[" * 100_000 + b"\n",
    ],
    ids=repr,
)  # fmt: skip
def test_any_line_in_a_ledger_is_only_a_finding(result, line):
    whole = result["ledger.jsonl"]
    for text in (line, whole + line, line + whole):
        for sealed in (lambda files: files, resealed):
            if text != whole:
                assert said(sealed({**result, "ledger.jsonl": text}))


@pytest.mark.parametrize("document", [b"", b"[]", b'{"attempts": 3}', b'{"attempts": [1, {"index": []}], "run": 1}'])
def test_any_result_json_is_only_a_finding(result, document):
    assert said({**result, "result.json": document})


# ---- the command ----


@pytest.fixture
def folder(tmp_path):
    made(tmp_path / "lab/digits-1")
    made(tmp_path / "lab/digits-2", signer=None)
    (tmp_path / "podium.pub").write_text(KEY.public_pem)
    return tmp_path


def run(capsys, *arguments, **options):
    with pytest.raises(typer.Exit) as end:
        command(*arguments, **options)
    return end.value.exit_code, capsys.readouterr().out


def test_the_command(folder, capsys):
    code, out = run(capsys, str(folder / "lab/digits-1"), folder / "podium.pub")
    assert code == 0
    assert out.startswith(f"Proven: the holder of key {PUBLIC.keyid} signed")
    code, out = run(capsys, str(folder / "lab/digits-2"), folder / "podium.pub")
    assert code == 1
    assert "verify.signature  statement.dsse.json: is missing: the result is not signed" in out
    assert "Not verified: 1 finding; nothing is proven." in out


def test_without_a_key_it_says_what_that_means(folder, capsys):
    code, out = run(capsys, str(folder))
    assert code == 0
    one, other = out.splitlines()
    assert one.startswith(
        "lab/digits-1: Not proven: the result is signed, but by whom was not checked: pass --key; its "
    )
    assert other.startswith("lab/digits-2: Not proven: the result is not signed; its 13 files and the 14 lines of its ")


def test_as_json(folder, capsys):
    code, out = run(capsys, str(folder / "lab/digits-1"), folder / "podium.pub", as_json=True)
    (document,) = json.loads(out)["results"]
    assert (code, document["signedBy"], document["tries"], document["findings"]) == (0, PUBLIC.keyid, 3, [])


def test_what_it_cannot_verify(folder, capsys):
    with pytest.raises(UsageError, match="there is no result of Podium; name the folder that contains SHA256SUMS"):
        command(str(folder / "lab/digits-1/attempts"))
    with pytest.raises(UsageError, match=r"--key: .*result\.json is not a public key; pass the one that podium keygen"):
        command(str(folder / "lab"), folder / "lab/digits-1/result.json")
    with pytest.raises(UsageError, match=r"--key: cannot read .*: No such file"):
        command(str(folder / "lab"), folder / "missing")


@pytest.mark.parametrize("left", ["SHA256SUMS", "ledger.jsonl", "statement.dsse.json", "result.json"])
def test_what_is_left_of_a_result_is_found(folder, left):
    result = folder / "lab/digits-1"
    for file in list(result.iterdir()):
        if file.is_file() and file.name != left:
            file.unlink()
    store = open_store(str(folder))
    assert result_paths(store) == ["lab/digits-1", "lab/digits-2"]
    assert verify(store, "lab/digits-1", PUBLIC).findings


# ---- what review and report say of it ----


def page_of(command_, place, *options):
    done = CliRunner().invoke(app, [command_, str(place), "--json", *map(str, options)])
    assert isinstance(done.exception, SystemExit | None), done.exception
    document = json.loads(done.stdout)
    if command_ == "report":
        (found,) = document
        said = [found["provenance"][name] for name in ("Signature", "Ledger", "Tries")]
        return said, {(f["rule"], f["where"]) for f in found["findings"]}
    (score,) = document["scores"]
    return score["notes"][-1].split("; "), {(f["rule"], f["where"]) for f in document["findings"]}


@pytest.mark.parametrize("command_", ["report", "review"])
def test_review_and_report_show_who_signed_and_what_was_tried(folder, command_):
    signed, unsigned, key = folder / "lab/digits-1", folder / "lab/digits-2", folder / "podium.pub"

    def verified(*arguments):
        said, findings = page_of(command_, *arguments)
        return said, {finding for finding in findings if finding[0].startswith("verify.")}

    complete, tries = "complete ledger of 14 lines", "3 tries made, 0 counted"
    assert verified(signed, "--key", key) == ([f"signed by key {PUBLIC.keyid}", complete, tries], set())
    beside = f"signed by key {PUBLIC.keyid}, which is beside it: podium verify --key K"
    assert verified(signed) == ([beside, complete, tries], set())
    assert verified(unsigned) == (["not signed", complete, tries], set())
    missing = {("verify.signature", "statement.dsse.json")}
    assert verified(unsigned, "--key", key) == (["not signed", complete, tries], missing)
    lines = (signed / "ledger.jsonl").read_bytes().splitlines(keepends=True)
    del lines[1]
    (signed / "ledger.jsonl").write_bytes(b"".join(lines))
    said, findings = verified(signed)
    assert said[0] == "not signed by the key beside it"
    assert said[1].startswith("ledger with ")
    assert said[2] == "2 tries made, 0 counted"
    assert {("verify.ledger", "ledger.jsonl"), ("verify.tries", "ledger.jsonl")} <= findings
    (signed / "podium.pub").unlink()
    assert verified(signed)[0][0] == "signed by a key that is not here"


def test_a_result_of_an_earlier_version_has_no_ledger(folder):
    result = folder / "lab/digits-2"
    (result / "ledger.jsonl").unlink()
    sums = (result / "SHA256SUMS").read_text().splitlines(keepends=True)
    (result / "SHA256SUMS").write_text("".join(line for line in sums if "ledger.jsonl" not in line))
    said, findings = page_of("review", result)
    assert said == ["not signed", "no ledger", "0 tries counted", "how many were made is not known"]
    assert not {finding for finding in findings if finding[0].startswith("verify.")}
