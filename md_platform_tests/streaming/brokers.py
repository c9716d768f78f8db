"""Brokers that the tests of sinks start, kill and read: a folder in; an address, and what the broker holds out.

NATS and RabbitMQ are the real servers, where their programs are installed. Kafka is the broker that librdkafka carries
for tests: its authors' own implementation of the protocol, over TCP, in this process.
"""
# ruff: noqa: PLC0415 - each client is there or not

import asyncio
import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import psutil
import pytest

Held = tuple[str, str, bytes]
"""Channel, id and payload of what a broker holds."""


class Broker(Protocol):
    url: str

    def start(self) -> None: ...

    def kill(self) -> None:
        """As a crash does it."""

    async def subscribe(self) -> None:
        """What must be there before messages come, for these to be kept."""

    async def held(self) -> list[Held]: ...


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Program:
    """A server program on a port of its own."""

    def __init__(self, folder: Path, program: str) -> None:
        self.folder = folder
        self.program = program
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> tuple[list[str], dict[str, str]]:
        raise NotImplementedError

    def start(self) -> None:
        argv, environment = self.command()
        with (self.folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(
                argv, env={**os.environ, **environment}, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, (self.folder / "broker.log").read_text()
                time.sleep(0.1)
            else:
                return

    def kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def end(self) -> None:
        """Leave nothing running."""
        self.kill()


class Nats(Program):
    def __init__(self, folder: Path, program: str = "nats-server") -> None:
        super().__init__(folder, program)
        self.url = f"nats://md:s3cret@127.0.0.1:{self.port}"

    def command(self) -> tuple[list[str], dict[str, str]]:
        login = ["--user", "md", "--pass", "s3cret"]
        where = ["-a", "127.0.0.1", "-p", str(self.port), "-js", "-sd", str(self.folder)]
        return [self.program, *where, *login], {}

    async def subscribe(self) -> None:
        """JetStream keeps what nobody asked for yet."""

    async def held(self) -> list[Held]:
        import nats

        client = await nats.connect(self.url)
        jetstream = client.jetstream()
        state = (await jetstream.stream_info("market_data")).state
        found = []
        for sequence in range(state.first_seq, state.last_seq + 1):
            message = await jetstream.get_msg("market_data", sequence)
            found.append((message.headers["md-channel"], message.headers["Nats-Msg-Id"], message.data))
        await client.close()
        return found


class Rabbit(Program):
    def __init__(self, folder: Path, program: str = "rabbitmq-server") -> None:
        super().__init__(folder, program)
        self.url = f"amqp://guest:guest@127.0.0.1:{self.port}/"
        self._epmd_port = free_port()

    def command(self) -> tuple[list[str], dict[str, str]]:
        plugins = self.folder / "enabled_plugins"
        plugins.write_text("[].")
        return [self.program], {
            "HOME": str(self.folder),
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"t{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
        }

    def end(self) -> None:
        super().end()
        for process in psutil.process_iter(["name"]):  # Erlang's own daemon outlives its nodes
            with contextlib.suppress(psutil.Error):
                if process.name() == "epmd" and process.environ().get("ERL_EPMD_PORT") == str(self._epmd_port):
                    process.kill()

    async def subscribe(self) -> None:
        import aio_pika

        async with await aio_pika.connect(self.url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("kept", durable=True)
            await channel.declare_exchange("market_data", aio_pika.ExchangeType.TOPIC, durable=True)
            await queue.bind("market_data", "md.#")

    async def held(self) -> list[Held]:
        import aio_pika

        found = []
        async with await aio_pika.connect(self.url) as connection:
            queue = await (await connection.channel()).get_queue("kept")
            while (message := await queue.get(fail=False)) is not None:
                found.append((str(message.headers["md-channel"]), str(message.message_id), message.body))
        return found


class MockKafka:
    """librdkafka's mock cluster of one broker. `kill` cuts its connections and refuses new ones; it keeps its logs."""

    def __init__(self) -> None:
        import confluent_kafka

        folder = Path(confluent_kafka.__file__).parent.with_name("confluent_kafka.libs")
        self._lib = library = ctypes.CDLL(str(next(folder.glob("librdkafka*"))))
        for function in ("rd_kafka_conf_new", "rd_kafka_new", "rd_kafka_mock_cluster_new"):
            getattr(library, function).restype = ctypes.c_void_p
        library.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
        said = ctypes.create_string_buffer(512)
        self._handle = ctypes.c_void_p(library.rd_kafka_new(0, ctypes.c_void_p(library.rd_kafka_conf_new()), said, 512))
        self._cluster = ctypes.c_void_p(library.rd_kafka_mock_cluster_new(self._handle, 1))
        self.url = f"kafka://{library.rd_kafka_mock_cluster_bootstraps(self._cluster).decode()}"
        for topic in (b"market_data_feed", b"data_quality_events", b"price_alerts"):
            library.rd_kafka_mock_topic_create(self._cluster, topic, 3, 1)

    def start(self) -> None:
        self._lib.rd_kafka_mock_broker_set_up(self._cluster, 1)

    def kill(self) -> None:
        self._lib.rd_kafka_mock_broker_set_down(self._cluster, 1)

    async def subscribe(self) -> None:
        """Topics keep what nobody asked for yet."""

    async def held(self) -> list[Held]:
        return await kafka_holds(self.url)

    def destroy(self) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
        self._lib.rd_kafka_destroy(self._handle)


class NamedKafka:
    """A Kafka that somebody else runs; whoever uses it sets `url`."""

    def __init__(self, _folder: Path) -> None:
        self.url = ""

    async def subscribe(self) -> None:
        """Topics keep what nobody asked for yet."""

    async def held(self) -> list[Held]:
        return await kafka_holds(self.url)


async def kafka_holds(url: str) -> list[Held]:
    from aiokafka import AIOKafkaConsumer

    consumer = AIOKafkaConsumer(
        "market_data_feed",
        "data_quality_events",
        "price_alerts",
        bootstrap_servers=url.removeprefix("kafka://"),
        auto_offset_reset="earliest",
    )
    await consumer.start()
    ends = await consumer.end_offsets(consumer.assignment())
    found = []
    while any([await consumer.position(place) < end for place, end in ends.items()]):
        for records in (await consumer.getmany(timeout_ms=1_000)).values():
            found += [(each.key.decode(), dict(each.headers)["md-id"].decode(), each.value) for each in records]
    with contextlib.suppress(asyncio.CancelledError):  # aiokafka lets its own task's out
        await consumer.stop()
    return found


def _program(name: str, *elsewhere: str) -> str:
    found = shutil.which(name, path=os.pathsep.join([*elsewhere, os.environ.get("PATH", "")]))
    return found or pytest.skip(f"{name} is not installed")


@contextlib.contextmanager
def broker_running(kind: str, folder: Path) -> Iterator[Broker]:
    """A broker of `kind` (kafka, nats, rabbit); the test skips where it cannot be had."""
    pytest.importorskip({"kafka": "aiokafka", "nats": "nats", "rabbit": "aio_pika"}[kind])
    if kind == "kafka":
        pytest.importorskip("confluent_kafka")
        kafka = MockKafka()
        yield kafka
        kafka.destroy()
        return
    program: Program
    if kind == "nats":
        program = Nats(folder, _program("nats-server"))
    else:  # Debian's program of that name in /usr/sbin insists on its own user and folders
        program = Rabbit(folder, _program("rabbitmq-server", "/usr/lib/rabbitmq/bin"))
    program.start()
    try:
        yield program
    finally:
        program.end()
