"""Films, written by PyAV."""

import av
import numpy as np


def film(path, colours, rate=20, codec="mpeg4", pixels_as="yuv420p"):
    """A video of frames of one colour each."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixels_as
        for colour in colours:
            pixels = np.broadcast_to(np.array(colour, np.uint8), (32, 32, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
