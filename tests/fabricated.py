"""Result folders as runs leave them, made by hand: nothing is trained for them."""

import json

import numpy as np
import polars as pl

USERS = 60
FIGURES = {"MAP": "map_over_k", "MRR": "rr_sum", "Popularity": "median_popularity"}
PER_USER = ("ndcg", "map", "mrr", "precision", "recall", "hit_rate", "map_over_k", "rr_sum")
HASH = "0123456789abcdef"
LEVELS = {"cml": 0.30, "hlr": 0.34, "lrml": 0.26}


def fabricate(folder, level, *, k=10, seeds=(0, 1, 2), noise=0.02, popularity=50.0, config=None, **summary):
    """Write the result folder of a run whose metrics are all about ``level``, and return it."""
    base = np.random.default_rng(0).uniform(-0.1, 0.1, USERS)  # users differ alike under every system
    rng = np.random.default_rng(int(level * 1e6))
    rows, frames = [], []
    for seed in seeds:
        values = {name: level + n / 100 + base + rng.normal(0, noise, USERS) for n, name in enumerate(PER_USER)}
        user = [f"u{n:02}" for n in range(USERS)]
        frames.append(pl.DataFrame({"seed": [seed] * USERS, "user": user, "relevant": [3] * USERS} | values))
        means = {f"{name}@{k}": float(value.mean()) for name, value in values.items()}
        row = means | {f"median_popularity@{k}": popularity + seed, f"coverage@{k}": 0.5, "seed": seed, "best_epoch": 4}
        rows.append(row)
    names = [name for name in rows[0] if "@" in name]
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    if len(seeds) > 1:
        mean["std"] = {name: float(np.std([row[name] for row in rows], ddof=1)) for name in names}
    facts = {"users": USERS, "items": 1234, "protocol": "reference", "protocol_hash": HASH, "data": "feed" * 4}
    facts |= {"figures": FIGURES, "seeds": rows}
    (folder / "eval").mkdir(parents=True)
    (folder / "eval" / "test.json").write_text(json.dumps(mean | facts | summary))
    # Two epochs of two seeds; the seconds of an epoch are those of all its seeds.
    lines = [{"epoch": epoch, "seed": seed, "seconds": 6.25} for epoch in (1, 2) for seed in seeds[:2]]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (folder / "config.json").write_text(json.dumps(config or {}))
    pl.concat(frames).write_parquet(folder / "eval" / "per_user.parquet")
    return folder
