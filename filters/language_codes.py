"""Names of languages, ours and Whisper's, and which of them a recogniser confuses.

MultiTalk names its 20 languages by lower-case English words, Chinese by `mandarin`. Whisper has 100 codes
(ISO 639-1 but for a few); every language it knows is accepted here under its English name.
"""

from types import MappingProxyType

_NAMES = """
af afrikaans   am amharic     ar arabic      as assamese    az azerbaijani ba bashkir     be belarusian
bg bulgarian   bn bengali     bo tibetan     br breton      bs bosnian     ca catalan     cs czech
cy welsh       da danish      de german      el greek       en english     es spanish     et estonian
eu basque      fa persian     fi finnish     fo faroese     fr french      gl galician    gu gujarati
ha hausa       haw hawaiian   he hebrew      hi hindi       hr croatian    ht haitian     hu hungarian
hy armenian    id indonesian  is icelandic   it italian     ja japanese    jw javanese    ka georgian
kk kazakh      km khmer       kn kannada     ko korean      la latin       lb luxembourgish
ln lingala     lo lao         lt lithuanian  lv latvian     mg malagasy    mi maori       mk macedonian
ml malayalam   mn mongolian   mr marathi     ms malay       mt maltese     my burmese     ne nepali
nl dutch       nn nynorsk     no norwegian   oc occitan     pa punjabi     pl polish      ps pashto
pt portuguese  ro romanian    ru russian     sa sanskrit    sd sindhi      si sinhala     sk slovak
sl slovenian   sn shona       so somali      sq albanian    sr serbian     su sundanese   sv swedish
sw swahili     ta tamil       te telugu      tg tajik       th thai        tk turkmen     tl tagalog
tr turkish     tt tatar       uk ukrainian   ur urdu        uz uzbek       vi vietnamese  yi yiddish
yo yoruba      yue cantonese  zh mandarin
"""
_WORDS = _NAMES.split()

NAME_OF_CODE = MappingProxyType(dict(zip(_WORDS[::2], _WORDS[1::2], strict=True)))
"""Our name of each of Whisper's codes."""
_CODE_OF_NAME = {name: code for code, name in NAME_OF_CODE.items()} | {"chinese": "zh"}

MULTITALK_LANGUAGES = (
    "arabic",
    "catalan",
    "croatian",
    "czech",
    "dutch",
    "english",
    "french",
    "german",
    "greek",
    "hindi",
    "italian",
    "japanese",
    "mandarin",
    "polish",
    "portuguese",
    "russian",
    "spanish",
    "thai",
    "turkish",
    "ukrainian",
)
"""MultiTalk's 20 languages, by their names in its annotations."""

CONFUSABLE = MappingProxyType(
    {
        "arabic": ("persian", "hebrew", "maltese"),
        "catalan": ("spanish", "galician", "occitan", "portuguese"),
        "croatian": ("bosnian", "serbian", "slovenian"),  # standards of one spoken language, but for the last
        "czech": ("slovak",),
        "dutch": ("afrikaans",),
        "german": ("luxembourgish", "yiddish"),
        "hindi": ("urdu", "punjabi"),  # Hindi and Urdu differ in script far more than in sound
        "italian": ("latin",),
        "mandarin": ("cantonese",),
        "portuguese": ("galician", "spanish"),
        "russian": ("belarusian", "ukrainian"),
        "spanish": ("galician", "catalan"),
        "thai": ("lao",),
        "turkish": ("azerbaijani", "turkmen"),
        "ukrainian": ("russian", "belarusian"),
    }
)
"""Languages that take probability from a MultiTalk language although it is spoken.

`annotated_language_probability` stays the probability of the annotated language alone; a policy that wants to
be lenient lowers its threshold for these or accepts a `detected_language` among them.
"""


def whisper_code(language: str) -> str | None:
    """Whisper's code of a language name, in any case; None where Whisper does not know it."""
    return _CODE_OF_NAME.get(language.strip().lower())
