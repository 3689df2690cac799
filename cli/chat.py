"""A conversation in the terminal."""

from pathlib import Path

from rich.console import Console

from cli.client import Gateway, GatewayError, Message, user_message

HELP = "/image PATH adds a picture to the next message, /new starts over, /help shows this, /quit leaves."


class Chat:
    """Keeps the conversation and the pictures that wait for the next message."""

    def __init__(self, gateway: Gateway, console: Console, think: bool) -> None:
        self.messages: list[Message] = []
        self.images: list[Path] = []
        self._gateway = gateway
        self._console = console
        self._think = think

    def loop(self) -> None:
        """Reads lines until /quit or the end of input."""
        self._console.print(HELP, style="dim")
        while True:
            try:
                line = self._console.input("[bold cyan]>[/] ").strip()
            except (EOFError, KeyboardInterrupt):
                self._console.print()
                return
            if line == "/quit":
                return
            self.take(line)

    def take(self, line: str) -> None:
        """Obeys a command or answers a message."""
        command, _, argument = line.partition(" ")
        match command:
            case "":
                return
            case "/help":
                self._console.print(HELP, style="dim")
            case "/new":
                self.messages.clear()
                self.images.clear()
            case "/image":
                self._attach(argument.strip())
            case _ if command.startswith("/"):
                self._console.print(f"There is no command {command}. {HELP}", style="yellow", markup=False)
            case _:
                self._answer(line)

    def _attach(self, name: str) -> None:
        if (path := _file(name)) is None:
            self._console.print(f"There is no file {name}.", style="yellow", markup=False)
        else:
            self.images.append(path)
            self._console.print(f"{path.name} goes with the next message.", style="dim", markup=False)

    def _answer(self, text: str) -> None:
        try:
            question = user_message(text, self.images)
        except OSError as error:
            self.images = [path for path in self.images if _file(str(path))]
            self._console.print(
                f"A picture cannot be read, and is left out: {error}. Ask again.", style="red", markup=False
            )
            return
        answer = ""
        try:
            pieces = self._gateway.stream(
                [*self.messages, question], enable_thinking=self._think, return_reasoning=self._think
            )
            for piece in pieces:
                self._console.print(
                    piece.reasoning, style="dim italic", end="", markup=False, highlight=False
                )
                self._console.print(piece.text, end="", markup=False, highlight=False)
                answer += piece.text
        except GatewayError as error:
            self._console.print(f"\n{error}", style="red", markup=False)
            return
        except KeyboardInterrupt:  # stops this answer only; what was said stays said
            pass
        self._console.print()
        self.images.clear()
        self.messages += [question, {"role": "assistant", "content": answer}]


def _file(name: str) -> Path | None:
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError):  # a name that is too long, a user who is nobody
        return None
