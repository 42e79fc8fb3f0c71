"""`reconcile demo`: plan, apply and plan again, all on this machine, by the very commands that a user types.

stdout tells the story: what there is, each command and what it prints. What a command says on stderr stays there.
"""

from __future__ import annotations

import os
import shlex
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

from reconciler.commands import Printed, Settings
from reconciler.errors import Interrupted
from reconciler.local.catalogue import Tool
from reconciler.local.demo import hello, looking
from reconciler.local.demo.desired import IDENTITY
from reconciler.local.demo.folder import room
from reconciler.local.demo.stage import Stage, stage

Show = Callable[[str], None]

_CHANGES = 2
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    settings: Settings, *, show: Show, builder: str = "", keep: bool = False, folder: Path | None = None
) -> Printed:
    """Tells the story through `show`; status 0 only if the second plan has nothing to do.

    `builder` is one that buildx knows; without it a private one is started. With `keep` all of it stays up until
    Ctrl-C, with `folder` everything is put there and left. Raises ToolMissing with what to install where something is
    missing that can't be had.
    """
    began = time.monotonic()
    with _interruptible(), room(folder) as home:
        settings.say("starting a registry, an upstream, a signer and a builder on this machine")
        more = (Tool.CRANE,) if keep else ()
        with stage(home, settings.env, own_builder=builder, more=more, say=settings.say, meanwhile=_import_verbs) as on:
            show(_opening(on, time.monotonic() - began, colour=settings.colour))
            status = _story(settings, on, show)
            if keep and status != Interrupted.exit_code:
                show(_look_around(on))
                _wait_for_interrupt()
                return Printed("", status)
    settings.say(f"the demo took {time.monotonic() - began:.1f} s")
    if status == 0:
        show(_closing(folder))
    return Printed("", status)


def _story(settings: Settings, on: Stage, show: Show) -> int:
    """Plan, apply, plan; the exit status."""
    from reconciler.commands import apply, plan

    mine = replace(settings, desired=on.desired, state=on.state, env=on.env, allow_private=True, apps=())

    def planned() -> Printed:
        return plan.run(mine, format="text", output=None, detailed_exitcode=True)

    first = _step(show, looking.plan_words(), planned, colour=settings.colour)
    if first != _CHANGES:
        return first or 1
    flags = apply.Flags(builder=on.builder, token=on.token, logs=on.folder / "logs")
    applied = _step(show, looking.apply_words(on), lambda: apply.run(mine, flags), colour=settings.colour)
    _end_by_interrupt()
    if applied:
        return applied
    second = _step(show, looking.plan_words(), planned, colour=settings.colour)
    if on.registry.violations:
        show("\nThe registry saw tags that weren't finished when they were put:\n")
        show("".join(f"  {violation}\n" for violation in on.registry.violations))
        return 1
    tags = len(on.witness.seen)
    show(f"\nThe registry looked at each of {tags} tags when it was put: all were whole and signed by then.\n")
    return 1 if second == _CHANGES else second


def _step(show: Show, words: Sequence[str], do: Callable[[], Printed], *, colour: bool) -> int:
    """One command: what is typed, what it prints, how long it took; its exit status."""
    show(f"\n{_typed(shlex.join(words), colour)}\n")
    began = time.monotonic()
    printed = do()
    show(f"{printed.text}({time.monotonic() - began:.1f} s)\n")
    return printed.status


def _typed(line: str, colour: bool) -> str:
    return f"\x1b[1m$ {line}\x1b[0m" if colour else f"$ {line}"


def _opening(on: Stage, seconds: float, *, colour: bool) -> str:
    versions = ", ".join(told.version for told in hello.RELEASES)
    by = "a private BuildKit" if on.engine is not None else "your own"
    rows = (
        ("registry", on.registry.host, "empty"),
        ("upstream", f"{on.upstream.host}/{hello.REPOSITORY}", f"released {versions}, in this order"),
        ("builder", on.builder, f"{by}, for {' and '.join(map(str, on.platforms))}"),
        ("signer", on.sigstore.url.partition("://")[2], f"a Sigstore for {IDENTITY.partition('@')[0]}"),
    )
    wide = max(len(where) for _, where, _ in rows)
    table = "".join(f"  {what:10}{where:{wide}}  {text}\n" for what, where, text in rows)
    typed, wanted = _typed("cat desired/hello.yaml", colour), (on.desired / "hello.yaml").read_text(encoding="utf-8")
    return f"On this machine now ({seconds:.1f} s), in {on.folder}:\n\n{table}\n{typed}\n{wanted}"


def _look_around(on: Stage) -> str:
    from reconciler.desired.loader import load

    policy = load(on.desired, allow_local=True).signing.policy
    lines = ["", "All of it stays until you press Ctrl-C. In another terminal:", ""]
    lines += [f"  . {shlex.quote(str(looking.shell_file(on)))}", ""]
    for title, words in looking.commands(on, policy):
        lines += [f"  # {title}", *(f"  {line}" for line in words), ""]
    return "\n".join(lines) + "\n"


def _closing(folder: Path | None) -> str:
    if folder is None:
        return "All of it is gone again; `reconcile demo --keep` leaves it up, to look around with crane and cosign.\n"
    at = shlex.quote(str(folder))
    return (
        f"Left in {at}: desired/ and state/ as they are in a mirror's repository, logs/ of the builds, registry/ with "
        f"all images.\nServe them again: python -m reconciler.local.registry --root {at}/registry\n"
    )


def _import_verbs() -> None:
    """What takes a second to import is imported while the engine starts."""
    import reconciler.commands.apply
    import reconciler.commands.plan
    import reconciler.evidence.keyless  # noqa: F401


@contextmanager
def _interruptible() -> Iterator[None]:
    """Whatever ends the demo, it clears up: a terminal that closes and a kill are taken like Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {one: signal.getsignal(one) for one in _ENDING}
    _end_by_interrupt()
    try:
        yield
    finally:
        for one, handler in before.items():
            signal.signal(one, handler)


def _end_by_interrupt() -> None:
    # again after apply: asyncio leaves the default action behind where it removes a handler
    if threading.current_thread() is threading.main_thread():
        for one in _ENDING:
            signal.signal(one, _interrupt)


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    _clear_in_peace()
    raise KeyboardInterrupt


def _clear_in_peace() -> None:
    # a terminal that closes while all is being cleared away must not end that; a second Ctrl-C may, and the engine's
    # keeper and the next demo clear the rest
    for one in _ENDING:
        signal.signal(one, signal.default_int_handler if one is signal.SIGINT else signal.SIG_IGN)


def _wait_for_interrupt() -> None:
    """Returns at the first signal; it raises nothing, so that several at once are as one."""
    read, write = os.pipe()
    os.set_blocking(write, False)
    # written to by whichever thread a signal reaches, and also just before this one begins to read
    before = signal.set_wakeup_fd(write)
    for one in _ENDING:
        signal.signal(one, lambda _number, _frame: None)
    os.read(read, 1)
    _clear_in_peace()
    signal.set_wakeup_fd(before)
    os.close(read)
    os.close(write)
