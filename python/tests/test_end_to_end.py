"""Three simulated RTSP cameras, the real daemon, and get_frame_packet(): the barcode in the pixels is the truth."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time

import av
import barcode
import numpy as np
import pytest
import synoptic
from synoptic import CAP_BROKEN, FRAME_OKAY, StreamSynchronizer

SIM = os.environ.get("SYNOPTIC_SIM_BIN")
DAEMON = os.environ.get("SYNOPTIC_BIN")
#: Far longer than anything here takes.
DEADLINE = 90.0
#: The bias of sender reports that nobody measured is in every bound; the simulator's is none.
CAMERA = {"capture_bias_error_ms": 15}

pytestmark = pytest.mark.skipif(
    not (SIM and DAEMON), reason="SYNOPTIC_BIN and SYNOPTIC_SIM_BIN name no programs: scripts/test-python.sh builds them"
)


class Sim:
    """A process with simulated cameras."""

    def __init__(self, count, *more):
        command = [SIM, "cameras", "--count", str(count), "--fps", "10", "--report-every", "0.7", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.urls = [self.process.stdout.readline().strip() for _ in range(count)]
        assert all(url.startswith("rtsp://") for url in self.urls), self.urls

    def stop(self):
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.process.stdout.close()


@pytest.fixture
def sims():
    running = [Sim(2, "--offset-ms", "0,3"), Sim(1, "--seed", "5")]
    yield running
    for sim in running:
        sim.stop()


def test_stamps_are_true_and_a_camera_that_dies_harms_no_other(sims):
    cams = [{"source": url, **CAMERA} for sim in sims for url in sim.urls]
    with StreamSynchronizer(cams, frame_packet_buffer_maxsize=30, start_timeout=DEADLINE) as cameras:
        daemon = cameras._daemon.process
        complete = 0
        errors = []
        last = 0.0
        deadline = time.monotonic() + DEADLINE
        while complete < 40 or len(errors) < 100:
            assert time.monotonic() < deadline, f"{complete} complete packets, {errors}"
            packet = cameras.get_frame_packet(DEADLINE)
            assert list(packet) == [0, 1, 2]
            assert cameras.packet_info.timestamp > last
            last = cameras.packet_info.timestamp
            okay = [f for f in packet.values() if f["frame_status"] == FRAME_OKAY]
            complete += len(okay) == 3
            for frame in okay:
                assert frame["frame"].shape == (360, 640, 3) and frame["frame"].dtype == np.uint8
                assert frame["frame_type"] in ("I", "P")
                assert frame["motion_vector"].shape == (0, 10)
                code = barcode.read(frame["frame"])
                assert code is not None, f"{frame['key']}: no barcode in its pixels"
                # The box's own error is unknown where no NTP runs; the truth is on the same clock.
                error = abs(frame["timestamp"] - code[0])
                if frame["source"] == "sender_report":
                    errors.append((error, frame["rel_error"], frame["key"]))
                else:
                    # Before the first report a time rests on how fast a picture can arrive, and on a machine that is
                    # busy the simulator itself is late: nothing is promised here but a value.
                    assert frame["source"] == "arrival" and frame["rel_error"] > 0, frame
        for error, bound, key in errors:
            assert error <= bound, f"{key}: {error * 1e3:.2f} ms off, bound {bound * 1e3:.2f} ms"
        print(f"{len(errors)} frames, worst {max(e for e, *_ in errors) * 1e3:.2f} ms")

        # A second program reads the same group, and neither notices.
        with StreamSynchronizer.attach(socket=cameras._daemon.socket) as other:
            assert list(other.get_frame_packet(DEADLINE)) == [0, 1, 2]

        sims[1].stop()
        while True:
            assert time.monotonic() < deadline
            packet = cameras.get_frame_packet(DEADLINE)
            if packet[2]["frame_status"] == CAP_BROKEN:
                break
        assert packet[2]["frame"] is None and packet[2]["timestamp"] is None
        assert packet[2]["broken"] in ("disconnected", "stalled")
        assert packet[0]["frame_status"] == packet[1]["frame_status"] == FRAME_OKAY
    assert daemon.poll() == 0, "the daemon did not end with its owner"


def gone(pid):
    """Waits until a process that is not our child has ended."""
    deadline = time.monotonic() + DEADLINE
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, f"process {pid} lives on"
        time.sleep(0.05)


def test_the_daemon_ends_with_its_owner_however_that_ends(sims, tmp_path):
    cams = [{"source": sims[1].urls[0]}]
    cameras = StreamSynchronizer(cams, start_timeout=DEADLINE)
    picture = cameras.get_frame_packet(DEADLINE)[0]["frame"]
    process = cameras._daemon.process
    del cameras
    gc.collect()
    assert process.poll() == 0
    assert picture.shape == (360, 640, 3) and picture.any(), "a picture outlives its daemon"

    killed = f"""
import os, signal, synoptic
cameras = synoptic.StreamSynchronizer({cams!r}, start_timeout={DEADLINE})
print(cameras._daemon.process.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # Who is killed cannot clear its temporary folder away.
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", killed], stdout=subprocess.PIPE, text=True, timeout=DEADLINE,
                           env=environment)
    assert ended.returncode == -9
    gone(int(ended.stdout))


def test_what_cannot_be_opened_is_said(tmp_path):
    with pytest.raises(synoptic.CameraError, match="cam0: .*nothing answers"):
        StreamSynchronizer([{"source": "rtsp://127.0.0.1:9/none"}], start_timeout=DEADLINE)


def test_streams_that_begin_too_far_apart_are_an_error(sims):
    # A capture time of two seconds ago is told apart from one of now.
    cams = [{"source": sims[0].urls[0]}, {"source": sims[0].urls[1], "capture_bias_ms": 2_000}]
    with pytest.raises(synoptic.InitialStreamOffsetError, match="NTP"):
        StreamSynchronizer(cams, max_initial_stream_offset=0.5, start_timeout=DEADLINE)


def clip(path, *options):
    """A clip whose pictures all differ in what moves."""
    subprocess.run(
        ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", "testsrc=size=320x240:rate=10:duration=2",
         "-pix_fmt", "yuv420p", "-bf", "2", "-g", "10", *options, str(path)], check=True)
    return str(path)


@pytest.mark.parametrize("coder", ["libx264", "libx265"])
def test_files_end(tmp_path, coder):
    quiet = ["-x265-params", "log-level=none"] if coder == "libx265" else []
    path = clip(tmp_path / "clip.mp4", "-c:v", coder, *quiet)
    with StreamSynchronizer([{"source": path}], frame_packet_buffer_maxsize=-1) as cameras:
        kinds = [p[0]["frame_type"] for p in cameras if p[0]["frame_status"] == FRAME_OKAY]
    probed = subprocess.run(
        ["ffprobe", "-loglevel", "error", "-select_streams", "v", "-show_entries", "frame=pict_type", "-of", "csv=p=0",
         path], check=True, capture_output=True, text=True)
    truth = [line.strip().strip(",")[0] for line in probed.stdout.splitlines() if line.strip()]
    # The first frames may pass before the reader is there.
    assert len(kinds) >= 5 and kinds == truth[-len(kinds):]
    assert {"I", "P", "B"} == set(truth)


COLUMNS = ("source", "w", "h", "src_x", "src_y", "dst_x", "dst_y", "motion_x", "motion_y", "motion_scale")


def vectors_of(path):
    """Presentation time in microseconds, kind and vectors of every frame, by PyAV: the truth."""
    with av.open(path) as source:
        stream = source.streams.video[0]
        stream.codec_context.options = {"flags2": "+export_mvs"}
        stream.thread_type = "NONE"
        for frame in source.decode(stream):
            found = frame.side_data.get("MOTION_VECTORS")
            table = np.zeros((0, 10), np.int64)
            if found is not None:
                raw = found.to_ndarray()
                table = np.stack([raw[name].astype(np.int64) for name in COLUMNS], axis=1)
            yield round(frame.pts * stream.time_base * 1_000_000), table


needs_helper = pytest.mark.skipif(
    not os.environ.get("SYNOPTIC_MV_BIN"), reason="SYNOPTIC_MV_BIN names no helper: scripts/test-python.sh builds it"
)


@needs_helper
def test_motion_vectors_are_those_of_the_very_frame(tmp_path):
    # Pictures out of order: the frame that comes out is not the one whose packet went in. Two cameras, one unasked.
    path = clip(tmp_path / "clip.mp4", "-c:v", "libx264", "-t", "4")
    truth = dict(vectors_of(path))
    assert sum(len(t) for t in truth.values()) > 500
    cams = [{"source": path, "repeat": True, "motion_vectors": True}, {"source": path, "repeat": True}]
    compared, future = 0, 0
    with StreamSynchronizer(cams, frame_packet_buffer_maxsize=30, start_timeout=DEADLINE) as cameras:
        deadline = time.monotonic() + DEADLINE
        while compared < 30 or not future:
            assert time.monotonic() < deadline, f"{compared} compared, {future} vectors from the future"
            packet = cameras.get_frame_packet(DEADLINE)
            frame = packet[0]
            if packet[1]["frame_status"] == FRAME_OKAY:
                assert packet[1]["motion_vector_state"] == "off" and packet[1]["motion_vector"].shape == (0, 10)
            if frame["frame_status"] != FRAME_OKAY or frame["motion_vector_state"] == "late":
                continue
            assert frame["motion_vector_state"] == "known" and frame["motion_vector"].dtype == np.int64
            media = int(frame["key"].rsplit("/", 1)[1])
            # Media time begins with the first frame.
            near = min(truth, key=lambda pts: abs(pts - min(truth) - media))
            assert abs(near - min(truth) - media) < 2_000, f"{frame['key']} is no frame of the clip"
            assert np.array_equal(frame["motion_vector"], truth[near]), f"{frame['key']} has vectors of another frame"
            compared += 1
            future += int((frame["motion_vector"][:, 0] > 0).sum())


@needs_helper
def test_live_cameras_have_motion_vectors(sims):
    cams = [{"source": url, "motion_vectors": True, **CAMERA} for url in sims[0].urls]
    with StreamSynchronizer(cams, frame_packet_buffer_maxsize=30, start_timeout=DEADLINE) as cameras:
        deadline = time.monotonic() + DEADLINE
        known = {0: 0, 1: 0}
        while min(known.values()) < 15:
            assert time.monotonic() < deadline, known
            for i, frame in cameras.get_frame_packet(DEADLINE).items():
                if frame["frame_status"] != FRAME_OKAY or frame["motion_vector_state"] != "known":
                    continue
                moved = frame["motion_vector"]
                assert moved.shape[1] == 10 and moved.dtype == np.int64
                assert (len(moved) == 0) == (frame["frame_type"] == "I"), frame["key"]
                known[i] += frame["frame_type"] == "P"
                # Blocks lie in the picture, and come from where their motion says, to a pixel.
                assert (moved[:, 5] >= 0).all() and (moved[:, 5] <= 640).all()
                assert (np.abs(moved[:, 3:5] - moved[:, 5:7] - moved[:, 7:9] / moved[:, 9:10]) <= 1).all()


def test_a_missing_helper_costs_the_vectors_only(sims, monkeypatch, tmp_path):
    monkeypatch.setenv("SYNOPTIC_MV_BIN", str(tmp_path / "none"))
    cams = [{"source": sims[1].urls[0], "motion_vectors": True}]
    with StreamSynchronizer(cams, start_timeout=DEADLINE) as cameras:
        states = []
        deadline = time.monotonic() + DEADLINE
        while states.count("late") < 10 or "it is not there" not in cameras._daemon.log():
            assert time.monotonic() < deadline, f"{states}\n{cameras._daemon.log()}"
            frame = cameras.get_frame_packet(DEADLINE)[0]
            assert frame["frame_status"] != FRAME_OKAY or frame["frame"].shape == (360, 640, 3)
            states.append(frame["motion_vector_state"])
        assert "known" not in states
