"""Result folders as runs leave them, made by hand: nothing is trained for them."""

import numpy as np
import polars as pl

from hlr_jax.files import sha256
from hlr_jax.folders import claim
from hlr_jax.json_files import json_lines, read_json, write_json
from hlr_jax.provenance import maker_of

USERS = 60
NAMES = {"MAP": "map_over_k", "MRR": "rr_sum", "Popularity": "median_popularity"}
PER_USER = ("ndcg", "map", "mrr", "precision", "recall", "hit_rate", "map_over_k", "rr_sum")
HASH = "0123456789abcdef"
LEVELS = {"cml": 0.30, "hlr": 0.34, "lrml": 0.26}


def metric_of(record, name, k=None):
    """Return the entry of a metric in a result file, at its main K unless another is given."""
    wanted = name, record["k"][0] if k is None else k
    return next(entry for entry in record["metrics"] if (entry["metric"], entry["k"]) == wanted)


def fabricate(folder, level, *, k=10, seeds=(0, 1, 2), noise=0.02, popularity=50.0, config=None, **summary):
    """Write the result folder of a run whose metrics are all about ``level``, and return it."""
    base = np.random.default_rng(0).uniform(-0.1, 0.1, USERS)  # users differ alike under every system
    rng = np.random.default_rng(int(level * 1e6))
    rows, frames = [], []
    for seed in seeds:
        values = {name: level + n / 100 + base + rng.normal(0, noise, USERS) for n, name in enumerate(PER_USER)}
        user = [f"u{n:02}" for n in range(USERS)]
        facts = {"seed": [seed] * USERS, "user": user, "k": [k] * USERS, "relevant": [3] * USERS}
        frames.append(pl.DataFrame(facts | values))
        means = {name: float(value.mean()) for name, value in values.items()}
        rows.append(means | {"median_popularity": popularity + seed, "coverage": 0.5})
    metrics = [
        {
            "metric": name, "k": k, "value": float(np.mean([row[name] for row in rows])),
            "std": float(np.std([row[name] for row in rows], ddof=1)) if len(seeds) > 1 else None,
            "by_seed": [row[name] for row in rows],
        }
        for name in rows[0]
    ]  # fmt: skip
    facts = {
        "split": "test", "users": USERS, "items": 1234, "data": "feed" * 4, "protocol": "reference",
        "protocol_hash": HASH, "names": NAMES, "seconds": 0.5, "k": [k],
        "seeds": [{"seed": seed, "best_epoch": 4} for seed in seeds], "metrics": metrics,
    }  # fmt: skip
    claim(folder, "run").release()
    (folder / "eval").mkdir()
    write_json(folder / "eval" / "test.json", facts | summary)
    # Two epochs of two seeds; the seconds of an epoch are those of all its seeds.
    lines = [{"epoch": epoch, "seed": seed, "seconds": 6.25, "best_epoch": 1} for epoch in (1, 2) for seed in seeds[:2]]
    (folder / "metrics.jsonl").write_text(json_lines(lines))
    run = {"seed": seeds[0], "learning_rate": 0.1, "margin": 1.0, "temperature": 1.0}
    progress = {"run": run, "best_epoch": 1, "best_value": None, "failed": "", "pruned": "", "epoch": 2}
    write_json(folder / "result" / "scorer.json", {"progress": progress})
    write_json(folder / "config.json", config or {})
    train_anew(folder, f"{level} {seeds}")
    pl.concat(frames).write_parquet(folder / "eval" / "per_user.parquet")
    sign(folder)
    return folder


def train_anew(folder, parameters):
    """Put the parameters of another training, some text, where those of a run are."""
    write_json(folder / "result" / "4" / "record.json", {"pieces": parameters})


def sign(folder, **changes):
    """Make what is in ``eval`` that of the run that is in the folder, and of the table beside it."""
    path = folder / "eval" / "test.json"
    signed = {"made_by": maker_of(folder), "per_user": sha256(folder / "eval" / "per_user.parquet")}
    write_json(path, read_json(path, {}, "") | signed | changes)
