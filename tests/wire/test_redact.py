"""No secret survives in what is copied, and nothing else is lost."""

import base64
import json

import pytest

from corolistener.core.events import Defined, TimePassed
from corolistener.ids import VmName
from corolistener.wire import redact, values

SECRET = "hunter2x"
XML = f"""<domain type='kvm'><devices>
<graphics type='vnc' passwd='{SECRET}'/><graphics type='spice' passwd="{SECRET}"/></devices></domain>"""


@pytest.mark.parametrize(
    "text",
    [
        f"passwd={SECRET}",
        f"passwd='{SECRET}'",
        f"passwd='{SECRET}",  # cut off
        f'<graphics type="vnc" passwd="{SECRET}"/>',
        f"password: {SECRET}",
        f'{{"password": "{SECRET}"}}',
        f"login_pass = {SECRET}",
        f"Passphrase={SECRET}, retries=3",
        f"secret={SECRET};",
        f"api_key={SECRET}",
        f"shared-key: '{SECRET}'",
        f"corolistener config pull --token={SECRET}",
        f"token: {SECRET}",
        f"agent said: PASSWORD={SECRET}",
        XML,
        f"what was <domain type='kvm'>{SECRET}",
    ],
)
def test_secrets_in_texts(text: str) -> None:
    assert SECRET not in redact.text(text)
    assert len(redact.text(text)) == len(text)
    assert redact.text(redact.text(text)) == redact.text(text)


def test_a_join_token_is_one_without_a_word_before_it() -> None:
    token = "abcdefgh234567abcdefgh234567abcd"
    assert redact.text(f"typed {token} there") == f"typed {'*' * 32} there"


@pytest.mark.parametrize(
    "text",
    [
        "web",
        "n1",
        "token: 1000",
        "token 1650 + consensus 1980",
        "no password is set",
        "d7a8fbb307d7809469ca9abcb0082e4f",
        "d7a8fbb307d7809469ca9abcb0082e4f8d5651e46d3cdb762d02d0bf37c9e592",
        "left-without-farewell",
        "monkey: brown",
        "keyboard=de",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert redact.text(text) == text


def test_of_a_definition_nothing_stays_and_of_a_part_of_one_neither() -> None:
    for start in range(len(XML)):
        part = XML[start : start + 40].encode()
        assert redact.content(part) == b"*" * len(part)


def test_corosync_conf_stays() -> None:
    for conf in (b"totem {\n\ttoken: 1000\n}\n", b"# ours\n\n#\ntotem {\n}\n", b"nodelist {\n\tnode {\n\t}\n}\n"):
        assert redact.content(conf) == conf
    for other in (b"totem {\n" + XML.encode(), b"password", b"", b"totem"):
        assert redact.content(other) == b"*" * len(other)


def test_packed_values_keep_their_shape() -> None:
    event = Defined(VmName("web"), "0" * 64, XML.encode())
    packed = values.pack((event, TimePassed()))
    hidden = redact.packed(packed)
    said = json.dumps(hidden)
    assert SECRET not in said
    assert SECRET.encode() not in base64.b64decode(hidden[0]["text"]["v"])
    back, other = values.unpack(hidden)
    assert (back.name, back.definition, len(back.text), other) == ("web", "0" * 64, len(XML), TimePassed())
