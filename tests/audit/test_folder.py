"""Lines are read in chunks; what comes out is what reading line by line gives."""

import io
import random
from functools import partial
from pathlib import Path

import pytest

from audit import folder


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_lines_and_pieces_are_those_of_readline(
    chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder, "LONGEST", 5)
    monkeypatch.setattr(folder, "_CHUNK_BYTES", chunk)
    chance, file = random.Random(3), tmp_path / "lines"
    for _ in range(300):
        data = bytes(chance.choice(b"ab\r\n\n") for _ in range(chance.randrange(40)))
        file.write_bytes(data)
        expected = list(iter(partial(io.BytesIO(data).readline, 5), b""))
        assert list(folder.lines_of(file)) == expected, data
        assert list(folder.lines_of(file, most=2)) == expected[:2]
