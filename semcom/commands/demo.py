"""The verb ``demo``: a page on which a visitor sends a sentence and sees what each receiver understands."""

import logging
import time
from importlib.util import find_spec

from semcom.base.device import keep_freed_memory, resolve_device
from semcom.base.errors import SemcomError, escape
from semcom.channel.channels import make_channel
from semcom.commands import demo_models, demo_page, demo_server
from semcom.commands.demo_answers import Answers
from semcom.commands.demo_examples import examples
from semcom.commands.demo_settings import DemoSettings

log = logging.getLogger(__name__)

INSTALL = "install it with: pip install .[demo]"


def demo(settings: DemoSettings) -> None:
    """Serve the page until Ctrl-C or another signal asks for the end."""
    started = time.monotonic()
    require()
    with demo_server.listening(settings.host, settings.port) as found:
        demo_page.quietly()
        keep_freed_memory()
        cast = demo_models.cast_of(settings.checkpoints, resolve_device(settings.run.device))
        path = demo_models.path_of(cast, make_channel(settings.channel))
        answers = Answers(cast.models, settings.channel, path)
        vocabularies = [c.vocabulary for c in cast.models.values()]
        texts, snr = answers.first_seen(examples(vocabularies), settings.run.seed)
        first = demo_page.First(texts, snr, settings.run.seed, settings.lang)
        blocks = demo_page.page(answers, first)
        app = demo_page.app_of(blocks, settings.lang, settings.host, found.getsockname()[1])
        server = demo_server.server(demo_server.Gate(app, demo_server.hosts_of(settings.host)))
        address = demo_server.address(settings.host, found)
        log.info(f"receivers: {', '.join(map(escape, cast.models))}")
        log.info(f"open {address}   (ready after {time.monotonic() - started:.0f} s; Ctrl-C ends it)")
        if not demo_server.is_local(settings.host):
            log.warning("whoever reaches this machine can see the page, and let it compute")
        try:
            server.run(sockets=[found])
        except KeyboardInterrupt:
            pass
    log.info("ended")


def require() -> None:
    """Raises SemcomError, a line that says how to get it, where gradio is not installed or too old."""
    if find_spec("gradio") is None:
        raise SemcomError(f"the page of the demo is made by gradio, which is not installed; {INSTALL}")
