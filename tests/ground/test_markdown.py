"""Strangers' texts are no markup."""

import pytest

from multitalk.ground.markdown import fence, plain


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("<script>x</script>", "&lt;script>x&lt;/script>"),
        ("![i](http://x/y.png)", "!\\[i\\](http&#58;//x/y.png)"),
        ("a | b\nc", "a \\| b c"),
        ("www.x.org `code` &lt;b>", "www&#46;x.org \\`code\\` &amp;lt;b>"),
        ("v_2 no_face", "v_2 no_face"),
    ],
)
def test_markup_is_shown_as_it_is(text, shown):
    assert plain(text) == shown


def test_a_block_of_code_is_not_left():
    assert fence("a: 1") == "```"
    assert fence("a\n````\n<b>") == "`````"
