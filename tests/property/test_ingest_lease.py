"""The lease under pauses, delays and lost words: a simulated topic, broker and two or three instances."""

from collections import deque
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.records import Lease
from services.ingest.lease import LeaseLog, Member

TIMEOUT_S = 3.0
TURN_S = 0.05
AT = 1_709_650_800_000


@dataclass
class Instance:
    """One process: it acts only while it runs, reads the topic late, and what it writes arrives late or never."""

    member: Member
    offset: int
    read: int = 0
    awake_from: float = 0.0
    written: deque[tuple[float, Lease, bool]] = field(default_factory=deque)


Event = tuple[int, int, float, float, float, bool]
events = st.lists(
    st.tuples(
        st.integers(0, 60),  # turns until then
        st.integers(0, 2),  # whom it hits
        st.sampled_from([0.0, 0.0, 0.4, 2.5, 3.5, 8.0]),  # pause
        st.sampled_from([0.0, 0.0, 0.3, 1.0, 4.0]),  # delay of what it writes from now on
        st.sampled_from([0.0, 0.0, 0.3, 1.0, 4.0]),  # delay of what it reads from now on
        st.booleans(),  # it gives the lease back if it has it, and is started anew
    ),
    max_size=25,
)


class World:
    """``clocks``: by how much each instance's wall clock is off, in ms; their steady clocks start anywhere."""

    def __init__(self, clocks: list[int]) -> None:
        self.now = 0.0
        self.topic: list[tuple[float, Lease, bool]] = []
        self._clocks = clocks
        self._born = 0
        self.instances = [self._new(i) for i in range(len(clocks))]
        self.delays = [[0.0, 0.0] for _ in clocks]
        self.held = 0

    def _new(self, place: int) -> Instance:
        self._born += 1
        member = Member(f"{place}-{self._born}", TIMEOUT_S, LeaseLog(round(TIMEOUT_S * 1_000), whole=True))
        return Instance(member, 1_000 * place)

    def own_now(self, place: int) -> float:
        return self.now + self.instances[place].offset

    def turn(self) -> None:
        self.now += TURN_S
        for one in self.instances:
            while one.written and one.written[0][0] <= self.now:
                _, word, claim = one.written.popleft()
                self.topic.append((self.now, word, claim))
        for place, one in enumerate(self.instances):
            if self.now >= one.awake_from:
                self._act(place, one)
        self._check()

    def _act(self, place: int, one: Instance) -> None:
        member, now, (write_delay, read_delay) = one.member, self.own_now(place), self.delays[place]
        while one.read < len(self.topic) and self.topic[one.read][0] + read_delay <= self.now:
            at, word, claim = self.topic[one.read]
            member.heard(word, AT + round(at * 1_000), now, claim=claim)
            one.read += 1
        if member.lost:
            self.instances[place] = self._new(place)
            return
        wall_us = (AT + round(self.now * 1_000) + self._clocks[place]) * 1_000
        if said := member.say(now, wall_us, 0):
            self._write(one, *said, write_delay)

    def _write(self, one: Instance, word: Lease, claim: bool, delay: float) -> None:
        last = one.written[-1][0] if one.written else 0.0
        one.written.append((max(self.now + delay, last), word, claim))

    def restart(self, place: int) -> None:
        one = self.instances[place]
        if (last := one.member.release(AT * 1_000)) is not None:
            self._write(one, last, False, 0.0)
        for _, word, claim in one.written:  # what a clean stop has written arrives
            self.topic.append((self.now, word, claim))
        self.instances[place] = self._new(place)

    def _check(self) -> None:
        """A paused one that held when it fell asleep counts as well: it may wake in the middle of a write."""
        holders = [one.member.name for i, one in enumerate(self.instances) if one.member.holds(self.own_now(i))]
        assert len(holders) < 2, f"{holders} both believe that they hold at {self.now:.2f}"
        self.held += len(holders)


def run(clocks: list[int], script: list[Event]) -> World:
    world = World(clocks)
    for turns, whom, pause, write_delay, read_delay, restarted in script:
        for _ in range(turns):
            world.turn()
        place = whom % len(clocks)
        world.delays[place] = [write_delay, read_delay]
        if restarted:
            world.restart(place)
        world.instances[place].awake_from = world.now + pause
    return world


clock_errors = st.lists(st.sampled_from([0, 0, -20, 900, -3_600_000, 3_600_000]), min_size=2, max_size=3)


@settings(max_examples=150)
@given(clock_errors, events)
def test_two_never_believe_at_once_that_they_hold(clocks: list[int], script: list[Event]) -> None:
    """Whatever their pauses, delays and wall clocks: not even for the time that fencing would bear."""
    world = run(clocks, script)
    world.delays = [[0.0, 0.0] for _ in clocks]
    for _ in range(round(12 / TURN_S)):
        world.turn()
    before = world.held
    for _ in range(20):
        world.turn()
    assert world.held == before + 20, "once the disturbance is over, somebody holds without a break"
    read = [LeaseLog(round(TIMEOUT_S * 1_000), whole=True) for _ in range(2)]
    for log in read:
        for at, word, claim in world.topic:
            log.take(word, AT + round(at * 1_000), claim=claim)
    assert read[0].epoch == max(one.member.epoch for one in world.instances)


@settings(max_examples=100)
@given(clock_errors, events, st.integers(0, 400))
def test_who_reads_only_the_end_of_the_topic_comes_to_the_same_holder(
    clocks: list[int], script: list[Event], start: int
) -> None:
    """The oldest words expire: who starts later must not take a claim that never counted for the holder's word."""
    world = run(clocks, script)
    whole, part = (LeaseLog(round(TIMEOUT_S * 1_000), whole=whole) for whole in (True, False))
    for number, (at, word, claim) in enumerate(world.topic):
        whole.take(word, AT + round(at * 1_000), claim=claim)
        if number >= start:
            part.take(word, AT + round(at * 1_000), claim=claim)
            live = at - whole.at / 1_000 < TIMEOUT_S
            if part.holder is not None and live and whole.holder is not None and part.epoch >= whole.epoch:
                assert (part.holder, part.epoch) == (whole.holder, whole.epoch)
