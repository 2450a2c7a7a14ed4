"""The papers' light CNN with attention: a Convolutional Block Attention Module after each convolution block."""

from collections.abc import Sequence

from sarcube.models.block_attention import BlockAttention
from sarcube.models.cnn import CNN
from sarcube.models.fresh import keras_initialised, named_bands, seeded
from sarcube.models.spec import ModelSpec


class CBAM(CNN):
    """The light CNN, with channel and spatial attention on each of its three maps.

    For 64 x 64 windows: map 1 (F, 64, 64), attended, pooled; map 2 (F, 32, 32), attended, pooled; map 3 (F, 16, 16),
    attended. Attended maps 1 and 2 are resized to 16 x 16 and joined with map 3 (3F, 16, 16); pooling (3F, 8, 8);
    flatten; dropout; dense 8F; ReLU; one logit.
    """

    options = ("filters", "dropout")

    def attention(self, filters: int) -> BlockAttention:
        """Channel and spatial attention."""
        return BlockAttention(filters)


def cbam_from_spec(spec: ModelSpec, *, seed: int = 0) -> CBAM:
    """Make the network of a spec, its fresh weights drawn as Keras does from a seed."""
    return seeded(CBAM, spec, seed=seed, initialise=keras_initialised)


def cbam(
    in_channels: int = 4,
    *,
    filters: int = 32,
    dropout: float = 0.5,
    bands: Sequence[str] | None = None,
    window_size: int = 64,
    seed: int = 0,
) -> CBAM:
    """Make the light CNN with attention (CBAM) with fresh weights.

    The supplement of Nava et al. 2024 describes such a network; its text was not at hand. The blocks, the joined maps
    and the dense layers are those of `cnn`, and the attention module is that of Woo et al. 2018: channel attention,
    then spatial attention with a 7 x 7 kernel. Ours are these choices: a module stands after each of the three blocks,
    on the normalised map, before it is pooled and before it is joined; the hidden layer of the channel attention has
    an eighth of the channels, and one unit at least (Woo et al. divide by 16, which would leave 2 of 32); its two
    layers and the 7 x 7 convolution have no biases, as in the equations of Woo et al., and no batch normalisation.

    The papers train with binary cross-entropy: `sarcube.TrainConfig(loss="bce")`.

    Parameters
    ----------
    in_channels : int
        Number of bands.
    filters : int
        Filters of every block, F.
    dropout : float
        Share of the features before the dense layer that is dropped in training.
    bands : sequence of str, optional
        What the channels hold. By default the papers' bands: VV alone for 2 channels, VV and VH for 4.
    window_size : int
        Pixels along a side of a window, a multiple of 8.
    seed : int
        The fresh weights follow from it; torch's own random state is left alone.

    Returns
    -------
    CBAM
        A `WindowClassifier`, in training mode, without normalisation: `sarcube.train` fits one.

    Raises
    ------
    InputError
        If an option cannot be used, or the bands are not as many as the channels.

    References
    ----------
    Woo et al. 2018, ECCV, arXiv:1807.06521, sec. 3; Nava et al. 2024, preprint gmd-2024-230, and 2026, GMD 19, 167.
    """
    options = {"filters": filters, "dropout": dropout}
    return cbam_from_spec(
        ModelSpec("cbam", named_bands(in_channels, bands), window_size=window_size, options=options), seed=seed
    )
