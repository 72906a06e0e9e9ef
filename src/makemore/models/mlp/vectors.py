"""A type of Numba's for neighbouring numbers that the processor adds or multiplies at once.

LLVM turns loops over a row into instructions on several numbers by itself, but it reads and writes the row for each
term of a sum. With this type a loop names the sums that stay in registers until they are finished:

    s = zeros(a)
    for k in range(terms):
        s += x[k] * load(a, k, j)  # LANES sums at once
    store(out, i, j, s)

Functions that Numba compiles may use what is here; Python itself cannot.
"""

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import extending
from numba.core import cgutils, codegen, config, types
from numba.extending import models, overload, register_model

# What it makes is called with one argument less than it says.
intrinsic: Callable[[Callable[..., Any]], Any] = extending.intrinsic


def count_lanes() -> int:
    """How many numbers a vector has: 16 where the processor has registers for as many float32, otherwise 8."""
    chosen: str | None = vars(config)["CPU_FEATURES"]  # by the environment variable NUMBA_CPU_FEATURES
    features = codegen.get_host_cpu_features() if chosen is None else chosen
    return 16 if "+avx512f" in features else 8


LANES = count_lanes()
# A product and a sum may be rounded once, together.
CONTRACT = ("contract",)


class Vector(types.Type):
    """LANES numbers of one type."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Vector({dtype})")


@register_model(Vector)
class VectorModel(models.PrimitiveModel):
    """A vector of LLVM's."""

    def __init__(self, manager: Any, vector: Vector) -> None:
        element = manager.lookup(vector.dtype).get_value_type()
        super().__init__(manager, vector, ir.VectorType(element, LANES))  # type: ignore[no-untyped-call]


def _point(context: Any, builder: Any, signature: Any, arguments: Any, vector: Vector) -> tuple[Any, int]:
    """The address of a[i, j] as that of a vector, and to how many bytes it is aligned, for arguments a, i, j, ..."""
    array_type = signature.args[0]
    array = context.make_array(array_type)(context, builder, arguments[0])
    indices = [context.cast(builder, arguments[k], signature.args[k], types.intp) for k in (1, 2)]
    address = cgutils.get_item_pointer(context, builder, array_type, array, indices, wraparound=False)
    return builder.bitcast(address, context.get_value_type(vector).as_pointer()), array_type.dtype.bitwidth // 8


def _spread(builder: Any, number: Any) -> Any:
    """A vector that has a number LANES times."""
    vector = ir.VectorType(number.type, LANES)
    lane = ir.IntType(32)
    alone = builder.insert_element(ir.Constant(vector, ir.Undefined), number, ir.Constant(lane, 0))
    return builder.shuffle_vector(alone, alone, ir.Constant(ir.VectorType(lane, LANES), [0] * LANES))


@intrinsic
def zeros(_: Any, a: Any) -> Any:
    """A vector of zeros, of the same type of numbers as an array."""
    vector = Vector(a.dtype)
    return vector(a), lambda context, *_: ir.Constant(context.get_value_type(vector), None)


@intrinsic
def load(_: Any, a: Any, i: Any, j: Any) -> Any:
    """a[i, j : j + LANES], which must be there and side by side."""
    vector = Vector(a.dtype)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, alignment = _point(context, builder, signature, arguments, vector)
        return builder.load(address, align=alignment)

    return vector(a, i, j), generate


@intrinsic
def store(_: Any, a: Any, i: Any, j: Any, v: Any) -> Any:
    """Writes a vector to a[i, j : j + LANES]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address, alignment = _point(context, builder, signature, arguments, v)
        builder.store(arguments[3], address, align=alignment)
        return context.get_dummy_value()

    return types.void(a, i, j, v), generate


@intrinsic
def without_first(_: Any, v: Any, n: Any) -> Any:
    """A vector with zeros in the place of its first n numbers."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        count = builder.trunc(context.cast(builder, arguments[1], signature.args[1], types.intp), ir.IntType(32))
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), list(range(LANES)))
        kept = builder.icmp_signed(">=", lanes, _spread(builder, count))
        return builder.select(kept, arguments[0], ir.Constant(arguments[0].type, None))

    return v(v, n), generate


@intrinsic
def total(_: Any, v: Any) -> Any:
    """The sum of a vector's numbers, in any order."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        number = arguments[0].type.element
        name = f"llvm.vector.reduce.fadd.v{LANES}f{v.dtype.bitwidth}"
        reduce = ir.FunctionType(number, [number, arguments[0].type])
        function = cgutils.get_or_insert_function(builder.module, reduce, name)
        return builder.call(function, [ir.Constant(number, -0.0), arguments[0]], fastmath=("reassoc",))

    return v.dtype(v), generate


@intrinsic
def _add(_: Any, v: Any, w: Any) -> Any:
    return v(v, w), lambda _, builder, __, arguments: builder.fadd(*arguments, flags=CONTRACT)


@intrinsic
def _multiply(_: Any, x: Any, v: Any) -> Any:
    def generate(_: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        factor = arguments[0] if signature.args[0] == v else _spread(builder, arguments[0])
        return builder.fmul(factor, arguments[1], flags=CONTRACT)

    return v(x, v), generate


@overload(operator.iadd, strict=False)
@overload(operator.add, strict=False)
def add(v: Any, w: Any) -> Callable[..., Any] | None:
    """The sum of two vectors."""
    return (lambda v, w: _add(v, w)) if isinstance(v, Vector) and v == w else None  # noqa: PLW0108 (Numba compiles it)


@overload(operator.mul, strict=False)
def multiply(x: Any, v: Any) -> Callable[..., Any] | None:
    """The product of a vector with another one, or with a number of its type on the left."""
    by_vector = isinstance(v, Vector) and x in (v, v.dtype)
    return (lambda x, v: _multiply(x, v)) if by_vector else None  # noqa: PLW0108 (Numba compiles it)
