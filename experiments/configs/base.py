"""The five sections that every config has. Each is the keyword arguments of one part of the package."""

from ml_collections import ConfigDict, config_dict

PLANTED_SMALL = "planted-500x300x15000"


def base_config(data: str) -> ConfigDict:
    """Return the defaults, with ``dataset`` set for ``data``.

    Args:
      data: what follows the colon of ``--config=FILE:data``: a data set of the registry; ``split``: a file of
        ``user``, ``item``, ``split`` columns; ``file``: a file of your own; ``planted``: a small synthetic world.
        The files of ``split`` and ``file`` are given by ``--config.dataset.path``.
    """
    config = ConfigDict()
    config.dataset = ConfigDict(
        {
            "name": {"split": "", "file": "", "planted": PLANTED_SMALL}.get(data, data),
            "path": "",
            "format": "auto",
            "user_column": "",
            "item_column": "",
            "rating_column": "",
            "timestamp_column": "",
            "split_column": "",
            "threshold": config_dict.placeholder(float),
            "k_core": config_dict.placeholder(int),
            "protocol": "reference",
            "split": "given" if data == "split" else "random",
            "unknown_users": "error",
            "train_splits": "train",
            "seed": 2021,
        }
    )
    config.model = ConfigDict()
    config.train = ConfigDict(
        {
            "num_epochs": 50,
            "batch_size": 1000,
            "optimizer": "adam",
            "storage": "float32",
            "learning_rate": 1e-3,
            "margin": 0.5,
            "temperature": 0.5,
            "temperatures": (),
            "objective": "hinge_hardest",
            "negatives": "own",
            "num_negatives": 1,
            "negative_popularity": 0.0,
            "ema_decay": 0.0,
            "patience": 0,
            "microbatch": 0,
            "num_seeds": 1,
            "checkpoint_every": 1,
        }
    )
    config.eval = ConfigDict(
        {"k": 10, "select_by": "loss", "num_valid_users": 0, "memory_limit_mib": 512, "num_cohorts": 1}
    )
    config.mesh = ConfigDict({"data": 1, "model": 1})
    config.seed = 0
    return config
