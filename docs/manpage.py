"""The manual page `migrate(1)` in roff, from what the reference of the command line is made from."""

import inspect
import re
from collections.abc import Iterable, Mapping, Sequence

Option = tuple[str, str, str, bool]
"""How it is typed, its default, its help, whether it is an argument."""

MARK = '.\\" Made by `python docs/generate.py`: change the code, not this page.\n'


def page(
    about: str,
    commands: Sequence[tuple[str, str, Sequence[Option], Sequence[str]]],
    exit_codes: Mapping[int, str],
    environment: Iterable[tuple[str, str]],
) -> str:
    """The page.

    Args:
        about: what the program does, in a sentence.
        commands: of each its words, its help, its options and its examples.
        exit_codes: what each of them means.
        environment: variables and what they are for.
    """
    lines = ['.TH MIGRATE 1 "" cni\\-migrate', ".SH NAME", f"migrate \\- {_text(about.rstrip('.'))}"]
    lines += [".SH SYNOPSIS", ".B migrate", ".I command", "[options]", ".br", ".B kubectl migrate", ".I command"]
    lines += ["[options]", ".SH DESCRIPTION", *_paragraphs(about), ".PP"]
    lines += [
        _text("`kubectl-migrate` is the same program: kubectl finds it on PATH and calls it for `kubectl migrate`.")
    ]
    lines += [".SH COMMANDS"]
    common = shared([options for _, _, options, _ in commands])
    for words, text, options, examples in commands:
        arguments = "".join(f" {typed}" for typed, _, _, argument in options if argument)
        lines += [f".SS {_text(words + arguments)}", *_paragraphs(text)]
        lines += [line for option in options if option not in common for line in _option(option)]
        if examples:
            lines += [".PP", "Examples:", ".PP", ".nf", ".RS", *map(_text, examples), ".RE", ".fi"]
    lines += [".SH OPTIONS OF MOST COMMANDS", *(line for option in common for line in _option(option))]
    lines += [".SH EXIT STATUS"]
    lines += [line for code, meaning in exit_codes.items() for line in (".TP", f".B {code}", _text(meaning))]
    lines += [".SH ENVIRONMENT"]
    lines += [line for name, meaning in environment for line in (".TP", f".B {name}", _text(meaning))]
    return MARK + "\n".join(lines) + "\n"


def shared(commands: Sequence[Sequence[Option]]) -> list[Option]:
    """The options that half of the commands have, word for word: they are told once."""
    every = [option for options in commands for option in options]
    return [option for option in dict.fromkeys(every) if every.count(option) * 2 >= len(commands)]


def _option(option: Option) -> list[str]:
    typed, default, meaning, _ = option
    return [".TP", f".B {_text(typed)}", _text(meaning + (f" Default: {default}." if default else ""))]


def _paragraphs(text: str) -> list[str]:
    return [line for part in inspect.cleandoc(text).split("\n\n") for line in (".PP", _text(part.replace("\n", " ")))]


def _text(text: str) -> str:
    """Words of Markdown as roff: links lose their targets, code is bold; a control character cannot begin a line."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = text.replace("\\", "\\e").replace("-", "\\-")
    text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    return f"\\&{text}" if text.startswith((".", "'")) else text
