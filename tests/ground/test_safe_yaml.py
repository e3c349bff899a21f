"""YAML from strangers: bombs of aliases, brackets without end, files that are none."""

import os
import time

import pytest

from multitalk.filters.policy import PolicyError, load_policy
from multitalk.ground.settings import SettingsError, read_settings
from multitalk.ground.untrusted.safe_yaml import LARGEST_FILE, YamlFileError, parse_yaml, read_yaml_text
from multitalk.manifests.schema import MANIFEST

LAUGHS = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
MERGES = "m0: &m0 {x: 1}\n" + "".join(f"m{n}: &m{n} {{<<: [*m{n - 1}, *m{n - 1}]}}\n" for n in range(1, 40))
CHAIN = "c0: &c0 [x]\n" + "".join(f"c{n}: &c{n} [*c{n - 1}]\n" for n in range(1, 3000))
RULES = """
rules:
  - &any
    any: [{metric: yaw_deg.p50, at_least: 1}, {metric: yaw_deg.p50, at_least: 2}]
""" + "".join(f"  - &r{n}\n    any: [{', '.join([f'*r{n - 1}' if n else '*any'] * 9)}]\n" for n in range(12))
BOMBS = {
    "aliases of aliases": (LAUGHS, "means more than"),
    "merged maps": (MERGES, "means more than"),
    "a chain of aliases": (CHAIN, "too deep"),
    "rules of rules": (RULES, "means more than"),
    "brackets": ("[" * 200_000, "too deep"),
    "braces": ("{a: " * 50_000, "too deep"),
    "dashes": ("- " * 50_000, "too deep"),
    "a list in itself": ("&a [*a]", "holds itself"),
    "digits": ("x: " + "9" * 30_000, "can not be read"),
    "a number of minutes": ("x: " + ":".join(["59"] * 50_000), "a text of"),
    "a fraction of minutes": ("x: " + ":".join(["59"] * 5_000) + ".5", "can not be read"),
    "an object": ("!!python/object/apply:os.system [true]", "could not determine a constructor"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_little_time(tmp_path, name):
    text, message = BOMBS[name]
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(YamlFileError, match=message):
        parse_yaml(text)
    with pytest.raises(PolicyError, match=message):
        load_policy(path, MANIFEST)
    with pytest.raises(SettingsError, match=message):
        read_settings(path)
    assert time.process_time() - begun < 30


def test_aliases_within_reason_are_followed(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("base: &b {workers: 2}\nmine: {<<: *b, limit: 3}\nlist: [*b, *b]\n")
    assert read_settings(path) == {
        "base": {"workers": 2},
        "mine": {"workers": 2, "limit": 3},
        "list": [{"workers": 2}, {"workers": 2}],
    }
    assert parse_yaml("").content is None


def test_what_is_no_small_file_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("#" * (LARGEST_FILE + 1))
    for path, message in [
        ("/dev/zero", "a device or a pipe"),
        (tmp_path / "pipe", "a device or a pipe"),
        (tmp_path / "large", "bytes"),
    ]:
        with pytest.raises(PolicyError, match=message):
            load_policy(path, MANIFEST)
        with pytest.raises(SettingsError, match=message):
            read_settings(tmp_path / path)


def test_a_pipe_of_the_shells_is_read():
    reading, writing = os.pipe()
    os.write(writing, b"workers: 3\n")
    os.close(writing)
    from pathlib import Path

    assert read_yaml_text(Path(f"/dev/fd/{reading}")) == "workers: 3\n"
    os.close(reading)
