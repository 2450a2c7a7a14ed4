"""What users see of sarcube; `__init__.py` loads each name from here on first use."""

from . import change as change
from . import detection as detection
from . import labels as labels
from . import metrics as metrics
from . import models as models
from . import sar as sar
from . import synthetic as synthetic
from . import windows as windows
from .acquisition.availability import availability as availability
from .acquisition.catalog import search as search
from .acquisition.folder import items_from_folder as items_from_folder
from .change.baselines import landslide_density as landslide_density
from .change.composite import composite as composite
from .cube.foreign.insar import add_insar as add_insar
from .cube.foreign.landslide_cubes import open_landslide_cube as open_landslide_cube
from .cube.foreign.layers import add_layer as add_layer
from .cube.foreign.masks import add_layover_shadow as add_layover_shadow
from .cube.foreign.sar_lra import open_sar_lra as open_sar_lra
from .cube.geometry.layers import add_geometry as add_geometry
from .cube.geometry.terrain import add_terrain as add_terrain
from .cube.load import load as load
from .cube.quality.table import quality as quality
from .cube.store.verify import verify_cube as verify_cube
from .cube.store.write import open_cube as open_cube
from .cube.store.write import write_cube as write_cube
from .cube.track import select_track as select_track
from .detection.detect import detect as detect
from .detection.export import write_detections as write_detections
from .detection.scores import score_windows as score_windows
from .errors import SarcubeError as SarcubeError
from .evaluation import evaluate as evaluate
from .events import Event as Event
from .events import read_event as read_event
from .labels.inventory import read_inventory as read_inventory
from .labels.patches import sample_patches as sample_patches
from .mapping import map_landslides as map_landslides
from .models.weights import load_model as load_model
from .models.weights import save_model as save_model
from .plotting import plot_event as plot_event
from .synthetic.event import simulate as simulate
from .training import TrainConfig as TrainConfig
from .training import train as train

__version__: str
