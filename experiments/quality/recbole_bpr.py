"""BPR of the package RecBole, on the CPU: a point every few epochs.

RecBole reads the split from its own ``atomic files``, which this module writes to a temporary folder.
"""

import contextlib
import importlib
import tempfile
from pathlib import Path

import numpy as np
import polars as pl
from quality.stopwatch import Curve, Split, Stopwatch, cores, product, read_split

# They may be absent where types are checked.
torch, config, data, models, trainers = (
    importlib.import_module(name)
    for name in ("torch", "recbole.config", "recbole.data", "recbole.model.general_recommender", "recbole.trainer")
)

_NAME, _USER, _ITEM = "split", "user_id", "item_id"


def main(
    watch: Stopwatch, path: str, factors: int, rate: float, regularization: float, batch_size: int = 2048,
    epochs: int = 100, every: int = 5,
) -> None:  # fmt: skip
    """Train with Adam, and evaluate every few epochs; ``regularization`` is the weight decay of Adam."""
    split = read_split(path)
    curve = Curve(watch, split)
    torch.set_num_threads(cores())
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # RecBole writes its logs here
        _write(split, Path(folder) / _NAME)
        settings = {
            "data_path": folder, "benchmark_filename": list(Split._fields), "load_col": {"inter": [_USER, _ITEM]},
            "USER_ID_FIELD": _USER, "ITEM_ID_FIELD": _ITEM, "use_gpu": False, "state": "ERROR", "show_progress": False,
            "embedding_size": factors, "learning_rate": rate, "weight_decay": regularization,
            "train_batch_size": batch_size, "epochs": every, "seed": 0, "log_wandb": False,
        }  # fmt: skip
        chosen = config.Config(model="BPR", dataset=_NAME, config_dict=settings)
        read = data.create_dataset(chosen)
        train, _, _ = data.data_preparation(chosen, read)
        model = models.BPR(chosen, train.dataset)
        trainer = trainers.Trainer(chosen, model)
        # RecBole orders its rows itself, and row 0 is padding; users without a row use it.
        tables = model.user_embedding, model.item_embedding
        places = [_places(read.field2token_id[_USER], split.train.shape[0]),
                  _places(read.field2token_id[_ITEM], split.train.shape[1])]  # fmt: skip
        for start in range(0, epochs, every):
            trainer.start_epoch, trainer.epochs = start, min(start + every, epochs)
            trainer.fit(train, saved=False, verbose=False)
            users, items = (table.weight.detach().numpy()[place] for table, place in zip(tables, places, strict=True))
            curve.point(product(users, items))


def _write(split: Split, folder: Path) -> None:
    """Write an ``.inter`` file for each part."""
    folder.mkdir()
    for part, matrix in split._asdict().items():
        columns = dict(zip((f"{_USER}:token", f"{_ITEM}:token"), matrix.nonzero(), strict=True))
        pl.DataFrame(columns).write_csv(folder / f"{_NAME}.{part}.inter", separator="\t")


def _places(tokens: dict[str, int], size: int) -> np.ndarray:
    """Return RecBole's row of each of our rows."""
    return np.array([tokens.get(str(index), 0) for index in range(size)])
