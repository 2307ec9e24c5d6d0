"""Read a file that may be anybody's: only a plain one, and never more than a limit."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_plain_file(path: Path, max_bytes: int, *, follows_links: bool = False) -> bytes:
    """Return what is in a file.

    A link may lead anywhere, opening a pipe may take for ever, and a device may have no end.

    Args:
        path: The file.
        max_bytes: How many bytes it may have.
        follows_links: Whether it may be a link to a plain file.

    Raises:
        OSError: it is not there, is no plain file, is too long, or cannot be read; its `strerror` says so.
    """
    found = path.stat() if follows_links else path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise _refused(errno.EINVAL, path, "it is not a plain file")
    if found.st_size > max_bytes:
        raise _refused(errno.EFBIG, path, f"it has {found.st_size:,} bytes, more than {max_bytes:,}")
    try:
        with path.open("rb") as file:
            return file.read(found.st_size + 1)  # what is added in the meantime is not waited for
    except (MemoryError, OverflowError) as error:
        raise _refused(errno.ENOMEM, path, f"there is no memory for its {found.st_size:,} bytes") from error


def _refused(number: int, path: Path, why: str) -> OSError:
    return OSError(number, why, os.fspath(path))
