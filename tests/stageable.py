"""A process that forks stagers to be killed: they start warm, so that a kill falls into the staging, not the imports.

Reads commands as JSON lines, forks a child for each, says its process id, waits for it, says how it ended.
"""

import json
import os
import sys

import pystac

import sarcube  # noqa: F401
from sarcube.acquisition.staging.stage import stage


def main() -> None:
    collection = pystac.ItemCollection.from_file(sys.argv[1])
    items = {item.id: item for item in collection}
    for line in sys.stdin:
        command = json.loads(line)
        child = os.fork()
        if child == 0:
            stage([items[name] for name in command["items"]], command["folder"], bbox=command["bbox"])
            os._exit(0)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
