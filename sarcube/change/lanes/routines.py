"""Routines compiled for this processor, and how compiled code calls them."""

from threading import Lock
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from sarcube.change.lanes.decibel import mean_decibel
from sarcube.change.lanes.instructions import ADDRESS, Instructions, Loop, vector_bytes
from sarcube.change.lanes.median import Median, write_median

_ARGUMENTS = 5
_NAME = "routine"

_compiled: dict[Median | None, tuple[Any, int]] = {}
_lock = Lock()


def median_routine(median: Median) -> int:
    """Return the address of the routine that takes a median, for `call_routine`; valid as long as the process lives.

    Its arguments are those of `write_median`.
    """
    return _address(median)


def decibel_routine() -> int:
    """Return the address of the routine that turns float32 powers into dB, for `call_routine`.

    Its arguments: the address of the address of the first pixel; how many vectors; nothing; where to write; nothing.
    """
    return _address(None)


def _call_routine(typing, routine, lines, vectors, most, out, buffer):  # type: ignore[no-untyped-def]
    """Call the routine at an address with its arguments, all int64."""
    signature = types.void(*[types.int64] * (1 + _ARGUMENTS))

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        function = ir.FunctionType(ir.VoidType(), [ADDRESS] * _ARGUMENTS)
        builder.call(builder.inttoptr(arguments[0], function.as_pointer()), arguments[1:])
        return context.get_dummy_value()

    return signature, generate


call_routine: Any = intrinsic(_call_routine)


def _address(median: Median | None) -> int:
    with _lock:
        if median not in _compiled:
            _compiled[median] = _compile(_written(median))
        return _compiled[median][1]


def _written(median: Median | None) -> str:
    module = ir.Module(_NAME)
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ADDRESS] * _ARGUMENTS), _NAME)
    write = Instructions(ir.IRBuilder(function.append_basic_block("entry")), median.dtype if median else "float32")
    if median:
        write_median(write, median, function.args)
    else:
        _write_decibel(write, *function.args)
    write.builder.ret_void()
    return str(module)


def _write_decibel(write: Instructions, lines: Any, vectors: Any, most: Any, out: Any, buffer: Any) -> None:
    builder = write.builder
    start = write.load_whole(lines)
    with Loop(builder, vectors) as loop:
        offset = builder.mul(loop.index, ADDRESS(vector_bytes()))
        power = write.load(builder.add(start, offset))
        decibel = mean_decibel(write, power, power)
        known = builder.fcmp_ordered("ord", power, power)
        write.store(builder.select(known, decibel, power), builder.add(out, offset))


def _compile(text: str) -> tuple[Any, int]:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(text)
    module.verify()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, engine.get_function_address(_NAME)  # the engine owns the code and must live as long
