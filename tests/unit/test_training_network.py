"""The bundled model's network and its training, where PyTorch is installed, which the development tools lack."""

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed (extra `training`): training was not tried")
pytest.importorskip("onnx", reason="onnx is not installed (extra `training`): training was not tried")

from edge_agent.drivers.detectors.onnx import load_detector  # noqa: E402
from edge_agent.training.bodies import CLASSES  # noqa: E402
from edge_agent.training.export import export  # noqa: E402
from edge_agent.training.feed import IGNORED, NOTHING, Batch, varied  # noqa: E402
from edge_agent.training.loss import assign, loss, overlap, to_boxes  # noqa: E402
from edge_agent.training.network import StreetNet, cells  # noqa: E402

SIZE_PX = (128, 96)
CPU = torch.device("cpu")
torch.set_num_threads(1)


def test_it_is_small_and_speaks_of_every_cell() -> None:
    network = StreetNet(len(CLASSES)).eval()
    assert sum(p.numel() for p in network.parameters()) < 400_000
    corners, strides = cells(*SIZE_PX, CPU)
    outputs = network(torch.zeros(2, 3, SIZE_PX[1], SIZE_PX[0]))
    assert outputs.shape == (2, len(corners), 5 + len(CLASSES))
    assert len(corners) == 16 * 12 + 8 * 6 + 4 * 3
    assert strides.unique().tolist() == [8, 16, 32]
    chances = outputs[..., 4:].detach()
    assert float(chances.min()) >= 0
    assert float(chances.max()) <= 1


def test_an_object_is_answered_for_where_it_is() -> None:
    corners, strides = cells(*SIZE_PX, CPU)
    truth = torch.tensor([[[20.0, 30, 50, 60], [80.0, 10, 120, 40], [0.0, 0, 12, 12], [0.0, 0, 0, 0]]])
    kinds = torch.tensor([[2, IGNORED, 0, NOTHING]])
    blank = torch.zeros(1, len(corners), 5 + len(CLASSES))
    boxes = to_boxes(blank, corners, strides)
    owner, quality, excused = assign(boxes, blank[..., 4:], truth, kinds, corners, strides)
    middles = (corners + 0.5) * strides
    for number in (0, 2):
        mine = middles[owner[0] == number]
        assert len(mine) > 0
        assert (mine >= truth[0, number, :2] - 32).all()
        assert (mine <= truth[0, number, 2:] + 32).all()
    assert not ((owner == 1) | (owner == 3)).any()
    ignored = (middles[:, 0] > 80) & (middles[:, 0] < 120) & (middles[:, 1] > 10) & (middles[:, 1] < 40)
    assert (excused[0] == ignored).all()
    assert (quality[owner < 0] == 0).all()


def test_one_picture_can_be_learnt() -> None:
    """Loss, assignment and network fit together: some steps on one picture, and its boxes are nearly right."""
    torch.manual_seed(1)
    network = StreetNet(len(CLASSES))
    corners, strides = cells(*SIZE_PX, CPU)
    pictures = torch.full((4, 3, SIZE_PX[1], SIZE_PX[0]), 90.0) + torch.randn(4, 3, SIZE_PX[1], SIZE_PX[0]) * 4
    pictures[:, :, 30:60, 20:50], pictures[:, 0, 10:42, 80:120] = 230, 10
    truth = torch.tensor([[20.0, 30, 50, 60], [80.0, 10, 120, 42]]).repeat(4, 1, 1)
    kinds = torch.tensor([[2, 5]]).repeat(4, 1)
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-3)
    history = []
    for _ in range(110):
        whole, parts = loss(network(pictures), truth, kinds, corners, strides)
        history.append({name: float(value) for name, value in parts.items()})
        optimiser.zero_grad()
        whole.backward()
        optimiser.step()
    assert history[-1]["placed"] < 0.3
    assert history[-1]["placed"] < 0.6 * history[0]["placed"]
    assert history[-1]["named"] < 0.3 * history[0]["named"]
    best = to_boxes(network(pictures).detach(), corners, strides)
    assert float(overlap(best[0], truth[0, 0]).max()) > 0.7
    assert float(overlap(best[0], truth[0, 1]).max()) > 0.7


def test_boxes_follow_the_picture_when_it_is_changed() -> None:
    """A bright rectangle stays where its box says, however the picture is mirrored, zoomed and moved."""
    torch.manual_seed(3)
    n = 24
    pictures = torch.full((n, 3, 96, 128), 20.0)
    pictures[:, :, 30:60, 40:90] = 240
    truth = torch.tensor([[[40.0, 30, 90, 60]]]).repeat(n, 1, 1)
    changed = varied(Batch(pictures, truth, torch.full((n, 1), 2)))
    checked = 0
    for picture, box, kind in zip(changed.pictures, changed.truth[:, 0], changed.kinds[:, 0], strict=True):
        rows, columns = torch.where(picture.mean(0) > 190)
        if kind == NOTHING or not len(rows):
            continue
        seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert torch.stack(seen).float().numpy() == pytest.approx(box.numpy(), abs=2.5)
        checked += 1
    assert checked > n / 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, about the exporter that is used
def test_the_file_says_what_the_network_says(tmp_path: Path) -> None:
    torch.manual_seed(2)
    network = StreetNet(len(CLASSES)).eval()
    for layer in network.boxes:
        layer.bias.data[4] = 3.0
    path = tmp_path / "street.onnx"
    export(network, SIZE_PX, path, {"seed": "2"})
    assert path.stat().st_size < 800_000
    detector = load_detector(str(path), threads=1)
    assert list(detector.class_names) == list(CLASSES)
    picture = np.random.default_rng(1).integers(0, 255, (96, 128, 3), dtype=np.uint8)
    found = detector.detect(picture)
    corners, strides = cells(*SIZE_PX, CPU)
    outputs = network(torch.from_numpy(picture.transpose(2, 0, 1)[None].copy()).float()).detach()
    boxes = to_boxes(outputs, corners, strides)[0].numpy()
    scores = (outputs[0, :, 4:5] * outputs[0, :, 5:]).numpy().max(axis=1)
    assert len(found) > 0
    best = np.argmax(scores)
    assert found.scores[0] == pytest.approx(scores[best], abs=0.01)
    assert found.boxes_px[0] == pytest.approx(np.clip(boxes[best], 0, [*SIZE_PX, *SIZE_PX]), abs=1.0)
