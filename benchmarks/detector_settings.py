"""What a run of `benchmarks.detector` is told."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.whole_scene import SHAPE
from sarcube.detection.throughput import processor

SIZE, NATIVE_SIZE, ROUNDS = 4096, 1024, 5


@dataclass(frozen=True)
class Settings:
    """Sizes in pixels; the defaults are what is reported."""

    work: Path
    sar_lra_python: Path | None = None
    size: int = SIZE
    native_size: int = NATIVE_SIZE
    scene: tuple[int, int] = SHAPE
    rounds: int = ROUNDS
    filters: tuple[int, ...] = (32, 64)
    threads: int = 2
    events: int = 3  # simulated ones that the networks learn from
    epochs: int = 6
    size_km: float = 12.0  # side of the ground that stacks are tiled from

    @property
    def precisions(self) -> tuple[str, ...]:
        """Return the precisions that are measured: below float32 only where the processor multiplies them itself."""
        return ("float32", "screened", "bfloat16") if has_amx() else ("float32",)

    @property
    def reported(self) -> bool:
        """Whether sizes and rounds are those that are reported."""
        sizes = (self.size, self.native_size, self.scene, self.rounds)
        return sizes == (SIZE, NATIVE_SIZE, SHAPE, ROUNDS)


def has_amx() -> bool:
    """Whether the processor multiplies matrices of bfloat16."""
    return "amx_bf16" in processor()["flags"]
