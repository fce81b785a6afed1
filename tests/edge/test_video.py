"""Frames of real files, written by PyAV."""

import time

import numpy as np
import pytest
from videos import film

from keras_concurrent.edge.video import Video


@pytest.fixture
def ramp(tmp_path):
    """Two seconds at 20 frames a second, brighter by 6 with each."""
    return film(tmp_path / "ramp.mp4", [(6 * i,) * 3 for i in range(40)])


def brightness(frame):
    return np.asarray(frame.picture).mean()


def test_every_frame_of_a_file_comes_in_its_order(ramp):
    with Video(str(ramp), every=True) as video:
        found = list(iter(video.take, None))
        assert video.ended
    assert [frame.number for frame in found] == list(range(40))
    for frame in found:
        assert frame.at_s == pytest.approx(frame.number / 20)
        assert brightness(frame) == pytest.approx(6 * frame.number, abs=6)


def test_who_is_slow_gets_the_newest_frame_and_the_file_takes_as_long_as_it_was_filmed(ramp):
    found, begun = [], time.monotonic()
    with Video(str(ramp)) as video:
        while (frame := video.take()) is not None:
            found.append(frame)
            assert time.monotonic() - frame.taken < 0.3  # it came just now, or while we slept
            time.sleep(0.25)  # five frames of the camera
    assert 1.9 < time.monotonic() - begun < 4.0
    assert 5 <= len(found) <= 10
    numbers = [frame.number for frame in found]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 39  # the last is nobody's to drop
    for frame in found:
        assert brightness(frame) == pytest.approx(6 * frame.number, abs=6)


def test_who_does_not_wait_is_told_that_none_is_there_yet(ramp):
    with Video(str(ramp)) as video:
        assert video.take() is not None
        assert video.take(0.0) is None
        assert not video.ended


def test_leaving_early_does_not_wait_for_the_film_to_end(ramp):
    with Video(str(ramp)) as video:
        video.take()
        begun = time.monotonic()
    assert time.monotonic() - begun < 1.0


def test_what_is_no_video_is_named(tmp_path, ramp):
    with pytest.raises(ValueError, match=r"source '.*missing.mp4' cannot be opened: No such file"):
        Video(str(tmp_path / "missing.mp4"))
    text = tmp_path / "words.mp4"
    text.write_text("no video")
    with pytest.raises(ValueError, match=r"source '.*words.mp4' cannot be opened: Invalid data"):
        Video(str(text))
    with pytest.raises(ValueError, match="every frame can be had of a file alone, got '/dev/vid"):
        Video("/dev/video0", every=True)
    with pytest.raises(ValueError, match=r"source 'rtsp://127\.0\.0\.1:9/' cannot be opened"):
        Video("rtsp://127.0.0.1:9/")


@pytest.mark.parametrize("every", [True, False])
def test_a_film_that_breaks_off_says_so(tmp_path, every):
    path = film(tmp_path / "film.avi", [(90,) * 3] * 10, 50, "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    begins = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xd8"]
    data[begins[5] : begins[6]] = bytes(begins[6] - begins[5])
    path.write_bytes(data)
    with (
        Video(str(path), every=every) as video,
        pytest.raises(ValueError, match=r"source '.*film.avi' broke off: Invalid data"),
    ):
        list(iter(video.take, None))
