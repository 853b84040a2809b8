"""Arguments of programs that hold each array once."""

import jax
import jax.numpy as jnp

from hlr_jax.distinct import distinct


def test_an_array_that_stands_twice_is_one_argument_and_comes_back_twice():
    first, second = jnp.arange(3.0), jnp.arange(3.0)
    packed = distinct({"a": first, "b": (second, first), "c": second})
    assert [id(array) for array in packed.arrays] == [id(first), id(second)]
    tree = packed.tree
    assert tree["a"] is tree["b"][1] is first
    assert tree["b"][0] is tree["c"] is second
    program = jax.jit(lambda packed: packed.tree["a"] @ packed.tree["b"][1] + packed.tree["c"].sum())
    assert len(program.lower(packed).compile().input_shardings[0][0].arrays) == 2
    assert program(packed) == 8.0
