"""The options of each model: the section ``model`` of a config, behind ``model.name``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

from hlr_jax.errors import InputError
from hlr_jax.settings import Settings, number, word

P = ParamSpec("P")
Options = TypeVar("Options")
Made = TypeVar("Made")

SAMPLING = ("uniform", "inverse_popularity")
VARIANTS = ("paper", "reference")
KERNELS = ("xla", "pallas")
USERS = ("table", "history")
SOLVERS = ("cg", "cholesky")


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Settings):
    """What every model has.

    Attributes:
      embed_dim: D, the length of the vectors of users and items.
    """

    section: ClassVar[str] = "model"
    solved: ClassVar[bool] = False
    """Whether parameters are solved for; else they are trained by gradients."""

    embed_dim: int = number(100, 1, 65536)


@dataclass(frozen=True, kw_only=True)
class MetricOptions(ModelOptions):
    """What every model of distances has.

    Attributes:
      radius: of the ball that items stay in; 0: none.
      user_radius: of the ball that users stay in; 0: none, as users need who start from factors (``train.start=als``).
    """

    radius: float = number(1.0, 0.0, 1e6)
    user_radius: float = number(1.0, 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class CMLOptions(MetricOptions):
    """Of CML.

    Attributes:
      user: table: each user has a vector of its own. history: p_u is made from source vectors x_j of the user's items,
        so that new users need no training; trained with ``train.batch=users`` alone.
      tied: of history: the items' own vectors are the source vectors; else these have a table of their own.
      count_exponent: a, of history: p_u = sum x_j / n^a over the user's n items; 1 is the mean.

    Raises:
      InputError: also if ``tied`` or ``count_exponent`` is set and users have a table, or ``user_radius`` and they have
        none.
    """

    user: str = word("table", USERS)
    tied: bool = False
    count_exponent: float = number(1.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        """Check every field, and that what is set is read."""
        super().__post_init__()
        other, unread = ("history", ("tied", "count_exponent")) if self.user == "table" else ("table", ("user_radius",))
        for name in unread:
            if getattr(self, name) != getattr(CMLOptions, name):
                raise InputError(f"model.{name} is for model.user={other}: set that too, or leave it out")


@dataclass(frozen=True, kw_only=True)
class LRMLOptions(MetricOptions):
    """Of LRML, and of all models with memories.

    Attributes:
      num_memories: N, the number of keys and of memories.
      project_memories: whether the rows of keys and memories stay in the unit ball too.
      memory_radius: of a ball of the memories' own, which bounds how far a relation moves a user; None: as above.
      center_memories: whether each step subtracts the mean memory: a relation can then not be one constant.
      share_relation: whether training measures the negatives with the relation of the positive.
      key_scale: what multiplies the logits of the softmax over keys; above 1 it is sharper, and 0 makes it uniform.

    Raises:
      InputError: also if the one memory that there is would be its own mean.
    """

    num_memories: int = number(20, 1, 65536)
    project_memories: bool = False
    memory_radius: float | None = number(None, 0.0, 1e6)
    center_memories: bool = False
    share_relation: bool = False
    key_scale: float = number(1.0, 0.0, 1e6)

    def __post_init__(self) -> None:
        """Check every field, and that centering leaves memories."""
        super().__post_init__()
        if self.center_memories and self.num_memories < 2:
            raise InputError("model.center_memories makes a single memory 0: set model.num_memories to 2 or more")


@dataclass(frozen=True, kw_only=True)
class HLROptions(LRMLOptions):
    """Of HLR.

    Attributes:
      max_history: H, the most items of the user that the attention reads; more are sampled anew at each visit.
      history_sampling: how they are drawn, in either case without replacement.
      variant: paper: eq. 5-6 run over the user's items. reference: as in the released code; for HLR, p_u joins them as
        one more neighbor, so that a user without items still has a relation.
      kernel: what computes the attention of many candidates at once; pallas is a GPU kernel.
      attention_scale: what multiplies the logits of the softmax over neighbors (for HLR++ of both); as ``key_scale``.
      learned_scales: whether training goes on from ``key_scale`` and ``attention_scale`` and learns both.

    Raises:
      InputError: also if scales are learned from 0, which has no logarithm.
    """

    max_history: int = number(50, 1, 65536)
    history_sampling: str = word("uniform", SAMPLING)
    variant: str = word("paper", VARIANTS)
    kernel: str = word("xla", KERNELS)
    attention_scale: float = number(1.0, 0.0, 1e6)
    learned_scales: bool = False

    def __post_init__(self) -> None:
        """Check every field, and that learned scales have a logarithm."""
        super().__post_init__()
        if self.learned_scales and not (self.key_scale and self.attention_scale):
            raise InputError("model.learned_scales: set model.key_scale and model.attention_scale above 0")


@dataclass(frozen=True, kw_only=True)
class HLRPPOptions(HLROptions):
    """Of HLR++.

    Attributes:
      max_item_users: A, the most users of the item that the variant paper reads; more are sampled anew.
      item_users_sampling: how they are drawn; inverse_popularity: users of few items first.
    """

    max_item_users: int = number(20, 1, 65536)
    item_users_sampling: str = word("uniform", SAMPLING)


@dataclass(frozen=True, kw_only=True)
class AdaCMLOptions(MetricOptions):
    """Of AdaCML.

    Attributes:
      max_history: H, the most items of the user that the attention reads; more are sampled anew at each visit.
      history_sampling: how they are drawn, in either case without replacement.
    """

    max_history: int = number(50, 1, 65536)
    history_sampling: str = word("uniform", SAMPLING)


@dataclass(frozen=True, kw_only=True)
class TransCFOptions(MetricOptions):
    """Of TransCF.

    Attributes:
      neighborhood_weight: of the regularizer that pulls a vector to the mean of its neighbors.
      distance_weight: of the regularizer on the positive's squared distance.
    """

    neighborhood_weight: float = number(0.1, 0.0, 1e6)
    distance_weight: float = number(0.1, 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class MFALSOptions(ModelOptions):
    """Of MF-ALS.

    Attributes:
      confidence: c, the weight of an observed pair.
      regularization: lambda.
      frequency_exponent: nu, by which lambda grows with the weight of a row.
      solver: of the normal equations: cg, conjugate gradients from the factors at present, or cholesky, exact and slow.
      cg_steps: of each row in an iteration, for cg.
    """

    solved: ClassVar[bool] = True

    confidence: float = number(1.0, 1e-6, 1e6)
    regularization: float = number(30.0, 1e-6, 1e9)
    frequency_exponent: float = number(0.0, 0.0, 10.0)
    solver: str = word("cg", SOLVERS)
    cg_steps: int = number(3, 1, 10**4)


MODEL_OPTIONS: dict[str, type[ModelOptions]] = {
    "mf_als": MFALSOptions,
    "cml": CMLOptions,
    "lrml": LRMLOptions,
    "transcf": TransCFOptions,
    "adacml": AdaCMLOptions,
    "hlr": HLROptions,
    "hlrpp": HLRPPOptions,
}


def with_options(options: Callable[P, Options]) -> Callable[[Callable[[Options], Made]], Callable[P, Made]]:
    """Let a factory that takes an object of options be called with their keywords.

    Args:
      options: a dataclass, such as a subclass of ``ModelOptions``, that checks its values.

    Example:
      >>> @with_options(CMLOptions)
      ... def size(options):
      ...     return options.embed_dim
      >>> size(embed_dim=8)
      8
    """

    def decorate(factory: Callable[[Options], Made]) -> Callable[P, Made]:
        @wraps(factory)
        def called(*positional: P.args, **keywords: P.kwargs) -> Made:
            return factory(options(*positional, **keywords))

        made: Any = called
        made.__wrapped__ = options  # whose signature is the factory's
        return called

    return decorate
