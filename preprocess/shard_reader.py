"""The shards of a work folder, read while ranks append to them."""

from contextlib import suppress
from pathlib import Path

from pianogen.polling import wait_until
from preprocess.errors import PreprocessError
from preprocess.inputs import Inputs
from preprocess.piece_table import PieceTable
from preprocess.shard import read_records

_MAX_DELAY_S = 90.0  # NFS may take a minute to show what another node has written
_POLL_S = 1.0


class ShardReader:
    """The shards of a work folder.

    Args:
        folder: the work folder.
        inputs: all inputs of the corpus.

    Attributes:
        paths: the shards by number.
        table: the pieces that were read so far.
    """

    def __init__(self, folder: Path, inputs: Inputs) -> None:
        self._folder, self._inputs = folder, inputs
        self.paths: list[Path] = []
        self.table = PieceTable(inputs.names)
        self._numbers: dict[Path, int] = {}
        self._bytes_read: list[int] = []

    def read(self, shard: Path, num_bytes: int | None = None) -> None:
        """Reads the records of a shard that were not read before.

        Args:
            num_bytes: the size up to which the shard is complete, while its rank still appends to it; None reads all.
        """
        number = self._numbers.setdefault(shard, len(self.paths))
        if number == len(self.paths):
            self.paths.append(shard)
            self._bytes_read.append(0)
        with suppress(FileNotFoundError):  # a shard of another node that is not visible yet; `wait_for_all` waits for it
            for batch, end in read_records(shard, self._bytes_read[number], num_bytes):
                self.table.add(batch, number)
                self._bytes_read[number] = end

    def read_all(self) -> None:
        """Reads all shards of the folder."""
        for shard in sorted(self._folder.glob("shard-*")):
            self.read(shard)

    def wait_for_all(self) -> None:
        """Waits until a network file system shows the records of all inputs.

        Raises:
            PreprocessError: some are missing.
        """
        if not wait_until(self._has_all, _MAX_DELAY_S, _POLL_S):
            missing = self.table.missing_inputs()
            raise PreprocessError(
                f"no shard in {self._folder} holds the outcomes of {len(missing)} of {len(self._inputs)} inputs, such as "
                f"{self._inputs.names[int(missing[0])]}; run the same command again"
            )

    def _has_all(self) -> bool:
        self.read_all()
        return len(self.table.missing_inputs()) == 0
