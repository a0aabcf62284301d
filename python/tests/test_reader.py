"""The reader against a daemon that does what the reference says, and what it must not."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
import synoptic
from fake import FakeDaemon, packet
from synoptic import CAP_BROKEN, FRAME_OKAY, GroupReader


@pytest.fixture
def daemon(tmp_path):
    fake = FakeDaemon(str(tmp_path / "g.sock"))
    yield fake
    fake.close()


@pytest.fixture
def reader(daemon, tmp_path):
    reader = GroupReader(str(tmp_path / "g.sock"), ring=5)
    daemon.accepted.join()
    yield reader
    reader.close()


def answer(daemon, *arguments, **more):
    """Hears NEXT and gives a packet; returns the thread and what was heard."""
    heard = []

    def run():
        heard.append(daemon.receive())
        daemon.give(*arguments, **more)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, heard


def get(daemon, reader, *arguments, **more):
    thread, heard = answer(daemon, *arguments, **more)
    got = reader.get(30)
    thread.join()
    return got, heard[0]


def test_a_packet_is_the_dict_of_the_issue(daemon, reader):
    vectors = [-1, 16, 8, 4, 5, 6, 7, -8, 8, 4] * 2
    got, _ = get(daemon, reader, 0, packet(3, vectors=vectors), lost=2)
    assert list(got) == [0, 1]
    okay, broken = got[0], got[1]
    assert okay["frame_status"] == FRAME_OKAY
    assert okay["timestamp"] == pytest.approx(1e9) and isinstance(okay["timestamp"], float)
    assert okay["frame"].shape == (4, 8, 3) and okay["frame"].dtype == np.uint8
    assert okay["frame"].ravel().tolist() == [(3 + i) % 256 for i in range(96)]
    assert okay["frame_type"] == "P"
    assert okay["motion_vector"].dtype == np.int64
    assert okay["motion_vector"].tolist() == [vectors[:10]] * 2
    assert (okay["motion_vector_state"], okay["source"], okay["key"]) == ("known", "sender_report", "a/7/1234")
    assert (okay["error"], okay["rel_error"]) == (0.003, 0.002)
    assert (broken["frame_status"], broken["broken"], broken["camera"]) == (CAP_BROKEN, "out_of_step", "b")
    nothing = set(broken) - {"frame_status", "broken", "camera"}
    assert all(broken[key] is None for key in nothing), broken
    assert (reader.info.id, reader.info.lost) == (3, 2)


def test_without_vectors_the_table_is_empty(daemon, reader):
    got, _ = get(daemon, reader, 0, packet(1))
    assert got[0]["motion_vector"].shape == (0, 10)
    assert got[0]["motion_vector_state"] == "off"


def test_pictures_are_views_that_may_be_drawn_on_and_go_back_when_nobody_has_them(daemon, reader):
    kept, heard = get(daemon, reader, 4, packet(1))
    assert heard[1:3] == (0, 0)
    picture = kept[0]["frame"]
    assert not picture.flags.owndata and picture.flags.writeable
    picture[:] = 9
    heard = get(daemon, reader, 5, packet(2))[1]
    assert heard[1] == 0, "block 4 is still looked at"
    gc.collect()
    heard = get(daemon, reader, 6, packet(3))[1]
    assert heard[1:3] == (1, 5)
    assert (picture == 9).all()
    del kept, picture
    gc.collect()
    heard = get(daemon, reader, 7, packet(4))[1]
    assert sorted(heard[2 : 2 + heard[1]]) == [4, 6]


def test_of_many_packets_that_are_kept_all_but_the_first_are_copies(daemon, reader):
    kept = []
    held = set()
    for n in range(8):
        got, heard = get(daemon, reader, n, packet(n))
        held.add(n)
        held -= set(heard[2 : 2 + heard[1]])
        assert len(held) <= 3
        kept.append(got[0]["frame"])
    assert [k.flags.owndata for k in kept] == [False] * 2 + [True] * 6
    for n, picture in enumerate(kept):
        assert picture.ravel()[0] == n


def test_a_new_descriptor_replaces_the_old_one_of_a_block(daemon, reader):
    small, _ = get(daemon, reader, 0, packet(1))
    large, _ = get(daemon, reader, 0, packet(2, size=(64, 32)))
    assert small[0]["frame"].shape == (4, 8, 3) and small[0]["frame"][0, 0, 0] == 1
    assert large[0]["frame"].shape == (32, 64, 3)


def test_a_timeout_loses_no_packet_and_says_which_camera_is_away(daemon, reader):
    with pytest.raises(synoptic.PacketTimeout, match="no camera"):
        reader.get(0.05)
    assert daemon.receive()[0] == b"NEXT"
    daemon.send(b"IDLE", text='{"a": {"state": "offline", "reason": "unplugged"}}')
    with pytest.raises(synoptic.PacketTimeout, match="a: offline .unplugged."):
        reader.get(0.5)
    daemon.give(0, packet(8))
    assert reader.get(30)[0]["key"] == "a/7/1234"


def test_errors_are_said_in_words(daemon, reader, tmp_path):
    daemon.send(b"FAIL", text="8 programs read this group already")
    with pytest.raises(synoptic.DaemonError, match="8 programs"):
        reader.get(30)
    with pytest.raises(synoptic.DaemonNotFound, match=r"\[packets\]"):
        GroupReader(str(tmp_path / "nobody.sock"))


def test_another_version_and_the_end_of_the_daemon_are_errors(daemon, reader):
    thread, _ = answer(daemon, 0, packet(1, version=2))
    with pytest.raises(synoptic.DaemonError, match="version 2"):
        reader.get(30)
    thread.join()
    daemon.close()
    with pytest.raises(synoptic.DaemonError, match="ended the connection"):
        reader.get(30)
