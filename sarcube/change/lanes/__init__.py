"""Routines in vector instructions: as many pixels at once as the processor has lanes.

For every number of dates one routine is written in LLVM's vector instructions and compiled when it is first asked for,
in some hundredths of a second. Compilers do not find them by themselves: in a loop that reads from as many places as
there are dates they give up, silently, and take pixel by pixel. `docs/decisions/0007-vector-routines.md` says more.
"""
