"""The networks against their own definitions done the slow way, ONNX against torch, and a few steps of training."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from stitchnet import checkpoint, export, geometry, ops, train
from stitchnet.config import SMALL, TINY, WINDOW
from stitchnet.online import ThinPlate, Window, rigid
from stitchnet.smooth import _in_time


def test_a_homography_brings_the_corners_where_they_shall_and_its_adjugate_back() -> None:
    quad = torch.tensor([[[3.0, -2.0], [100.0, 5.0], [-7.0, 80.0], [90.0, 70.0]]])
    matrix = geometry.quad_homography(quad, 72.0, 96.0)
    corners = geometry.corners(72.0, 96.0)
    assert torch.allclose(geometry.apply(matrix, corners), quad, atol=1e-4)
    assert torch.allclose(geometry.apply(geometry.adjugate(matrix), quad), corners, atol=1e-3)
    half = geometry.scaled(matrix, 0.5)
    assert torch.allclose(geometry.apply(half, corners / 2.0), quad / 2.0, atol=1e-4)


def test_the_cost_volume_is_the_mean_product_with_every_shift() -> None:
    a, b = torch.randn(2, 5, 6, 8), torch.randn(2, 5, 6, 8)
    volume = ops.cost_volume(a, b, 2, 6, 8)
    around = F.pad(b, (2, 2, 2, 2))
    for j in range(5):
        for i in range(5):
            want = F.leaky_relu((a * around[:, :, j : j + 6, i : i + 8]).mean(dim=1), 0.1)
            assert torch.allclose(volume[:, j * 5 + i], want, atol=1e-6)


def test_contextual_flow_is_that_of_patches() -> None:
    a, b = torch.randn(1, 4, 5, 6), torch.randn(1, 4, 5, 6)
    flow = ops.contextual_flow(a, b, 5, 6)
    patches = [F.unfold(F.normalize(x, dim=1), 3, padding=1)[0] for x in (a, b)]
    match = torch.softmax(10.0 * patches[0].T @ patches[1], dim=1)
    places = torch.tensor([[i % 6, i // 6] for i in range(30)], dtype=torch.float32)
    assert torch.allclose(flow[0].flatten(1).T, match @ places - places, atol=1e-4)


def test_a_convolution_in_time_is_one_over_stacked_frames() -> None:
    convolution = torch.nn.Conv3d(3, 4, (5, 3, 3), padding=(2, 1, 1))
    frames = torch.randn(WINDOW, 3, 7, 9)
    want = F.relu(convolution(frames.transpose(0, 1).unsqueeze(0)))[0].transpose(0, 1)
    assert torch.allclose(_in_time(frames, convolution, WINDOW), want, atol=1e-5)
    assert torch.allclose(_in_time(frames, convolution, 3), want[-3:], atol=1e-5)


@pytest.mark.parametrize("version", checkpoint.VERSIONS)
def test_checkpoints_go_by_their_own_keys(version: int, tmp_path: Path) -> None:
    nets = checkpoint.build(version, TINY if version == 2 else SMALL)
    checkpoint.save(nets, tmp_path)
    again = checkpoint.load(tmp_path, version, nets.config)
    for name, net in nets.named().items():
        other = again.named()[name].state_dict()
        assert all(torch.equal(value, other[key]) for key, value in net.state_dict().items())
    with pytest.raises(RuntimeError, match="regressNet2"):
        checkpoint.load(tmp_path, 3 - version, nets.config)
    (tmp_path / "smooth_warp.pth").unlink()
    with pytest.raises(checkpoint.CheckpointError, match=r"smooth_warp\.pth"):
        checkpoint.load(tmp_path, version, nets.config)


def test_onnx_answers_as_torch_does(tmp_path: Path) -> None:
    nets = checkpoint.build(2, TINY)
    for i, net in enumerate(nets.named().values()):
        checkpoint.randomise(net, i)
    for exported in export.export(nets, tmp_path):
        assert exported.largest_difference < 1e-2, exported


def test_the_smoothing_of_the_last_frame_alone_is_that_of_all() -> None:
    net = checkpoint.build(2, TINY).smooth
    inputs = [torch.randn(WINDOW, 7, 9, 2) * 20.0 for _ in range(4)]
    with torch.no_grad():
        every, last = net(*inputs, last_only=False), net(*inputs)
    assert every[0].shape[0] == WINDOW
    for a, b in zip(every, last, strict=True):
        assert torch.allclose(a[-1:], b, atol=1e-5)


def test_a_point_that_moves_with_its_picture_has_that_path() -> None:
    window = Window(360, 480)
    still = rigid(360.0, 480.0)
    for _ in range(WINDOW + 1):
        window.push([still, still], [np.full_like(still, 2.0), still * 0.0])
    paths = window.inputs()[1::2]
    assert np.allclose(paths[0][-1], 12.0, atol=1e-6) and np.allclose(paths[1], 0.0, atol=1e-6)
    spline = ThinPlate(still.reshape(-1, 2) / 240 - 1, still.reshape(-1, 2))
    assert np.allclose(spline(np.array([[-1.0, -1.0]])), 0.0, atol=1e-3)


@pytest.mark.parametrize("stage", ["spatial", "temporal", "smooth"])
def test_training_goes_on_where_it_was(stage: str, tmp_path: Path) -> None:
    plan = train.Plan(tmp_path, stage, "tiny", steps=2, batch=2, save_every=1)
    first = train.run(plan)
    assert len(first) == 2 and all(np.isfinite(first))
    assert (tmp_path / checkpoint.FILES[stage]).is_file()
    more = train.run(train.Plan(tmp_path, stage, "tiny", steps=3, batch=2, save_every=1))
    assert len(more) == 1 and np.isfinite(more[0])
    assert train.run(train.Plan(tmp_path, stage, "tiny", steps=3, batch=2, save_every=1)) == []
