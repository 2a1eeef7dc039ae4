"""One Apache Kafka node, broker and controller at once (KRaft mode), as a child process on loopback."""

import base64
import fcntl
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from market.native.jars import HERE, ensure_jars
from market.native.java import find_java
from market.native.ports import LOOPBACK, choose_ports
from market.native.process import READY_S, Child, NativeError, log_tail

USUAL_PORT = 9092
SHORT_LIVED = ("-XX:TieredStopAtLevel=1",)
"""Java's options for a broker of a minute or two, as tests have: its optimising compiler takes a quarter to a half of
a core for the first minutes, and what it gains pays after them."""
_LISTENERS = {"listeners", "advertised.listeners", "listener.security.protocol.map"}
_LOG4J = f"-Dlog4j2.configurationFile={HERE / 'kafka-log4j2.xml'}"
_log = structlog.get_logger(__name__)


def broker_properties(listeners: str, advertised: str, controller: str) -> dict[str, str]:
    """The settings of a single node whose listeners are PLAINTEXT and CONTROLLER.

    `controller` is the host:port at which the node finds itself. What is not named here is Kafka's default.
    """
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{controller}",
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "PLAINTEXT",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "listeners": listeners,
        "advertised.listeners": advertised,
        # After kill -9 the node waits for its own former session to end: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        "auto.create.topics.enable": "false",
        "group.initial.rebalance.delay.ms": "0",
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "8",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "share.coordinator.state.topic.num.partitions": "4",
        "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),  # the default would take a quarter of the heap
        # One machine carries it and all that it serves: handing a request from thread to thread costs more than it.
        "num.network.threads": "1",
        "num.io.threads": "2",
        "socket.send.buffer.bytes": "-1",  # the kernel sizes them
        "socket.receive.buffer.bytes": "-1",
    }


class KafkaBroker:
    """A Kafka broker whose data lives in `data_dir`; starting again on the same directory keeps the data.

    `port` None takes 9092 if it is free and any other port if not. `heap` is Java's, such as "512m". `properties` are
    further settings of the broker; listeners among them come beside ours. `java_options` are such as an agent.
    """

    def __init__(
        self,
        data_dir: Path | str,
        port: int | None = None,
        *,
        heap: str = "512m",
        properties: Mapping[str, str] | None = None,
        java_options: Sequence[str] = (),
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self._wanted = port
        self._heap = heap
        self._java_options = java_options
        self._further = dict(properties or {})
        self.port = port or 0
        self.child: Child | None = None

    @property
    def bootstrap(self) -> str:
        """What clients connect to, host:port; known once started."""
        return f"{LOOPBACK}:{self.port}"

    @property
    def running(self) -> bool:
        """Whether the process is there; a paused one is."""
        return self.child is not None and self.child.running

    def start(self, timeout: float = READY_S) -> None:
        """Start and wait (seconds) until topics can be listed and a record produced.

        Raises NativeError, with the end of the broker's log, if it ends or is not ready in time. A download of the
        jars, the first time on a machine, is not counted.
        """
        if self.running:
            return
        java, jars = find_java(), ensure_jars()
        classpath = ":".join(str(jar) for jar in jars)
        began = time.monotonic()
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self._wait_for_predecessor()
        for attempt in range(3):
            try:
                self._start_once(java, classpath, timeout)
                break
            except NativeError:
                # Between our look at the port and the broker's bind somebody else may have taken it.
                taken = self.child is not None and "Address already in use" in self.child.output()
                self.kill()
                if not taken or self._wanted is not None or attempt == 2:
                    raise
        _log.info("kafka is ready", bootstrap=self.bootstrap, seconds=round(time.monotonic() - began, 1))

    def stop(self, timeout: float = 20.0) -> None:
        """Shut down cleanly; killed if that takes longer than `timeout` seconds."""
        if self.child is not None:
            self.child.stop(timeout=timeout)
            self.child = None

    def kill(self) -> None:
        """Kill -9: no clean shutdown, as in a crash."""
        if self.child is not None:
            self.child.kill()
            self.child = None

    def pause(self) -> None:
        """Freeze the broker: its sockets stay open and nothing answers."""
        if self.child is not None:
            self.child.pause()

    def resume(self) -> None:
        """Let a frozen broker go on."""
        if self.child is not None:
            self.child.resume()

    def _start_once(self, java: str, classpath: str, timeout: float) -> None:
        # A second start prefers the ports of the first, so that clients which outlive a crash find it again.
        self.port, controller = choose_ports(self._wanted or self.port or USUAL_PORT, None)
        if self._wanted not in (None, self.port):
            raise NativeError(f"kafka: port {self._wanted} on {LOOPBACK} is taken; free it or name another")
        deadline = time.monotonic() + timeout
        config = self._write_config(controller)
        if not (self.data_dir / "log").is_dir():
            self._format(java, classpath, config)
        self.child = Child.start("kafka", self._command(java, classpath, config), self.data_dir / "kafka.log")
        self.child.wait_until(self._listening, deadline - time.monotonic())
        _Probe(self.bootstrap, self.child).wait(deadline - time.monotonic())

    def _command(self, java: str, classpath: str, config: Path) -> list[str]:
        jvm = [f"-Xms{self._heap}", f"-Xmx{self._heap}", "-Xshare:auto", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]
        jvm += ["-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent"]
        jvm += ["-XX:+ExitOnOutOfMemoryError", "-Djava.awt.headless=true"]
        jvm += [_LOG4J, *self._java_options]
        return [java, *jvm, "-cp", classpath, "kafka.Kafka", str(config)]

    def _write_config(self, controller: int) -> Path:
        properties = broker_properties(
            listeners=f"PLAINTEXT://{self.bootstrap},CONTROLLER://{LOOPBACK}:{controller}",
            advertised=f"PLAINTEXT://{self.bootstrap}",
            controller=f"{LOOPBACK}:{controller}",
        )
        properties["log.dirs"] = str(self.data_dir / "log")
        for name, value in self._further.items():
            properties[name] = f"{properties[name]},{value}" if name in _LISTENERS else value
        config = self.data_dir / "server.properties"
        config.write_text("".join(f"{name}={value}\n" for name, value in properties.items()))
        return config

    def _format(self, java: str, classpath: str, config: Path) -> None:
        """Prepare the storage in a directory beside the final one, then rename: an interrupted start leaves none."""
        half = self.data_dir / "log.formatting"
        shutil.rmtree(half, ignore_errors=True)
        temporary = config.with_name("format.properties")
        temporary.write_text(config.read_text() + f"log.dirs={half}\n")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        cluster = "A" + cluster[1:]  # a leading dash would be read as an option
        quick = [
            java,
            "-XX:TieredStopAtLevel=1",
            "-Xshare:auto",
            _LOG4J,
        ]
        command = [*quick, "-cp", classpath, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(temporary)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if done.returncode != 0:
            raise NativeError(f"kafka: storage in {self.data_dir} could not be formatted:\n{done.stdout[-2000:]}")
        half.rename(self.data_dir / "log")

    def _wait_for_predecessor(self, seconds: float = 15.0) -> None:
        """A broker whose parent was just killed may still be shutting down on this directory."""
        lock = self.data_dir / "log" / ".lock"
        deadline = time.monotonic() + seconds
        while lock.exists():
            with lock.open("r+b") as file:
                try:
                    fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except OSError:
                    if time.monotonic() > deadline:
                        raise NativeError(f"kafka: another broker is running on {self.data_dir}; stop it") from None
                else:
                    return
            time.sleep(0.1)

    def _listening(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), timeout=1).close()
        except OSError:
            return False
        return True


class _Probe:
    """Asks a broker until it lists its topics and takes a record."""

    def __init__(self, bootstrap: str, child: Child) -> None:
        self._child = child
        common = {"bootstrap.servers": bootstrap, "log_level": 0, "reconnect.backoff.max.ms": 200}
        self._admin = AdminClient(common)
        self._producer = Producer({**common, "acks": "all", "retry.backoff.ms": 20, "message.timeout.ms": 30_000})
        self._topic = f"native-ready-{uuid.uuid4().hex[:8]}"  # another start may be probing the same port
        self._delivered = False

    def wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._child.wait_until(self._lists_topics, seconds)
        self._create()
        self._producer.produce(self._topic, b"ready", partition=0, on_delivery=self._on_delivery)
        self._child.wait_until(self._took_record, deadline - time.monotonic(), pause=0)
        self._delete()

    def _lists_topics(self) -> bool:
        try:
            return bool(self._admin.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _create(self) -> None:
        try:
            self._admin.create_topics([NewTopic(self._topic, 1, 1)])[self._topic].result(10)
        except KafkaException as error:
            if "already exists" not in str(error):
                raise NativeError(
                    f"kafka: no topic could be created: {error}\n{log_tail(self._child.log)}"
                ) from error

    def _delete(self) -> None:
        try:
            self._admin.delete_topics([self._topic])[self._topic].result(10)
        except KafkaException as error:  # the client may have asked twice
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise

    def _on_delivery(self, error: object, _message: object) -> None:
        self._delivered = error is None

    def _took_record(self) -> bool:
        self._producer.poll(0.05)
        return self._delivered
