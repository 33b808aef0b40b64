"""Encodings told by their bytes."""

from pathlib import Path

import pytest

from semcom.data import encodings, misreadings

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
CHINESE = "中国人民决心继承邓小平同志的遗志，继续把建设有中国特色社会主义事业推向前进。"
TRADITIONAL = "台北市政府今天宣布，明年將增加公共運輸的預算，並且改善捷運系統的服務品質。"
JAPANESE = "東京都は今日、来年度の予算案を発表しました。多くの市民がこの計画を歓迎しています。"
KOREAN = "서울시는 오늘 내년 예산안을 발표했다. 많은 시민들이 이 계획을 환영하고 있다."
RUSSIAN = "Правительство объявило сегодня о новом бюджете на следующий год."
FRENCH = "L’été dernier, nous étions à Genève avec des amis très gentils ; le garçon a mangé."
GERMAN = "Die Straße ist schön, aber für Fußgänger gefährlich."
POLISH = "Rząd ogłosił dziś nowy budżet na przyszły rok, choć są też obawy."
CZECH = "Vláda dnes oznámila rozpočet na příští rok. Mnozí občané plán vítají."
HUNGARIAN = "A kormány ma bejelentette a jövő évi költségvetést, de nőnek az árak."
TURKISH = "Birçok vatandaş planı memnuniyetle karşıladı; İstanbul'da yağmur yağıyor."
GREEK = "Η κυβέρνηση ανακοίνωσε σήμερα τον προϋπολογισμό του επόμενου έτους."
HEBREW = "הממשלה הודיעה היום על התקציב לשנה הבאה. אזרחים רבים בירכו על התוכנית."
ARABIC = "أعلنت الحكومة اليوم عن ميزانية العام المقبل. رحب العديد من المواطنين بالخطة."
THAI = "รัฐบาลประกาศงบประมาณสำหรับปีหน้าในวันนี้ ประชาชนจำนวนมากยินดีกับแผนนี้"

LIKELY = [
    (CHINESE, "GB18030"),
    ("The company 华为 said it will invest in 深圳 next year", "GB18030"),
    ("我们", "GB18030"),
    (TRADITIONAL, "BIG5"),
    (JAPANESE, "CP932"),
    (JAPANESE, "EUC-JP"),
    (KOREAN, "CP949"),
    (RUSSIAN, "CP1251"),
    (RUSSIAN, "KOI8-R"),
    (RUSSIAN, "CP866"),
    (FRENCH, "CP1252"),
    (GERMAN, "CP1252"),
    (GERMAN, "MACINTOSH"),
    (GERMAN, "CP850"),
    ("the café of four words", "CP1252"),
    ("it’s “mine” — now", "CP1252"),
    ("Þetta er íslenska, já", "CP1252"),
    ("¿Qué?", "CP1252"),
    (POLISH, "CP1250"),
    (POLISH, "ISO-8859-2"),
    (CZECH, "CP1250"),
    (HUNGARIAN, "CP1250"),
    (TURKISH, "CP1254"),
    (GREEK, "CP1253"),
    (HEBREW, "CP1255"),
    (ARABIC, "CP1256"),
    (THAI, "CP874"),
    (RUSSIAN, "ISO-8859-5"),
    (RUSSIAN, "MAC-CYRILLIC"),
    ("Уряд оголосив сьогодні новий бюджет на наступний рік; ціни їм відомі.", "KOI8-U"),
    (ARABIC, "ISO-8859-6"),
    ("Chi\u0301nh phu\u0309 đa\u0303 công bô\u0301 ngân sa\u0301ch mơ\u0301i.", "CP1258"),
    ("האזרחים קיבלו את התוכנית בשמחה רבה.", "CP1255"),
    (f"The café was naïve about its façade.\n{CHINESE}\n{CHINESE}", "GB18030"),
    ("“It’s mine” — said the man, and left.\nHe said: “No.”", "GB18030"),
]


@pytest.mark.parametrize("text, encoding", LIKELY, ids=[f"{code} {text[:12]}" for text, code in LIKELY])
def test_the_likely_encoding_is_the_right_one(text, encoding):
    raw = text.encode(encoding)
    assert encodings.likely([b"ascii alone", raw]) == (encoding,)
    assert raw.decode(encodings.likely([raw] * 50)[0]) == text


def test_what_is_too_little_to_tell_names_two():
    assert encodings.likely(["nő és".encode("cp1250"), "idő".encode("cp1250")]) == ("CP1252", "CP1250")
    assert encodings.likely(["你好".encode("gbk")]) == ("CP949", "GB18030")
    assert encodings.likely([b"it\x92s mine"]) == ("CP1252",)
    assert encodings.likely(["שלום עולם".encode("cp1255")]) == ("CP1255", "CP1251")


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
def test_single_lines_of_chinese_news_are_told():
    lines = (DATA / "news.zh").read_text(encoding="utf-8").splitlines()[::40]
    long_enough = [line for line in lines if len(line) > 8]
    right = sum(encodings.likely([line.encode("gb18030")])[:1] == ("GB18030",) for line in long_enough)
    assert right > 0.99 * len(long_enough) > 300


@pytest.mark.parametrize("noise", [bytes(range(128, 256)), b"\xff" * 40, b"\x80\x81\xfe\xff a \x9d\x90"])
def test_nothing_is_likely_of_noise(noise):
    found = encodings.likely([noise])
    assert not found or noise.decode(found[0])


@pytest.mark.parametrize(
    "encoding, mark",
    [
        ("utf-8-sig", encodings.Mark("UTF-8", 3)),
        ("utf-8", encodings.Mark("UTF-8", 0)),
        ("utf-16", encodings.Mark("UTF-16LE", 2)),
        ("utf-32", encodings.Mark("UTF-32LE", 4)),
    ],
)
def test_byte_order_marks(encoding, mark):
    assert encodings.byte_order_mark("text".encode(encoding)) == mark


@pytest.mark.parametrize(
    "text", [CHINESE * 3 + "\n", RUSSIAN + "\n", "plain English\nof two lines\n", THAI + "\n"]
)
@pytest.mark.parametrize("encoding", ["UTF-16LE", "UTF-16BE", "UTF-32LE", "UTF-32BE"])
def test_wide_encodings_without_a_mark_are_told(text, encoding):
    raw = text.encode(encoding)
    assert encodings.unlike_utf8(raw) == encoding
    assert encodings.unlike_utf8(raw + raw[:1]) == encoding, "cut within a character"


@pytest.mark.parametrize(
    "raw",
    [bytes(1000), b"\x00\x01\x02\x03" * 99, b"\x7fELF\x02\x01\x01" + bytes(99), b"plain text\x00 of a line"],
)
def test_nulls_alone_make_no_wide_text(raw):
    assert encodings.unlike_utf8(raw) == ""


@pytest.mark.parametrize("encoding", ["ISO-2022-JP", "ISO-2022-KR"])
def test_encodings_of_seven_bits_do_not_pass_for_utf8(encoding):
    assert encodings.unlike_utf8((JAPANESE if "JP" in encoding else KOREAN).encode(encoding)) == encoding
    assert encodings.unlike_utf8("我们".encode("hz")) == "HZ"
    assert encodings.unlike_utf8(b"a face ~{hello!~} and another") == ""
    assert encodings.unlike_utf8(b"an escape \x1b[31m and a tilde ~{ of plain text") == ""


@pytest.mark.parametrize(
    "text, was, taken_for",
    [
        (FRENCH, "UTF-8", "CP1252"),
        ("naïve façade\n" + GERMAN, "UTF-8", "CP1252"),
        (CHINESE, "UTF-8", "ISO-8859-1"),
        (RUSSIAN, "UTF-8", "ISO-8859-1"),
        (CHINESE, "GB18030", "ISO-8859-1"),
        (RUSSIAN, "CP1251", "CP1252"),
        (KOREAN, "CP949", "ISO-8859-1"),
        ("Il a été à l'opéra où ça va", "UTF-8", "CP1252"),
        ("中国", "GB18030", "CP1252"),
        ("Всё хорошо, не так ли, мы все здесь", "UTF-8", "CP1251"),
        (GREEK, "UTF-8", "ISO-8859-1"),
        (GERMAN, "UTF-8", "MACINTOSH"),
        (CZECH, "UTF-8", "ISO-8859-1"),
    ],
)
def test_text_that_was_decoded_wrongly_before_is_told(text, was, taken_for):
    wrong = text.encode(was).decode(taken_for)
    found, undone_by = misreadings.twice_encoded(wrong)
    assert found == was
    assert wrong.encode(undone_by).decode(found) == text


@pytest.mark.parametrize("text", [text for text, _ in LIKELY])
def test_right_text_is_not_called_wrong(text):
    assert misreadings.twice_encoded(text) is None
    assert not misreadings.is_lost(text)
    assert not encodings.is_binary(text.encode())


_ORDINARY = """
We paid £5 for it — and left.|• the first point|and then … nothing|it costs €5|± 3|3 × 4
see § 3|© 1999 the authors|« C'est la vie »|Il va à 3 heures où il veut
L'ÉTÉ À GENÈVE, ÉCRIT EN CAPITALES|ÇA VA TRÈS BIEN, DÉJÀ|è|È vero|perché è così
Größe: 5 m²|ÄÖÜ sind Umlaute|„Ja“, sagte er|5 °C – 10 °C|¿Qué? ¡Sí!|El niño comió 3½
ação e reação já são irmãs|NÃO É NÃO|Smörgåsbord på ön|ÅÄÖ|Ærø ligger på øen
hyvää yötä, äiti|Þetta er það|Żółw i łódź|příští rok|ÁRVÍZTŰRŐ TÜKÖRFÚRÓGÉP
İstanbul'da yağmur|Țară și oraș|čšž|ēģīķ|ąčęėįšųū|Việt Nam đẹp|Всё хорошо, да?|ВСЕ ЛЮДИ
Ми з України, її|Η ζωή είναι ωραία|ΚΑΛΗΜΕΡΑ|שלום עולם|مرحبا بالعالم|नमस्ते दुनिया
สวัสดีครับ|中国人民|「東京」です|안녕하세요|ab • cd … ef|££££|•••|½ ¼ ¾|a ² b ³|→ next ← last|😀 fine
naïve café|“quoted” ‘so’|№ 5|ГОСТ № 5 – «да»|É…|Ã|Â|10 µm|½ lb @ £3 – £4 • “new” ©
"""
ORDINARY = _ORDINARY.strip().replace("\n", "|").split("|")


@pytest.mark.parametrize("times", [1, 40])
def test_ordinary_signs_and_letters_are_no_wrong_text(times):
    refused = [text for text in ORDINARY if misreadings.twice_encoded(f"{text}\n" * times)]
    assert not refused and len(ORDINARY) > 60
    assert misreadings.twice_encoded("\n".join(ORDINARY)) is None


def test_text_of_replacement_characters_was_lost():
    assert misreadings.is_lost(CHINESE.encode("gb18030").decode("utf-8", "replace"))
    assert not misreadings.is_lost(GERMAN * 20 + "one caf\ufffd")
