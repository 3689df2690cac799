"""A way to hold forward passes, so that tests decide what happens at the same time."""

import threading

import torch
from torch import nn

LIMIT_S = 10.0


class Gate:
    """Stops every forward pass of `model` until opened; `batches` records how many pictures each had."""

    def __init__(self, model: nn.Module):
        self.batches: list[int] = []
        self._entered = threading.Semaphore(0)
        self._opened = threading.Event()
        model.register_forward_pre_hook(self._hold)

    def open(self) -> None:
        """Lets everything through, from now on."""
        self._opened.set()

    def wait_entered(self) -> None:
        """Blocks until one more forward pass has begun."""
        if not self._entered.acquire(timeout=LIMIT_S):
            raise TimeoutError("no forward pass began")

    def _hold(self, _: nn.Module, inputs: tuple[torch.Tensor]) -> None:
        self.batches.append(len(inputs[0]))
        self._entered.release()
        if not self._opened.wait(LIMIT_S):
            raise TimeoutError("the gate stayed shut")
