"""Where a training stands after an epoch: all that it needs to go on, besides its patches and settings."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import ReduceLROnPlateau

from sarcube.models.network import Network
from sarcube.models.spec import ModelSpec
from sarcube.training.config import TrainConfig

Entry = dict[str, float]


@dataclass
class State:
    """A model in training with its optimiser, what came of each epoch, and the best weights so far, on the CPU."""

    model: Network
    optimiser: torch.optim.Optimizer
    scheduler: ReduceLROnPlateau | None
    scaler: torch.amp.GradScaler
    best_weights: dict[str, Tensor]
    best_loss: float = inf
    best_epoch: int = 0
    history: list[Entry] = field(default_factory=list)


def begin(model: Network, config: TrainConfig) -> State:
    """Make the state before the first epoch; the model is moved to where it is trained."""
    device = torch.device(config.device)
    model.to(device)
    # Adam and not AdamW: the papers' weight decay is part of the gradient.
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    return State(
        model,
        optimiser,
        ReduceLROnPlateau(optimiser) if config.schedule == "plateau" else None,
        torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        copied_weights(model),
    )


def copied_weights(model: Network) -> dict[str, Tensor]:
    """Copy the weights of a model to the CPU."""
    return {name: tensor.detach().cpu().clone() for name, tensor in model.state_dict().items()}


def as_dict(state: State) -> dict[str, Any]:
    """Return tensors, numbers and text that `restore` makes the same state of."""
    return {
        "spec": state.model.spec.to_json(),
        "weights": copied_weights(state.model),
        "optimiser": state.optimiser.state_dict(),
        "scheduler": None if state.scheduler is None else state.scheduler.state_dict(),
        "scaler": state.scaler.state_dict(),
        "best_weights": state.best_weights,
        "best_loss": state.best_loss,
        "best_epoch": state.best_epoch,
        "history": state.history,
    }


def restore(state: State, kept: dict[str, Any]) -> None:
    """Bring a state that has just begun to where `as_dict` was called."""
    state.model.spec = ModelSpec.from_json(kept["spec"])
    state.model.load_state_dict(kept["weights"])
    state.optimiser.load_state_dict(kept["optimiser"])
    state.scaler.load_state_dict(kept["scaler"])
    if state.scheduler is not None:
        state.scheduler.load_state_dict(kept["scheduler"])
    state.best_weights, state.best_loss = kept["best_weights"], kept["best_loss"]
    state.best_epoch, state.history = kept["best_epoch"], kept["history"]
