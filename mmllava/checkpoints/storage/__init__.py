"""Bytes on disk: weight files read and written, tensor by tensor, whole or not at all.

Floor 1. Files:

    atomic.py            beside the destination first, renamed at the end
    checksums.py         SHA-256 of the sources, on the way
    direct_io.py         reading and writing past the page cache
    hub.py               a local folder, or the hub's copy
    lock.py              is the run that wrote this still at work?
    reader.py            where each tensor lies, from headers alone
    safetensors_file.py  a safetensors header: read with every promise checked, and written
    tensor_entry.py      one tensor on disk, mapped
    torch_file.py        The table of contents of a PyTorch file, read without running its pickle
    writer.py            safetensors shards or a .pth, written tensor by tensor
"""
