"""The report's language: English stands where it is said, and is the key to the Chinese here.

A text may have fields, ``{snr}``, which stand in both languages.
"""

CHINESE = {
    "Sentence similarity": "句子相似度",
    "Semantic divergence of mismatched ends": "收发两端知识失配的语义差异",
    "Definitions": "定义",
    "cross-entropy, nats a token": "交叉熵，nat/词元",
    "KL, nats a token": "KL，nat/词元",
    "all words": "全部词",
    "kind of word": "词类",
    "words of the sentence": "句长（词）",
    "topic": "主题",
    "topics of this pair": "该收发对的主题",
    "lost": "丢失",
    "added": "多出",
    "number": "数字",
    "negation": "否定",
    "name": "专有名词",
    "function": "虚词",
    "content": "实词",
    "seen": "见过",
    "not seen": "未见过",
    "rarer": "更罕见",
    "unseen": "未出现",
    "Likeness of states, distance of signals.": "状态的相似度与信号的距离。",
    "fewer than four values": "取值不足四个",
    "fewer than three seeds": "随机种子不足三个",
    "too many seeds lack a value": "缺值的随机种子过多",
    "p of 0.05 or more": "p 不小于 0.05",
    "seeds disagree in sign": "各随机种子符号不一致",
    "supported": "支持",
    "contradicted": "与论断相反",
    "undecided with these runs": "以这些运行无法判断",
    "Three panels over the setting's values.": "三幅随设置取值变化的曲线图。",
    "Other vocabularies": "其他词表",
    "How the runs were trained": "各次运行的训练过程",
    "transmitter": "发送端",
    "receiver": "接收端",
    "p (BLEU)": "p（BLEU）",
    "cross-entropy": "交叉熵",
    "p (cross-entropy)": "p（交叉熵）",
    "KL / noise": "KL / 噪声",
    "agreement": "一致率",
    " (other draw)": "（另一次信道实现）",
    "KL to the teacher, nats a token": "与教师的 KL，nat/词元",
    "JS to the teacher, nats a token": "与教师的 JS，nat/词元",
    "token accuracy": "词元准确率",
    "Sender × receiver": "发送端 × 接收端",
    "student": "学生",
    "measure": "指标",
    "interaction": "交互",
    "total": "合计",
    "From which end": "差异来自哪一端",
    "the channel's noise, KL": "信道噪声，KL",
    "Mismatch beside noise": "失配与噪声的对比",
    "pair": "收发对",
    "BLEU to reach": "目标 BLEU",
    "more dB": "额外信噪比（dB）",
    "remark": "说明",
    "censored replicates": "删失次数",
    "of": "对象",
    "The price in dB": "等效信噪比损失（dB）",
    "For each kind of word a point a pair.": "每个词类、每个收发对一个点。",
    "What meaning is lost": "丢失了哪些语义",
    "Representations": "表征",
    "A point a run.": "每次运行一个点。",
    "What controls divergence": "哪些设置影响差异",
    "The price of mismatch in dB.": "失配的等效信噪比损失（dB）。",
    "end or pair": "端或收发对",
    "signal distance": "信号距离",
    "SNR, dB": "信噪比，dB",
    "exact": "完全一致",
    "by": "分类",
    "class": "类别",
    "words": "词数",
    "understood": "接收文本",
    "sent": "发送",
    "setting": "设置",
    "held fixed": "固定",
    "values": "取值数",
    "seeds": "随机种子数",
    "claim: higher value, smaller divergence": "论断：取值越高，差异越小",
    "similarity": "相似度",
    "rescaled": "归一化",
    "runs": "运行",
    "cross-entropy gap": "交叉熵差",
    "encoder states": "编码器状态",
    "decoder states": "解码器状态",
    "{measure}, by SNR in dB ({channel}).": "{measure}，按信噪比（dB，{channel}）。",
    "Not measured: {reason}": "未测量：{reason}",
    "channel": "信道",
    "kind": "类型",
    "knowledge": "知识差异",
    "interoperable": "可互操作",
    "code mismatch": "编码失配",
    "unknown": "未知",
    "noise": "噪声",
    "one student": "同一学生",
    "unrelated ends": "互不相关的两端",
    " The two runs differ in {settings}.": "两次运行在 {settings} 上不同。",
    "rank in the training split measured on": "所测语料训练部分中的词频排名",
    "Symbols sent by each transmitter{first}.": "各发送端发出的符号{first}。",
    " (the first {limit} of {all})": "（{all} 个中的前 {limit} 个）",
    "replicates": "重抽样次数",
    "BLEU": "BLEU",
    "KL": "KL",
    "CKA": "CKA",
    "ρ": "ρ",
    "p": "p",
    "corpus": "语料",
    "test sentences": "测试句数",
    "split": "所测部分",
    "channels": "信道",
    "SNRs": "信噪比",
    "seed of the draws": "信道实现的随机种子",
    "decoding": "解码",
    "bootstrap samples": "bootstrap 抽样次数",
    "receiver's knowledge": "接收端已知信息",
    "teacher": "教师",
    "checkpoint": "检查点",
    "versions": "版本",
    "device": "设备",
    "Every transmitter into every receiver at {snr}, {channel}, with 95 % bootstrap intervals.": "各发送端与各接收端的组合，{snr}，{channel}，方括号内为 95% bootstrap 置信区间。",
    "With m(transmitter, receiver) and T, S for teacher and student: transmitter m(ST)-m(TT), receiver m(TS)-m(TT), interaction "
    "m(SS)-m(ST)-m(TS)+m(TT); they add up to m(SS)-m(TT).": "记 m(发送端, 接收端)，T、S 表示教师和学生：发送端 m(ST)-m(TT)，接收端 m(TS)-m(TT)，交互 m(SS)-m(ST)-m(TS)+m(TT)；三者之"
    "和为 m(SS)-m(TT)。",
    "The first line is the teacher against itself under an independent draw of fading and noise; below it, each pair's KL as "
    "a multiple of that. A ratio under 1 says that the mismatch changes what arrives less than another draw of the channel does; "
    "it is never subtracted.": "第一行为教师自身在另一次独立的衰落和噪声实现下的差异；其下为各收发对的 KL 与它之比。比值小于 1 表示失配对接收结果的影响"
    "小于信道的另一次实现；两者从不相减。",
    "How many dB more than the teacher's own pair each pair needs for 90 % of the teacher's BLEU at the highest SNR: the horizontal "
    "gap of monotone fits, linear between SNRs. A replicate in which the level is not met within the grid is censored and stands "
    "at an end.": "各收发对达到教师在最高信噪比下 BLEU 的 90% 比教师自身收发对多需要的 dB 数：单调拟合曲线的水平间距，信噪比之间线性插值。"
    "重抽样中在网格内达不到目标者作删失处理，置于区间端点。",
    "reached below the lowest SNR: give lower ones": "在最低信噪比以下即已达到：请给出更低的信噪比",
    "Three panels of curves over SNR, one curve a pair.": "三幅随信噪比变化的曲线图，每个收发对一条曲线。",
    "not reached; the gap is above {at_least:.1f} dB": "未达到；差距大于 {at_least:.1f} dB",
    "A cloud of complex symbols a transmitter.": "每个发送端一幅复符号散点图。",
    "Only the teacher's own pair was measured{where}: there is nothing that could diverge from it.": "只测量了教师自身的收发对{where}，没有可比较的差异。",
    "Each student end was trained through the teacher's other end: this is knowledge.": "学生的每一端都是经由教师的另一端训练的：这是知识差异。",
    "The student's ends were trained with crossed pairs, so they keep the teacher's code.": "学生的两端经过交叉配对训练，沿用教师的编码。",
    "The student's ends were trained with each other alone: this is code mismatch, not knowledge.": "学生的两端只相互训练：这是编码失配，而非知识差异。",
    "What each end adds, at {snr}, in the measure's own units.": "各端的贡献，{snr}，以指标自身的单位计。",
    "Effect of either end and of their meeting on cross-entropy (nats a token) by SNR, with 95 % intervals.": "两端及其交互对交叉熵（nat/词元）的影响随信噪比的变化，阴影为 95% 置信区间。",
    "Curves of transmitter, receiver and interaction effects over SNR.": "发送端、接收端和交互影响随信噪比变化的曲线。",
    "Spearman's rank correlation of a setting with divergence, and whether a higher value means a smaller one.": "设置与差异的 Spearman 秩相关，以及取值越高差异是否越小。",
    "A verdict needs at least four values and three seeds, values permuted within seeds, p < 0.05 and one sign in every seed.": "作出判断至少需要四个取值和三个随机种子，取值在各随机种子内置换，p < 0.05 且各随机种子符号一致。",
    "KL to the teacher beside the cross-entropy gap: a student that has learnt too little diverges for that alone.": "与教师的 KL 与交叉熵差的关系：训练不足的学生仅因此就会产生差异。",
    "Rescaled: 0 at the floor, 1 at the ceiling. A wrong number or name may lower it little: read it beside the words lost.": "归一化：下限为 0，上限为 1。错误的数字或专有名词可能只使它略有降低：请与丢失的词一并阅读。",
    "The teacher's distribution over the next piece, at one place of a test sentence, at several temperatures.": "教师在某测试句某处的下一词元分布，不同温度下。",
    "Bars of probability a piece and temperature.": "每个词元和温度的概率柱。",
    "There are too many pairs to measure all: student ends meet the teacher's and those they belong to. --matrix all measures "
    "every pair.": "收发对过多，未全部测量：学生端只与教师端及其所属的另一端配对。--matrix all 可测量全部配对。",
    "KL over that of the channel's own noise, by SNR in dB.": "KL 与信道自身噪声之 KL 的比值，按信噪比（dB）。",
    "Runs that differ in their seed alone: mean over seeds and 95 % interval (Student's t), at {snr}.": "仅随机种子不同的运行：各随机种子的均值及 95% 置信区间（t 分布），{snr}。",
    "SNR is per complex symbol before equalisation; the signal has mean power 1 per complex symbol, each sentence by itself. "
    "The receiver knows how many symbols were sent. All pairs meet the same draws of fading and noise.": "信噪比按每个复符号、均衡之前计；每句信号的平均功率为每复符号 1。接收端知道发送的符号数。所有收发对使用相同的衰落和噪声实"
    "现。",
    "BLEU is sacrebleu's ({signature}) of free-running text. Cross-entropy, KL(teacher ‖ pair), JS and agreement are of next-piece "
    'distributions at temperature 1 on gold prefixes, nats a token, end of sentence included; "own prefix" is on what the teacher '
    "itself decoded.": "BLEU 为 sacrebleu（{signature}）对自由解码文本的结果。交叉熵、KL(教师 ‖ 收发对)、JS 和一致率为温度 1 下、真实前缀上下一"
    "词元分布的指标，单位 nat/词元，含句末符；“自身前缀”指教师自己解码出的前缀。",
    "Intervals are percentiles of a bootstrap over sentences, the same resamples for all pairs; over seeds they are Student's "
    "t.": "区间为对句子 bootstrap 的百分位数，所有收发对使用相同的重抽样；跨随机种子时为 t 区间。",
    "A transmitter and a receiver of one student are wanted to tell the ends apart: distil with --distill-part encoder and with "
    "--distill-part decoder, all else equal.": "区分两端的贡献需要同一学生的发送端和接收端：在其余设置相同的情况下分别以 --distill-part encoder 和 --distill-part decoder "
    "蒸馏。",
    "{label}{where}: at {snr} a student at both ends costs {total:.3f} nats a token of cross-entropy: {transmitter:.3f} from "
    "the transmitter, {receiver:.3f} from the receiver, {interaction:.3f} from their meeting. {kind}": "{label}{where}：在 {snr} 下，两端均换为学生时，交叉熵增加 {total:.3f} nat/词元：其中发送端 {transmitter:.3f}，接收端 "
    "{receiver:.3f}，交互 {interaction:.3f}。{kind}",
    ", {ratio:.2f} times what the channel's own noise makes of the teacher": "，是信道噪声对教师自身影响的 {ratio:.2f} 倍",
    "BLEU, cross-entropy and KL to the teacher of every pair (transmitter → receiver) by SNR; bands, where there are few curves, "
    "are 95 % intervals. Dashed grey: the teacher against itself under an independent draw of the channel.": "各收发对（发送端 → 接收端）的 BLEU、交叉熵和与教师的 KL 随信噪比的变化；曲线较少时，阴影为 95% 置信区间。灰色虚线：教师"
    "自身在另一次独立信道实现下的差异。",
    "Linear CKA with the teacher's states (1: the same up to rotation and scale) on the first {chunk} sentences; decoder states "
    "on gold prefixes at {snr}. Distance of signals: mean squared difference per complex symbol of mean power 1; unrelated signals "
    "are 2 apart.": "与教师状态的线性 CKA（1 表示仅相差旋转和缩放），取前 {chunk} 句；解码器状态取真实前缀，{snr}。信号距离：平均功率为 1 的"
    "每个复符号的平方差的均值；互不相关的信号相距 2。",
    "Divergence by {setting}{held} at {snr}: mean over seeds, with its 95 % interval where there are several.": "{snr} 下差异随 {setting}{held} 的变化：各随机种子的均值，多个随机种子时附 95% 置信区间。",
    "Cosine of sentence embeddings (all-MiniLM-L6-v2) at {snr:g} dB, {channel}: floor {floor:.3f} (shuffled pairs of equal length), "
    "ceiling {ceiling:.3f}.": "句向量（all-MiniLM-L6-v2）的余弦相似度，{snr:g} dB，{channel}：下限 {floor:.3f}（等长的打乱句对），上限 {ceiling:.3f}。",
    "A pair of another vocabulary or signal width than the teacher's: text measures alone, tokens do not compare.": "词表或信号宽度与教师不同的收发对：只有文本指标，词元不可比。",
    "How these ends were trained with this teacher is not recorded.": "没有这两端与该教师一同训练的记录。",
    "The largest divergence{where} at {snr} is that of {pair} ({kind}): KL {kl:.3f} nats a token{beside}.": "在 {snr} 下{where}，差异最大的是 {pair}（{kind}）：KL 为 {kl:.3f} nat/词元{beside}。",
    "Of {all} pairs, {ce} differ from the teacher in cross-entropy and {bleu} in BLEU at {snr} (p < 0.05, Holm-corrected over "
    "the table).": "在 {snr} 下，{all} 个收发对中有 {ce} 个的交叉熵、{bleu} 个的 BLEU 与教师有显著差异（p < 0.05，对全表作 Holm 校正）。",
    "p: of no difference from the teacher's own pair, by {trials:,} paired swaps of sentences, Holm-corrected for each measure "
    "over all pairs and SNRs of this channel. KL / noise: over the KL of the teacher from itself under another draw. matrix.csv "
    "has every measure and SNR.": "p：与教师自身收发对无差异的双侧检验，对句子作 {trials:,} 次成对交换，每个指标对本信道的所有收发对和信噪比作 Holm 校正。KL "
    "/ 噪声：与教师自身在另一次信道实现下的 KL 之比。matrix.csv 含全部指标和信噪比。",
    "A word is lost where the text understood has it fewer times, in any order and case; added is the share of the words understood "
    "that were not sent. Where no word of a class was lost, its interval is the exact one of a binomial share.": "若接收文本中某词出现的次数少于发送文本（不计顺序和大小写），则该词丢失；多出为接收文本中未曾发送的词所占比例。若某类没有"
    "词丢失，其区间为二项比例的精确区间。",
    "Share of words lost by kind at {snr}, with 95 % intervals{first}.": "{snr} 下各类词的丢失比例，附 95% 置信区间{first}。",
    "Sentence {rank} of those that diverge most: KL {kl:.2f} nats a token at {snr}, mean over the pairs. =: as it was sent.": "差异最大的句子之 {rank}：{snr} 下各收发对的平均 KL 为 {kl:.2f} nat/词元。=：与发送文本相同。",
    "The runs differ in {settings}. What each of these does cannot be told apart by runs that differ from all others in several "
    "at once, or in what is no number: {runs}.": "各次运行在 {settings} 上不同。下列运行与其他运行同时有多项不同，或差别不是数值，无法据以区分各设置的影响：{runs}。",
    "Share of words lost at {snr}; words_lost.csv has the 95 % intervals.": "{snr} 下丢失的词所占比例；words_lost.csv 含 95% 置信区间。",
    "Training of the runs; the parts of each one's loss are in training_curves.png of its folder.": "各次运行的训练过程；各自损失的组成见其文件夹中的 training_curves.png。",
    "Loss, validation, learning rate and temperature by epoch, a curve a run.": "各轮的损失、验证损失、学习率和温度，每次运行一条曲线。",
    "the teacher itself understands nothing here": "教师自身在此什么也无法恢复",
}


class Say:
    """Says a text in ``language`` (en or zh), its fields filled in. KeyError for one that has no Chinese."""

    def __init__(self, language: str):
        self.language = language

    def __call__(self, text: str, **fields: object) -> str:
        text = CHINESE[text] if self.language == "zh" else text
        return text.format(**fields) if fields else text
