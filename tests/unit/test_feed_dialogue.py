import msgspec
import pytest

from feed import dialogue
from feed.dialogue import Request, Subscriptions, frame, read_request, split_items


def told(statuses: list[dialogue.Status]) -> list[str]:
    assert all(status.status == "success" for status in statuses)
    return [status.message for status in statuses]


@pytest.mark.parametrize(
    ("cluster", "params", "answers"),
    [
        ("stocks", "T.MARA", ["subscribed to: T.MARA"]),
        ("stocks", "T.MARA,T.RIOT", ["subscribed to: T.MARA", "subscribed to: T.RIOT"]),
        ("stocks", " T.MARA , ,T.RIOT,", ["subscribed to: T.MARA", "subscribed to: T.RIOT"]),
        ("stocks", "T.*,Q.*,A.*,AM.*", [f"subscribed to: {c}.*" for c in ("T", "Q", "A", "AM")]),
        ("stocks", "T.BRK.B", ["subscribed to: T.BRK.B"]),
        ("stocks", "T.NOTLISTED", ["subscribed to: T.NOTLISTED"]),
        ("stocks", "T.MARA,T.MARA", ["subscribed to: T.MARA"]),
        ("stocks", "ZZ.MARA", []),
        ("stocks", "XT.BTC-USD", []),
        ("stocks", "T,T.,.MARA", []),
        ("stocks", "", []),
        (
            "crypto",
            "XT.BTC-USD,XQ.*,XA.*",
            ["subscribed to: XT.BTC-USD", "subscribed to: XQ.*", "subscribed to: XA.*"],
        ),
        ("crypto", "T.MARA", []),
    ],
)
def test_subscribe_answers_each_new_known_item_once(cluster: str, params: str, answers: list[str]) -> None:
    subscriptions = Subscriptions(cluster)
    assert told(subscriptions.add(split_items(params))) == answers
    assert told(subscriptions.add(split_items(params))) == [], "a repeated subscribe gets no answer"


def test_unsubscribe_answers_only_what_was_subscribed() -> None:
    subscriptions = Subscriptions("stocks")
    subscriptions.add(["T.MARA", "T.*"])
    assert told(subscriptions.remove(["T.RIOT", "T.MARA"])) == ["unsubscribed to: T.MARA"]
    assert told(subscriptions.remove(["T.MARA"])) == []
    assert subscriptions.wants("T", "MARA"), "the wildcard still holds"
    subscriptions.remove(["T.*"])
    assert not subscriptions.wants("T", "MARA")


def test_wildcard_is_for_one_channel_only() -> None:
    subscriptions = Subscriptions("stocks")
    subscriptions.add(["A.*", "T.RIOT"])
    assert subscriptions.wants("A", "MARA")
    assert subscriptions.wants("T", "RIOT")
    assert not subscriptions.wants("T", "MARA")
    assert not subscriptions.wants("AM", "MARA")


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ('{"action":"auth","params":"KEY"}', Request("auth", "KEY")),
        ('{"action":"subscribe","params":"T.*","more":1}', Request("subscribe", "T.*")),
        (b'{"action":"ping"}', Request("ping")),
        ("", None),
        ("hello", None),
        ("[]", None),
        ('{"params":"T.*"}', None),
        ('{"action":1}', None),
    ],
)
def test_requests_are_read_or_refused(text: str | bytes, request_: Request | None) -> None:
    assert read_request(text) == request_


def test_a_frame_is_an_array_of_status_events() -> None:
    assert msgspec.json.decode(frame(dialogue.CONNECTED)) == [
        {"ev": "status", "status": "connected", "message": "Connected Successfully"}
    ]
    assert msgspec.json.decode(frame(dialogue.AUTH_SUCCESS))[0]["message"] == "authenticated"
