"""Addresses of sinks: what they may look like, and that no name or error shows a secret."""

import sys

import pytest

from md_platform.errors import InvalidSetting
from streaming.sink_url import sink_url, sink_urls
from streaming.sinks import sink_of

ALL = (
    "kafka://user:p%40ss@a:9092,b:9092, nats://t0ken@n:4222,amqp://guest:gu3st@r:5672/vh0st"
    " https://me:p4ss@hooks.example.com/services/T0P/S3CRET?k=v#sh%40red"
)


def test_several_addresses_are_taken_apart() -> None:
    kafka, nats, rabbit, webhook = sink_urls(ALL)
    assert (kafka.hosts, kafka.user, kafka.password) == (("a:9092", "b:9092"), "user", "p@ss")
    assert (nats.user, nats.password) == ("t0ken", None)
    assert rabbit.whole == "amqp://guest:gu3st@r:5672/vh0st"
    assert webhook.secret == "sh@red"
    assert webhook.whole == "https://me:p4ss@hooks.example.com/services/T0P/S3CRET?k=v"
    assert sink_urls(" ") == []


def test_names_and_representations_show_no_secret() -> None:
    for url in sink_urls(ALL):
        for secret in ("p@ss", "p%40ss", "t0ken", "gu3st", "vh0st", "p4ss", "S3CRET", "T0P", "sh@red", "sh%40red"):
            assert secret not in url.name
            assert secret not in repr(url)


def test_two_paths_of_a_host_have_two_names_and_a_new_password_leaves_the_name() -> None:
    one, other = sink_urls("https://h/one#a,https://h/other#a")
    assert one.name != other.name
    assert sink_url("https://u:x@h/one#b").name == one.name


@pytest.mark.parametrize("text", ["host:9092/s3cret", "https://", "kafka://u:s3cret@", "https://[s3cret"])
def test_what_is_no_address_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidSetting, match="MDP_SINKS") as refused:
        sink_urls(text)
    assert "s3cret" not in str(refused.value)


def test_the_same_address_twice_is_refused() -> None:
    with pytest.raises(InvalidSetting, match=r"names nats://h:1 twice"):
        sink_urls("nats://h:1,nats://x:y@h:1")


def test_a_scheme_that_nobody_speaks_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="was 'ftp'"):
        sink_of(sink_url("ftp://h"))


@pytest.mark.parametrize(
    ("url", "package"), [("kafka://h:1", "aiokafka"), ("nats://h:1", "nats"), ("amqp://h:1", "aio_pika")]
)
def test_a_client_that_is_not_installed_is_named_with_the_extra(
    url: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith("streaming.") and name.endswith("_sink")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InvalidSetting, match=rf"needs the package {package}: pip install 'md-platform\[sinks\]'"):
        sink_of(sink_url(url))
