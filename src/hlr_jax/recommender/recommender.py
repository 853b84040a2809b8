"""A trained model, its parameters, settings and data as one object."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from hlr_jax.blends.runs import runs_of_parts, settings_of_blend
from hlr_jax.data.dataset import Dataset
from hlr_jax.errors import InputError, OtherRunError
from hlr_jax.evaluation.evaluate import Evaluation, evaluate, evaluation_inputs, relevant_of
from hlr_jax.evaluation.results import Metrics, read_metrics
from hlr_jax.folders import as_folder
from hlr_jax.loading import LoadedRun
from hlr_jax.models.base import Model
from hlr_jax.parameters import check_params
from hlr_jax.ranking.inputs import RankingInputs
from hlr_jax.ranking.population import Population, trained_population
from hlr_jax.recommender import artifact
from hlr_jax.recommender.spaces import Spaces
from hlr_jax.runs import load_run
from hlr_jax.serving.explain import explain
from hlr_jax.serving.export import export_model
from hlr_jax.serving.fold_in import fold_in
from hlr_jax.serving.inputs import read_new_users
from hlr_jax.serving.lists import recommend
from hlr_jax.serving.new_rows import FoldInOptions
from hlr_jax.systems import System
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params
from hlr_jax.workdir import read_config

Log = Callable[[str], None]


class Recommender(Spaces):
    """A trained model that recommends: parameters, settings and data as one object.

    ``hlr_jax.fit`` and ``Recommender.load`` return it. It may hold several seeds and serves one. The interactions that
    it reads are indexed once. They stay on the device, like the compiled programs, while the object exists. Ids are the
    original ones; wherever ids are expected, one id needs no list.

    Example:
      >>> recommender.recommend(users=7, k=2)["rank"].to_list()
      [1, 2]
      >>> recommender.recommend(histories=[3, 7], k=1)["user"].item()  # a new user, by two items
      'new'
    """

    def __init__(
        self, run: LoadedRun, settings: dict[str, Any], metrics: Mapping[str, Metrics] | None = None, *,
        place: int = 0,
    ):  # fmt: skip
        """Combine a run with its settings and metrics.

        Args:
          run: model, data, and parameters of each seed.
          settings: the config that they were trained with.
          metrics: of each measured split, over all seeds.
          place: position of the seed to serve.

        Raises:
          InputError: the parameters belong to another model or data set.
        """
        self._run, self._place = run, place
        self.settings, self.metrics = settings, dict(metrics or {})
        self.model: System = run.parts.model
        self.dataset: Dataset = run.parts.dataset
        self.params: Params = run.params[place]
        self.seed: int = run.seeds[place]
        self.training: TrainOptions = run.training_of(place)
        check_params(self.model, self.params, self.dataset.num_users, self.dataset.num_items)
        self._inputs: dict[str, RankingInputs] = {}

    @classmethod
    def load(
        cls, folder: str | Path, *, seed: int | None = None, blend_seeds: bool = False,
        mesh: dict[str, int] | None = None, log: Log = lambda line: None,
    ) -> "Recommender":  # fmt: skip
        """Return what ``save`` wrote, or the run in a workdir.

        Args:
          folder: a saved recommender, or a workdir.
          seed: the seed to serve; None: the first.
          blend_seeds: for a run, whether to blend all its seeds; see ``load_run``.
          mesh: for a run, the section ``mesh``; None: one device.
          log: receives log lines.

        Raises:
          InputError: the folder has no recommender or run, something is damaged, or the run is unfinished.

        Example:
          >>> Recommender.load("/tmp/nothing")
          Traceback (most recent call last):
          hlr_jax.errors.InputError: /tmp/nothing holds no recommender: neither recommender.json nor config.json
        """
        folder = as_folder(folder)
        if (folder / artifact.MANIFEST).is_file():
            if blend_seeds or mesh:
                raise InputError(f"{folder} is a saved recommender: blend_seeds and mesh need the workdir of a run")
            saved = artifact.read(folder)
            return cls(saved.run, saved.settings, saved.metrics)._serving(seed)
        if not (folder / "config.json").is_file() and not (folder / "checkpoints").is_dir():
            raise InputError(f"{folder} holds no recommender: neither {artifact.MANIFEST} nor config.json")
        settings, run = read_config(folder), load_run(folder, blend_seeds=blend_seeds, mesh=mesh, log=log)
        if blend_seeds:
            return cls(run, settings_of_blend(run, settings))._serving(seed)
        return cls(run, settings, _measured(folder, log))._serving(seed)

    def save(self, folder: str | Path) -> Path:
        """Write a folder for ``Recommender.load``: parameters of all seeds, settings, ids, titles and interactions.

        The files are safetensors, JSON and Parquet, without pickle. An older recommender there is replaced.

        Raises:
          InputError: the folder holds something else, or the model was not made by name.
        """
        return artifact.write(as_folder(folder), artifact.Saved(self._run, self.settings, self.metrics))

    @property
    def seeds(self) -> list[int]:
        """All seeds."""
        return self._run.seeds

    @property
    def best_epoch(self) -> int | None:
        """The epoch of the parameters; 0: the start of training."""
        return self._run.best_epochs[self._place]

    @property
    def served(self) -> tuple[LoadedRun, int]:
        """The run, and the position of the seed that is served."""
        return self._run, self._place

    def of_seed(self, seed: int) -> "Recommender":
        """Return the recommender that serves another seed.

        Raises:
          InputError: the run does not have the seed.
        """
        if seed not in self.seeds:
            raise InputError(f"seed {seed} is not among this run's seeds: {', '.join(map(str, self.seeds))}")
        return Recommender(self._run, self.settings, self.metrics, place=self.seeds.index(seed))

    def _serving(self, seed: int | None) -> "Recommender":
        return self if seed is None or seed == self.seed else self.of_seed(seed)

    def __repr__(self) -> str:
        """Name the model, the data and the seeds."""
        return f"Recommender({self.model.title}, {self.dataset.name}, seed {self.seed} of {self.seeds})"

    @cached_property
    def users(self) -> Population:
        """The users that the model was trained on."""
        return trained_population(self.model, self.params, self.dataset)

    @cached_property
    def parts(self) -> dict[str, "Recommender"]:
        """Each part of a blend as a recommender of its own, by label; empty for any other system."""
        return {label: Recommender(*of_part) for label, of_part in runs_of_parts(self._run, self.settings).items()}

    def recommend(
        self, users: Any = None, *, histories: Any = None, k: int = 10, exclude: Any = None, candidates: Any = None,
        filter_seen: bool = True, num_reasons: int = 0, on_unknown: str = "error", log: Log = print,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the best ``k`` items for each user.

        Args:
          users: one id or several; None: all.
          histories: new users in place of trained ones: see ``fold_in``; or the result of ``fold_in``.
          k: K.
          exclude: items that must not be recommended: ids, or those of each user, as a frame of ``user`` and ``item``
            or a dict of items by user.
          candidates: the only items that may be recommended, in the same forms; a user without candidates gets no list.
          filter_seen: whether to leave out the items of the user's training and validation interactions. Test items
            are left out after ``hlr-jax refit --train_splits=train+valid+test``; ``exclude`` leaves out any others,
            such as rows below a threshold.
          num_reasons: history items to show as reasons for each recommendation.
          on_unknown: how unknown ids are handled: ``error``, ``skip`` or ``popular``; see ``hlr_jax.recommend``.
          log: receives log lines.

        Returns:
          A frame of ``user``, ``rank`` (from 1), ``item``, ``title``, ``score``; then the reasons.

        Raises:
          InputError: an unknown id, no item left to recommend, or reasons of a model without a history.
        """
        given = histories if histories is None or isinstance(histories, Population) else read_new_users(histories)
        if users is None and on_unknown == "popular" and isinstance(given, pl.DataFrame):
            users = given["user"]  # includes those without a known item
        return recommend(
            self.model, self.params, self.dataset, users, k=k, candidates=candidates, exclude=exclude,
            include_seen=not filter_seen, on_unknown=on_unknown, num_reasons=num_reasons,
            among=self._users_of(given, on_unknown, log), memory_limit_mib=self._run.parts.eval.memory_limit_mib,
            seed=self.seed, log=log,
        )  # fmt: skip

    def explain(
        self, user: object, items: Any, *, histories: Any = None, on_unknown: str = "error", log: Log = print
    ) -> pl.DataFrame:
        """Return what each item of the user's history adds to the score of each item; see ``hlr_jax.explain``.

        Args:
          user: an id; ``"new"`` if ``histories`` is the list of one user's items.
          items: one id or several.
          histories: new users: see ``fold_in``; or the result of ``fold_in``. None: the trained users.
          on_unknown: how unknown items in histories are handled.
          log: receives log lines.

        Raises:
          InputError: an unknown id, or a model that gives no reasons.
        """
        among = self._users_of(histories, on_unknown, log)
        return explain(self.model, self.params, self.dataset, user, items, among=among, seed=self.seed)

    def fold_in(
        self, histories: Any, *, options: FoldInOptions | None = None, on_unknown: str = "error", log: Log = print
    ) -> Population:
        """Return new users, ready for ``recommend`` and ``explain`` (``histories=``).

        The settings of training are those of the run.

        Args:
          histories: a frame of ``user`` and ``item``, a dict of items by user, or the items of one user, who gets the
            id ``"new"``.
          options: of the steps; None: the defaults.
          on_unknown: how unknown items are handled: ``error`` or ``skip``.
          log: receives log lines.

        Raises:
          InputError: an unknown item, no user with a known item, or parameters on a mesh.
        """
        return fold_in(
            self.model, self.params, self.dataset, read_new_users(histories), training=self.training, options=options,
            on_unknown=on_unknown, seed=self.seed, log=log,
        )  # fmt: skip

    def _users_of(self, histories: Any, on_unknown: str, log: Log) -> Population:
        if histories is None:
            return self.users
        if not isinstance(histories, Population):
            return self.fold_in(histories, on_unknown=on_unknown, log=log)
        name = "item" if isinstance(self.model, Model) else next(iter(self.params))
        if histories.params.get(name) is not self.params[name]:
            raise InputError("histories: another recommender folded these users in; call fold_in of this one")
        return histories

    def evaluate(self, split: str = "test", k: int | tuple[int, ...] = (5, 10, 20)) -> Evaluation:
        """Return the metrics of the top-K lists on a split, ``valid`` or ``test``, at each K; see ``hlr_jax.evaluate``.

        Raises:
          InputError: the split has no interactions, or a K is out of range.
        """
        options = replace(self._run.parts.eval, k=k, monitor="loss")  # the monitor no longer matters
        relevant_of(self.dataset, split)
        if isinstance(self.model, Model) and split not in self._inputs:
            given = self.model, self.params, self.dataset, split, options, self.seed
            self._inputs[split] = evaluation_inputs(*given)
        return evaluate(
            self.model, self.params, self.dataset, split=split, options=options, seed=self.seed,
            inputs=self._inputs.get(split),
        )  # fmt: skip

    def export(self, folder: str | Path, *, k: int | None = None, **options: Any) -> Path:
        """Write a folder that recommends with JAX alone; see ``hlr_jax.export_model``.

        Args:
          folder: where to write; an older export there is replaced.
          k: K; None: the main K of the settings.
          options: for ``export_model``, such as ``dtype`` and ``index``.

        Raises:
          InputError: see ``export_model``.
        """
        k = self._run.parts.eval.ks[0] if k is None else k
        of_run = {"seed": self.seed, "best_epoch": self.best_epoch}
        given: dict[str, Any] = {"k": k, "seed": self.seed, "training": self.training, "about": {"run": of_run}}
        return export_model(self.model, self.params, self.dataset, folder, **given | options)


def _measured(folder: Path, log: Log) -> dict[str, Metrics]:
    """Return the metrics of a run in its workdir, by split, without those of an earlier run there."""
    measured = dict[str, Metrics]()
    for split in ("valid", "test"):
        if (folder / "eval" / f"{split}.json").is_file():
            try:
                measured[split] = read_metrics(folder, split)
            except OtherRunError as problem:
                log(f"no {split} metrics: {problem}")
    return measured
