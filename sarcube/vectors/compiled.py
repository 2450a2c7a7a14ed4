"""Routines compiled for this processor, and how others call them."""

import ctypes
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Any, NamedTuple

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sarcube.vectors.instructions import ADDRESS, Instructions

_NAME = "routine"


class Routine(NamedTuple):
    """A routine in this process's memory, where it stays as long as the process lives."""

    address: int
    """For `call_routine`."""
    call: Callable[..., None]
    """Takes its arguments, all integers; runs without the interpreter's lock."""
    engine: Any
    """Owns the code."""


_routines: dict[tuple[Callable[..., None], Hashable], Routine] = {}
_lock = Lock()


def routine_for(write_body: Callable[..., None], case: Hashable, *, arguments: int, dtype: str = "float32") -> Routine:
    """Return the routine for a case, compiled for this processor when it is first asked for.

    Parameters
    ----------
    write_body : callable
        Called with `Instructions`, the case and the routine's arguments: writes what the routine does.
    case : hashable
        What distinguishes this routine from others that `write_body` writes.
    arguments : int
        How many there are; all int64. The routine returns nothing.
    dtype : {"float32", "float64"}
        The values in the vectors.

    Returns
    -------
    Routine
    """
    key = write_body, case
    if key not in _routines:
        with _lock:  # whoever waited finds it there
            if key not in _routines:
                _routines[key] = _compile(_written(write_body, case, arguments, dtype), arguments)
    return _routines[key]


def _call_routine(typing, routine, values):  # type: ignore[no-untyped-def]
    """Call the routine at an address (int64) with a tuple of int64."""
    signature = types.void(types.int64, values)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        count = len(signature.args[1])
        function = ir.FunctionType(ir.VoidType(), [ADDRESS] * count)
        given = [builder.extract_value(arguments[1], place) for place in range(count)]
        builder.call(builder.inttoptr(arguments[0], function.as_pointer()), given)
        return context.get_dummy_value()

    return signature, generate


call_routine: Any = intrinsic(_call_routine)


def _written(write_body: Callable[..., None], case: Hashable, arguments: int, dtype: str) -> str:
    module = ir.Module(_NAME)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ADDRESS] * arguments), _NAME)
    write = Instructions(ir.IRBuilder(function.append_basic_block("entry")), dtype)
    write_body(write, case, *function.args)
    write.builder.ret_void()
    return str(module)


def _compile(text: str, arguments: int) -> Routine:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    address = engine.get_function_address(_NAME)
    return Routine(address, ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * arguments)(address), engine)
