"""Relational collaborative metric learning in JAX: HLR (Tran et al. 2021) and what it is measured against."""

from hlr_jax.data.dataset import Dataset
from hlr_jax.data.prepare import load_dataset
from hlr_jax.data.sources import register_dataset
from hlr_jax.data.synthetic import SyntheticWorld, synthetic_world
from hlr_jax.errors import InputError
from hlr_jax.evaluation.evaluate import Evaluation, evaluate
from hlr_jax.evaluation.metrics import register_metric
from hlr_jax.evaluation.options import EvalOptions
from hlr_jax.evaluation.results import Metrics
from hlr_jax.experiment import RunResult, run
from hlr_jax.losses import register_objective
from hlr_jax.models.base import ArraySpec, Model
from hlr_jax.models.registry import create_model, model_names, register_model
from hlr_jax.runs import LoadedRun, load_run, refit
from hlr_jax.serving.explain import explain
from hlr_jax.serving.export import export_model
from hlr_jax.serving.fold_in import FoldInOptions, fold_in
from hlr_jax.serving.lists import recommend
from hlr_jax.serving.nearest import nearest_keys, similar_items, similar_users
from hlr_jax.serving.population import Population
from hlr_jax.training.fit import FitResult, fit, fit_seeds
from hlr_jax.training.options import TrainOptions
from hlr_jax.types import Neighbors, PairOutput, Params

__all__ = [
    "ArraySpec",
    "Dataset",
    "EvalOptions",
    "Evaluation",
    "FitResult",
    "FoldInOptions",
    "InputError",
    "LoadedRun",
    "Metrics",
    "Model",
    "Neighbors",
    "PairOutput",
    "Params",
    "Population",
    "RunResult",
    "SyntheticWorld",
    "TrainOptions",
    "create_model",
    "evaluate",
    "explain",
    "export_model",
    "fit",
    "fit_seeds",
    "fold_in",
    "load_dataset",
    "load_run",
    "model_names",
    "nearest_keys",
    "recommend",
    "refit",
    "register_dataset",
    "register_metric",
    "register_model",
    "register_objective",
    "run",
    "similar_items",
    "similar_users",
    "synthetic_world",
]
