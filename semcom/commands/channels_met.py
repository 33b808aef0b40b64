"""The channels that a command's sentences go through."""

from collections.abc import Sequence

from semcom.channel.settings import ChannelConfig
from semcom.commands.analyse_settings import AnalysisSettings
from semcom.commands.settings import DoctorSettings, EvaluateSettings


def channels_met(settings: object) -> Sequence[ChannelConfig]:
    """As ``settings`` of a command has them; none of one without channels, and of the doctor, which measures
    all."""
    if isinstance(settings, AnalysisSettings):
        return settings.channels
    if isinstance(settings, EvaluateSettings):
        return settings.through
    channel = getattr(settings, "channel", None)
    if isinstance(channel, ChannelConfig) and not isinstance(settings, DoctorSettings):
        return (channel,)
    return ()
