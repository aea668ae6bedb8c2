"""Several processes that train one network together, on one machine or many.

A batch is cut into equal parts, each with BatchNorm statistics of its own; process r of P takes the parts r,
r + P, r + 2P and so on, and gradients are averaged over all of them. So it is the number of parts that a
result follows from, and not how many processes share them.

What is to be done reaches the processes of a launcher as JSON, and names one of the functions that they were
told of beforehand: nothing from the network is unpickled, imported or run. Whoever reaches the port of the
launcher could still end a run, so it belongs inside a cluster.
"""

import functools
import itertools
import json
import multiprocessing
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor
from torch.distributed import FileStore, PrefixStore, Store, TCPStore, all_reduce
from torch.multiprocessing import ProcessExitedException, ProcessRaisedException, start_processes

from hnas_kit.errors import HnasError, said
from hnas_kit.files import first_line

TIMEOUT = timedelta(minutes=30)  # of waiting for another process
GRACE = 5.0  # seconds in which the others may end by themselves when one has failed
ON = "start again: it goes on from the last checkpoint"
# how gloo and NCCL say that another process has gone, or has not come in time
_GONE = re.compile(r"closed by peer|reset by peer|broken pipe|connection refused|timed? ?out|aborted", re.I)

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Team:
    """The processes that train together, as one of them sees it; made by itself, a process alone.

    Attributes:
        rank: number of this process, from 0.
        size: how many there are.
        device: this process's own.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = CPU

    @property
    def name(self) -> str:
        """What messages call this process; they count from 1."""
        return _name(self.rank, self.size)

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def mine(self, parts: int, batch_size: int) -> range:
        """Which of a batch's parts are this process's.

        Raises:
            HnasError: if parts or processes cannot be equal.
        """
        if parts < 1 or batch_size % parts:
            raise HnasError(
                f"parts is {parts}; it must divide batch_size, {batch_size}, so that all parts are equal"
            )
        if parts % self.size:
            raise HnasError(
                f"there are {self.size} processes; their number must divide parts, {parts}, "
                "so that each has as much to do"
            )
        return range(self.rank, parts, self.size)

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace tensors by their means over all processes; each has tensors of the same shapes."""
        if self.size == 1:
            return
        by_type: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_type.setdefault(tensor.dtype, []).append(tensor)
        for group in by_type.values():  # as one message: a step has hundreds of small gradients
            flat = torch.cat([tensor.reshape(-1) for tensor in group])
            with _all_here(self.rank, self.size):
                all_reduce(flat)
            flat /= self.size
            for tensor, mean in zip(group, flat.split([t.numel() for t in group]), strict=True):
                tensor.copy_(mean.view(tensor.shape))

    def mean(self, value: float) -> float:
        """The mean over all processes, the very same number for each of them."""
        if self.size == 1:
            return value
        # NCCL knows only tensors on a GPU
        self.average([total := torch.tensor([value], dtype=torch.float64, device=self.device)])
        return total.item()

    def barrier(self) -> None:
        """Wait until all are here."""
        self.mean(0.0)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """What is inside is done by the main process alone, and then by the others."""
        if not self.main:
            self.barrier()
        yield
        if self.main:
            self.barrier()


class PeerLost(HnasError):
    """Another process of the team ended before its time."""


LONE = Team()


def _name(rank: int, size: int) -> str:
    return f"process {rank + 1} of {size}"


@contextmanager
def _all_here(rank: int, size: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        if not _GONE.search(str(error)):
            raise
        raise PeerLost(f"{_name(rank, size)} has lost another one; {ON}") from error


def placed() -> bool:
    """Whether a launcher (``torchrun``) started this process as one of several."""
    return _size() > 1


def _size() -> int:
    return int(os.environ.get("WORLD_SIZE") or "1")


def _rank() -> int:
    return int(os.environ.get("RANK", "0"))


def launch(
    function: Callable[..., None], args: Sequence[Any] = (), processes: int = 1, device: torch.device = CPU
) -> None:
    """Call ``function(team, *args)`` in every process of a team, and wait for all.

    One process: called here. In a process that a launcher started as one of several: called here and in the
    others, however many they are (``processes`` does not count). Else processes are started on this machine;
    not by forking, since a notebook that has used its GPU, or threads, cannot be forked.

    Args:
        function: of a module, so that another process finds it; what it finds out it writes to files.
        args: plain values, as JSON has them.
        processes: how many to start; on GPUs, one for each.
        device: ``cuda``, ``mps`` or ``cpu``; each process has its own in ``team.device``.

    Raises:
        HnasError: if a process ends before its time, or raises; the others are ended, too.
    """
    if device.type not in BACKENDS and (placed() or processes > 1):
        raise HnasError(f"several processes train on {' or '.join(BACKENDS)}, not on {device.type}")
    if placed():
        number = _announce({"function": function.__name__, "args": list(args), "device": device.type})
        with _met(number, device.type) as team:
            function(team, *args)
        return
    if processes == 1:
        function(Team(device=device), *args)
        return
    gpus = torch.cuda.device_count() if device.type == "cuda" else processes
    if not 1 <= processes <= gpus:
        limit = f"from 1 to the {gpus} GPUs there are" if device.type == "cuda" else "at least 1"
        raise HnasError(f"processes is {processes}; it must be {limit}")
    with tempfile.TemporaryDirectory() as folder:
        _start(function, args, processes, device, os.path.join(folder, "store"))


@contextmanager
def _joined(store: Store, rank: int, size: int, kind: str, local_rank: int) -> Iterator[Team]:
    """The team of the processes that share a store."""
    device = torch.device(kind, local_rank if kind == "cuda" else None)
    if kind == "cuda":
        torch.cuda.set_device(device)
    with _all_here(rank, size):
        torch.distributed.init_process_group(
            BACKENDS[kind], store=store, rank=rank, world_size=size, timeout=TIMEOUT
        )
    yield Team(rank, size, device)
    # not after an error: a group that has lost a process may wait for it
    torch.distributed.destroy_process_group()


def _stay_inside() -> None:
    """Data between processes of one machine does not leave it: by default it is the address of its name."""
    if sys.platform == "linux":
        for library in ("GLOO", "NCCL"):
            os.environ.setdefault(f"{library}_SOCKET_IFNAME", "lo")


# processes started here, which find each other by a file


def _leave_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _begin(
    rank: int, size: int, threads: int, path: str, function: Callable, args: Sequence[Any], kind: str
) -> None:
    # PyTorch has it interrupted when its parent ends, which a process in the background does not notice
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    _stay_inside()
    torch.set_num_threads(threads)
    try:
        with _joined(FileStore(path, size), rank, size, kind, rank) as team:
            function(team, *args)
    except HnasError:
        raise
    except Exception as error:
        raise HnasError(f"{_name(rank, size)} failed: {said(error)}") from error


def _start(function: Callable, args: Sequence[Any], processes: int, device: torch.device, path: str) -> None:
    threads = max(torch.get_num_threads() // processes, 1)
    given = processes, threads, path, function, args, device.type
    context = start_processes(_begin, given, processes, join=False)
    try:
        while not context.join(grace_period=GRACE):
            pass
    except (ProcessRaisedException, ProcessExitedException) as error:
        raise HnasError(_cause(error, [process.exitcode for process in context.processes])) from error
    finally:
        for process in context.processes:  # if this one was interrupted
            if process.is_alive():
                process.kill()
            process.join()


def _cause(error: ProcessRaisedException | ProcessExitedException, exits: list[int]) -> str:
    """One line: which process failed and how; one that lost another is not the one that failed."""
    rank, size = error.error_index, len(exits)
    if isinstance(error, ProcessRaisedException):
        kind, _, text = str(error).strip().splitlines()[-1].partition(": ")
        killed = [other for other, code in enumerate(exits) if code < 0 and code != -signal.SIGTERM]
        if not (kind.endswith(PeerLost.__name__) and killed):
            return text
        rank = killed[0]  # SIGTERM is how those that still waited were ended
    how = signal.Signals(-exits[rank]).name if exits[rank] < 0 else f"exit status {exits[rank]}"
    hint = ", perhaps for want of memory" if how == "SIGKILL" else ""
    return f"{_name(rank, size)} was ended by {how}{hint}; {ON}"


# processes started by a launcher: the first one calls, the others wait for its calls

_calls = itertools.count(1)  # those that this process took part in


@functools.cache
def _store() -> TCPStore:
    """What the processes find each other by: the launcher's, or else the first of them serves it."""
    address, port = os.environ.get("MASTER_ADDR", ""), os.environ.get("MASTER_PORT", "")
    try:
        (family, *_, place), *_ = socket.getaddrinfo(address, port := int(port), type=socket.SOCK_STREAM)
    except (ValueError, OSError) as error:
        raise HnasError(
            f"the {_size()} processes cannot meet: MASTER_ADDR is {address!r} and MASTER_PORT {port!r} "
            f"({first_line(error)}); a launcher, such as torchrun, sets them"
        ) from None
    if place[0] in ("127.0.0.1", "::1") or os.environ.get("LOCAL_WORLD_SIZE") == str(_size()):
        _stay_inside()
    serves = {}
    if _rank() == 0 and os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":
        # of itself it would listen on all addresses of the machine
        serves = {"master_listen_fd": socket.create_server(place, family=family).detach()}
    return TCPStore(address, port, is_master=bool(serves), timeout=TIMEOUT, wait_for_workers=False, **serves)


def _met(call: int, kind: str) -> AbstractContextManager[Team]:
    """The team of the launcher's processes, for one call."""
    store = PrefixStore(f"hnas_kit group {call}", _store())
    return _joined(store, _rank(), _size(), kind, int(os.environ.get("LOCAL_RANK", "0")))


def _announce(call: dict | None) -> int:
    number = _store().add("hnas_kit calls", 1)
    _store().set(f"hnas_kit call {number}", json.dumps(call))
    return number


@contextmanager
def leading() -> Iterator[None]:
    """Around all that the first process does, in processes of its own too: lets the others go at the end."""
    if not placed():
        yield
        return
    _store()
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # a process that this one starts serves no other
    try:
        yield
    finally:
        _announce(None)


def follow(*functions: Callable[..., None]) -> bool:
    """Take part in all that the first process launches; False, at once, in the first one or one alone.

    Args:
        functions: those that it may launch, each under its name.

    Raises:
        HnasError: if anything else is asked for.
    """
    if not placed() or _rank() == 0:
        return False
    known = {function.__name__: function for function in functions}
    for number in _calls:
        key = f"hnas_kit call {number}"
        with _all_here(_rank(), _size()):
            while not _store().check([key]):
                time.sleep(0.2)
            text = _store().get(key)
        try:
            if (call := json.loads(text)) is None:
                return True
            function, args, kind = known[call["function"]], list(call["args"]), call["device"]
            if kind not in BACKENDS:
                raise ValueError(kind)
        except (ValueError, LookupError, TypeError) as error:
            raise HnasError(
                f"{_name(_rank(), _size())} was asked for what it does not know: it ends"
            ) from error
        with _met(number, kind) as team:
            function(team, *args)
