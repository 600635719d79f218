"""MNIST from IDX files written here by hand, from archives, and from a web server on this machine."""

import gzip
import hashlib
import http.server
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from vae_lightning.data.sources import mnist
from vae_lightning.data.sources.mnist import MNIST
from vae_lightning.errors import DataError

SHARED = Path(__file__).parents[4] / "shared" / "data"
RNG = np.random.default_rng(0)
ARRAYS = {
    "train-images-idx3-ubyte": RNG.integers(0, 256, size=(12, 28, 28), dtype=np.uint8),
    "train-labels-idx1-ubyte": RNG.integers(0, 10, size=12, dtype=np.uint8),
    "t10k-images-idx3-ubyte": RNG.integers(0, 256, size=(5, 28, 28), dtype=np.uint8),
    "t10k-labels-idx1-ubyte": RNG.integers(0, 10, size=5, dtype=np.uint8),
}
TRAIN = ARRAYS["train-images-idx3-ubyte"].reshape(12, 784)


def idx(array: np.ndarray) -> bytes:
    return struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


def write_folder(folder: Path, zipped: bool = True, dotted: bool = False) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in ARRAYS.items():
        file = folder / ((name.replace("-idx", ".idx") if dotted else name) + (".gz" if zipped else ""))
        file.write_bytes(gzip.compress(idx(array), mtime=0) if zipped else idx(array))
    return folder


def message(path: Path | None) -> str:
    with pytest.raises(DataError) as caught:
        MNIST(None if path is None else str(path)).load()
    return str(caught.value)


class TestFolders:
    @pytest.mark.parametrize("zipped", [True, False])
    @pytest.mark.parametrize("dotted", [True, False])
    def test_four_files(self, tmp_path: Path, zipped: bool, dotted: bool) -> None:
        data = MNIST(str(write_folder(tmp_path, zipped, dotted))).load()
        assert [part.x.shape for part in (data.train, data.valid, data.test)] == [(10, 784), (2, 784), (5, 784)]
        rows = np.concatenate([data.train.x, data.valid.x])
        np.testing.assert_array_equal(rows[np.lexsort(rows.T)], TRAIN[np.lexsort(TRAIN.T)])
        np.testing.assert_array_equal(data.test.x, ARRAYS["t10k-images-idx3-ubyte"].reshape(5, 784))
        np.testing.assert_array_equal(data.test.labels, ARRAYS["t10k-labels-idx1-ubyte"])
        assert data.value_range == (0, 255)
        assert data.image_shape == (28, 28)
        assert data.columns[29].name == "pixel_1_1"
        assert data.columns[29].dtype == "uint8"
        assert data.test.x.flags.writeable

    def test_an_archive_in_the_folder(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "mnist.npz", train=TRAIN, test=TRAIN)
        assert len(MNIST(str(tmp_path)).load().test) == 12

    def test_missing_files_are_named(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
        text = message(tmp_path)
        assert "lacks t10k-labels-idx1-ubyte.gz (gzipped or not)" in text
        assert f"from {mnist.MIRROR}" in text

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (gzip.compress(idx(TRAIN.reshape(12, 28, 28)))[:-100], "cannot be read as a gzipped IDX file"),
            (idx(TRAIN.reshape(12, 28, 28))[:-1], "9,423 bytes instead of 9,424 for shape"),
            (idx(TRAIN.reshape(12, 28, 28)) + b"0", "9,425 bytes instead of 9,424"),
            (b"<html>", "it starts with b'<htm'"),
            (b"", "it starts with b''"),
            (b"\0\0\x08\x03\0", "5 bytes"),
            (idx(ARRAYS["train-labels-idx1-ubyte"]), "must hold images of 28×28 numbers"),
            (idx(np.zeros((12, 28, 27), dtype=np.uint8)), r"Got shape \(12, 28, 27\) of uint8"),
            (idx(np.zeros((11, 28, 28), dtype=np.uint8)), r"11 images in .*, but labels of shape \(12,\)"),
        ],
    )
    def test_damaged(self, tmp_path: Path, content: bytes, told: str) -> None:
        write_folder(tmp_path, zipped=False)
        (tmp_path / "train-images-idx3-ubyte").write_bytes(content)
        with pytest.raises(DataError, match=told):
            MNIST(str(tmp_path)).load()


class TestArchives:
    def test_keras_names_and_image_shapes(self, tmp_path: Path) -> None:
        labels = ARRAYS["train-labels-idx1-ubyte"]
        path = tmp_path / "keras.npz"
        np.savez(path, x_train=TRAIN.reshape(12, 28, 28), y_train=labels, x_test=TRAIN[:5], y_test=labels[:5])
        data = MNIST(str(path), valid_fraction=0.5).load()
        assert [part.x.shape for part in (data.train, data.valid, data.test)] == [(6, 784), (6, 784), (5, 784)]
        assert data.train.labels is not None
        np.testing.assert_array_equal(data.test.labels, labels[:5])

    def test_all_rows_for_training(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "my.npz", train=TRAIN, test=TRAIN[:5])
        data = MNIST(str(tmp_path / "my.npz"), valid_fraction=0).load()
        np.testing.assert_array_equal(data.train.x, TRAIN)
        np.testing.assert_array_equal(data.valid.x, data.test.x)

    def test_binarised_images_with_their_own_validation_rows(self, tmp_path: Path) -> None:
        bits = (TRAIN > 127).astype(np.uint8)
        np.savez(tmp_path / "my.npz", train=bits, valid=bits[:3], test=bits[:5])
        data = MNIST(str(tmp_path / "my.npz")).load()
        assert [len(part) for part in (data.train, data.valid, data.test)] == [12, 3, 5]
        assert data.value_range == (0, 1)

    def test_other_contents(self, tmp_path: Path) -> None:
        path = tmp_path / "my.npz"
        np.savez(path, x=TRAIN)
        assert "must hold the arrays train and test, or x_train and x_test. Got x instead." in message(path)
        np.savez(path, train=TRAIN[:, :9], test=TRAIN[:, :9])
        assert "Got shape (12, 9) of uint8 instead. Try data=table" in message(path)
        path.write_bytes(path.read_bytes()[:200])
        assert "cannot be read as an NPZ archive" in message(path)
        assert "There is no file" in message(tmp_path / "nothing.npz")

    @pytest.mark.skipif(not SHARED.is_dir(), reason=f"the project's shared data are not in {SHARED}")
    def test_the_real_thing(self) -> None:
        data = MNIST(str(SHARED)).load()
        assert [len(part) for part in (data.train, data.valid, data.test)] == [50_000, 10_000, 10_000]
        assert data.test.labels is not None
        assert np.bincount(data.test.labels).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A mirror on this machine and an empty cache; gives the folder that the mirror serves."""
    folder = write_folder(tmp_path / "served")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Tests print nothing."""

    handler = partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        monkeypatch.setattr(mnist, "MIRROR", f"http://127.0.0.1:{running.server_port}/")
        digests = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in mnist.MD5}
        monkeypatch.setattr(mnist, "MD5", digests)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        yield folder
        running.shutdown()
        thread.join()


class TestDownload:
    def test_downloads_once(self, server: Path) -> None:
        data = MNIST().load()
        cache = mnist.cache_folder()
        assert sorted(file.name for file in cache.iterdir()) == sorted(mnist.MD5)
        for name in mnist.MD5:
            (server / name).unlink()
        assert MNIST().load().fingerprint == data.fingerprint

    def test_wrong_checksum(self, server: Path) -> None:
        file = server / "train-labels-idx1-ubyte.gz"
        file.write_bytes(file.read_bytes()[:-1])
        text = message(None)
        assert "train-labels-idx1-ubyte.gz has MD5" in text
        assert "it was not kept" in text
        assert "Try data.path=" in text
        assert [file.name for file in mnist.cache_folder().iterdir()] == ["train-images-idx3-ubyte.gz"]

    def test_not_there(self, server: Path) -> None:
        (server / "t10k-images-idx3-ubyte.gz").unlink()
        assert "HTTP Error 404" in message(None)

    def test_no_network(self, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG002
        monkeypatch.setattr(mnist, "MIRROR", "http://127.0.0.1:9/")
        text = message(None)
        assert "could not be downloaded (http://127.0.0.1:9/train-images-idx3-ubyte.gz:" in text
        assert "refused" in text
        for name in mnist.MD5:
            assert name in text
        assert "from http://127.0.0.1:9/ into one folder, or give an archive. Try data.path=THAT_FOLDER" in text
        assert not list(mnist.cache_folder().iterdir())

    def test_a_write_that_fails_leaves_nothing(self, server: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ARG002
        def full_disk(self: Path, target: Path) -> None:  # noqa: ARG001
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(Path, "replace", full_disk)
        assert "No space left on device" in message(None)
        assert not list(mnist.cache_folder().iterdir())

    def test_cache_folder(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setenv("HOME", "/home/someone")
        assert mnist.cache_folder() == Path("/home/someone/.cache/vae_lightning/mnist")
