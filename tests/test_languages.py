"""Languages by their scripts, and how long a line is to its reader."""

import re
import unicodedata
from pathlib import Path

import pytest

from semcom.data import languages
from semcom.data.languages import LANGUAGES, contradiction, divides_words, language_of, length

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
# The first article of the Universal Declaration of Human Rights, of 30 English words.
ARTICLE = {
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason and "
    "conscience and should act towards one another in a spirit of brotherhood.",
    "zh": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。人間は、理性と"
    "良心とを授けられており、互いに同胞の精神をもって行動しなければならない。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ ต่างมีเหตุผลและมโนธรรม "
    "และควรปฏิบัติต่อกันด้วยเจตนารมณ์แห่งภราดรภาพ",
    "lo": "ມະນຸດທຸກຄົນເກີດມາມີກຽດສັກສີ, ສິດທິ, ເສລີພາບ ແລະ ຄວາມສະເໝີພາບເທົ່າທຽມກັນ. ທຸກໆຄົນມີເຫດຜົນ ແລະ "
    "ຄວາມຄິດຄວາມເຫັນສ່ວນຕົວຂອງໃຜຂອງມັນ, ແຕ່ວ່າມະນຸດທຸກໆຄົນຄວນປະຕິບັດຕໍ່ກັນໃນທາງທີ່ເປັນອ້າຍນ້ອງກັນ.",
    "km": "មនុស្សទាំងអស់ កើតមកមានសេរីភាព និងសមភាព ក្នុងផ្នែកសេចក្ដីថ្លៃថ្នូរនិងសិទ្ធិ។ មនុស្ស មានវិចារណញ្ញាណ"
    "និងសតិសម្បជញ្ញៈជាប់ពីកំណើត ហើយគប្បីប្រព្រឹត្ដចំពោះគ្នាទៅវិញទៅមក ក្នុងស្មារតីភាតរភាពជាបងប្អូន។",
    "my": "လူတိုင်းသည် တူညီလွတ်လပ်သော ဂုဏ်သိက္ခာဖြင့် လည်းကောင်း၊ တူညီလွတ်လပ်သော အခွင့်အရေးများဖြင့် လည်းကောင်း၊ "
    "မွေးဖွားလာသူများ ဖြစ်သည်။ ထိုသူတို့၌ ပိုင်းခြား ဝေဖန်တတ်သော ဉာဏ်နှင့် ကျင့်ဝတ် သိတတ်သော စိတ်တို့ရှိကြ၍ "
    "ထိုသူတို့သည် အချင်းချင်း မေတ္တာထား၍ ဆက်ဆံကျင့်သုံးသင့်၏။",
    "bo": "འགྲོ་བ་མིའི་རིགས་རྒྱུད་ཡོངས་ལ་སྐྱེས་ཙམ་ཉིད་ནས་ཆེ་མཐོངས་དང༌། ཐོབ་ཐངགི་རང་དབང་འདྲ་མཉམ་དུ་ཡོད་ལ། "
    "ཁོང་ཚོར་རང་བྱུང་གི་བློ་རྩལ་དང་བསམ་ཚུལ་བཟང་པོ་འདོན་པའི་འོས་བབས་ཀྱང་ཡོད། "
    "དེ་བཞིན་ཕན་ཚུན་གཅིག་གིས་གཅིག་ལ་བུ་སྤུན་གྱི་འདུ་ཤེས་འཛིན་པའི་བྱ་སྤྱོད་ཀྱང་ལག་ལེན་བསྟར་དགོས་པ་ཡིན༎",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם",
    "ta": "மனிதப் பிறவியினர் சகலரும் சுதந்திரமாகவே பிறக்கின்றனர்",
}
UNTOLD = [
    "Alle Menschen sind frei und gleich an Würde und Rechten geboren.",
    "Tous les êtres humains naissent libres et égaux en dignité et en droits.",
    "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm",
    "Все люди рождаются свободными и равными в своем достоинстве и правах.",
    "تمام افراد بشر آزاد به دنیا می‌آیند",
    "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता",
    "1, 2; 3 …",
    "",
]


@pytest.mark.parametrize("code", ARTICLE)
def test_a_script_tells_its_language(code):
    assert language_of([ARTICLE[code]]) == code


@pytest.mark.parametrize("text", UNTOLD)
def test_what_a_script_does_not_tell_stays_undetermined(text):
    assert language_of([text]) == "und"
    assert language_of([]) == "und"


def test_most_of_the_words_decide():
    assert language_of([ARTICLE["zh"]] * 3 + [ARTICLE["en"]]) == "zh"
    assert language_of([ARTICLE["zh"]] + [ARTICLE["en"]] * 3) == "en"
    assert language_of([ARTICLE["ko"], "韓國 漢字", ARTICLE["ko"]]) == "ko"
    assert language_of([ARTICLE["zh"].replace("在", "の")]) == "zh", "one kana makes no Japanese"


def test_all_of_a_long_corpus_is_sampled():
    assert language_of([ARTICLE["en"]] * 4000 + [ARTICLE["zh"]] * 96_000) == "zh"


@pytest.mark.parametrize("code", ["zh", "ja", "th", "lo", "km", "my", "bo"])
def test_scripts_without_blanks_are_as_long_as_their_english(code):
    assert not divides_words(ARTICLE[code])
    letters = sum(c.isalpha() for c in ARTICLE[code])
    assert length(ARTICLE[code]) == pytest.approx(letters / LANGUAGES[code].characters_a_word, abs=1e-5)
    # Of Chinese, one legal sentence is shorter than translations are.
    assert length(ARTICLE[code]) == pytest.approx(30, rel=0.25 if code == "zh" else 0.05)


@pytest.mark.parametrize("text", [ARTICLE["en"], ARTICLE["ko"], ARTICLE["el"], *UNTOLD[:-1], "naïve — 🙂 …"])
def test_scripts_with_blanks_are_counted_in_words(text):
    assert divides_words(text)
    assert length(text) == length(text, "words") == len(text.split())


@pytest.mark.parametrize(
    "line, expected",
    [
        ("", 0),
        ("天", 1 / 1.7),
        ("他用iPhone打电话", 5 / 1.7 + 1),
        ("１９９７年，是中国的一年。", 1 + 7 / 1.7),
        ("我 爱 北京", 4 / 1.7),
        ("the word 自由 means liberty", 4 + 2 / 1.7),
        ("東京に行く", 5 / 2.5),
        ("ก่อน", 3 / 3.4),
        ("GPT-4是3.5的改进", 4 / 1.7 + 2),
    ],
)
def test_mixed_lines_are_sums_of_words_and_of_letters_at_their_rate(line, expected):
    assert length(line) == pytest.approx(expected, abs=1e-5)


UNLISTED = {
    "Yi": ("ꊿꂷꃅꄿꐨꐥ,ꌅꅍꀂꏽꐯꒈꃅꐥꌐ", 15 / 3.4),
    "Javanese": ("ꦱꦧꦼꦤ꧀ꦲꦸꦮꦺꦴꦁꦏꦭꦲꦶꦫꦏꦺꦏꦤ꧀ꦛꦶꦩꦂꦢꦶꦏꦭꦤ꧀ꦢꦂꦧꦺꦩꦂꦠꦧꦠ꧀", 24 / 3.4),
    "Ethiopic with its own blanks": ("የሰው፡ልጅ፡ሁሉ፡ሲወለድ፡ነጻና፡በክብርና፡በመብትም፡እኩልነት፡ያለው፡ነው።", 10),
    "Yi with a Latin word": ("ꊿꂷꃅꄿꐨꐥꌅꅍGPTꀂꏽꐯꒈꃅꐥꌐ", 15 / 3.4 + 1),
}


@pytest.mark.parametrize("line, expected", UNLISTED.values(), ids=UNLISTED)
def test_of_other_scripts_long_runs_tell_that_no_blanks_divide_words(line, expected):
    assert not divides_words(line)
    assert length(line) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    "line",
    [
        "የሰው ልጅ ሁሉ ሲወለድ ነጻና በክብርና በመብትም እኩልነት ያለው ነው።",
        "ᐃᓄᓕᒫᑦ ᐊᓂᖅᑎᕆᔪᑦ ᐃᓱᒪᕐᓱᕈᕐᖢᑎᒃ ᐊᒻᒪᓗ ᐊᔾᔨᐅᖃᑎᒌᒃᖢᑎᒃ ᓂᕐᓱᐊᖑᓂᒃᑯᑦ",
        "ସବୁ ମନୁଷ୍ୟ ଜନ୍ମକାଳରୁ ସ୍ୱାଧୀନ",
        "Donaudampfschifffahrtsgesellschaftskapitän, Größe",
    ],
)
def test_words_of_other_scripts_are_words(line):
    assert divides_words(line) and length(line) == len(line.split())
    assert language_of([line]) == "und"


@pytest.mark.parametrize(
    "given, code, told",
    [
        ("en", "zh", "without blanks between words (Chinese); leave it out or give --language zh"),
        ("de", "th", "without blanks between words (Thai)"),
        ("zh", "en", "with blanks between words (English); leave it out or give --language en"),
        ("zh", "zh", ""),
        ("ja", "zh", ""),
        ("de", "en", ""),
        ("und", "zh", ""),
    ],
)
def test_a_language_that_the_text_contradicts_is_told(given, code, told):
    line = contradiction(given, [ARTICLE[code]] * 3)
    assert bool(line) == bool(told) and told in line
    assert not line or line.startswith(f"warning: --language {given}: ")


@pytest.mark.parametrize("line, expected", [("我 爱，北京。", 6), ("cafe\u0301 au lait", 10), ("ก่อน", 3)])
def test_characters_are_counted_without_blanks_and_marks(line, expected):
    assert length(line, "characters") == expected


def test_the_table_is_whole():
    asked = "en de fr es it pt ru uk el ar fa he hi bn ta ko ja zh th lo km my bo vi tr und"
    asked += " am jv no nb nn kk mn uz af sq az be bs cy eo gl ha ig is ky lb mk mg ms ps so tg tk tt xh yi"
    assert set(asked.split()) <= set(LANGUAGES) and len(LANGUAGES) > 180
    assert all(code == language.code for code, language in LANGUAGES.items())
    for language in LANGUAGES.values():
        assert language.name
        assert (language.bleu_tokenizer == "13a") == (language.characters_a_word is None)


@pytest.mark.parametrize("script", languages._SCRIPTS)
def test_ranges_hold_letters_of_the_script_they_name(script):
    names = {"Burmese": "MYANMAR", "kana": "KANA|GANA", "Han": "CJK|BOPOMOFO", "Latin": "LATIN|MODIFIER"}
    named = re.compile(names.get(script, script.upper()))
    in_ranges = filter(languages._LETTERS[script].match, map(chr, range(0x32000)))
    letters = [c for c in in_ranges if c.isalpha()]
    assert sum(bool(named.search(unicodedata.name(c, ""))) for c in letters) > 0.95 * len(letters) > 0
    assert all(languages._script_of(c) == script for c in letters[:500])


@pytest.mark.skipif(not DATA.is_dir(), reason="no shared data")
@pytest.mark.parametrize("path", ["captions.en", "europarl-sample.en", "wmt-tokenized.en", "news.zh"])
def test_real_files(path):
    lines = (DATA / path).read_text(encoding="utf-8").splitlines()
    assert language_of(lines) == path.rpartition(".")[2]
