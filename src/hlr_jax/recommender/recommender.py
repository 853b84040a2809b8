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
from hlr_jax.serving.inputs import read_people
from hlr_jax.serving.lists import recommend
from hlr_jax.serving.new_rows import FoldInOptions
from hlr_jax.systems import System
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Params
from hlr_jax.workdir import read_config

Log = Callable[[str], None]


class Recommender(Spaces):
    """A trained model that recommends: parameters, settings and data, which belong together, and what to do with them.

    ``hlr_jax.fit`` and ``Recommender.load`` return it. Of several seeds it holds all and serves one. What it reads of
    the interactions is indexed once and stays on the device as long as the object lives, as compiled programs do.
    Ids are those of the source; one id is an id, and needs no list.

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
        """Put together what belongs together.

        Args:
          run: model, data, and parameters of each seed.
          settings: the config that they were trained with.
          metrics: of each split that was measured, over all seeds.
          place: of the seed that is served.

        Raises:
          InputError: the parameters are of another model or data set.
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
          folder: of either.
          seed: which of several seeds is served; None: the first.
          blend_seeds: of a run, whether all its seeds are one blend; see ``load_run``.
          mesh: of a run, the section ``mesh``; None: one device.
          log: takes lines for people.

        Raises:
          InputError: nothing of the kind is there, something is damaged, or the run has not ended.

        Example:
          >>> Recommender.load("/tmp/nothing")
          Traceback (most recent call last):
          hlr_jax.errors.InputError: /tmp/nothing holds no recommender: neither recommender.json nor config.json
        """
        folder = as_folder(folder)
        if (folder / artifact.MANIFEST).is_file():
            if blend_seeds or mesh:
                raise InputError(f"{folder} is a saved recommender: blend_seeds and meshes are for workdirs of runs")
            saved = artifact.read(folder)
            return cls(saved.run, saved.settings, saved.metrics)._serving(seed)
        if not (folder / "config.json").is_file() and not (folder / "checkpoints").is_dir():
            raise InputError(f"{folder} holds no recommender: neither {artifact.MANIFEST} nor config.json")
        settings, run = read_config(folder), load_run(folder, blend_seeds=blend_seeds, mesh=mesh, log=log)
        if blend_seeds:
            return cls(run, settings_of_blend(run, settings))._serving(seed)
        return cls(run, settings, _measured(folder, log))._serving(seed)

    def save(self, folder: str | Path) -> Path:
        """Write a folder that ``Recommender.load`` reads: parameters of all seeds, settings, ids, titles, interactions.

        It has no pickle in it: safetensors, JSON and Parquet. An older one there is replaced.

        Raises:
          InputError: something else is there, or the model was made by hand.
        """
        return artifact.write(as_folder(folder), artifact.Saved(self._run, self.settings, self.metrics))

    @property
    def seeds(self) -> list[int]:
        """The seeds that are held."""
        return self._run.seeds

    @property
    def best_epoch(self) -> int | None:
        """The epoch that the parameters are from; 0: what training started from."""
        return self._run.best_epochs[self._place]

    @property
    def served(self) -> tuple[LoadedRun, int]:
        """The run, and the place of the seed that is served."""
        return self._run, self._place

    def of_seed(self, seed: int) -> "Recommender":
        """Return the recommender that serves another seed.

        Raises:
          InputError: it is not held.
        """
        if seed not in self.seeds:
            raise InputError(f"seed {seed} is none of this run's seeds {', '.join(map(str, self.seeds))}")
        return Recommender(self._run, self.settings, self.metrics, place=self.seeds.index(seed))

    def _serving(self, seed: int | None) -> "Recommender":
        return self if seed is None or seed == self.seed else self.of_seed(seed)

    def __repr__(self) -> str:
        """Name the model, the data and what is held."""
        return f"Recommender({self.model.title}, {self.dataset.name}, seed {self.seed} of {self.seeds})"

    @cached_property
    def users(self) -> Population:
        """The users that the model was trained on."""
        return trained_population(self.model, self.params, self.dataset)

    @cached_property
    def parts(self) -> dict[str, "Recommender"]:
        """Each part of a blend as a recommender of its own, by label; of any other system there is none."""
        return {label: Recommender(*of_part) for label, of_part in runs_of_parts(self._run, self.settings).items()}

    def recommend(
        self, users: Any = None, *, histories: Any = None, k: int = 10, exclude: Any = None, candidates: Any = None,
        filter_seen: bool = True, num_reasons: int = 0, on_unknown: str = "error", log: Log = print,
    ) -> pl.DataFrame:  # fmt: skip
        """Return the best ``k`` items for each user.

        Args:
          users: one id or several; None: all.
          histories: people who are new, instead: see ``fold_in``; or whom it returned.
          k: K.
          exclude: items that may not be recommended: ids, or those of each user, as a frame of ``user`` and ``item``
            or a dict of items by user.
          candidates: the only items that may, in the same forms; a user without candidates gets no list.
          filter_seen: whether items that a user has met are left out.
          num_reasons: items of the history that are named beside each recommendation.
          on_unknown: what becomes of unknown ids: ``error``, ``skip`` or ``popular``; see ``hlr_jax.recommend``.
          log: takes lines for people.

        Returns:
          A frame of ``user``, ``rank`` (from 1), ``item``, ``title``, ``score``; then the reasons.

        Raises:
          InputError: an unknown id, no item left to recommend, or reasons of a model without a history.
        """
        given = histories if histories is None or isinstance(histories, Population) else read_people(histories)
        if users is None and on_unknown == "popular" and isinstance(given, pl.DataFrame):
            users = given["user"]  # those without a known item too
        return recommend(
            self.model, self.params, self.dataset, users, k=k, candidates=candidates, exclude=exclude,
            include_seen=not filter_seen, on_unknown=on_unknown, num_reasons=num_reasons,
            among=self._people(given, on_unknown, log), memory_limit_mib=self._run.parts.eval.memory_limit_mib,
            seed=self.seed, log=log,
        )  # fmt: skip

    def explain(
        self, user: object, items: Any, *, histories: Any = None, on_unknown: str = "error", log: Log = print
    ) -> pl.DataFrame:
        """Return what each item of the user's history adds to the score of each item; see ``hlr_jax.explain``.

        Args:
          user: an id; with ``histories`` of one person given as a list, ``"new"``.
          items: one id or several.
          histories: people who are new: see ``fold_in``; or whom it returned. None: the users of training.
          on_unknown: what becomes of items of histories that are unknown.
          log: takes lines for people.

        Raises:
          InputError: an unknown id, or a model without history.
        """
        among = self._people(histories, on_unknown, log)
        return explain(self.model, self.params, self.dataset, user, items, among=among, seed=self.seed)

    def fold_in(
        self, histories: Any, *, options: FoldInOptions | None = None, on_unknown: str = "error", log: Log = print
    ) -> Population:
        """Return people who were not trained in, ready for ``recommend`` and ``explain`` (``histories=``).

        The settings of training are the run's own.

        Args:
          histories: a frame of ``user`` and ``item``, a dict of items by user, or the items of one person, who is
            called ``"new"``.
          options: of the steps; None: the defaults.
          on_unknown: what becomes of unknown items: ``error`` or ``skip``.
          log: takes lines for people.

        Raises:
          InputError: an unknown item, nobody with a known one, or parameters on a mesh.
        """
        return fold_in(
            self.model, self.params, self.dataset, read_people(histories), training=self.training, options=options,
            on_unknown=on_unknown, seed=self.seed, log=log,
        )  # fmt: skip

    def _people(self, histories: Any, on_unknown: str, log: Log) -> Population:
        if histories is None:
            return self.users
        if not isinstance(histories, Population):
            return self.fold_in(histories, on_unknown=on_unknown, log=log)
        name = "item" if isinstance(self.model, Model) else next(iter(self.params))
        if histories.params.get(name) is not self.params[name]:
            raise InputError("histories: another recommender has folded these people in; call fold_in of this one")
        return histories

    def evaluate(self, split: str = "test", k: int | tuple[int, ...] = (5, 10, 20)) -> Evaluation:
        """Return the metrics of the lists of a split, ``valid`` or ``test``, at each K; see ``hlr_jax.evaluate``.

        Raises:
          InputError: the split has no interactions, or a K is out of range.
        """
        options = replace(self._run.parts.eval, k=k, monitor="loss")  # nothing is chosen any more
        relevant_of(self.dataset, split)
        if isinstance(self.model, Model) and split not in self._inputs:
            given = self.model, self.params, self.dataset, split, options, self.seed
            self._inputs[split] = evaluation_inputs(*given)
        return evaluate(
            self.model, self.params, self.dataset, split=split, options=options, seed=self.seed,
            inputs=self._inputs.get(split),
        )  # fmt: skip

    def export(self, folder: str | Path, *, k: int | None = None, **options: Any) -> Path:
        """Write a folder from which JAX alone recommends; see ``hlr_jax.export_model``.

        Args:
          folder: where to; an older export there is replaced.
          k: K; None: the main one of the settings.
          options: of ``export_model``, such as ``dtype`` and ``index``.

        Raises:
          InputError: see ``export_model``.
        """
        k = self._run.parts.eval.ks[0] if k is None else k
        of_run = {"seed": self.seed, "best_epoch": self.best_epoch}
        given: dict[str, Any] = {"k": k, "seed": self.seed, "training": self.training, "about": {"run": of_run}}
        return export_model(self.model, self.params, self.dataset, folder, **given | options)


def _measured(folder: Path, log: Log) -> dict[str, Metrics]:
    """Return the metrics by split of a run in its workdir; those of an earlier run there are left out."""
    measured = dict[str, Metrics]()
    for split in ("valid", "test"):
        if (folder / "eval" / f"{split}.json").is_file():
            try:
                measured[split] = read_metrics(folder, split)
            except OtherRunError as problem:
                log(f"no metrics of {split}: {problem}")
    return measured
