"""No secret of an address shows: in what is shown of it, in texts of others, in tracebacks."""

from __future__ import annotations

import base64
import re
import traceback
from urllib.parse import quote, unquote

import av
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adcvsr import redaction
from adcvsr.errors import AdcVsrError, UnreadableVideoError
from adcvsr.redaction import clean_error, learn, shown, take_apart, without_secrets

LETTERS = "abcdefghijkmnopqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789"
SECRETS = st.text(LETTERS, min_size=5, max_size=24).map(lambda text: f"Q{text}")
"""Letters as tokens have them; the capital keeps them apart from words of the address."""
PASSWORDS = st.text(LETTERS + "@:/?#%&=+ !$*~äß", min_size=5, max_size=24).map("Q{}".format)
"""With all that makes addresses hard to read."""


@pytest.fixture(autouse=True)
def _nothing_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redaction, "_pieces", set())


def letters_of(secret: str) -> set[str]:
    """Pieces by which a secret would be recognised, between the letters addresses split at."""
    return {piece for piece in re.split(r"[@:/?#&= ]", secret) if len(piece) > 4} | {secret}


@pytest.mark.parametrize(
    ("address", "visible"),
    [
        (
            "rtsp://user:secret@camera:554/stream?channel=1",
            "rtsp://***@camera:554/stream?channel=1",
        ),
        ("rtsp://camera/Streaming/Channels/101", "rtsp://camera/Streaming/Channels/101"),
        (
            "rtsp://c/cam/realmonitor?channel=1&subtype=0&unicast",
            "rtsp://c/cam/realmonitor?channel=1&subtype=0&unicast",
        ),
        ("rtsp://[fe80::1%25eth0]:554/live.sdp", "rtsp://[fe80::1%25eth0]:554/live.sdp"),
        ("udp://@239.0.0.1:5004", "udp://@239.0.0.1:5004"),
        ("rtsp://:secret@camera/0", "rtsp://***@camera/0"),
        ("rtsp://secret@camera/0", "rtsp://***@camera/0"),
        ("RTSP://u:secret@camera", "rtsp://***@camera"),
        ("rtsp:/u:secret@camera/s", "rtsp:/***@camera/s"),
        ("rtsp://u:se/cret@camera/s", "rtsp://***@camera/s"),
        ("rtsp://u:12/cret@camera/s", "rtsp://***"),  # or a host named u
        ("rtsp://u:secret", "rtsp://***"),
        ("rtsp://c/user=u&password=secret&channel=1", "rtsp://c/user=***&password=***&channel=1"),
        (
            "rtsp://c/user=u_password=secret_channel=1_stream=0.sdp?real_stream",
            "rtsp://c/user=***?real_stream",
        ),
        ("srt://h:9000?passphrase=secretsecret", "srt://h:9000?passphrase=***"),
        ("http://0.0.0.0:8080?viewers=2&token=secret", "http://0.0.0.0:8080?viewers=2&token=***"),
        ("rtsps://h:7441/GkVXnBRhKNIBqZzB?enableSrtp", "rtsps://h:7441/***?enableSrtp"),
        ("rtsp://h/live?YWJjZGVmZw==", "rtsp://h/live?***"),
        ("test://?size=320x180", "test://?size=320x180"),
        ("csi://0?element=rtspsrc location=rtsp://u:secret@c", None),
        ("clips/me@work.mp4", "clips/me@work.mp4"),
        ("file:/home/me@work/clip.mp4", "file:/home/me@work/clip.mp4"),
    ],
)
def test_what_is_shown(address: str, visible: str | None) -> None:
    assert "secret" not in shown(address)
    assert visible in (None, shown(address))
    learn(address)
    assert visible in (None, shown(address))
    assert without_secrets(shown(address)) == shown(address)


SAID = (
    "[tcp @ 0x1] Connection to {0} failed",
    "Server returned 401 Unauthorized for '{0}'",
    "Authorization: Basic {1}",
    "cannot resolve '{2}'",
)


@given(
    secret=PASSWORDS,
    user=st.sampled_from(["admin", "u", "", "me%40home"]),
    encoded=st.booleans(),
    rest=st.sampled_from(["", "/s", "/Streaming/Channels/1?x=1", "/a?mail=a@b", "?tcp", "/s#f"]),
    scheme=st.sampled_from(["rtsp", "RTSP", "rtsps", "http", "srt", "udp", "rtmp"]),
)
@example(secret="Q23/abcdef", user="admin", encoded=False, rest="/s", scheme="rtsp")
@example(secret="Q@b/cdefgh#?", user="", encoded=False, rest="/s", scheme="rtsp")
@example(secret="Qx://y@zzzzz", user="u", encoded=False, rest="/s", scheme="rtsp")
def test_no_password_shows(secret: str, user: str, encoded: bool, rest: str, scheme: str) -> None:
    redaction._pieces.clear()
    written = quote(secret, safe="") if encoded else secret
    login = f"{user}:{written}"
    address = f"{scheme}://{login}@camera.local:8554{rest}"
    learn(address)
    basic = base64.b64encode(f"{unquote(user)}:{secret}".encode()).decode()
    texts = [shown(address), *(s.format(address, basic, written) for s in SAID), address, secret]
    forbidden = letters_of(secret) | letters_of(written) | {basic}
    if "%" in secret and not encoded:  # no telling what base64 was made of
        texts = [text.replace(basic, "") for text in texts]
    for said in map(without_secrets, texts):
        assert not [piece for piece in forbidden if piece in said], (address, said)
    error = av.error.InvalidDataError(1, "Invalid data", address, (16, "rtsp", f"{address} failed"))
    clean_error(error)
    shown_error = f"{error!r} {error} {AdcVsrError(address)}"
    assert not [piece for piece in letters_of(secret) if piece in shown_error]


@given(
    secret=SECRETS,
    place=st.sampled_from(
        [
            "/{0}/s",
            "/live/{0}",
            "/s?token={0}",
            "/s?a=1&password={0}&b=2",
            "/s?{0}",
            "/s?x=1&{0}",
            "/user=admin&password={0}&channel=1",
            "/user=admin_password={0}_channel=1.sdp?real_stream",
            "?passphrase={0}&mode=caller",
            "/s;jsessionid={0}",
            "/s#access_token={0}",
            "/s?auth={0}%3D%3D",
            "/{0}?channel=1",
            "/s?channel={0}",
        ]
    ),
    host=st.sampled_from(["camera", "10.0.0.1:554", "[::1]:554", "u:p@camera"]),
)
def test_no_token_shows(secret: str, place: str, host: str) -> None:
    redaction._pieces.clear()
    address = f"rtsp://{host}{place.format(secret)}"
    learn(address)
    for text in (shown(address), *(s.format(address, "", secret) for s in SAID)):
        assert secret not in without_secrets(text), address
    assert "camera" in shown(address) or "1" in shown(address)


@given(
    user=st.text(LETTERS + "%:!$*~.-", max_size=12),
    host=st.sampled_from(["camera", "10.0.0.1:554", "[::1]:554", "[fe80::1%25eth0]", "a-b.c:1"]),
    rest=st.text(LETTERS + "/?#&=+%;,:!", max_size=20).map("/{}".format),
)
def test_an_address_by_the_book_is_taken_apart_by_the_book(user: str, host: str, rest: str) -> None:
    parts = take_apart(f"rtsp://{user}@{host}{rest}")
    assert parts is not None
    assert (parts.user, parts.host, parts.rest, parts.doubtful) == (user, host, rest, False)


def raise_in_turn(address: str) -> None:
    """As a source does: FFmpeg's own error, with what led to it, becomes one of ours."""
    try:
        try:
            raise OSError(2, f"no way to {address}", address)
        except OSError as first:
            raise av.error.InvalidDataError(1, "Invalid data", address) from first
    except av.FFmpegError as error:
        clean_error(error)
        raise UnreadableVideoError(f"{address} gives no video") from error


def test_errors_and_what_led_to_them_are_clean_in_a_traceback() -> None:
    address = "rtsp://u:Secret1@camera/live/Token2"
    learn(address)
    with pytest.raises(UnreadableVideoError) as caught:
        raise_in_turn(address)
    said = "".join(traceback.format_exception(caught.value))
    assert said.count("rtsp://***@camera") == 4  # message and file name, FFmpeg's, ours
    assert "Secret1" not in said.replace(f'raise_in_turn("{address}")', "")
    assert "Token2" not in said


def test_words_of_a_path_are_not_taken_out_of_what_others_say() -> None:
    address = "rtsp://camera/nothing?garden&pwd=plain"
    learn(address)
    assert shown(address) == "rtsp://camera/***?***&pwd=***"
    assert without_secrets("nothing came from plain") == "nothing came from ***"
    assert without_secrets(f"no {address}") == "no rtsp://camera***"


def test_words_that_are_short_are_hidden_only_where_they_stand_alone() -> None:
    learn("rtsp://u:cam@camera/s")
    assert (
        without_secrets("the camera refuses cam, after 5 s") == "the camera refuses ***, after 5 s"
    )


def test_what_encoders_call_pass_and_key_is_no_secret() -> None:
    sink = "gst:x264enc pass=quant quantizer=10 key-int-max=300 ! rtspclientsink user-pw="
    learn(sink + "Hidden1")
    assert shown(sink + "Hidden1") == sink + "***"
    assert without_secrets("quantizer is quant, Hidden1") == "quantizer is quant, ***"
    assert shown("gst:souphttpsrc pass=quantum") == "gst:souphttpsrc pass=***"
