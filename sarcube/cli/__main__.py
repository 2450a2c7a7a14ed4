"""Run as `python -m sarcube.cli`."""

from sarcube.cli import main

main()
