"""Make ready to train, validate and rank in one of two processes, and print which interactions that read.

python reading.py FOLDER HOST:PORT PROCESS; the answer is a line of JSON, ranges of rows by file and column.
"""

import json
import sys
from pathlib import Path

import numpy as np

from hlr_jax import create_model
from hlr_jax.data.interactions import StoredInteractions
from hlr_jax.data.serialization import read_stored
from hlr_jax.distributed import connect
from hlr_jax.evaluation.evaluate import known_at
from hlr_jax.evaluation.tiles import known_of
from hlr_jax.sharding import create_mesh
from hlr_jax.training.batch_sampling import training_triplets, validation_triplets
from hlr_jax.training.batches import Negatives

folder, address, process = sys.argv[1:]
touched: dict[str, set[tuple[int, int]]] = {}
read = StoredInteractions._read


def counted(pairs: StoredInteractions, column: str) -> np.ndarray:
    ranges = touched.setdefault(f"{pairs._path.stem}.{column}", set())
    ranges.add((pairs._first, pairs._first + len(pairs)))
    return read(pairs, column)


StoredInteractions._read = counted  # type: ignore[method-assign]
connect(address, 2, int(process))
dataset = read_stored(Path(folder), check=False)
sizes, mesh = (dataset.num_users, dataset.num_items), create_mesh(2, 2)
model, negatives = create_model("hlrpp", embed_dim=4), Negatives("own", 2, 0.5)
training_triplets(dataset.train, *sizes, model, negatives, mesh)
validation_triplets(dataset.train, dataset.valid, *sizes, model, negatives, mesh)
known = known_at(dataset, "test")
known_of(model, known, known, *sizes, mesh)
print(json.dumps({name: sorted(ranges) for name, ranges in touched.items()}))
