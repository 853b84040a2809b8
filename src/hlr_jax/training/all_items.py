"""The loss of users over all items, and its gradient, for a model whose score is -|p_u - q_v|^2.

There are two kinds of work. Scores of users against all items are one matrix product. Positives are cells (user, item)
of compressed rows. The cells are processed in blocks of one size, whatever the users' numbers of positives. So nothing
is padded, and one program serves all users.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh, PartitionSpec

from hlr_jax.data.sampling import pair_bits
from hlr_jax.models.base import Model
from hlr_jax.sharding import rows_by_id, specs, whole_tables
from hlr_jax.training.batches import BatchSource
from hlr_jax.training.item_losses import ItemLoss, Square, Term
from hlr_jax.types import CSR, Params

T = TypeVar("T")

_BLOCK = 2048  # cells computed together: their vectors stay in a CPU's cache
_DENSE_BYTES = 8 << 20  # limit of the distances of users whose scores of all items are computed together
_FEWEST_USERS = 16  # in one product with all items, however many items there are


@struct.dataclass
class Users:
    """Some users [b].

    Attributes:
      row: in the table of users, if there is one.
      owner: the user's row in the interactions.
      weight: 0 for padding of the last batch, else 1.
    """

    row: jax.Array
    owner: jax.Array
    weight: jax.Array


@struct.dataclass
class History:
    """The histories that user vectors are made from, in training.

    Attributes:
      words: [2], random bits for the dropout, new for each batch.
      dropout: the share of a history that is left out (static).
    """

    words: jax.Array
    dropout: float = struct.field(pytree_node=False)

    def kept(self, owner: jax.Array, item: jax.Array) -> jax.Array:
        """Return which items of users stay in their histories, the same at every call: [C], [C] -> [C]."""
        if not self.dropout:
            return jnp.ones(item.shape, bool)
        return pair_bits(self.words, owner, item) >= jnp.uint32(self.dropout * 2**32)


@struct.dataclass
class Cells:
    """A block of cells [C].

    Attributes:
      place: the place of each cell's user among the users.
      owner: the user.
      item: of the pair.
      real: false for padding of the last block.
    """

    place: jax.Array
    owner: jax.Array
    item: jax.Array
    real: jax.Array


def over_cells(rows: CSR, users: Users, add: Callable[[T, Cells], T], start: T) -> T:
    """Fold ``add`` over all cells of some users, beginning with ``start``."""
    starts, degrees = rows.start(users.owner), jnp.where(users.weight > 0, rows.degree(users.owner), 0)
    ends = jnp.cumsum(degrees)

    def block(number: jax.Array, carry: T) -> T:
        index = number * _BLOCK + jnp.arange(_BLOCK)
        place = jnp.minimum(jnp.searchsorted(ends, index, side="right"), len(ends) - 1)
        real = index < ends[-1]
        within = starts[place] + index - ends[place] + degrees[place]
        return add(carry, Cells(place, users.owner[place], rows.items[jnp.where(real, within, 0)], real))

    return jax.lax.fori_loop(0, (ends[-1] + _BLOCK - 1) // _BLOCK, block, start)


def known_items(rows: CSR, users: Users, num_items: int) -> jax.Array:
    """Return a mask of the items in the rows of users: [b, I]."""
    count = len(users.row) * num_items

    def mark(marked: jax.Array, cells: Cells) -> jax.Array:
        flat = jnp.where(cells.real, cells.place * num_items + cells.item, count)
        return marked.at[flat].set(True, mode="drop")

    return over_cells(rows, users, mark, jnp.zeros(count, bool)).reshape(-1, num_items)


def loss_and_gradient(
    model: Model, loss: ItemLoss, params: Params, source: BatchSource, users: Users, history: History | None,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, Params]:  # fmt: skip
    """Return the sum of the losses of some users' positives [], each over all items, and its gradient.

    Args:
      model: one with ``Model.plain``.
      loss: the loss over all items.
      params: the parameters.
      source: positives and known items; where users are made from their items, ``neighbors`` has these items.
      users: the users of the positives.
      history: in training, where users are made from their items: each positive is left out of its own p_u. None: users
        have a table, or users are not made from the positives.
      mesh: divides the users and the tables; None: one device.
    """
    has_table = model.history_users is None

    def of_share(params: Params, source: BatchSource, users: Users, history: History | None) -> tuple[Any, ...]:
        people = params["user"][users.row] if has_table else None
        return _in_pieces(model, loss, params, people, source, users, history)

    def of_device(params: Params, source: BatchSource, users: Users, history: History | None) -> tuple[Any, ...]:
        people = rows_by_id(params["user"], users.row) if has_table else None
        whole = whole_tables({name: array for name, array in params.items() if name != "user"})
        value, of_items, of_people = _in_pieces(model, loss, whole, people, source, users, history)
        value, of_items = jax.lax.psum((value, of_items), "data")
        return value, of_items, of_people

    if mesh is None:
        value, gradient, of_people = of_share(params, source, users, history)
    else:
        by_user, everywhere = PartitionSpec("data"), PartitionSpec()
        share = jax.shard_map(
            of_device, mesh=mesh, in_specs=(specs(params), everywhere, by_user, everywhere),
            out_specs=(everywhere, everywhere, by_user), check_vma=False,
        )  # fmt: skip
        value, gradient, of_people = share(params, source, users, history)
    if has_table:
        gradient = gradient | {"user": jnp.zeros_like(params["user"]).at[users.row].add(of_people)}
    return value, gradient


def _in_pieces(
    model: Model, loss: ItemLoss, params: Params, people: jax.Array | None, source: BatchSource, users: Users,
    history: History | None,
) -> tuple[jax.Array, Params, jax.Array | None]:  # fmt: skip
    """Return the loss, and its gradients by arrays of items and by ``people`` [b, D], a few users at a time."""
    count = len(users.row)
    most = max(_FEWEST_USERS, _DENSE_BYTES // (4 * source.num_items)) if loss.meets_all else count
    size = max(size for size in range(1, count + 1) if count % size == 0 and size <= most)
    pieces = jax.tree.map(lambda array: array.reshape(count // size, size, *array.shape[1:]), (users, people))
    items = {name: array for name, array in params.items() if name != "user"}

    def add(total: tuple[jax.Array, Params], piece: tuple[Users, jax.Array | None]) -> tuple[Any, Any]:
        value, sums, of_people = _Piece(model, loss, items, source, history).add(total, *piece)
        return (value, sums), of_people

    nothing = jnp.zeros(()), jax.tree.map(jnp.zeros_like, items)
    (value, sums), of_people = jax.lax.scan(add, nothing, pieces)
    return value, sums, None if of_people is None else of_people.reshape(count, -1)


@struct.dataclass
class _Piece:
    """What the losses of a few users are computed from; ``params`` are whole arrays of items."""

    model: Model = struct.field(pytree_node=False)
    loss: ItemLoss
    params: Params
    source: BatchSource
    history: History | None

    def people(self, base: jax.Array, number: jax.Array) -> jax.Array:
        """Return p_u [..., D]: ``base`` itself, or made from the sum ``base`` of rows and their number [...]."""
        made = self.model.history_users
        return base if made is None else made.pool(base, number)

    def add(
        self, total: tuple[jax.Array, Params], users: Users, people: jax.Array | None
    ) -> tuple[jax.Array, Params, jax.Array | None]:
        """Add some users' loss and its gradient by items to totals; return both and the gradient by ``people``."""
        base, number = self._sums_of(users) if people is None else (people, jnp.zeros(len(people), jnp.int32))
        known = known_items(self.source.known, users, self.source.num_items) if self.loss.meets_all else None

        def rest_of(base: jax.Array, items: jax.Array) -> jax.Array:
            items = items[: self.source.num_items]  # on a mesh, tables end with rows of padding
            return self.loss.rest(self.people(base, number), items, known)

        rest, pull_back = jax.vjp(rest_of, base, self.params["item"])
        value, d_rest = jax.value_and_grad(lambda rest: self.loss.whole(rest) @ users.weight)(rest)

        def adding(term: Term, leaves_out: bool) -> Callable[[tuple, Cells], tuple]:
            def add(total: tuple, cells: Cells) -> tuple:
                value, sums, d_base, d_rest = total
                here, slopes = self._of_cells(term, leaves_out, cells, base, number, rest)
                g_base, g_rest, gradient = slopes
                sums = sums | {name: sums[name].at[cells.item].add(rows) for name, rows in gradient.items()}
                return value + here, sums, d_base.at[cells.place].add(g_base), d_rest.at[cells.place].add(g_rest)

            return add

        added = total[0] + value, total[1], jnp.zeros_like(base), d_rest
        added = over_cells(self.source.positives, users, adding(self.loss.positive, self.history is not None), added)
        if isinstance(self.loss, Square):
            added = over_cells(self.source.known, users, adding(self.loss.known, False), added)
        value, sums, d_base, d_rest = added
        through_rest, d_items = pull_back(d_rest)
        sums, d_base = sums | {"item": sums["item"] + d_items}, d_base + through_rest
        if people is None:
            return value, self._spread(sums, d_base, users), None
        return value, sums, d_base

    def _of_cells(
        self, term: Term, leaves_out: bool, cells: Cells, base: jax.Array, number: jax.Array, rest: jax.Array
    ) -> tuple[jax.Array, tuple[jax.Array, jax.Array, Params]]:
        """Return a term of pairs [], and its gradients by their rows [C, ...] of ``base``, ``rest`` and items.

        With ``leaves_out`` each item is left out of its user's history.
        """
        made = self.model.history_users if leaves_out else None
        names = dict.fromkeys(("item", made.source) if made else ("item",))  # a set's order would change the program
        rows = {name: self.params[name][cells.item] for name in names}

        def total(base: jax.Array, rest: jax.Array, rows: Params) -> jax.Array:
            count = number[cells.place]
            if made is not None:
                kept = self._kept(cells)
                base, count = base - jnp.where(kept[:, None], rows[made.source], 0), count - kept
            return jnp.sum(jnp.where(cells.real, term(self.people(base, count), rows["item"], rest), 0))

        return jax.value_and_grad(total, argnums=(0, 1, 2))(base[cells.place], rest[cells.place], rows)

    def _kept(self, cells: Cells) -> jax.Array:
        """Return which cells of histories are kept."""
        return cells.real if self.history is None else cells.real & self.history.kept(cells.owner, cells.item)

    def _histories(self) -> CSR:
        rows = self.source.neighbors.history.rows
        assert rows is not None
        return rows

    def _sums_of(self, users: Users) -> tuple[jax.Array, jax.Array]:
        """Return the sum [b, D] of the rows of each user's history after dropout, and their number [b]."""
        assert self.model.history_users is not None
        table = self.params[self.model.history_users.source]

        def add(total: tuple[jax.Array, jax.Array], cells: Cells) -> tuple[jax.Array, jax.Array]:
            kept = self._kept(cells)
            rows = jnp.where(kept[:, None], table[cells.item], 0)
            return total[0].at[cells.place].add(rows), total[1].at[cells.place].add(kept)

        nothing = jnp.zeros((len(users.row), table.shape[1])), jnp.zeros(len(users.row), jnp.int32)
        return over_cells(self._histories(), users, add, nothing)

    def _spread(self, sums: Params, d_base: jax.Array, users: Users) -> Params:
        """Return ``sums`` after adding the gradient [b, D] by each user's sum to every row in that sum."""
        assert self.model.history_users is not None

        def add(table: jax.Array, cells: Cells) -> jax.Array:
            return table.at[cells.item].add(jnp.where(self._kept(cells)[:, None], d_base[cells.place], 0))

        name = self.model.history_users.source
        return sums | {name: over_cells(self._histories(), users, add, sums[name])}
