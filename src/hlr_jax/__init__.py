"""Relational collaborative metric learning in JAX: HLR (Tran et al. 2021) and what it is measured against."""

# Names are loaded when they are first used: a command checks its flags and shows help before JAX is there.
import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hlr_jax.blended_systems import Blend as Blend
    from hlr_jax.blended_systems import Part as Part
    from hlr_jax.blends.weights import BlendWeights as BlendWeights
    from hlr_jax.blends.weights import fit_weights as fit_weights
    from hlr_jax.data.dataset import Dataset as Dataset
    from hlr_jax.data.prepare import load_dataset as load_dataset
    from hlr_jax.data.report import ReadingReport as ReadingReport
    from hlr_jax.data.sources import register_dataset as register_dataset
    from hlr_jax.data.synthetic import SyntheticWorld as SyntheticWorld
    from hlr_jax.data.synthetic import synthetic_world as synthetic_world
    from hlr_jax.errors import InputError as InputError
    from hlr_jax.evaluation.evaluate import Evaluation as Evaluation
    from hlr_jax.evaluation.evaluate import evaluate as evaluate
    from hlr_jax.evaluation.metrics import register_metric as register_metric
    from hlr_jax.evaluation.options import EvalOptions as EvalOptions
    from hlr_jax.evaluation.results import Metrics as Metrics
    from hlr_jax.experiment import RunResult as RunResult
    from hlr_jax.experiment import run as run
    from hlr_jax.fitting.fit import FitResult as FitResult
    from hlr_jax.fitting.fit import train_model as train_model
    from hlr_jax.fitting.fit import train_seeds as train_seeds
    from hlr_jax.fitting.scorers import fit_scorer as fit_scorer
    from hlr_jax.loading import LoadedRun as LoadedRun
    from hlr_jax.losses import register_objective as register_objective
    from hlr_jax.models.base import ArraySpec as ArraySpec
    from hlr_jax.models.base import HistoryUsers as HistoryUsers
    from hlr_jax.models.base import Model as Model
    from hlr_jax.models.registry import create_model as create_model
    from hlr_jax.models.registry import model_names as model_names
    from hlr_jax.models.registry import register_model as register_model
    from hlr_jax.ranking.population import Population as Population
    from hlr_jax.recommender.blend import blend as blend
    from hlr_jax.recommender.fit import fit as fit
    from hlr_jax.recommender.recommender import Recommender as Recommender
    from hlr_jax.runs import load_run as load_run
    from hlr_jax.runs import refit as refit
    from hlr_jax.runs import update as update
    from hlr_jax.scorers.base import Scorer as Scorer
    from hlr_jax.serving.explain import explain as explain
    from hlr_jax.serving.export import export_model as export_model
    from hlr_jax.serving.fold_in import Catalogue as Catalogue
    from hlr_jax.serving.fold_in import fold_in as fold_in
    from hlr_jax.serving.fold_in import fold_in_items as fold_in_items
    from hlr_jax.serving.index import IndexOptions as IndexOptions
    from hlr_jax.serving.lists import recommend as recommend
    from hlr_jax.serving.nearest import nearest_keys as nearest_keys
    from hlr_jax.serving.nearest import similar_items as similar_items
    from hlr_jax.serving.nearest import similar_users as similar_users
    from hlr_jax.serving.new_rows import FoldInOptions as FoldInOptions
    from hlr_jax.serving.reason_quality import measure_reasons as measure_reasons
    from hlr_jax.training.history import Logger as Logger
    from hlr_jax.training.history import Record as Record
    from hlr_jax.training.options import TrainOptions as TrainOptions
    from hlr_jax.training.tensorboard import TensorBoardLogger as TensorBoardLogger
    from hlr_jax.types import Neighbors as Neighbors
    from hlr_jax.types import PairOutput as PairOutput
    from hlr_jax.types import Params as Params

_MODULE_OF = {
    "ArraySpec": "hlr_jax.models.base",
    "Blend": "hlr_jax.blended_systems",
    "BlendWeights": "hlr_jax.blends.weights",
    "Catalogue": "hlr_jax.serving.fold_in",
    "Dataset": "hlr_jax.data.dataset",
    "EvalOptions": "hlr_jax.evaluation.options",
    "Evaluation": "hlr_jax.evaluation.evaluate",
    "FitResult": "hlr_jax.fitting.fit",
    "FoldInOptions": "hlr_jax.serving.new_rows",
    "HistoryUsers": "hlr_jax.models.base",
    "IndexOptions": "hlr_jax.serving.index",
    "InputError": "hlr_jax.errors",
    "LoadedRun": "hlr_jax.loading",
    "Logger": "hlr_jax.training.history",
    "Metrics": "hlr_jax.evaluation.results",
    "Model": "hlr_jax.models.base",
    "Neighbors": "hlr_jax.types",
    "PairOutput": "hlr_jax.types",
    "Params": "hlr_jax.types",
    "Part": "hlr_jax.blended_systems",
    "Population": "hlr_jax.ranking.population",
    "ReadingReport": "hlr_jax.data.report",
    "Recommender": "hlr_jax.recommender.recommender",
    "Record": "hlr_jax.training.history",
    "RunResult": "hlr_jax.experiment",
    "Scorer": "hlr_jax.scorers.base",
    "SyntheticWorld": "hlr_jax.data.synthetic",
    "TensorBoardLogger": "hlr_jax.training.tensorboard",
    "TrainOptions": "hlr_jax.training.options",
    "blend": "hlr_jax.recommender.blend",
    "create_model": "hlr_jax.models.registry",
    "evaluate": "hlr_jax.evaluation.evaluate",
    "explain": "hlr_jax.serving.explain",
    "export_model": "hlr_jax.serving.export",
    "train_model": "hlr_jax.fitting.fit",
    "train_seeds": "hlr_jax.fitting.fit",
    "fit_scorer": "hlr_jax.fitting.scorers",
    "fit": "hlr_jax.recommender.fit",
    "fit_weights": "hlr_jax.blends.weights",
    "fold_in": "hlr_jax.serving.fold_in",
    "fold_in_items": "hlr_jax.serving.fold_in",
    "load_dataset": "hlr_jax.data.prepare",
    "load_run": "hlr_jax.runs",
    "measure_reasons": "hlr_jax.serving.reason_quality",
    "model_names": "hlr_jax.models.registry",
    "nearest_keys": "hlr_jax.serving.nearest",
    "recommend": "hlr_jax.serving.lists",
    "refit": "hlr_jax.runs",
    "register_dataset": "hlr_jax.data.sources",
    "register_metric": "hlr_jax.evaluation.metrics",
    "register_model": "hlr_jax.models.registry",
    "register_objective": "hlr_jax.losses",
    "run": "hlr_jax.experiment",
    "update": "hlr_jax.runs",
    "similar_items": "hlr_jax.serving.nearest",
    "similar_users": "hlr_jax.serving.nearest",
    "synthetic_world": "hlr_jax.data.synthetic",
}
__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("importlib.metadata").version("hlr_jax")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'hlr_jax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_MODULE_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
