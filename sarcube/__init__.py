"""Sentinel-1 radar cubes and landslide maps, offline, on a laptop.

Public names, listed in `__init__.pyi`, are loaded on first use: `import sarcube` takes neither torch nor much time.
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
