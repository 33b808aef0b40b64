"""The verbs that exchange models with public DeepSC code: import a checkpoint of it, export one to it."""

import logging
from contextlib import ExitStack
from pathlib import Path

from semcom.base import output_files, places
from semcom.base.advice import path_word
from semcom.base.errors import SemcomError, escape
from semcom.commands.export_settings import ExportSettings
from semcom.commands.settings import ImportSettings
from semcom.data import vocabulary_files
from semcom.data.word_vocabulary import WordVocabulary
from semcom.models import checkpoint, deepsc_weights, other_formats, state_dicts
from semcom.models.architecture import sizes_of
from semcom.models.checkpoint import Checkpoint
from semcom.models.settings import PARTS
from semcom.models.transceiver import Transceiver

log = logging.getLogger(__name__)

IMPORTED = "imported from"


# --- import


def import_deepsc(settings: ImportSettings) -> Checkpoint:
    """A state dict of public DeepSC code and its vocabulary as a checkpoint; float32 weights keep their
    bits."""
    with ExitStack() as held:
        return _import(settings, held)


def _import(settings: ImportSettings, held: ExitStack) -> Checkpoint:
    path, vocabulary_file, output = settings.checkpoint, settings.vocab_file, settings.output
    other_formats.check(Path(path), f"import {escape(path)}")
    if vocabulary_file is None:
        raise SemcomError(
            f"import {escape(path)}: a model of public DeepSC code needs its vocabulary; give --vocab-file "
            "vocab.json (what export --format safetensors wrote needs none, but its .json beside it)"
        )
    inputs = [path, vocabulary_file]
    places.reserve_files({"--output": output}, inputs, overwrite=settings.outputs.overwrite, held=held)
    vocabulary = _read_vocabulary(vocabulary_file)
    found = state_dicts.find(path, "import", deepsc_weights.USUAL)
    if found.place.endswith("transmitter"):
        raise SemcomError(
            f"import {escape(path)}: holds a transceiver of this program, which needs no import; give its "
            "checkpoint as train or distillation.py wrote it where it is wanted (safetensors that export "
            "wrote: with the .json beside)"
        )
    imported = deepsc_weights.from_state(
        found.weights, settings.model.heads, settings.model.dropout, escape(path)
    )
    _check_rows(path, vocabulary_file, vocabulary, imported.model)
    for line in found.told():
        log.info(line)
    record = {
        "imported_from": str(path),
        "imported_vocabulary": str(vocabulary_file),
        "imported_positions": list(imported.positions),
    }
    origin = dict.fromkeys(PARTS, f"{IMPORTED} {path}")
    checkpoint.save(Checkpoint(imported.model, vocabulary, origin, {}, record), output)
    made = checkpoint.load(output)
    _show_imported(settings, vocabulary, imported)
    return made


def _check_rows(path: str, vocabulary_file: str, vocabulary: WordVocabulary, model: Transceiver) -> None:
    rows = model.architecture.vocab_size
    if len(vocabulary) != rows:
        raise SemcomError(
            f"--vocab-file {escape(vocabulary_file)}: holds {len(vocabulary):,} words, "
            f"encoder.embedding.weight of {escape(path)} has {rows:,} rows; "
            "give the vocab.json that this model was trained with"
        )


def _show_imported(
    settings: ImportSettings, vocabulary: WordVocabulary, imported: deepsc_weights.Imported
) -> None:
    model = imported.model
    encoder, decoder = sizes_of(model.architecture.transmitter), sizes_of(model.architecture.receiver)
    log.info(
        f"made {escape(settings.output)}: {model.parameter_count():,} parameters, {vocabulary}; "
        f"{encoder['layers']} encoder and {decoder['layers']} decoder layers, D={encoder['d_model']}, "
        f"{encoder['num_heads']} heads, feed-forward {encoder['dff']}, C={model.architecture.channel_dim}"
    )
    if imported.rounded:
        log.info("its weights were not float32 and have been converted")
    log.info(
        "power: its signals have power 1 per real dimension, ours 1 per complex symbol; its receiver gets "
        "ours times sqrt(2).\n"
        "  X dB of the public scripts are X + 3.01 dB here on AWGN and Rayleigh, X + 6.02 dB on Rician (K=1, "
        "where they have E|h|^2 = 2), power\n"
        "  counted with the padding of a batch as they count it; what the words of this model get: doctor\n"
        "no counterpart here: power scaled over a whole batch with its padding, and only when above 1 (here "
        "each sentence, always);\n"
        "  one fade for a whole batch (here one a sentence); decoding that attends to padding (here never). "
        "What each is worth: audit"
    )
    quietest = float(deepsc_weights.loudness(model).min())
    if quietest < deepsc_weights.RULE_ACTIVE:
        log.warning(
            f"random words leave its transmitter at {quietest:.2f} of the amplitude that the public code "
            "scales down to: there such sentences go out weaker than its power 1, here all have full power; "
            "see what that is worth: audit"
        )
    quoted = path_word(settings.output)
    log.info(
        f"next: python -m semcom audit {quoted} --corpus test_data.pkl --split all\n"
        f"      python distillation.py --teacher-checkpoint {quoted} --corpus train_data.pkl"
    )


def _read_vocabulary(path: str) -> WordVocabulary:
    try:
        content = vocabulary_files.bytes_of(path, "--vocab-file")
    except OSError as error:
        raise SemcomError(
            f"--vocab-file {escape(path)}: cannot be read ({error.strerror}); give the vocab.json of the "
            'public code, as {"token_to_idx": {"<PAD>": 0, …}}'
        ) from None
    if not vocabulary_files.begins_as_json(content):
        raise SemcomError(
            f"--vocab-file {escape(path)}: is not JSON; give the vocab.json of the public code, as "
            '{"token_to_idx": …}'
        )
    return WordVocabulary(content, f"--vocab-file {path}")


# --- export


def export_deepsc(settings: ExportSettings) -> Path:
    """A checkpoint as a state dict that public DeepSC code loads, and its vocabulary as that code's JSON."""
    with ExitStack() as held:
        return _export(settings, held)


def _export(settings: ExportSettings, held: ExitStack) -> Path:
    path, output, vocabulary_output = settings.checkpoint, settings.output, settings.vocab_output
    source = checkpoint.load(path)
    outputs = {"--output": output} | ({"--vocab-output": vocabulary_output} if vocabulary_output else {})
    places.reserve_files(outputs, [path], overwrite=settings.outputs.overwrite, held=held)
    if vocabulary_output and not isinstance(source.vocabulary, WordVocabulary):
        raise SemcomError(
            f"--vocab-output {escape(vocabulary_output)}: {source.name} has a sentencepiece vocabulary, "
            "which has no form that public code reads; leave it out"
        )
    rows = _positions(source, settings.model.positions)
    exported = deepsc_weights.to_state(source.model, rows, keep_level=_is_from_there(source))
    state_dicts.save(exported.state, output)
    if vocabulary_output:
        output_files.write_atomically(vocabulary_output, source.vocabulary.serialized)
    _show_exported(settings, source, exported.gain)
    loading = [
        *deepsc_weights.constructor(source.model.architecture, rows),
        f'net.load_state_dict(torch.load({str(output)!a}, map_location="cpu"))',
    ]
    log.info("load it there with:\n  " + "\n  ".join(loading))
    return Path(output)


def _is_from_there(source: Checkpoint) -> bool:
    """What has come from there unaltered goes back unaltered, however loud it is."""
    origins = [source.origin[part].split(": ")[-1] for part in ("encoder", "channel_encoder")]
    return all(origin.startswith(IMPORTED) for origin in origins)


def _show_exported(settings: ExportSettings, source: Checkpoint, gain: float) -> None:
    weights = sum(t.numel() for t in source.model.parameters())
    lines = [f"made {escape(settings.output)}: {weights:,} weights under the names of public DeepSC code"]
    if settings.vocab_output:
        lines.append(f"made {escape(settings.vocab_output)}: {source.vocabulary}")
    log.info("\n".join(lines))
    if gain != 1:
        log.info(
            f"its transmitter was made {gain:g} times as loud (the last layer of channel_encoder), so that "
            "the power rule of the public code, which only scales down, gives each batch power 1"
        )
    amplitude = source.model.architecture.amplitude
    if amplitude != deepsc_weights.AMPLITUDE:
        log.info(
            "its receiver hears sqrt(2) times the amplitude there: channel_decoder.linear1.weight was "
            f"multiplied by {amplitude / deepsc_weights.AMPLITUDE:.4f}"
        )
    if not isinstance(source.vocabulary, WordVocabulary):
        log.warning(
            "its vocabulary is sentencepiece; public code has no tokeniser for it, ids must be made here"
        )


def _positions(source: Checkpoint, given: int | None) -> tuple[int, int]:
    """Rows of the two position tables: as asked for, as imported, or as the public scripts build them, V."""
    if given is not None:
        return given, given
    kept = source.config.get("imported_positions")
    if isinstance(kept, list) and len(kept) == 2 and all(_is_count(rows) for rows in kept):
        return kept[0], kept[1]
    v = source.model.architecture.vocab_size
    return v, v


def _is_count(rows: object) -> bool:
    return type(rows) is int and 0 <= rows <= 1_000_000
