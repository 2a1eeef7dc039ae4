"""The reader's rule: whatever writers add that stands already, a reader sees each record once and in order."""

from hypothesis import given
from hypothesis import strategies as st

from streaming.reader import SrcFilter

Src = tuple[int, int, int]


def accepted(rule: SrcFilter, srcs: list[Src], partition: int = 0) -> list[Src]:
    return [src for src in srcs if rule.accept("ratios", partition, src)]


def test_only_strictly_increasing_src_is_accepted() -> None:
    rule = SrcFilter()
    given_srcs = [(0, 5, 0), (0, 5, 0), (0, 5, 1), (0, 4, 9), (0, 6, 0), (0, 6, 0)]
    assert accepted(rule, given_srcs) == [(0, 5, 0), (0, 5, 1), (0, 6, 0)]
    assert rule.dropped == 3


def test_each_topic_and_partition_has_its_own_last_src() -> None:
    rule = SrcFilter()
    assert rule.accept("ratios", 0, (0, 7, 0))
    assert rule.accept("ratios", 1, (1, 3, 0))
    assert rule.accept("candles.stocks.1s", 0, (0, 2, 0))
    assert not rule.accept("ratios", 0, (0, 7, 0))
    assert rule.last("ratios", 0) == (0, 7, 0)
    assert rule.last("ratios", 2) is None


def test_a_reader_goes_on_where_its_stored_position_stands() -> None:
    rule = SrcFilter({("ratios", 0): (0, 9, 1)})
    assert accepted(rule, [(0, 9, 1), (0, 9, 2)]) == [(0, 9, 2)]
    rule.restore("ratios", 0, (0, 4, 0))
    assert accepted(rule, [(0, 4, 0), (0, 5, 0)]) == [(0, 5, 0)]
    rule.restore("ratios", 0, None)
    assert rule.last("ratios", 0) is None
    assert accepted(rule, [(0, 0, 0)]) == [(0, 0, 0)]


def test_what_was_given_to_start_from_is_not_changed() -> None:
    stored = {("ratios", 0): (0, 1, 0)}
    SrcFilter(stored).accept("ratios", 0, (0, 2, 0))
    assert stored == {("ratios", 0): (0, 1, 0)}


@st.composite
def partitions(draw: st.DrawFn) -> list[int]:
    """What writers that are paused, replaced and resumed can leave: each goes on from at most one past what stands.

    Each of them writes a prefix of the same records, in order; the others write in between.
    """
    positions: list[int] = []
    log: list[int] = []
    for _ in range(draw(st.integers(0, 60))):
        end = max(log, default=-1) + 1
        if not positions or (draw(st.booleans()) and len(positions) < 4):
            positions.append(draw(st.integers(0, end)))  # a new writer, its tail read late or early
        writer = draw(st.integers(0, len(positions) - 1))
        for _ in range(draw(st.integers(1, 5))):
            log.append(positions[writer])
            positions[writer] += 1
    return log


@given(partitions())
def test_rivals_on_one_partition_leave_no_hole_and_no_repeat(log: list[int]) -> None:
    rule = SrcFilter()
    seen = accepted(rule, [(0, offset, 0) for offset in log])
    assert seen == [(0, offset, 0) for offset in range(max(log, default=-1) + 1)]
    assert rule.dropped == len(log) - len(seen)
