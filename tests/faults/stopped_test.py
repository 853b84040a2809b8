"""Commands that are stopped at a random moment: run again, they give the same bits, or one line refuses.

SIGKILL leaves no chance to tidy up. SIGINT and SIGTERM end a command in one line, with nothing half-written. CI makes a
few attempts; ``HLR_JAX_FAULTS=all`` makes hundreds, and prints the counts.
"""

import hashlib
import itertools
import json
import os
import re
import shutil
import signal
from collections import Counter

import numpy as np
import polars as pl
import pytest
from forked import Server
from safetensors.numpy import load_file

DATA = "planted-60x50x900"
OWN = ["--config.model.embed_dim=4", "--config.train.num_epochs=3", "--quiet"]
TRAIN = {
    "cml": ["--config=cml-paper:planted", f"--config.dataset.name={DATA}", "--config.train.batch_size=300", *OWN],
    "ease": ["--config=ease", f"--config.dataset.name={DATA}", "--quiet"],
}
CONFIGS = """
from hlr_jax.configs.table2 import get_config as of_table2

def get_config(choice):
    config = of_table2(choice)
    if choice.startswith("cml"):
        config.model.embed_dim, config.train.num_epochs = 4, 2
    return config
"""
SWEEP = "sweep", "--config=mf_als:planted", f"--config.dataset.name={DATA}"
TABLE = "table2", f"--data={DATA}", "--num_seeds=1"
CASES = {
    "train cml": ["train", *TRAIN["cml"], "--workdir={out}"],
    "train ease": ["train", *TRAIN["ease"], "--workdir={out}"],
    "recommend cml": ["recommend", "--workdir={cml}", "--users=all", "--output={out}.parquet"],
    "recommend ease": ["recommend", "--workdir={ease}", "--users=all", "--output={out}.csv"],
    "recommend ease as JSON": ["recommend", "--workdir={ease}", "--users=all", "--explain", "--output={out}.jsonl"],
    "refit cml": ["refit", "--workdir={cml}", "--output={out}", "--quiet"],
    "refit ease": ["refit", "--workdir={ease}", "--output={out}", "--quiet"],
    "sweep": [*SWEEP, *OWN, "--grid=model.embed_dim=2,3", "--workdir={out}"],
    "table2 cml": [*TABLE, "--systems=popularity,cml", "--configs={configs}", "--workdir={out}"],
    "table2 ease": [*TABLE, "--systems=popularity,ease", "--workdir={out}"],
    "export cml": ["export", "--workdir={cml}", "--output={out}"],
    "export ease": ["export", "--workdir={ease}", "--output={out}"],
}
RESUMED = "train", "recommend", "refit", "sweep", "table2"
LINES = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
OF_CI = {
    signal.SIGKILL: ["train cml", "recommend ease", "table2 ease"],
    signal.SIGINT: ["refit ease"],
    signal.SIGTERM: ["export ease"],
}
ATTEMPTS = {signal.SIGKILL: 200, signal.SIGINT: 40, signal.SIGTERM: 40}  # of all
TIMES = {"seconds", "train_seconds", "positives_per_s", "users_per_s", "check"}  # what differs between two runs


def untimed(value):
    if isinstance(value, dict):
        return {name: untimed(entry) for name, entry in sorted(value.items()) if name not in TIMES}
    return [untimed(entry) for entry in value] if isinstance(value, list) else value


READ = {
    ".json": lambda path: untimed(json.loads(path.read_text())),
    ".jsonl": lambda path: [untimed(json.loads(line)) for line in path.read_text().splitlines()],
    ".parquet": lambda path: pl.read_parquet(path).drop(TIMES, strict=False).rows(),
    ".csv": lambda path: pl.read_csv(path).drop(TIMES, strict=False).rows(),
    # The order in which it names its tensors is any.
    ".safetensors": lambda path: {name: array.tobytes() for name, array in sorted(load_file(path).items())},
    ".md": lambda path: re.sub(r"Training took .* s in all", "", path.read_text()),
    ".png": lambda path: None,
}
READ[".tex"] = READ[".md"]


def result_in(folder):
    """Return a hash of each file, but for what times and machines change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        is_left = any(part.endswith(".tmp") for part in inside.parts)  # by SIGKILL
        if path.is_file() and path.name != "env.json" and not is_left:
            held = READ.get(path.suffix, lambda path: path.read_bytes())(path)
            found[inside.as_posix()] = hashlib.sha256(repr(held).encode()).hexdigest()
    return found


class Harness:
    """Runs commands whole, and stopped; what they write is in a folder that each finds empty."""

    def __init__(self, root):
        self.folder, self.root, self.run = root / "out", root, Server(root)
        self.undisturbed = {}
        (root / "configs.py").write_text(CONFIGS)

    def words(self, case):
        """Return the words of a command; what it reads is there then."""
        for name in TRAIN:
            if f"--workdir={{{name}}}" in CASES[case] and not (self.root / name).exists():
                assert self.run("train", *TRAIN[name], f"--workdir={self.root / name}").status == 0
        places = {name: self.root / name for name in TRAIN}
        places |= {"out": self.folder / "result", "configs": self.root / "configs.py"}
        return [word.format_map(places) for word in CASES[case]]

    def begin(self, case):
        """Return how long a command takes undisturbed, and its result; leave the folder empty."""
        for _ in range(0 if case in self.undisturbed else 2):  # the first one compiles what the second one finds
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir()
            done = self.run(*self.words(case))
            assert done.status == 0, done.stderr
            self.undisturbed[case] = done.seconds, result_in(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        return self.undisturbed[case]

    def attempt(self, case, number, share):
        """Stop a command after a share of its time, and run it again; return how that ends."""
        seconds, expected = self.begin(case)
        stopped = self.run(*self.words(case), number=number, after=share * seconds)
        if stopped.status == 0:  # the machine was busier before: the next attempts come sooner
            self.undisturbed[case] = min(seconds, stopped.seconds), expected
            return self.compared(expected, "done before")
        if problem := self.wrong_ending(case, number, stopped):
            return problem
        again = self.run(*self.words(case))
        if again.status:
            line = again.stderr.startswith("error: ") and again.stderr.count("\n") == 1
            return "refused" if again.status == 2 and line else f"again: {again.status}, {again.stderr[-500:]}"
        return self.compared(expected, "the same bits")

    def compared(self, expected, words):
        """Return these words if the result is what is expected; else what differs."""
        there = result_in(self.folder)
        differing = sorted(name for name in there | expected if there.get(name) != expected.get(name))
        return f"not {words}: {differing[:5]}" if differing else words

    def wrong_ending(self, case, number, stopped):
        """Return what is wrong with how a signal ends a command; nothing: nothing is."""
        if number == signal.SIGKILL:
            return "" if stopped.status == -number else f"status {stopped.status}: {stopped.stderr[-500:]}"
        words = self.words(case)
        hint = "; to resume: hlr-jax " + " ".join(words) if words[0] in RESUMED else ""
        line = f"{LINES[number]}{hint}\n"
        if (stopped.status, stopped.stderr) != (128 + number, line):
            return f"status {stopped.status}: {stopped.stderr[-500:]}"
        left = [path.name for path in self.folder.rglob("*.tmp*")]
        return f"half-written: {left}" if left else ""

    def close(self):
        self.run.close()


@pytest.fixture(scope="module")
def harness(tmp_path_factory):
    made = Harness(tmp_path_factory.mktemp("stopped"))
    yield made
    made.close()


@pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="needs Linux")
@pytest.mark.parametrize("number", ATTEMPTS, ids=lambda number: number.name)
def test_a_stopped_command_goes_on_with_the_same_bits(harness, number):
    everything = os.environ.get("HLR_JAX_FAULTS") == "all"
    cases = list(itertools.islice(itertools.cycle(CASES), ATTEMPTS[number])) if everything else OF_CI[number]
    counts, failed = Counter(), []
    for case, share in zip(cases, np.random.default_rng(int(number)).uniform(size=len(cases)), strict=True):
        end = harness.attempt(case, number, share)
        known = end in ("the same bits", "refused", "done before")
        counts[end if known else "failed"] += 1
        if everything:
            print(f"{case}, {number.name} at {share:.3f}: {end}", flush=True)
        if not known:
            failed.append(f"{case}, {number.name} at {share:.3f}: {end}")
    if everything:
        print(f"\n{len(cases)} attempts with {number.name}: {json.dumps(counts)}")
    assert not failed, "\n".join(failed)
    assert counts["the same bits"] or not everything  # a busy machine may have been slower before
