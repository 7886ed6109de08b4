"""Make the bundled model anew: `python -m edge_agent.training.train OUT.onnx --minutes 8`.

Needs the `training` extra, and is meant for a GPU: without one the same code runs, for days. Pictures are drawn
while it trains, by all cores but one. With one seed the same pictures are drawn, in the order in which the cores
finish them; so the result is alike from run to run, not the same to the last bit.
"""

import argparse
import copy
import json
import math
import os
import time
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor

from edge_agent.training.bodies import CLASSES
from edge_agent.training.export import export
from edge_agent.training.feed import Batch, Ring, as_tensors, mixed, varied
from edge_agent.training.loss import loss, overlap, to_boxes
from edge_agent.training.network import StreetNet, cells

SIZE_PX = (416, 256)
_HELD_BACK_SEED = 9_999_999
_HELD_BACK = 384
_WARM_UP = 0.03
_WEIGHT_DECAY = 0.02
_FIRST_PICTURES = 3000


def main(arguments: Sequence[str] | None = None) -> int:
    """Train for some minutes, and write the model."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=2.5e-3, help="highest learning rate")
    parser.add_argument("--room", type=int, default=60_000, help="pictures kept at a time")
    options = parser.parse_args(arguments)
    print(json.dumps(train(options)), flush=True)
    return 0


class Averaged:
    """A slow copy of the weights, which is what is kept."""

    def __init__(self, network: StreetNet) -> None:
        self.network = copy.deepcopy(network).eval()
        self._n = 0

    @torch.no_grad()
    def follow(self, network: StreetNet) -> None:
        self._n += 1
        share = min(0.9995, self._n / (self._n + 20))
        pairs = zip(self.network.state_dict().values(), network.state_dict().values(), strict=True)
        slow, fast = zip(*((a, b) for a, b in pairs if a.dtype.is_floating_point), strict=True)
        torch._foreach_lerp_(list(slow), list(fast), 1 - share)


def train(options: argparse.Namespace) -> dict[str, float]:
    """Train, write the model, and tell how good it is on pictures held back."""
    torch.manual_seed(options.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    began_s = time.monotonic()
    ring = Ring(options.seed, SIZE_PX, device, room=options.room, workers=max(1, (os.cpu_count() or 2) - 1))
    network = StreetNet(len(CLASSES)).to(device, memory_format=torch.channels_last)
    print(f"{sum(p.numel() for p in network.parameters())} weights on {device}", flush=True)
    average = Averaged(network)
    corners, strides = cells(*SIZE_PX, device)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=options.rate, weight_decay=_WEIGHT_DECAY, fused=device.type == "cuda"
    )
    while ring.drawn < min(_FIRST_PICTURES, options.room):
        time.sleep(0.5)
    print(f"{ring.drawn} pictures after {time.monotonic() - began_s:.0f} s", flush=True)

    def learn(rate: float) -> dict[str, Tensor]:
        for group in optimiser.param_groups:
            group["lr"] = rate
        batch = varied(ring.sample(options.batch))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            outputs = network(batch.pictures.contiguous(memory_format=torch.channels_last))
        whole, parts = loss(outputs, batch.truth, batch.kinds, corners, strides)
        optimiser.zero_grad(set_to_none=True)
        whole.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        average.follow(network)
        return parts

    steps = _keep_learning(learn, options, ring)
    ring.close()
    told = {"seed": options.seed, "minutes": options.minutes, "steps": steps, "drawn": ring.drawn}
    torch.save(average.network.state_dict(), options.out.with_suffix(".pt"))
    export(average.network, SIZE_PX, options.out, {key: str(value) for key, value in told.items()})
    return {**told, **judge(average.network, held_back(device), corners, strides)}


def _keep_learning(learn: Callable[[float], dict[str, Tensor]], options: argparse.Namespace, ring: Ring) -> int:
    """Steps until the time is up. The first one, in which the device chooses its ways, is not part of the time."""
    learn(0.0)
    began_s, steps, told_s = time.monotonic(), 0, 0.0
    while (share := (time.monotonic() - began_s) / (options.minutes * 60)) < 1:
        parts = learn(options.rate * _pace(share))
        steps += 1
        if time.monotonic() - told_s > 15:
            told_s = time.monotonic()
            shown = " ".join(f"{name} {float(value):.3f}" for name, value in parts.items())
            print(f"{share:5.1%} step {steps} drawn {ring.drawn} {shown}", flush=True)
    return steps


def _pace(share: float) -> float:
    """Of the highest learning rate: up quickly, down along a cosine."""
    if share < _WARM_UP:
        return share / _WARM_UP
    return 0.5 * (1 + math.cos(math.pi * min(1.0, share))) + 0.002


def held_back(device: torch.device) -> Batch:
    """Pictures that are never trained on."""
    drawn = [as_tensors(one) for one in islice(mixed(_HELD_BACK_SEED, SIZE_PX), _HELD_BACK)]
    pictures, truth, kinds = (torch.stack(column).to(device) for column in zip(*drawn, strict=True))
    return Batch(pictures.float(), truth, kinds)


@torch.no_grad()
def judge(network: StreetNet, batch: Batch, corners: Tensor, strides: Tensor) -> dict[str, float]:
    """How much of what is there is found (IoU 0.5, score 0.3), and how much of what is found is there."""
    network.eval()
    found = true = matched = named = right = 0
    for start in range(0, len(batch.pictures), 64):
        part = slice(start, start + 64)
        outputs = network(batch.pictures[part])
        boxes = to_boxes(outputs, corners, strides)
        for i in range(len(outputs)):
            kept, classes = _suppressed(boxes[i], outputs[i, :, 4:5] * outputs[i, :, 5:])
            kinds, truth = batch.kinds[part][i], batch.truth[part][i]
            told = overlap(kept[:, None], truth[None])
            real = kinds >= 0
            hits = (told * real > 0.5).any(0)
            best = (told * real).max(1)
            mine = best.values > 0.5
            excused = ((told * (kinds == -1)) > 0.3).any(1) & ~mine
            true += int(real.sum())
            matched += int(hits.sum())
            found += int((~excused).sum())
            named += int(mine.sum())
            right += int((kinds[best.indices][mine] == classes[mine]).sum())
    recall, precision = matched / max(1, true), matched / max(1, found)
    return {"recall": round(recall, 4), "precision": round(precision, 4), "class": round(right / max(1, named), 4)}


def _suppressed(boxes: Tensor, scores: Tensor, threshold: float = 0.3) -> tuple[Tensor, Tensor]:
    best, classes = scores.max(-1)
    order = torch.argsort(best, descending=True)[: int((best > threshold).sum())][:200]
    boxes, classes = boxes[order], classes[order]
    covers = (overlap(boxes[:, None], boxes[None]) > 0.5).tolist()
    kept: list[int] = []
    for i in range(len(boxes)):
        if not any(covers[i][j] for j in kept):
            kept.append(i)
    return boxes[kept], classes[kept]


if __name__ == "__main__":
    raise SystemExit(main())
