"""What the demo's speakers say: two sentences a language for the good clips, one short for the faulty."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multitalk.flows.demo.speech import Sentence


@dataclass(frozen=True, slots=True)
class Script:
    """The sentences of one language."""

    long: tuple[Sentence, Sentence]
    """6 to 9 seconds each."""
    short: Sentence
    """3 to 4 seconds."""


def _script(voice: str, pitch: int, first: str, second: str, short: str) -> Script:
    one, two, three = (Sentence(voice, text, pitch) for text in (first, second, short))
    return Script((one, two), three)


SCRIPTS: Mapping[str, Script] = {
    "german": _script(
        "de",
        50,
        "Guten Tag und herzlich willkommen. Heute sprechen wir darüber, wie sich der Mund beim Sprechen "
        "bewegt und was man daraus lernen kann.",
        "Gestern war das Wetter schön, und wir sind mit unseren Freunden durch den Wald gegangen, bis es "
        "dunkel geworden ist.",
        "Der Zug nach Hamburg fährt heute leider zehn Minuten später ab.",
    ),
    "english": _script(
        "en-us",
        60,
        "Good morning everyone and welcome. Today we want to look at the way in which people move their "
        "lips when they are speaking.",
        "Every language shapes the mouth in its own way, and that is why we need many examples from many "
        "different countries.",
        "The train to the city will unfortunately leave ten minutes late this morning.",
    ),
    "spanish": _script(
        "es",
        45,
        "Buenos días y bienvenidos. Hoy vamos a hablar de cómo se mueve la boca cuando una persona habla "
        "con sus amigos.",
        "Cada idioma tiene su propia forma de mover los labios, y por eso necesitamos muchos ejemplos de "
        "muchos países.",
        "El tren para la ciudad sale hoy con diez minutos de retraso.",
    ),
    "italian": _script(
        "it",
        55,
        "Buongiorno a tutti e benvenuti. Oggi parliamo di come si muove la bocca quando una persona "
        "racconta una storia.",
        "Ogni lingua muove le labbra a modo suo, e per questo abbiamo bisogno di molti esempi da molti "
        "paesi diversi.",
        "Il treno per la città parte oggi con dieci minuti di ritardo.",
    ),
    "japanese": _script(
        "ja",
        50,
        "おはようございます。きょうは、ひとがはなすときに、くちがどのようにうごくかについて、おはなしします。",
        "ことばによって、くちびるのうごきはちがいます。だから、たくさんのれいがひつようです。",
        "でんしゃはきょう、じゅっぷんおくれてしゅっぱつします。",
    ),
}
"""By MultiTalk's language names; Japanese in kana, which eSpeak NG reads without a dictionary."""
