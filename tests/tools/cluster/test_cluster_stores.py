"""scan --cluster reads from S3 and writes to it: a real S3 server answers here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from facetell.tools.cli import run

from ...pictures import SAMPLES
from ...program import FAILED, SOME_FAILED, one_error

pytest.importorskip("ray", reason="ray is not installed")
pytest.importorskip("moto", reason="moto is not installed")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Ray about itself

KEYS = {
    "trip/day 1/real.jpg": "real_astronaut.jpg",
    "trip/day 2/fäke.jpg": "fake_hopper_with_astronauts_face.jpg",
    "trip/none.jpg": "no_face_coffee.jpg",
    "trip/odd #1?/100 %.jpg": "two_faces.jpg",
    "trip//nameless.jpg": "two_faces.jpg",
}


@pytest.fixture(scope="module")
def s3(request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of a server with the bucket photos; Ray's workers, which come after it, find it by the environment."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    own = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_ENDPOINT_URL": address}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**own, "AWS_DEFAULT_REGION": "us-east-1"}.items():
            patch.setenv(name, value)
        client = boto3.client("s3", endpoint_url=address)
        client.create_bucket(Bucket="photos")
        for key, sample in KEYS.items():
            client.upload_file(str(SAMPLES / sample), "photos", key)
        client.put_object(Bucket="photos", Key="trip/broken.jpg", Body=b"broken")
        client.put_object(Bucket="photos", Key="trip/notes.txt", Body=b"no picture")
        yield client
    server.stop()


@pytest.fixture(scope="module")
def scanned(s3: Any, ray_address: str) -> dict[str, dict[str, Any]]:
    """Rows by path, of a scan from S3 to S3."""
    from pyarrow.dataset import dataset
    from pyarrow.fs import S3FileSystem

    twice = ["s3://photos/trip/", "s3://photos/trip/day 1/"]
    command = ["scan", *twice, "--cluster", ray_address, "-o", "s3://me:secret@photos/out"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["facetell", *command])  # the page says what made it
        assert run(command) == SOME_FAILED
    store = S3FileSystem(endpoint_override=os.environ["AWS_ENDPOINT_URL"])
    return {row["path"]: row for row in dataset("photos/out", filesystem=store).to_table().to_pylist()}


def test_every_picture_has_its_row(scanned: dict[str, dict[str, Any]]) -> None:
    verdicts = {path: row["verdict"] for path, row in scanned.items()}
    assert verdicts == {
        "s3://photos/trip/day 1/real.jpg": "real",
        "s3://photos/trip/day 2/fäke.jpg": "fake",
        "s3://photos/trip/none.jpg": "no_face",
        "s3://photos/trip/odd #1?/100 %.jpg": "fake",
        "s3://photos/trip/broken.jpg": "error",
        "s3://photos/trip//": "error",  # what is in the folder without a name is not looked at, and that is told
    }


def test_a_row_has_the_size_of_the_object(scanned: dict[str, dict[str, Any]]) -> None:
    size_bytes = (SAMPLES / "real_astronaut.jpg").stat().st_size
    assert scanned["s3://photos/trip/day 1/real.jpg"]["size_bytes"] == size_bytes


def test_the_overview_is_beside_the_rows(s3: Any, scanned: dict[str, dict[str, Any]]) -> None:
    page = s3.get_object(Bucket="photos", Key="out/_overview.html")["Body"].read().decode()
    assert "s3://photos/trip/day 2/fäke.jpg" in page
    assert "-o s3://photos/out" in page
    assert "secret" not in page


def test_it_goes_on_where_it_was(
    s3: Any, scanned: dict[str, dict[str, Any]], ray_address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["scan", "s3://photos/trip/", "--cluster", ray_address, "-o", "s3://photos/out", "--resume"]
    assert run(command) == SOME_FAILED
    assert "Scanned 0 files in" in (err := capsys.readouterr().err)
    assert f"{len(scanned)} were done before, 2 of them not read" in err


MISSING = {
    "s3://photos/other/": "cannot be listed",
    "s3://nobody/": "cannot be listed",
    "xx://photos/": "no address that is known",
    "s3://me:secret@photos/other/": "s3://photos/other/ cannot be listed",
}


@pytest.mark.parametrize("address", MISSING)
def test_what_is_not_there_is_told_and_no_secret(
    s3: Any, ray_address: str, tmp_path: Path, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["scan", address, "--cluster", ray_address, "-o", str(tmp_path / "out")]) == FAILED
    assert MISSING[address] in (err := one_error(capsys.readouterr().err))
    assert "secret" not in err
