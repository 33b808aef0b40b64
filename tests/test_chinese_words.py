"""Words of Chinese and their kinds: by jieba where it is installed, by the program's own lists where not."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from semcom.evaluation import chinese_lists as lists
from semcom.evaluation import chinese_segmentation, lost_words, word_rules
from semcom.evaluation.chinese_segmentation import LongestMatch
from semcom.evaluation.chinese_words import ChineseWords
from semcom.evaluation.word_rules import KINDS

needs_jieba = pytest.mark.skipif(not find_spec("jieba"), reason="jieba is not installed")


@pytest.fixture(scope="module")
def by_lists():
    return ChineseWords(LongestMatch())


@pytest.fixture(scope="module", params=["lists", pytest.param("jieba", marks=needs_jieba)])
def rules(request, by_lists):
    return by_lists if request.param == "lists" else ChineseWords(chinese_segmentation.Jieba())


def of_kind(rules: ChineseWords, kind: str, text: str) -> list[str]:
    words = rules.words(text)
    return [word for word, its in zip(words, rules.kinds(words)) if its == kind]


@pytest.mark.parametrize(
    "text, numbers",
    [
        ("１９９８年１２月增长３０％", "1998 12 30"),
        ("第三次会议有三百人参加", "第三 三百"),
        ("百分之五的工人", "百分之五"),
        ("增长百分之八点零七，达三点五亿元", "百分之八点零七 三点五亿"),
        ("两个半小时，几十年", "两 半 几十"),
        ("五千多万元", "五千多万"),
        ("他們來了兩次", "兩"),
        ("一些人一起统一了四川，十分高兴，一般不去", ""),
        ("几乎所有老百姓一定支持，万一有困难，一直努力", ""),
        ("3个半导体公司", "3"),
        ("投资一百三十一点四五万元", "一百三十一点四五万"),
        ("一九九八年八月八日", "一九九八 八 八"),
        ("八届全国政协和两国关系", "八 两"),
        ("他得了三等奖和一等奖", "三 一"),
        ("两万铢", "两万"),
        ("近几年来，这一情况一点一点改变，三峡和九寨沟", "几"),
    ],
)
def test_numbers(rules, text, numbers):
    assert of_kind(rules, "number", text) == numbers.split()


@pytest.mark.parametrize(
    "text, negations",
    [
        ("他不去，也没有说话", "不 没有"),
        ("这是无法避免的，从未发生", "无法 从未"),
        ("产量不断提高，而不断发展", ""),
        ("不仅如此，不久以后不但要改革，还要开放", ""),
        ("无论如何，未来非常重要，特别是除非", ""),
        ("是否同意？能不能去？有没有？会不会？", ""),
        ("莫斯科和南非，非洲的区别与个别情况", ""),
        ("沉没的船被没收，不过差不多", ""),
        ("並沒有人說過", "並沒有"),
        ("无论是谁，不同于过去", ""),
        ("请勿吸烟", "请勿"),
        ("资金不足，久拖不决，远远不够", "不足 不决 不够"),
        ("无锡市和未央区，无为县，不莱梅，别尔哥罗德", ""),
        ("无烟煤和无形资产是未知数，不远处有未成年人，不幸的人", ""),
        ("不停地，坚持不懈", ""),
    ],
)
def test_negations(rules, text, negations):
    found = of_kind(rules, "negation", text)
    deny = [character for character in "".join(found) if character in "不没沒无無未非勿"]
    assert deny == [character for character in negations if character in "不没沒无無未非勿"], found


@pytest.mark.parametrize(
    "text, names",
    [
        ("国务院总理李鹏在北京会见克林顿总统", "国务院 李鹏 北京 克林顿"),
        ("比尔·克林顿总统的访问", "比尔·克林顿"),
        ("记者王小明报道", "王小明"),
        ("中国银行和北京大学的领导", "中国银行 北京大学"),
        ("中国的WTO谈判", "中国 WTO"),
        ("城市和农村的公司高度重视高兴的少数民族", ""),
        ("以色列和巴勒斯坦在联合国", "以色列 巴勒斯坦 联合国"),
        ("无锡市和未央区，无为县，不莱梅，别尔哥罗德", "无锡市 未央区 无为县 不莱梅 别尔哥罗德"),
        ("司马光和欧阳修，张三和李四", "司马光 欧阳修 张三 李四"),
        ("基希讷乌和京津沪", "基希讷乌 京津沪"),
        ("冷战和抗日战争，法语和英语", ""),
        ("秦副总统说", ""),
    ],
)
def test_names(rules, text, names):
    assert of_kind(rules, "name", text) == names.split()


@needs_jieba
def test_names_that_need_a_dictionary():
    rules = ChineseWords(chinese_segmentation.Jieba())
    assert of_kind(rules, "name", "湖州市的张晓伟和阿拉法特") == ["湖州市", "张晓伟", "阿拉法特"]
    assert of_kind(rules, "name", "南非共和国和微软公司") == ["南非共和国", "微软公司"]
    assert of_kind(rules, "name", "后排左起：陈云、徐冰") == ["陈云", "徐冰"]
    assert of_kind(rules, "negation", "经久不衰，破烂不堪，一成不变；久拖不决，执法不严") == [
        "久拖不决",
        "执法不严",
    ]
    assert of_kind(rules, "number", "近千名工人，前两天；十五大，一段时间，第三产业") == ["千", "两"]
    assert of_kind(rules, "name", "金融方面成功，高级干部严重关切") == []


def test_function_words_and_content(rules):
    assert of_kind(rules, "function", "他的工作和我们的生活") == ["他", "的", "和", "我们", "的"]
    assert of_kind(rules, "content", "他的工作和我们的生活") == ["工作", "生活"]
    words = rules.words("国务院总理李鹏不但在１９９８年说：我们不去！ABC company")
    assert set(rules.kinds(words)) == set(KINDS) and "".join(words).endswith("不去ABCcompany")


def test_words_are_written_as_they_stand(rules):
    assert "".join(rules.words("這個國家沒有第三次機會")) == "這個國家沒有第三次機會"
    assert rules.words("") == rules.words("，。") == []


def test_what_is_lost_is_counted_in_words(by_lists):
    zh = word_rules.WordRules("zh", "lists", by_lists.words, by_lists.kinds)
    loss = lost_words.Sent(["第三次会议没有在北京召开"], zh).loss(["第二次会议在北京召开"])
    lost = {kind: tally[0].tolist() for kind, tally in loss.by_kind().items()}
    assert lost == {
        "number": [1, 1],
        "negation": [1, 1],
        "name": [0, 1],
        "function": [0, 2],
        "content": [0, 2],
    }
    assert loss.added()[0].tolist() == [1, 6]


def test_the_lists_contradict_nobody():
    denies, denies_not = lists.listed("negations", "words"), lists.listed("negations", "not negations")
    counts, counts_not = lists.listed("numbers", "words"), lists.listed("numbers", "not numbers")
    assert not denies & denies_not and not counts & counts_not
    assert {"不断", "不仅"} <= denies_not and min(map(len, (denies, denies_not, counts_not))) > 150
    assert len(lists.listed("function_words")) > 500 and len(lists.listed("persons", "surnames")) > 300
    assert len(frozenset.union(*lists.name_parts())) > 1000
    assert lists.simplified("沒有這個國家") == "没有这个国家"


def test_rules_go_by_the_language(monkeypatch):
    assert all(word_rules.rules_of(code) is word_rules.ENGLISH for code in ("en", "und", "ja", "de"))
    monkeypatch.setattr(chinese_segmentation, "find_spec", lambda name: None)
    chinese_segmentation.segmenter.cache_clear()
    try:
        assert isinstance(chinese_segmentation.segmenter(), LongestMatch)
    finally:
        chinese_segmentation.segmenter.cache_clear()


@needs_jieba
def test_jieba_says_nothing_and_leaves_no_file(tmp_path):
    code = "from semcom.evaluation.word_rules import rules_of as r; z = r('zh'); print(z.segmentation)"
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code + "; print('|'.join(z.words('人民的生活')))"],
        capture_output=True,
        encoding="utf-8",
        env={"TMPDIR": str(tmp_path), "PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8"},
    )
    assert (run.stdout, run.stderr) == ("jieba 0.42.1\n人民|的|生活\n", "")
    assert list(tmp_path.iterdir()) == []
