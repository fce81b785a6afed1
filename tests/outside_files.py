"""Files that keep their weights behind the flatbuffer, made of files that keep them inside."""

import flatbuffers
from ai_edge_litert import schema_py_generated as schema


def packed(model):
    """A model's bytes."""
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def moved_behind(content, least=1):
    """A file with all buffers of at least so many bytes behind it, 16-aligned.

    As ai-edge-quantizer writes it, which moves those of 256 kB and more.
    """
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    moved = {
        number: bytes(buffer.data)
        for number, buffer in enumerate(model.buffers)
        if buffer.data is not None and len(buffer.data) >= max(least, 1)
    }
    for number in moved:
        model.buffers[number].data = None
        model.buffers[number].offset = model.buffers[number].size = 1  # so that there is room
    end = len(packed(model))
    behind = b""
    for number, weights in moved.items():
        behind += bytes(-(end + len(behind)) % 16)
        model.buffers[number].offset = end + len(behind)
        model.buffers[number].size = len(weights)
        behind += weights
    assert len(packed(model)) == end
    return packed(model) + behind
