import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hedgerow.errors import Misconfigured
from hedgerow.tasks import images


def drawn(file: Path, value: object, size: tuple[int, int] = (6, 5), mode: str = "L") -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (size[1], size[0]), value).save(file)  # type: ignore[arg-type]  # a grey level or a colour


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(5):
        drawn(tmp_path / "xray" / "ill" / f"{number}.png", number)
        drawn(tmp_path / "xray" / "well" / f"{number}.JPG", 200)
    return tmp_path / "xray"


def refused(folder: Path, code: str, **how: object) -> Misconfigured:
    with pytest.raises(Misconfigured) as caught:
        images(folder, **{"size": (6, 5), **how})  # type: ignore[arg-type]
    assert caught.value.code == code, caught.value
    assert caught.value.hint or code == "E103"
    return caught.value


def test_a_folder_becomes_a_task(folder: Path) -> None:
    (folder / "ill" / "notes.txt").write_text("not an image")
    (folder / ".cache").mkdir()
    task = images(folder, (6, 5))
    pool = task.pool()
    assert (task.name, task.labels, task.column) == ("xray", ("ill", "well"), None)
    assert (len(pool.train), len(pool.test)) == (8, 2)
    assert pool.train.x.shape == (8, 1, 6, 5)
    both = np.concatenate([pool.train.x, pool.test.x])
    y = np.concatenate([pool.train.y, pool.test.y])
    assert sorted(both[y == 0, 0, 0, 0] * np.float32(255)) == pytest.approx([0, 1, 2, 3, 4])
    assert both[y == 1] * np.float32(255) == pytest.approx(np.full((5, 1, 6, 5), 200), abs=2)  # JPEG may lose a little


def test_the_order_is_that_of_the_names(folder: Path) -> None:
    x = images(folder, (6, 5), test_fraction=0).pool().train.x
    assert x[:5, 0, 0, 0] * np.float32(255) == pytest.approx([0, 1, 2, 3, 4])


def test_sites_stand_above_labels(tmp_path: Path) -> None:
    for site, labels in (("south", ("well",)), ("north", ("ill", "well"))):
        for label in labels:
            drawn(tmp_path / site / label / "a.png", 10)
    task = images(tmp_path, (6, 5), site=True, test_fraction=0)
    assert task.labels == ("ill", "well") and task.column is not None
    assert task.column.tolist() == ["north", "north", "south"]
    assert task.pool().train.y.tolist() == [0, 1, 1]


def test_colours_stay_in_their_channels(tmp_path: Path) -> None:
    drawn(tmp_path / "a" / "1.png", (255, 0, 51), mode="RGB")
    drawn(tmp_path / "b" / "1.png", 102)
    x = images(tmp_path, (6, 5), 3, test_fraction=0).pool().train.x
    assert x[:, :, 2, 2] == pytest.approx(np.array([[1, 0, 0.2], [0.4, 0.4, 0.4]]))


def test_height_comes_before_width(tmp_path: Path) -> None:
    for label in "ab":
        drawn(tmp_path / label / "1.png", 0)
    picture = Image.new("L", (20, 40), 0)
    picture.paste(255, (0, 0, 20, 20))  # the upper half is white
    picture.save(tmp_path / "b" / "1.png")
    x = images(tmp_path, (8, 4), test_fraction=0).pool().train.x[1, 0]
    assert x.shape == (8, 4)
    assert np.all(x[:3] == 1) and np.all(x[5:] == 0)


def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path) -> None:
    picture = Image.new("L", (16, 16), 0)
    picture.paste(255, (0, 0, 16, 8))
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    for label in "ab":
        drawn(tmp_path / label / "1.png", 0)
    picture.save(tmp_path / "b" / "2.jpg", exif=turned)
    x = images(tmp_path, (16, 16), test_fraction=0).pool().train.x[2, 0]
    assert x[:6].max() < 0.1 and x[10:].min() > 0.9


@pytest.mark.parametrize("channels", [1, 3])
def test_the_default_model_is_a_cnn_for_these_images(folder: Path, channels: int) -> None:
    task = images(folder, (6, 5), channels)
    model = task.model()
    assert any(isinstance(layer, torch.nn.Conv2d) for layer in model.modules())
    assert model(torch.from_numpy(task.pool().train.x)).shape == (8, 2)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert "there is no folder nowhere" in refused(tmp_path / "nowhere", "E120").message


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n cut", b"GIF89a"])
def test_a_file_that_is_no_image_is_named(folder: Path, content: bytes) -> None:
    (folder / "well" / "x.png").write_bytes(content)
    error = refused(folder, "E120")
    assert "x.png" in error.message and error.place.endswith("x.png")


def test_an_image_that_is_cut_off_is_named(folder: Path) -> None:
    whole = folder / "well" / "0.JPG"
    drawn(whole, 100, (200, 200))
    whole.write_bytes(whole.read_bytes()[:-200])
    assert "0.JPG" in refused(folder, "E120").message


def test_sixteen_bit_images_are_refused_rather_than_cut_to_white(folder: Path) -> None:
    Image.fromarray(np.full((6, 5), 40_000, np.uint16)).save(folder / "ill" / "deep.png")
    assert "deep.png" in refused(folder, "E122").message


def test_a_single_label_is_refused(folder: Path) -> None:
    assert "only the label folder 'ill'" in refused_after_removing(folder, "well").message


def refused_after_removing(folder: Path, label: str) -> Misconfigured:
    for file in (folder / label).iterdir():
        file.unlink()
    (folder / label).rmdir()
    return refused(folder, "E124")


def test_a_folder_without_labels_is_refused(tmp_path: Path) -> None:
    refused(tmp_path, "E124")
    refused(tmp_path, "E124", site=True)


def test_a_label_without_images_is_named(folder: Path) -> None:
    (folder / "maybe").mkdir()
    assert "'maybe'" in refused(folder, "E124").message


@pytest.mark.parametrize("how", [{"channels": 2}, {"size": (3, 8)}, {"test_fraction": 1.0}])
def test_settings_out_of_range_are_refused(folder: Path, how: dict[str, object]) -> None:
    refused(folder, "E103", **how)


def test_missing_pillow_is_named_with_what_brings_it(folder: Path) -> None:
    code = f"""
import sys
sys.modules["PIL"] = None
from hedgerow import tasks
from hedgerow.errors import Misconfigured
try:
    tasks.images({str(folder)!r}, (6, 5))
except Misconfigured as error:
    sys.exit(not (error.code == "E107" and "pip install 'hedgerow[full]'" in error.hint))
sys.exit(2)
"""
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}).returncode == 0
