"""Every file that the package writes, damaged in every way, under every command that reads it.

An attempt ends well if the result is the one of the undamaged files, or if one line names the file and nothing else
happens. CI takes a sample; ``HLR_JAX_FAULTS=all`` takes all, and prints the counts.
"""

import hashlib
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from command_line import command

import hlr_jax
from hlr_jax.data import download
from hlr_jax.data.sources import DATASETS, Source
from hlr_jax.json_files import checked
from hlr_jax.locks import LOCK
from hlr_jax.recommender.recommender import Recommender
from hlr_jax.serving.answer import TopK
from hlr_jax.training.history import read_epochs

SAMPLE = 18  # attempts of CI
DATA = ["--config.dataset.name=planted-60x50x900"]
TRAIN = {
    "cml": ["--config=cml-paper:planted", *DATA, "--config.model.embed_dim=4", "--config.train.batch_size=300"],
    "ease": ["--config=ease", *DATA],
}
QUIET = {"log": lambda line: None}


def flipped(data, where):
    place = min(int(len(data) * where), len(data) - 1)
    return data[:place] + bytes([data[place] ^ 1 << (place % 8)]) + data[place + 1 :]


DAMAGES = {
    "cut in half": lambda data: data[: len(data) // 2],
    "cut by two bytes": lambda data: data[:-2],
    "emptied": lambda data: b"",
    "flipped early": lambda data: flipped(data, 0.1),
    "flipped in the middle": lambda data: flipped(data, 0.5),
    "flipped late": lambda data: flipped(data, 0.9),
    "junk": lambda data: np.random.default_rng(0).bytes(len(data)),
    "deleted": lambda data: None,
}
OF_JSON = {
    "a list": lambda data: b"[]\n",
    "an object without keys": lambda data: b"{}\n",
    "nested deeply": lambda data: b"[" * 100_000,
    "in UTF-16": lambda data: data.decode().encode("utf-16"),
}


def damages_of(path):
    return DAMAGES | OF_JSON if path.suffix in (".json", ".jsonl") else DAMAGES


def digest(value):
    return hashlib.sha256(repr(value).encode()).hexdigest()


def arrays_of(params):
    return {name: np.asarray(array).tobytes() for name, array in params.items()}


def succeed(*words):
    """Run a command; return what it prints, or raise its one line."""
    done = command(*words)
    if done.returncode:
        assert done.returncode == 2, done
        assert done.stderr.startswith("error: "), done.stderr
        raise hlr_jax.InputError(done.stderr.removesuffix("\n"))
    return done.stdout + done.stderr


# What each command returns: what it prints, its result by name, and nothing that depends on the clock.


def load(folder):
    loaded = Recommender.load(folder)
    return "", {"params": digest(arrays_of(loaded.params)), "data": loaded.dataset.fingerprint} | {
        split: digest(metrics.values) for split, metrics in loaded.metrics.items()
    }


def evaluate(folder):
    out = succeed("evaluate", f"--workdir={folder}")
    return out, {"metrics": digest([line for line in out.splitlines() if "0." in line and " s" not in line])}


def recommend(folder):
    output = folder.parent / "lists.parquet"
    out = succeed("recommend", f"--workdir={folder}", "--users=all", "--k=5", f"--output={output}")
    return out, {"lists": digest(pl.read_parquet(output).rows())}


def report(folder):
    output = folder.parent / "page.html"
    out = succeed("report", f"--workdir={folder}", f"--output={output}")
    sections = re.split(r"(?=<section)", output.read_text())
    # What is drawn from metrics.jsonl and env.json: where they are damaged the page says so.
    told = {name for name in ("metrics.jsonl", "env.json") if f"/{name}: " in out}
    kept = [part for part in sections if not told or not re.match(r'<section[^>]*id="(runs|curves|attention)', part)]
    return out, {"page": digest(kept)} if not told else {}


def compare(folder):
    out = succeed("compare", f"--workdir={folder},{folder.parent / 'other'}")
    return out, {"table": digest(out)}


def resume(folder, name="cml"):
    words = ["--config.train.num_epochs=3"] if name == "cml" else []
    out = succeed("train", *TRAIN[name], f"--workdir={folder}", "--quiet", *words)
    losses = [(line["epoch"], line.get("train_loss")) for line in read_epochs(folder / "metrics.jsonl")]
    _, result = load(folder)
    return out, result | {f"epoch {epoch}": loss for epoch, loss in losses}


def resume_ease(folder):
    return resume(folder, "ease")


def answer(folder):
    try:
        lists = TopK(folder)(["0", "7"] if (folder / "manifest.json").exists() else [])
    except ValueError as problem:
        raise hlr_jax.InputError(str(problem)) from None
    return "", {"lists": digest(lists.rows())}


def prepare(folder):
    lines = []
    os.environ["HLR_JAX_DATA"] = str(folder)
    dataset = hlr_jax.load_dataset("cached-log", log=lines.append)
    return "\n".join(lines), {"data": dataset.fingerprint}


COMMANDS = {
    "cml": (load, evaluate, recommend, report, compare, resume),
    "ease": (load, evaluate, recommend, report, compare, resume_ease),
    "saved": (load, recommend),
    "exported": (answer,),
    "cache": (prepare,),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder with each of the folders that the package writes, undamaged."""
    root = tmp_path_factory.mktemp("whole")
    succeed("train", *TRAIN["cml"], f"--workdir={root / 'cml'}", "--quiet", "--config.train.num_epochs=2")
    succeed("train", *TRAIN["ease"], f"--workdir={root / 'ease'}", "--quiet")
    held = {"host": "here", "process": 1, "since": "2026-01-01T00:00:00+00:00"}  # by a process that was killed
    (root / "cml" / LOCK).write_text(json.dumps(checked(held)))
    Recommender.load(root / "ease").save(root / "saved")
    succeed("export", f"--workdir={root / 'ease'}", f"--output={root / 'exported'}")
    (root / "cache/sources/cached-log").mkdir(parents=True)
    rows = [f"u{n % 12},i{n * 7 % 11},5,{n}\n" for n in range(90)]
    with download.zipfile.ZipFile(root / "cache/sources/cached-log/log.zip", "w") as file:
        file.writestr("in/log.csv", "user,item,rating,timestamp\n" + "".join(rows))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(DATASETS, "cached-log", (Source("https://127.0.0.1:9/log.zip", "", "in/log.csv", "csv", 4, 1),))
        patch.setenv("HLR_JAX_DATA", str(root / "cache"))
        prepare(root / "cache")
        yield root


def files_in(folder):
    return sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())


def all_attempts(root):
    return [
        (name, path, damage, act)
        for name, acts in COMMANDS.items()
        for path in files_in(root / name)
        for damage in damages_of(path)
        for act in acts
        if path.name != "answer.py"  # a program, and the reader's own
    ]


def copied(root, name, target):
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(root / name, target / name)
    if name in TRAIN:
        shutil.copytree(root / ("ease" if name == "cml" else "cml"), target / "other")
    return target / name


def attempt(root, target, name, path, damage, act, expected):
    """Return how an attempt ends: ``clean``, ``refused`` or ``recovered``; else what is wrong with it."""
    folder = copied(root, name, target)
    data = damages_of(path)[damage]((folder / path).read_bytes())
    (folder / path).unlink() if data is None else (folder / path).write_bytes(data)
    try:
        out, result = act(folder)
    except hlr_jax.InputError as problem:
        line = str(problem)
        named = path.name in line or str(path.parent) in line
        return "refused" if "\n" not in line and named else f"refused by {line!r}"
    except Exception as problem:
        return f"{type(problem).__name__}: {str(problem)[:300]}"
    differing = [key for key in result if result[key] != expected.get(key)]
    if differing:
        return f"another result: {differing}"
    return "recovered" if "warning: " in out and path.name in out else "clean"


def test_what_is_damaged_is_never_believed(whole, tmp_path):
    attempts, everything = all_attempts(whole), os.environ.get("HLR_JAX_FAULTS") == "all"
    chosen = attempts if everything else [attempts[at] for at in range(5, len(attempts), len(attempts) // SAMPLE)]
    expected, counts, failed = {}, Counter(), []
    for name, path, damage, act in chosen:
        if act not in expected.setdefault(name, {}):
            expected[name][act] = act(copied(whole, name, tmp_path / "here"))[1]
        end = attempt(whole, tmp_path / "here", name, path, damage, act, expected[name][act])
        counts[end if end in ("clean", "refused", "recovered") else "failed"] += 1
        if end not in ("clean", "refused", "recovered"):
            failed.append(f"{name}/{path}, {damage}, {act.__name__}: {end}")
    if everything:
        print(f"\n{len(chosen)} attempts: {json.dumps(counts)}")
        Path(os.environ.get("HLR_JAX_FAULTS_FILE", os.devnull)).write_text("\n".join(failed))
    assert not failed, "\n".join(failed[:40])
    assert len(attempts) >= 900
    assert counts["refused"] > len(chosen) / 4
