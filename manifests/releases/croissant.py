"""Croissant metadata of a release: what search engines and dataset loaders read (mlcommons.org/croissant)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

CONFORMS_TO = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]

_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}

_RESPONSIBLE_USE = {
    "rai:dataCollection": (
        "Intervals and face boxes of published videos (MultiTalk's annotations, or found by multitalk); "
        "clips cut at 25 frames a second, landmarks tracked by MediaPipe, a parametric head model fitted to them."
    ),
    "rai:dataCollectionType": ["Web Scraping", "Software Collection"],
    "rai:dataPreprocessingProtocol": [
        "The policy in policy.yaml accepts clips by metrics measured on each of them."
    ],
    "rai:dataLimitations": [
        "Motion is a fit to 2D landmarks, not a 3D measurement; depth and lips behind hands are guesses.",
        "Languages and transcripts are those of the annotations, checked by Whisper and not by people.",
    ],
    "rai:dataBiases": [
        "People who publish videos of themselves, mostly facing the camera. Age, gender, skin colour "
        "and accent were neither balanced nor recorded."
    ],
    "rai:dataUseCases": [
        "Training and evaluation of speech-driven 3D face animation, for non-commercial research."
    ],
    "rai:personalSensitiveInformation": [
        "Face motion, transcripts and video ids of identifiable people. Removed on request."
    ],
    "rai:dataReleaseMaintenancePlan": "A release never changes; removals lead to a new release.",
}


def croissant(name: str, schema: pa.Schema, manifest_sha256: str, about: Mapping[str, Any]) -> dict[str, Any]:
    """Croissant JSON-LD of a release with its ``manifest.parquet``.

    Parameters
    ----------
    schema
        Columns of the manifest; their `meaning` becomes the fields' descriptions.
    about
        `title`, `description`, `url`, `licence`, `creators`, `released_on`.
    """
    creators = ", ".join(about["creators"])
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS_TO,
        "name": name,
        "alternateName": about["title"],
        "description": about["description"],
        "url": about["url"],
        "license": about["licence"],
        "creator": [{"@type": "sc:Organization", "name": creator} for creator in about["creators"]],
        "datePublished": str(about["released_on"]),
        "version": "1.0.0",
        "isLiveDataset": False,
        "citeAs": f"{creators}: {about['title']}, release {name}, {about['released_on']}.",
        **_RESPONSIBLE_USE,
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "manifest.parquet",
                "name": "manifest.parquet",
                "description": "One row per accepted clip.",
                "contentUrl": "manifest.parquet",
                "encodingFormat": "application/x-parquet",
                "sha256": manifest_sha256,
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "clips",
                "name": "clips",
                "description": "Accepted clips.",
                "key": {"@id": "clips/clip_id"},
                "field": [_field(field) for field in schema if _data_type(field.type)],
            }
        ],
    }


def _field(field: pa.Field) -> dict[str, Any]:
    described = {
        "@type": "cr:Field",
        "@id": f"clips/{field.name}",
        "name": field.name,
        "description": (field.metadata or {}).get(b"meaning", b"").decode(),
        "dataType": _data_type(field.type),
        "source": {"fileObject": {"@id": "manifest.parquet"}, "extract": {"column": field.name}},
    }
    return {**described, "repeated": True} if pa.types.is_list(field.type) else described


def _data_type(kind: pa.DataType) -> str | None:
    """Croissant's word for a type; None for nested ones, which it can not describe as a column."""
    if pa.types.is_list(kind):
        return _data_type(kind.value_type)
    if pa.types.is_struct(kind):
        return None
    if pa.types.is_boolean(kind):
        return "sc:Boolean"
    if pa.types.is_integer(kind):
        return "sc:Integer"
    if pa.types.is_floating(kind):
        return "sc:Float"
    return "sc:DateTime" if pa.types.is_timestamp(kind) else "sc:Text"
