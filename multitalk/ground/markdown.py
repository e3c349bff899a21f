"""Texts of strangers in Markdown: shown as they are, never taken for markup."""


def plain(text: str) -> str:
    """Return a text that Markdown shows as itself: no HTML, link, picture, code or cell of a table, in one line.

    Also addresses, which many programs make links of, stay words.
    """
    text = " ".join(text.split()).replace("\\", "\\\\").replace("&", "&amp;").replace("<", "&lt;")
    for sign in "`[]|":
        text = text.replace(sign, f"\\{sign}")
    return text.replace("://", "&#58;//").replace("www.", "www&#46;")


def fence(text: str) -> str:
    """Return as many backticks as a block of code with this text needs around it."""
    signs = "```"
    while signs in text:
        signs += "`"
    return signs
