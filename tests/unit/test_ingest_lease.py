"""The lease's rules, one by one; tests/property/test_ingest_lease.py tries them together."""

from typing import NamedTuple

import pytest

from marketdata.records import Lease
from services.ingest.lease import LeaseLog, Member

TIMEOUT_S = 3.0
T = 3_000
AT = 1_709_650_800_000


class Word(NamedTuple):
    holder: str
    epoch: int
    after: int
    claim: bool = False
    released: bool = False


def read(*words: Word, whole: bool = True) -> LeaseLog:
    log = LeaseLog(T, whole=whole)
    for word in words:
        lease = Lease(holder=word.holder, epoch=word.epoch, ts=0, released=word.released)
        log.take(lease, AT + word.after, claim=word.claim)
    return log


A = Word("a", 1, 0, claim=True)


@pytest.mark.parametrize(
    ("words", "holder", "epoch"),
    [
        ((), None, 0),
        ((A,), "a", 1),
        ((A, Word("b", 1, 1, claim=True)), "a", 1),
        ((A, Word("b", 2, T - 1, claim=True)), "a", 1),
        ((A, Word("b", 2, T, claim=True)), "b", 2),
        ((A, Word("b", 2, T, claim=True), Word("c", 2, T + 1, claim=True)), "b", 2),
        ((A, Word("b", 2, T, claim=True), Word("a", 1, T + 1)), "b", 2),
        ((A, Word("a", 1, 500), Word("b", 2, T, claim=True)), "a", 1),
        ((A, Word("b", 2, 1, claim=True), Word("b", 2, T - 1, claim=True)), "a", 1),
        ((A, Word("a", 1, 9, released=True)), None, 1),
        ((A, Word("a", 1, 9, released=True), Word("b", 2, 10, claim=True)), "b", 2),
        ((A, Word("a", 1, 9, released=True), Word("a", 1, 10)), None, 1),
        ((A, Word("b", 1, 9, released=True)), "a", 1),
    ],
)
def test_who_holds_is_what_the_log_says(words: tuple[Word, ...], holder: str | None, epoch: int) -> None:
    log = read(*words)
    assert (log.holder, log.epoch) == (holder, epoch)


def test_a_claim_that_does_not_count_is_still_gone_above() -> None:
    assert read(A, Word("b", 7, 1, claim=True)).highest == 7


def test_a_broker_whose_clock_is_set_back_holds_nobody_up_for_long() -> None:
    back = -3_600_000
    assert read(A, Word("b", 2, back, claim=True)).holder == "a"
    assert read(A, Word("b", 2, back, claim=True), Word("b", 3, back + T, claim=True)).holder == "b"
    assert read(A, Word("a", 1, back), Word("b", 2, back + T - 1, claim=True)).holder == "a"


def test_where_the_topics_beginning_is_gone_only_who_goes_on_writing_holds() -> None:
    assert read(A, whole=False).holder is None
    assert read(A, Word("x", 4, 1), whole=False).holder == "x"
    assert read(Word("x", 4, 0), Word("b", 5, 1, claim=True), whole=False).holder == "x"
    assert read(Word("zombie", 3, 0), Word("x", 4, 1), whole=False).holder == "x"
    assert read(A, Word("b", 5, T - 1, claim=True), whole=False).holder is None
    assert read(A, Word("b", 5, T, claim=True), whole=False).holder == "b"


def member(name: str = "me", *, whole: bool = True) -> Member:
    return Member(name, TIMEOUT_S, LeaseLog(T, whole=whole))


def says(who: Member, now: float, wall_us: int, epoch: int) -> tuple[Lease, bool]:
    said = who.say(now, wall_us, epoch)
    assert said
    return said


def test_a_free_lease_is_claimed_at_once_above_every_epoch() -> None:
    me = member()
    said = me.say(10.0, AT * 1_000, 4)
    assert said == (Lease(holder="me", epoch=5, ts=AT * 1_000), True)
    assert not me.holds(10.0), "a claim is nothing before it was read back"
    me.heard(said[0], AT, 10.1, claim=True)
    assert me.holds(10.1)
    assert me.epoch == 5


def test_it_may_write_for_two_thirds_of_the_time_out_from_when_its_last_word_was_sent() -> None:
    me = member()
    claim = says(me, 10.0, AT * 1_000, 0)
    me.heard(claim[0], AT, 11.9, claim=True)
    assert me.holds(11.9)
    assert not me.holds(12.0)
    assert me.leads, "it keeps the lease all the same: nobody else has it"
    beat = says(me, 12.5, AT * 1_000, 0)
    assert beat[0].epoch == 1
    assert not beat[1]
    me.heard(beat[0], AT + 600, 12.6, claim=False)
    assert me.holds(14.4)


def test_a_holder_says_so_six_times_in_a_time_out() -> None:
    me = member()
    claim = says(me, 10.0, AT * 1_000, 0)
    me.heard(claim[0], AT, 10.0, claim=True)
    said = [me.say(10 + step / 100, AT * 1_000, 0) for step in range(1, 301)]
    assert len([word for word in said if word]) == 6


def test_a_silent_holder_is_followed_after_the_time_out_a_live_one_never() -> None:
    me = member()
    me.heard(Lease(holder="other", epoch=3, ts=0), AT, 10.0, claim=True)
    assert me.say(12.9, AT * 1_000, 3) is None
    me.heard(Lease(holder="other", epoch=3, ts=1), AT + 2_900, 12.95, claim=False)
    assert me.say(15.9, AT * 1_000, 3) is None
    said = me.say(15.96, AT * 1_000, 3)
    assert said
    assert (said[0].epoch, said[1]) == (4, True)


def test_a_lease_that_looks_stale_by_the_wall_clock_is_tried_for_once() -> None:
    """The guess may be wrong: the broker's time of writing decides, and a wrong one is not repeated all the time."""
    me = member()
    me.heard(Lease(holder="alive", epoch=3, ts=0), AT, 10.0, claim=True)
    now_us = (AT + 60_000) * 1_000
    first = says(me, 10.1, now_us, 3)
    me.heard(first[0], AT + 100, 10.2, claim=True)
    assert me.log.holder == "alive"
    me.heard(Lease(holder="alive", epoch=3, ts=1), AT + 500, 10.5, claim=False)
    assert me.say(13.4, now_us, 3) is None
    assert me.say(13.6, now_us, 3) is not None, "silent for the time-out by the own clock too"


def test_silence_counts_only_while_the_broker_answers() -> None:
    """After an outage of Kafka the holder, which kept its frames, is to go on, not whoever writes first."""
    me = member()
    me.heard(Lease(holder="other", epoch=3, ts=0), AT, 10.0, claim=True)
    assert me.say(10.1, AT * 1_000, 3) is None
    me.deaf(70.0)
    assert me.say(72.9, (AT + 62_000) * 1_000, 3) is None
    assert me.say(73.0, (AT + 63_000) * 1_000, 3) is not None


def test_a_released_lease_is_free_at_once() -> None:
    me = member()
    me.heard(Lease(holder="other", epoch=3, ts=0), AT, 10.0, claim=True)
    me.heard(Lease(holder="other", epoch=3, ts=0, released=True), AT, 10.2, claim=False)
    assert me.say(10.2, AT * 1_000, 3) is not None


def test_a_holder_that_reads_of_a_newer_epoch_has_lost() -> None:
    me = member()
    claim = says(me, 10.0, AT * 1_000, 0)
    me.heard(claim[0], AT, 10.1, claim=True)
    me.heard(Lease(holder="other", epoch=2, ts=0), AT + T, 11.0, claim=True)
    assert me.lost
    assert not me.holds(11.0)
    assert me.say(20.0, AT * 1_000, 0) is None


def test_who_gave_back_says_nothing_more() -> None:
    me = member()
    assert me.release(AT * 1_000) is None, "nothing to give back"
    claim = says(me, 10.0, AT * 1_000, 0)
    me.heard(claim[0], AT, 10.1, claim=True)
    last = me.release(AT * 1_000)
    assert last
    assert (last.epoch, last.released) == (1, True)
    assert not me.holds(10.1)
    assert not me.lost
    assert me.say(20.0, AT * 1_000, 0) is None


def test_an_empty_topic_whose_beginning_is_gone_is_judged_by_the_broker() -> None:
    me = member(whole=False)
    first = says(me, 10.0, AT * 1_000, 8)
    me.heard(first[0], AT, 10.1, claim=True)
    assert not me.leads, "others may have claimed before, where nothing stands any more"
    again = says(me, 13.2, (AT + 3_200) * 1_000, 8)
    me.heard(again[0], AT + 3_200, 13.3, claim=True)
    assert me.holds(13.3)
