"""The verbs that exchange models with public DeepSC code: import a checkpoint of it, export one to it."""

import logging
import shlex
from pathlib import Path

from semcom.base import output_files
from semcom.base.errors import SemcomError, escape
from semcom.commands.settings import ExportSettings, ImportSettings
from semcom.data.vocabulary import WordVocabulary
from semcom.models import checkpoint, deepsc_weights
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS

log = logging.getLogger(__name__)

IMPORTED = "imported from"


def import_deepsc(settings: ImportSettings) -> Checkpoint:
    """A state dict of public DeepSC code and its vocabulary as a checkpoint; float32 weights keep their
    bits."""
    path, vocabulary_file, output = settings.checkpoint, settings.vocab_file, settings.output
    inputs = [path, vocabulary_file]
    output_files.check_files({"--output": output}, inputs, overwrite=settings.outputs.overwrite)
    where = escape(path)
    vocabulary = _read_vocabulary(vocabulary_file)
    imported = deepsc_weights.from_state(
        checkpoint.load_state_dict(path, "import"), settings.model.heads, settings.model.dropout, where
    )
    model = imported.model
    architecture = model.architecture
    if len(vocabulary) != architecture.vocab_size:
        raise SemcomError(
            f"--vocab-file {escape(vocabulary_file)}: holds {len(vocabulary):,} words, encoder.embedding.weight of {where} has "
            f"{architecture.vocab_size:,} rows; give the vocab.json that this model was trained with"
        )
    record = {
        "imported_from": str(path),
        "imported_vocabulary": str(vocabulary_file),
        "imported_positions": list(imported.positions),
    }
    checkpoint.save(
        Checkpoint(model, vocabulary, dict.fromkeys(PARTS, f"{IMPORTED} {path}"), {}, record), output
    )
    made = checkpoint.load(output)
    t, r = architecture.transmitter, architecture.receiver
    log.info(
        f"made {escape(output)}: {model.parameter_count():,} parameters, {vocabulary}; {t.layers} encoder and {r.layers} decoder layers, "
        f"D={t.d_model}, {t.num_heads} heads, feed-forward {t.dff}, C={architecture.channel_dim}"
    )
    if imported.rounded:
        log.info("its weights were not float32 and have been converted")
    log.info(
        "power: its signals have power 1 per real dimension, ours 1 per complex symbol; its receiver gets ours times sqrt(2).\n"
        "  X dB of the public scripts are X + 3.01 dB here on AWGN and Rayleigh, X + 6.02 dB on Rician (K=1, where they have E|h|^2 = 2), power\n"
        "  counted with the padding of a batch as they count it; what the words of this model get: doctor\n"
        "no counterpart here: power scaled over a whole batch with its padding, and only when above 1 (here each sentence, always);\n"
        "  one fade for a whole batch (here one a sentence); decoding that attends to padding (here never). What each is worth: audit"
    )
    if (quietest := float(deepsc_weights.loudness(model).min())) < deepsc_weights.RULE_ACTIVE:
        log.warning(
            f"random words leave its transmitter at {quietest:.2f} of the amplitude that the public code scales down to: there such "
            "sentences go out weaker than its power 1, here all have full power; see what that is worth: audit"
        )
    quoted = escape(shlex.quote(str(output)))
    log.info(
        f"next: python -m semcom audit {quoted} --corpus test_data.pkl --split all\n"
        f"      python distillation.py --teacher-checkpoint {quoted} --corpus train_data.pkl"
    )
    return made


def _read_vocabulary(path: str) -> WordVocabulary:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise SemcomError(
            f"--vocab-file {escape(path)}: cannot be read ({error.strerror}); give the vocab.json of the public code, "
            'as {"token_to_idx": {"<PAD>": 0, …}}'
        ) from None
    if not content.lstrip().startswith(b"{"):
        raise SemcomError(
            f'--vocab-file {escape(path)}: is not JSON; give the vocab.json of the public code, as {{"token_to_idx": …}}'
        )
    return WordVocabulary(content, f"--vocab-file {path}")


def export_deepsc(settings: ExportSettings) -> Path:
    """A checkpoint as a state dict that public DeepSC code loads, and its vocabulary as that code's JSON."""
    path, output, vocabulary_output = settings.checkpoint, settings.output, settings.vocab_output
    source = checkpoint.load(path)
    outputs = {"--output": output} | ({"--vocab-output": vocabulary_output} if vocabulary_output else {})
    output_files.check_files(outputs, [path], overwrite=settings.outputs.overwrite)
    words = isinstance(source.vocabulary, WordVocabulary)
    if vocabulary_output and not words:
        raise SemcomError(
            f"--vocab-output {escape(vocabulary_output)}: {source.name} has a sentencepiece vocabulary, which has no form that public "
            "code reads; leave it out"
        )
    architecture = source.model.architecture
    rows = _positions(source, settings.model.positions)
    # What has come from there unaltered goes back unaltered, however loud it is.
    from_there = all(
        source.origin[part].split(": ")[-1].startswith(IMPORTED) for part in ("encoder", "channel_encoder")
    )
    exported = deepsc_weights.to_state(source.model, rows, keep_level=from_there)
    checkpoint.save_state_dict(exported.state, output)
    if vocabulary_output:
        output_files.write_atomically(vocabulary_output, source.vocabulary.serialized)
    log.info(
        f"made {escape(output)}: {sum(t.numel() for t in source.model.parameters()):,} weights under the names of public DeepSC code"
        + (f"\nmade {escape(vocabulary_output)}: {source.vocabulary}" if vocabulary_output else "")
    )
    if exported.gain != 1:
        log.info(
            f"its transmitter was made {exported.gain:g} times as loud (the last layer of channel_encoder), so that the power rule of the public "
            "code, which only scales down, gives each batch power 1"
        )
    if architecture.amplitude != deepsc_weights.AMPLITUDE:
        log.info(
            f"its receiver hears sqrt(2) times the amplitude there: channel_decoder.linear1.weight was multiplied by "
            f"{architecture.amplitude / deepsc_weights.AMPLITUDE:.4f}"
        )
    if not words:
        log.warning(
            "its vocabulary is sentencepiece; public code has no tokeniser for it, ids must be made here"
        )
    log.info(
        "load it there with:\n  "
        + "\n  ".join(
            [
                *deepsc_weights.constructor(architecture, rows),
                f'net.load_state_dict(torch.load({str(output)!a}, map_location="cpu"))',
            ]
        )
    )
    return Path(output)


def _positions(source: Checkpoint, given: int | None) -> tuple[int, int]:
    """Rows of the two position tables: as asked for, as imported, or as the public scripts build them, V."""
    if given is not None:
        return given, given
    kept = source.config.get("imported_positions")
    if (
        isinstance(kept, list)
        and len(kept) == 2
        and all(type(rows) is int and 0 <= rows <= 1_000_000 for rows in kept)
    ):
        return tuple(kept)
    v = source.model.architecture.vocab_size
    return v, v
