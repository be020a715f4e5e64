"""Storage: reads and writes weight files tensor by tensor; an output appears whole or not at all.

Floor 1. Files:

    atomic.py            writes to a temporary name, renames it when complete, cleans up
    checksums.py         computes SHA-256 of the sources while they are read
    direct_io.py         reads and writes past the page cache
    hub.py               finds a local folder or the hub's copy
    lock.py              file locks that show whether a run is still alive
    reader.py            locates each tensor from headers alone
    safetensors_file.py  reads, checks and writes safetensors headers
    sentencepiece.py     reads tokenizer.model without sentencepiece
    tensor_entry.py      one tensor on disk, mapped
    tensor_pickle.py     reads the names and shapes in a PyTorch file's pickle; runs nothing of it
    torch_file.py        reads a PyTorch file's table of contents without running its pickle
    writer.py            writes safetensors shards or a .pth, tensor by tensor
"""
