"""Vector instructions for one type of value, and loops, on top of llvmlite's builder."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

ADDRESS = ir.IntType(64)
_SECOND_LEVEL = 2  # of the caches, in LLVM's counting of locality


@cache
def vector_bytes() -> int:
    """Return the width of this processor's vectors, or of two of them."""
    return 64 if llvm.get_host_cpu_features().get("avx512f") else 32


def lanes_of(dtype: Any) -> int:
    """Return how many pixels of a type are taken at once: widths must be multiples of it."""
    return vector_bytes() // int(np.dtype(dtype).itemsize)


class Instructions:
    """What can be done with vectors of float32 or float64."""

    def __init__(self, builder: ir.IRBuilder, dtype: str) -> None:
        self.builder = builder
        number, self.size = (ir.FloatType(), 4) if dtype == "float32" else (ir.DoubleType(), 8)
        lanes = lanes_of(dtype)
        self.floats = ir.VectorType(number, lanes)
        self.integers = ir.VectorType(ir.IntType(8 * self.size), lanes)

    def value(self, number: float) -> Any:
        """A number in every lane."""
        return ir.Constant(self.floats, [float(number)] * self.floats.count)

    def whole(self, number: int) -> Any:
        """A whole number, as wide as the values, in every lane."""
        return ir.Constant(self.integers, [number] * self.integers.count)

    def load(self, address: Any, kind: ir.Type | None = None) -> Any:
        """Load a vector, or a value of another type, from an address."""
        loaded = self.builder.load(self.builder.inttoptr(address, (kind or self.floats).as_pointer()))
        loaded.align = self.size
        return loaded

    def load_everywhere(self, address: Any) -> Any:
        """Load one value from an address into every lane."""
        one = self.load(address, self.floats.element)
        first = self.builder.insert_element(ir.Constant(self.floats, ir.Undefined), one, ir.IntType(32)(0))
        places = ir.Constant(ir.VectorType(ir.IntType(32), self.floats.count), [0] * self.floats.count)
        return self.builder.shuffle_vector(first, first, places)

    def store(self, value: Any, address: Any) -> None:
        """Store a vector at an address."""
        self.builder.store(value, self.builder.inttoptr(address, value.type.as_pointer())).align = self.size

    def load_whole(self, address: Any) -> Any:
        """Load one int64, such as an address, from an address."""
        return self.builder.load(self.builder.inttoptr(address, ADDRESS.as_pointer()))

    def prefetch(self, address: Any) -> None:
        """Ask for what lies at an address; it need not exist."""
        byte, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        function = self._external("llvm.prefetch.p0i8", ir.FunctionType(ir.VoidType(), [byte, word, word, word]))
        self.builder.call(function, [self.builder.inttoptr(address, byte), word(0), word(_SECOND_LEVEL), word(1)])

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        """a · b + c, rounded once where the processor can."""
        name = f"llvm.fmuladd.v{self.floats.count}f{8 * self.size}"
        function = self._external(name, ir.FunctionType(self.floats, [self.floats] * 3))
        return self.builder.call(function, [a, b, c])

    def square_root(self, value: Any) -> Any:
        """Square root."""
        name = f"llvm.sqrt.v{self.floats.count}f{8 * self.size}"
        return self.builder.call(self._external(name, ir.FunctionType(self.floats, [self.floats])), [value])

    def order(self, a: Any, b: Any) -> tuple[Any, Any]:
        """The smaller and the larger. As two selects of their own, each is one instruction of the processor."""
        low = self.builder.select(self.builder.fcmp_ordered("olt", a, b), a, b)
        return low, self.builder.select(self.builder.fcmp_ordered("ogt", a, b), a, b)

    def _external(self, name: str, kind: ir.FunctionType) -> Any:
        return self.builder.module.globals.get(name) or ir.Function(self.builder.module, kind, name)


class Loop:
    """`with` it, instructions are repeated for index = 0, 1 ... stop - 1, where stop is 1 or more.

    `carried` holds what one round hands to the next: at first what it was made with; a round puts its own there.
    """

    def __init__(self, builder: ir.IRBuilder, stop: Any, carried: Sequence[Any] = ()) -> None:
        self.builder, self.stop, self.carried = builder, stop, list(carried)

    def __enter__(self) -> "Loop":
        before, self.body = self.builder.block, self.builder.append_basic_block("body")
        self.builder.branch(self.body)
        self.builder.position_at_end(self.body)
        first = [ADDRESS(0), *self.carried]
        self.held = [self.builder.phi(value.type) for value in first]
        for held, value in zip(self.held, first, strict=True):
            held.add_incoming(value, before)
        self.index, *self.carried = self.held
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        following = [self.builder.add(self.index, ADDRESS(1)), *self.carried]
        after = self.builder.append_basic_block("after")
        for held, value in zip(self.held, following, strict=True):
            held.add_incoming(value, self.builder.block)
        self.builder.cbranch(self.builder.icmp_signed("<", following[0], self.stop), self.body, after)
        self.builder.position_at_end(after)
