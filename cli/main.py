"""Entry point of the `autoglm` command."""

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cli.client import DEFAULT_URL, Gateway, GatewayError, user_message

app = typer.Typer(help="Serve and use AutoGLM.", no_args_is_help=True, add_completion=False)

keys = typer.Typer(help="Keys that open the gateway and the services.", no_args_is_help=True)
app.add_typer(keys, name="keys")

Url = Annotated[str, typer.Option("--url", envvar="AUTOGLM_URL", help="Address of a running server.")]

ApiKey = Annotated[
    str | None,
    typer.Option("--api-key", envvar="AUTOGLM_API_KEY", help="Key, where the server asks for one."),
]
Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca", envvar="AUTOGLM_CA", help="Who signed the server's certificate.", exists=True, dir_okay=False
    ),
]


class Dtype(StrEnum):
    """Element types that weights can take in memory."""

    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class TranscriptFormat(StrEnum):
    """Formats of a transcript."""

    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    JSON = "json"
    VERBOSE_JSON = "verbose_json"


@app.command()
def serve(
    model: Annotated[Path | None, typer.Option(help="Folder of a bundle or a published GLM.")] = None,
    host: Annotated[str | None, typer.Option(help="Address the gateway listens on.")] = None,
    port: Annotated[
        int | None, typer.Option(help="Port of the gateway; 0 takes any free one.", min=0, max=65535)
    ] = None,
    insecure: Annotated[bool, typer.Option(help="Allow plain HTTP beyond this machine.")] = False,
    dtype: Annotated[Dtype | None, typer.Option(help="Element type of the weights in memory.")] = None,
    config: Annotated[Path | None, typer.Option(help="Settings file instead of config.yaml.")] = None,
) -> None:
    """Start vision, speech, llm and gateway, watch them, and stop them on Ctrl-C."""
    from cli.bundle import BundleError
    from cli.ports import HeldPorts
    from cli.serve import serve as run
    from cli.supervisor import StartError
    from cli.topology import Options, PortInUseError, plan
    from servicekit.settings import SettingsError

    try:
        with HeldPorts() as held:
            asyncio.run(run(plan(Options(config, model, dtype, host, port, insecure), held)))
    except (BundleError, PortInUseError, SettingsError, StartError) as error:
        raise _failure(str(error)) from error


@app.command()
def chat(
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    ca: Authority = None,
    think: Annotated[bool, typer.Option(help="Let the model think first, and show it.")] = False,
) -> None:
    """Talk to a running server; /image PATH adds a picture."""
    from cli.chat import Chat

    with _gateway(url, api_key, ca) as gateway:
        try:
            gateway.model()
        except GatewayError as error:
            raise _failure(str(error)) from error
        Chat(gateway, Console(), think).loop()


@app.command()
def caption(
    files: Annotated[list[Path], typer.Argument(help="Picture files.", exists=True, dir_okay=False)],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    ca: Authority = None,
    prompt: Annotated[str, typer.Option(help="What to ask about each picture.")] = "描述这张图片。",
) -> None:
    """Describe pictures with a running server, one line each."""
    failed = False
    with _gateway(url, api_key, ca) as gateway:
        for file in files:
            try:
                completion = gateway.answer([user_message(prompt, [file])])
                typer.echo(f"{file}: {completion['choices'][0]['message']['content']}")
            except GatewayError as error:
                failed = True
                typer.echo(f"{file}: {error}", err=True)
    raise typer.Exit(int(failed))


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings.", exists=True, dir_okay=False)],
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    ca: Authority = None,
    form: Annotated[TranscriptFormat, typer.Option("--format", help="How to write it down.")] = (
        TranscriptFormat.TEXT
    ),
    words: Annotated[str, typer.Option(help="Words to listen for, with spaces between them.")] = "",
) -> None:
    """Write down what is said in recordings, with a running server."""
    failed = False
    with _gateway(url, api_key, ca) as gateway:
        for file in files:
            try:
                text = gateway.transcript(file, form, words)
                typer.echo(f"{file}: {text.strip()}" if form is TranscriptFormat.TEXT else text)
            except GatewayError as error:
                failed = True
                typer.echo(f"{file}: {error}", err=True)
    raise typer.Exit(int(failed))


@app.command()
def doctor(
    model: Annotated[Path | None, typer.Option(help="Folder of the model bundle.")] = None,
    host: Annotated[str, typer.Option(help="Address the gateway would listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port the gateway would listen on.", min=0, max=65535)] = 8000,
) -> None:
    """Check python, packages, stubs, model and port; exit code 1 when something is wrong."""
    from cli.bundle import DEFAULT_MODEL
    from cli.doctor import examine, table

    checks = list(examine(model or DEFAULT_MODEL, host, port))
    Console().print(table(checks))
    raise typer.Exit(int(not all(check.passed for check in checks)))


@keys.command("new")
def new_key(
    name: Annotated[str, typer.Argument(help="Who will hold it; appears in the access log.")] = "somebody",
) -> None:
    """Print a fresh key, and the line with its hash that lets it in."""
    from servicekit.keys import hash_of, new_key

    key = new_key()
    typer.echo(f"key   {key}")
    typer.echo(f"line  {name} {hash_of(key)}")
    typer.echo("Give the key to its holder and forget it; the line goes into the file of keys.", err=True)


def _gateway(url: str, api_key: str | None, ca: Path | None) -> Gateway:
    try:
        return Gateway(url, api_key=api_key, ca=ca)
    except GatewayError as error:
        raise _failure(str(error)) from error


def _failure(message: str) -> typer.Exit:
    typer.secho(message, fg="red", err=True)
    return typer.Exit(1)
