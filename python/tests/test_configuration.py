"""What the package asks of its private daemon."""

from __future__ import annotations

import stat

import pytest
import synoptic
from synoptic import daemon


def config(tmp_path, cams):
    return daemon.configuration(cams, tmp_path, 1.5, 3, 16, 10**9)


def test_passwords_are_never_in_the_configuration(tmp_path):
    text = config(tmp_path, [{"source": "rtsp://me:p%40ss@camera:554/a?x=1", "transport": "udp"}])
    assert 'source = "rtsp://camera:554/a?x=1"' in text and 'user = "me"' in text and "p@ss" not in text
    assert 'transport = "udp"' in text and 'max_initial_stream_offset = "1500ms"' in text
    secret = tmp_path / "cam0.password"
    assert secret.read_text() == "p@ss\n"
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_files_do_not_repeat_unless_asked_and_must_be_there(tmp_path):
    clip = tmp_path / "a.mp4"
    clip.touch()
    assert "repeat = false" in config(tmp_path, [{"source": str(clip)}])
    assert "repeat = true" in config(tmp_path, [{"source": f"file://{clip}", "repeat": True}])
    with pytest.raises(synoptic.CameraError, match="no file"):
        config(tmp_path, [{"source": str(tmp_path / "b.mp4")}])
    with pytest.raises(synoptic.CameraError, match="no source"):
        config(tmp_path, [{"url": "rtsp://a"}])


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="files only"):
        synoptic.StreamSynchronizer([{"source": "rtsp://a/b"}], frame_packet_buffer_maxsize=-1)
    with pytest.raises(ValueError, match="empty"):
        synoptic.StreamSynchronizer([])
    with pytest.raises(ValueError, match="number of packets"):
        synoptic.StreamSynchronizer([{"source": "rtsp://a/b"}], frame_packet_buffer_maxsize=0)
    with pytest.raises(synoptic.DaemonNotFound, match="SYNOPTIC_BIN"):
        synoptic.StreamSynchronizer([{"source": "rtsp://a/b"}], binary="no-such-program")


def test_a_daemon_that_ends_at_once_is_an_error_with_its_log(tmp_path):
    program = tmp_path / "synoptic"
    program.write_text("#!/bin/sh\necho 'the disk is full' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(synoptic.DaemonError, match="(?s)code 3.*the disk is full"):
        synoptic.StreamSynchronizer([{"source": "rtsp://127.0.0.1:9/b"}], binary=str(program))
