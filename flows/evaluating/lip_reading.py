"""Reading lips in every language that there is a recogniser for: readings, references, tables."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from multitalk.assets.errors import AssetMissing
from multitalk.assets.fetch import require
from multitalk.eval.lip_reading.clips import read_valid_clips, recognised_references
from multitalk.eval.lip_reading.lip_reader import (
    MUAVIC_LANGUAGES,
    LipReader,
    LipReaderMissingError,
    load_lip_reader,
)
from multitalk.eval.lip_reading.lip_reading import Readings, SpokenClip, read_clips
from multitalk.eval.lip_reading.lip_reading_tables import (
    lip_reading_figures,
    lip_reading_table,
    readings_table,
    unread_table,
)
from multitalk.eval.lip_reading.noise import Noise, choose_noises
from multitalk.eval.lip_reading.release import release_languages
from multitalk.eval.tables import Table
from multitalk.filters.language_codes import whisper_code
from multitalk.flows.evaluating.lip_reading_settings import ReadLipsSettings
from multitalk.flows.evaluating.lip_reading_sources import Source, open_source
from multitalk.flows.evaluating.written_tables import write_tables
from multitalk.ground.settings import SettingsError
from multitalk.manifests.paths import check_name

Progress = Callable[[int, int], None]
ProgressOf = Callable[[str], Progress | None]
"""Gives the progress of a step by the step's name."""


def read_lips(settings: ReadLipsSettings, progress_of: ProgressOf = lambda step: None) -> list[Table]:
    """Read lips, and write readings and tables into `settings.out`, a folder a language.

    Returns
    -------
    list of Table
        Of each language; the last one says for which languages there is no recogniser here.

    Raises
    ------
    LipReaderMissingError
        There is a recogniser for none of the languages; the message says which file is missing.
    SettingsError, LayoutError, VertexFileError, MediaError, DatasetError
        The settings, a folder, a file or the release can not be used.
    CheckpointError, WeightsError, VocabularyError
        A recogniser can not be used.
    """
    tables: list[Table] = []
    missing: list[tuple[str, str]] = []
    for language in settings.languages or _languages(settings):
        check_name(language, "language")
        try:
            weights = _recogniser(settings, language)
            reader = load_lip_reader(weights, settings.reading.device)
        except LipReaderMissingError as error:
            missing.append((language, str(error)))
            continue
        tables += _read_language(settings, language, reader, progress_of)
    if missing and not tables:
        others = ", ".join(language for language, _ in missing[1:])
        raise LipReaderMissingError(missing[0][1] + (f" Likewise for {others}." if others else ""))
    if missing:
        tables.append(Table("No recogniser", ("language", "what to do"), tuple(missing)))
    return tables


def _languages(settings: ReadLipsSettings) -> list[str]:
    assert settings.root is not None and settings.release is not None
    found = release_languages(settings.root, settings.release, settings.split)
    if not found:
        raise SettingsError(f"release {settings.release}: no clip is in its split {settings.split!r}")
    return found


def _recogniser(settings: ReadLipsSettings, language: str) -> Path:
    """Folder of the recogniser: the user's, the layout's, or the asset."""
    if settings.weights is not None:
        return settings.weights
    code = language_code(language)
    if settings.avlr is not None and (settings.avlr / "checkpoints" / f"{code}_avsr").is_dir():
        return settings.avlr / "checkpoints" / f"{code}_avsr"
    if code not in MUAVIC_LANGUAGES.values():
        raise LipReaderMissingError(
            f"MuAViC has no recogniser for {language}; it has for {', '.join(MUAVIC_LANGUAGES)}. "
            "Name another AV-HuBERT recogniser's folder (--weights)."
        )
    try:
        return require(f"av_hubert_{code}")
    except AssetMissing as error:
        raise LipReaderMissingError(str(error)) from error


def language_code(language: str) -> str:
    """Return a language's code of two letters, as MuAViC and Whisper call it; itself if it is unknown."""
    name = language.lower()
    return MUAVIC_LANGUAGES.get(name) or whisper_code(name) or name


def _read_language(
    settings: ReadLipsSettings, language: str, reader: LipReader, progress_of: ProgressOf
) -> list[Table]:
    source = open_source(settings, language, language_code(language))
    place = settings.out / language
    clips, note = _with_references(settings, language, _chosen(settings, source.clips), place, progress_of)
    noises = _noises(settings, source)
    try:
        readings = read_clips(
            clips,
            source.mouth_crops,
            reader,
            noises,
            settings.reading,
            place / "readings.jsonl",
            progress_of(f"{language}: clips read"),
            source.versions,
        )
    except ValueError as error:
        if type(error) is ValueError:
            raise SettingsError(f"{language}: {error}") from error
        raise
    names = ", ".join(noise.name for noise in noises)
    note = f"{note} Noise: {names}. Recogniser: {reader.name}. {source.note}".strip()
    tables = _tables(settings, language, clips, readings, note)
    write_tables(place, [*tables, readings_table(clips, readings, settings.reading, language)])
    return tables


def _chosen(settings: ReadLipsSettings, clips: list[SpokenClip]) -> list[SpokenClip]:
    if settings.reading.valid_clips is None:
        return clips
    valid = read_valid_clips(settings.reading.valid_clips)
    return [clip for clip in clips if clip.clip_id in valid]


def _with_references(
    settings: ReadLipsSettings, language: str, clips: list[SpokenClip], place: Path, progress_of: ProgressOf
) -> tuple[list[SpokenClip], str]:
    """Give clips without a transcript, or all of them by the paper's protocol, what Whisper hears."""
    paper = settings.reading.protocol == "multitalk"
    unknown = {clip.clip_id: clip.sound for clip in clips if paper or not clip.reference.strip()}
    if not unknown:
        return clips, "References: annotated transcripts."
    whisper = settings.whisper or require("whisper_base")
    code = whisper_code(language) or language_code(language)
    record = place / f"references-{whisper.resolve().name}.json"
    recognised = recognised_references(
        unknown, code, whisper, record, progress_of(f"{language}: clips heard")
    )
    filled = [replace(clip, reference=recognised.get(clip.clip_id, clip.reference)) for clip in clips]
    own = len(clips) - len(unknown)
    return filled, f"References: {own} annotated, {len(recognised)} by {whisper.resolve().name}."


def _noises(settings: ReadLipsSettings, source: Source) -> list[Noise]:
    try:
        return choose_noises(settings.reading, source.speech)
    except ValueError as error:
        if type(error) is ValueError:
            raise SettingsError(f"{error} (--noise)") from error
        raise


def _tables(
    settings: ReadLipsSettings, language: str, clips: list[SpokenClip], readings: Readings, note: str
) -> list[Table]:
    reading = settings.reading
    figures = lip_reading_figures(clips, readings, reading)
    tables = [lip_reading_table(figures, reading, detailed=False, language=language, note=note)]
    if any(figure.noise != "all" for figure in figures):
        detailed = lip_reading_table(figures, reading, detailed=True, language=language)
        tables.append(replace(detailed, title=f"{detailed.title}, by noise"))
    unread = unread_table(clips, readings, reading, language)
    return [*tables, unread] if unread else tables
