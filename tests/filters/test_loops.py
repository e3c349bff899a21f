"""What a recogniser repeats is a loop, in every script; what people say in half a minute is none."""

import pytest

from multitalk.filters.language import _is_loop

SAID = {
    "english": "Hello everybody, today I would like to tell you about the journey that my family and I made to "
    "Scotland last month. We took the night train from London and woke up among hills covered with purple "
    "heather. The children were delighted with the sheep, the castles and above all the boat trip across the "
    "lake, where nobody saw any monster. On our last evening we listened to a piper in a small pub.",
    "german": "Hallo zusammen, heute möchte ich euch von unserer Reise in die Alpen erzählen. Wir sind früh mit "
    "dem Zug losgefahren und haben in Innsbruck gefrühstückt, bevor wir über schmale Wege zur Hütte "
    "hinaufgestiegen sind. Die Kinder fanden besonders die Murmeltiere großartig, während ich einfach nur die "
    "Stille genossen habe. Abends gab es Knödel, Käse und viele Geschichten des Wirts.",
    "russian": "Здравствуйте, друзья. Сегодня я хочу рассказать вам о нашей поездке в Петербург. В прошлом "  # noqa: RUF001
    "месяце мы с семьёй сели на поезд и через четыре часа были уже на Невском проспекте. Погода стояла "  # noqa: RUF001
    "прекрасная, дети радовались мостам и каналам. Вечером мы долго гуляли вдоль Невы, ели мороженое и "
    "спорили, куда пойти завтра: в Эрмитаж или в зоопарк.",
    "thai": "สวัสดีครับ วันนี้ผมจะมาเล่าเรื่องการเดินทางไปเที่ยวจังหวัดเชียงใหม่ให้ทุกคนฟัง "
    "เมื่อสัปดาห์ที่แล้วผมกับครอบครัวขับรถจากกรุงเทพขึ้นไปทางเหนือ ใช้เวลาประมาณสิบชั่วโมง "
    "ระหว่างทางเราแวะกินข้าวที่นครสวรรค์ อาหารอร่อยมากและราคาไม่แพง พอถึงเชียงใหม่อากาศเย็นสบาย "
    "ฝนตกเล็กน้อยแต่ก็ยังเดินเล่นในเมืองเก่าได้ เด็กๆ ชอบสวนสัตว์กับถนนคนเดินมากที่สุด "
    "คืนสุดท้ายเรานั่งดูดาวบนดอยสุเทพแล้วพูดคุยกันจนดึก",
    "hindi": "नमस्ते दोस्तों, आज मैं आपको अपनी पिछली यात्रा के बारे में बताना चाहता हूँ। पिछले महीने हम लोग "
    "परिवार के साथ जयपुर घूमने गए थे। वहाँ का मौसम बहुत अच्छा था और हमने आमेर का किला, हवा महल और पुराने बाज़ार "
    "देखे। बच्चों को हाथी की सवारी सबसे ज़्यादा पसंद आई। शाम को हमने एक छोटे से ढाबे में दाल बाटी चूरमा खाया जो "
    "सचमुच लाजवाब था। अगले दिन सुबह जल्दी उठकर हम लोग अजमेर की तरफ निकल पड़े क्योंकि रास्ता लंबा था।",
    "japanese": "皆さんこんにちは、今日は先月家族で北海道へ旅行した時のことをお話ししたいと思います。"
    "まず飛行機で札幌まで行き、そこからレンタカーを借りて富良野へ向かいました。ちょうどラベンダーが満開で、丘の上から見る景色は"
    "本当に素晴らしかったです。子供たちは牧場でソフトクリームを食べたり、馬に乗ったりしてとても楽しそうでした。",
    "mandarin": "大家好,今天我想跟大家聊一聊上个月我们全家去云南旅行的经历。我们先坐飞机到昆明,然后换乘火车去大理,"
    "在洱海边住了三个晚上。那里的天气非常舒服,早晨可以看见湖面上的雾气慢慢散开。孩子们最喜欢骑自行车绕着湖边玩,"
    "我和太太则坐在小店里喝普洱茶。第四天我们去了丽江古城,晚上街道两旁挂满了红色的灯笼。",
    "arabic": "مرحبا بكم جميعا، أود اليوم أن أحدثكم عن رحلتنا إلى مدينة الأقصر في الشهر الماضي. سافرنا بالقطار "
    "ليلا ووصلنا عند شروق الشمس، وكان الجو معتدلا والسماء صافية. زرنا معبد الكرنك ووادي الملوك، ثم عبرنا النيل في "
    "قارب صغير وشربنا الشاي مع أهل القرية. أعجب الأطفال كثيرا بالتماثيل الضخمة وبركوب الخيل قرب الحقول الخضراء.",
}


@pytest.mark.parametrize("language", SAID)
def test_speech_of_half_a_minute_is_no_loop(language):
    for length in (1, 20, 60, 120, 200, 300, 500):
        assert not _is_loop(SAID[language][:length])


@pytest.mark.parametrize("language", SAID)
@pytest.mark.parametrize("unit", [4, 8, 16, 28])
def test_a_repeated_phrase_is_a_loop(language, unit):
    for length in (120, 200, 400):
        assert _is_loop((SAID[language][:unit] * length)[:length])


def test_speech_that_ends_in_a_loop_is_one():
    for text in SAID.values():
        assert _is_loop(text[:60] + text[60:72] * 30)


def test_text_of_many_letters_is_judged_too():
    many = "".join(map(chr, range(0x4E00, 0x4F00)))
    assert not _is_loop(many)
    assert _is_loop(many * 4)
    assert not _is_loop("")
