"""What files and flags name by a word of their own, in words for a reader."""

from collections.abc import Callable

from semcom.base.flags import flag_of
from semcom.base.messages import N_, Message
from semcom.channel.settings import KINDS

SETTINGS = {
    "temperature": N_("temperature"),
    "distill_weight": N_("distillation weight"),
    "cross_weight": N_("weight of crossed pairs"),
    "feature_weight": N_("weight of features"),
    "distill_part": N_("part trained"),
    "kd_loss": N_("distillation loss"),
    "student_layers": N_("student's layers"),
    "student_d_model": N_("student's width"),
    "student_heads": N_("student's heads"),
    "student_dff": N_("student's feed-forward width"),
    "student_init": N_("student's first weights"),
    "corpus": N_("corpus"),
    "corpus_size": N_("sentences of the corpus"),
    "topics": N_("topics"),
    "exclude_topics": N_("topics left out"),
    "topics_share": N_("share of topics seen"),
    "channel": N_("channel"),
    "snr_range": N_("SNRs of training"),
    "epochs": N_("epochs"),
    "steps": N_("steps"),
    "minutes": N_("minutes"),
    "batch_size": N_("batch size"),
    "lr": N_("learning rate"),
    "seed": N_("seed"),
    "teachers": N_("teachers"),
    "dial_target": N_("divergence asked for"),
    "dial_axis": N_("kind of divergence asked for"),
}
"""Names of settings of runs; others go by their flags."""
PARTS = {"encoder": N_("transmitter"), "decoder": N_("receiver"), "full": N_("both ends")}
"""What the parts of a distillation are."""
ONE_SENTENCE = {
    "test": N_("1 test sentence"),
    "validation": N_("1 validation sentence"),
    "all": N_("1 sentence, the whole corpus"),
}
"""Of a split of the corpus."""
TOPICS = {
    "agriculture": N_("agriculture"),
    "fisheries": N_("fisheries"),
    "energy": N_("energy"),
    "transport": N_("transport"),
    "health": N_("health"),
    "environment": N_("environment"),
    "trade": N_("trade"),
    "finance": N_("finance"),
    "research": N_("research"),
    "education": N_("education"),
    "defence": N_("defence"),
    "migration": N_("migration"),
    "employment": N_("employment"),
    "digital": N_("digital"),
}
"""Of the built-in corpus."""


def topic_told(name: str, gettext: Callable[[str], str]) -> str:
    """A topic of the built-in corpus; others as they are."""
    return gettext(TOPICS[name]) if name in TOPICS else name


def setting_told(name: str) -> str:
    """A setting's name, marked for translation, or its flag."""
    return SETTINGS.get(name) or flag_of(name)


def channel_told(label: str) -> Message:
    """A channel by its label, its name first: ``rician K=2 zf`` is Rician (K=2, ZF)."""
    name, *settings = label.split()
    title = Message(KINDS[name].title) if name in KINDS else name
    told = ", ".join(text.upper() for text in settings)
    if not told:
        return Message("{title}", title=title)
    return Message(N_("{what} ({aside})"), what=title, aside=told)
