"""Routines written in LLVM's vector instructions: what they are written with, compiled by and called through."""
