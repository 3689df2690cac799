"""`python -m training`: prepare the data, train, export a bundle, evaluate it."""

import random
from pathlib import Path
from typing import Annotated

import torch
import typer

from training.average import average
from training.contact_sheet import write_contact_sheet
from training.data.dialogues import DialogueSource
from training.data.icons import LICENCES
from training.data.labels import ask_label, make_label
from training.data.photos import list_photos
from training.data.questions import DESCRIBE, ask
from training.data.scene_english import ask_scene_in_english
from training.data.scene_questions import ask_scene
from training.evaluate import evaluate
from training.export import Part, export
from training.stages import STAGES_OF, Recipe
from training.tokenizer import build_tokenizer
from training.train import train
from training.vision.features import cache_features, cache_scenes, open_scenes

app = typer.Typer(help=__doc__, no_args_is_help=True)

Data = Annotated[
    Path, typer.Option(help="Folder of the open data sets (see training/README.md).", exists=True)
]
Icons = Annotated[Path | None, typer.Option(help="Packages of icons; DATA/icons if left out.")]
Work = Annotated[Path, typer.Option(help="Where features and checkpoints are kept.")]
Bundle = Annotated[Path, typer.Option(help="The bundle: one folder per service.")]
Int8 = Annotated[
    list[Part] | None, typer.Option(help="A part whose matrices go in int8: half the size on disk.")
]

WORK = Path("checkpoints")
BUNDLE = Path("models/autoglm-mobile-tiny")


@app.command("prepare")
def prepare(
    data: Data,
    work: Work = WORK,
    icons: Icons = None,
    workers: int = 2,
) -> None:
    """Builds the tokenizer and caches what the frozen part of the stem sees."""
    for style, licence in LICENCES.items():
        typer.echo(f"drawings: {style}, {licence}")
    cache_scenes(data, icons or data / "icons", work / "features", workers)
    cache_features(data, work / "features", workers)
    build_tokenizer(_texts(data, work / "features"), work / "tokenizer.json")


@app.command("train")
def train_command(
    data: Data,
    work: Work = WORK,
    minutes: Annotated[float, typer.Option(help="Budget; a checkpoint goes on where it stopped.")] = 90,
    seed: int = 0,
    start: Annotated[Path | None, typer.Option(help="A bundle whose weights to start from.")] = None,
    recipe: Annotated[
        Recipe | None, typer.Option(help="`whole`, or with --start `continued`, if left out.")
    ] = None,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Trains on photos, scenes, speech and dialogues together."""
    if threads:
        torch.set_num_threads(threads)
    chosen = recipe or (Recipe.CONTINUED if start else Recipe.WHOLE)
    if chosen is not Recipe.WHOLE and start is None:
        raise typer.BadParameter(f"{chosen} goes on from a bundle: name it with --start")
    train(data, work, minutes, seed, start, STAGES_OF[chosen])


@app.command("export")
def export_command(
    work: Work = WORK,
    bundle: Bundle = BUNDLE,
    int8: Int8 = None,
) -> None:
    """Writes the averaged weights as a bundle."""
    export(work, bundle, int8 or ())


@app.command("average")
def average_command(
    bundles: Annotated[
        list[Path], typer.Argument(help="Bundles that stem from the same weights.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="The bundle to write.")],
    share: Annotated[
        list[float] | None, typer.Option(help="What each counts, in their order; alike if left out.")
    ] = None,
    int8: Int8 = None,
) -> None:
    """Writes the mean of several trained bundles."""
    average(bundles, share or [1.0] * len(bundles), out, int8 or ())


@app.command("eval")
def eval_command(
    data: Data,
    icons: Icons = None,
    bundle: Bundle = BUNDLE,
    split: Annotated[str, typer.Option(help="`tune` to choose by, `val` to report.")] = "val",
    fonts: Annotated[
        Path | None, typer.Option(help="Chinese fonts to print labels in; none: no labels.", exists=True)
    ] = None,
    made: Annotated[
        Path | None,
        typer.Option(help="Made speech to ask aloud with; none: no spoken questions.", exists=True),
    ] = None,
    uniform_gate: Annotated[bool, typer.Option(help="Ablation: every gate weight equal.")] = False,
) -> None:
    """Prints scores, samples drawn by seed, and one JSON line."""
    evaluate(data, icons or data / "icons", bundle, split, fonts, made, uniform_gate=uniform_gate)


@app.command("sheet")
def sheet_command(
    data: Data,
    font: Annotated[Path, typer.Option(help="A font with Chinese characters.", exists=True)],
    icons: Icons = None,
    bundle: Bundle = BUNDLE,
    out: Annotated[Path, typer.Option(help="Where the picture goes.")] = Path("docs/contact-sheet.png"),
) -> None:
    """Draws unseen pictures with what the model says of each."""
    write_contact_sheet(data, icons or data / "icons", bundle, font, out)


def _texts(data: Path, features: Path) -> list[str]:
    """What the vocabulary is counted on: everything that may be said or asked."""
    rng = random.Random(0)
    photos = [photo for photo in list_photos(data) if photo.split == "train"]
    texts = [caption for photo in photos for caption in photo.captions]
    texts += 2 * list(DESCRIBE)
    for photo in photos:
        if photo.kind != "scene":
            for turn in ask(photo, rng):
                texts += 2 * [turn.question, *turn.answers, *turn.thoughts]
    _, scenes = open_scenes(features)
    for scene in scenes:
        for turn in (*ask_scene(scene, rng), *ask_scene_in_english(scene, rng)):
            texts += [turn.question, *turn.answers, *turn.thoughts]
    for _ in range(3000):
        label = make_label(rng)
        turn = ask_label(label, label.lines, rng)
        texts += [turn.question, *turn.answers, *label.lines]
    return texts + DialogueSource(data).texts()


if __name__ == "__main__":
    app()
