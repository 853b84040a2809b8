"""The options of each model: the section ``model`` of a config, except ``model.name``."""

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
    """Options of every model.

    Attributes:
      embed_dim: D, the dimension of the vectors of users and items.
    """

    section: ClassVar[str] = "model"
    solved: ClassVar[bool] = False
    """Whether parameters are solved for instead of trained by gradients."""

    embed_dim: int = number(100, 1, 65536)


@dataclass(frozen=True, kw_only=True)
class MetricOptions(ModelOptions):
    """Options of every model whose score is a distance.

    Attributes:
      radius: radius of the ball that bounds the items; 0: no ball.
      user_radius: radius of the ball that bounds the users; 0: no ball, as ``train.start=als`` needs.
    """

    radius: float = number(1.0, 0.0, 1e6)
    user_radius: float = number(1.0, 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class CMLOptions(MetricOptions):
    """Options of CML.

    Attributes:
      user: table: each user has a learned vector. history: p_u is computed from source vectors x_j of the user's items,
        so new users need no training; needs ``train.batch=users``.
      tied: with history: use the items' vectors as source vectors; else source vectors are a separate table.
      count_exponent: with history: a in p_u = sum x_j / n^a over the user's n items; 1 gives the mean.

    Raises:
      InputError: a value out of range; ``tied`` or ``count_exponent`` with a table of users; or ``user_radius``
        without one.
    """

    user: str = word("table", USERS)
    tied: bool = False
    count_exponent: float = number(1.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        """Check every field, and that no unused option is set."""
        super().__post_init__()
        other, unread = ("history", ("tied", "count_exponent")) if self.user == "table" else ("table", ("user_radius",))
        for name in unread:
            if getattr(self, name) != getattr(CMLOptions, name):
                raise InputError(f"model.{name} needs model.user={other}; set that too, or leave out model.{name}")


@dataclass(frozen=True, kw_only=True)
class LRMLOptions(MetricOptions):
    """Options of LRML, and of all models with memories.

    Attributes:
      num_memories: N, the number of memory keys and of memory vectors.
      project_memories: whether memory keys and memory vectors are kept in the unit ball too.
      memory_radius: radius of the ball of memory vectors, which bounds how far a relation moves a user; None: the unit
        ball if ``project_memories``, else no ball.
      center_memories: whether each step subtracts the mean memory vector, so that relations can't all be one constant.
      share_relation: whether, in training, the distances of negatives use the relation of the positive.
      key_scale: factor of the logits of the softmax over keys; above 1 the weights are sharper, 0 makes them uniform.

    Raises:
      InputError: a value out of range, or ``center_memories`` with a single memory.
    """

    num_memories: int = number(20, 1, 65536)
    project_memories: bool = False
    memory_radius: float | None = number(None, 0.0, 1e6)
    center_memories: bool = False
    share_relation: bool = False
    key_scale: float = number(1.0, 0.0, 1e6)

    def __post_init__(self) -> None:
        """Check every field, and that centering does not make the only memory zero."""
        super().__post_init__()
        if self.center_memories and self.num_memories < 2:
            raise InputError("model.center_memories makes a single memory zero; set model.num_memories to 2 or more")


@dataclass(frozen=True, kw_only=True)
class HLROptions(LRMLOptions):
    """Options of HLR.

    Attributes:
      max_history: H, the maximum number of items of the user in the attention; longer histories are sampled anew each
        time.
      history_sampling: how items of the history are sampled, always without replacement.
      variant: paper: eq. 5-6 run over the user's items. reference: as in the released code. There, HLR also has p_u as
        a neighbor, so that users without items have a relation too.
      kernel: implementation of the attention over many candidates; pallas is a GPU kernel.
      attention_scale: factor of the logits of the softmax over neighbors (in HLR++ of both softmaxes); see
        ``key_scale``.
      learned_scales: whether both scales are learned, starting from ``key_scale`` and ``attention_scale``.

    Raises:
      InputError: a value out of range, or learned scales that start from 0, which has no logarithm.
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
            raise InputError("model.learned_scales needs scales above 0; set model.key_scale and model.attention_scale")


@dataclass(frozen=True, kw_only=True)
class HLRPPOptions(HLROptions):
    """Options of HLR++.

    Attributes:
      max_item_users: A, the maximum number of users of the item in the variant paper; more users are sampled anew each
        time.
      item_users_sampling: how these users are sampled; inverse_popularity prefers users with few items.
    """

    max_item_users: int = number(20, 1, 65536)
    item_users_sampling: str = word("uniform", SAMPLING)


@dataclass(frozen=True, kw_only=True)
class AdaCMLOptions(MetricOptions):
    """Options of AdaCML.

    Attributes:
      max_history: H, the maximum number of items of the user in the attention; longer histories are sampled anew each
        time.
      history_sampling: how items of the history are sampled, always without replacement.
    """

    max_history: int = number(50, 1, 65536)
    history_sampling: str = word("uniform", SAMPLING)


@dataclass(frozen=True, kw_only=True)
class TransCFOptions(MetricOptions):
    """Options of TransCF.

    Attributes:
      neighborhood_weight: weight of the regularizer that pulls a vector to the mean of its neighbors.
      distance_weight: weight of the regularizer on the positive's squared distance.
    """

    neighborhood_weight: float = number(0.1, 0.0, 1e6)
    distance_weight: float = number(0.1, 0.0, 1e6)


@dataclass(frozen=True, kw_only=True)
class MFALSOptions(ModelOptions):
    """Options of MF-ALS.

    Attributes:
      confidence: c, the weight of an observed pair.
      regularization: lambda.
      frequency_exponent: nu, the exponent by which lambda grows with the weight of a row.
      solver: of the normal equations: cg, conjugate gradients from the current factors, or cholesky, exact and slow.
      cg_steps: number of cg steps for each row in an iteration.
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
    """Let a factory that takes an options object be called with keyword arguments.

    Args:
      options: a dataclass that checks its values, such as a subclass of ``ModelOptions``.

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
        made.__wrapped__ = options  # gives the factory the signature of the options
        return called

    return decorate
