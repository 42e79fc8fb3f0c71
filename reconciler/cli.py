"""The command line: flags, wiring and exit codes. Nothing else prints or exits.

stdout is the artefact, stderr the narration. Heavy parts are imported by the verb that needs them.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import gc
import io
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from reconciler.apply.lines import Redactor
from reconciler.commands import CONCURRENCY, Printed, Settings
from reconciler.errors import Interrupted, ReconcileError, UsageError
from reconciler.report.escape import log

USAGE = UsageError.exit_code

_EXIT_CODES = """\
exit status:
  0    success; with --detailed-exitcode: no changes
  1    an error: invalid desired state, something couldn't be observed, a change failed
  2    only plan --detailed-exitcode: a valid plan with changes
  3    refused: another plan than expected, too much would change, a tag that moved
  64   usage
  130  interrupted"""


class _Parser(argparse.ArgumentParser):
    """argparse with the status that a usage error has here, and the nearest known word named."""

    def error(self, message: str) -> NoReturn:
        unknown = message.removeprefix("unrecognized arguments: ").split()
        known = [option for action in self._actions for option in action.option_strings]
        near = difflib.get_close_matches(unknown[0] if unknown else "", known, 1)
        hint = f" (did you mean {near[0]}?)" if near and message.startswith("unrecognized") else ""
        self.exit(USAGE, f"{self.prog}: {message}{hint}\nTry: {self.prog} --help\n")


def _number(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not least <= int(text[:9]) <= 1_000_000:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {least} on")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds from 0 to 600")
    return seconds


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="reconcile",
        description="Keeps multi-architecture image mirrors true: compares desired/ with the registry and makes it so.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    verbs = parser.add_subparsers(dest="verb", metavar="COMMAND", required=True, parser_class=_Parser)

    def verb(name: str, text: str, examples: str) -> argparse.ArgumentParser:
        sub = verbs.add_parser(
            name,
            help=text,
            description=text[0].upper() + text[1:] + ".",
            epilog=f"examples:\n{examples}\n\n{_EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        sub.add_argument("-v", "--verbose", action="count", default=0, help="say more on stderr (-vv: every request)")
        return sub

    _plan_flags(verb("plan", "show what differs from the registry, and change nothing", _PLAN_EXAMPLES))
    _apply_flags(verb("apply", "make it so: build, prove, publish, move pointers", _APPLY_EXAMPLES))
    _verify_flags(verb("verify", "verify every proof from scratch, ignoring records", _VERIFY_EXAMPLES))
    _explain_flags(verb("explain", "show which releases count and why, and how one is built", _EXPLAIN_EXAMPLES))
    _add_flags(verb("add", "write a first desired file for an upstream", _ADD_EXAMPLES))
    _doctor_flags(verb("doctor", "check what is missing or too old on this machine", _DOCTOR_EXAMPLES))
    _comment_flags(verb("comment", "post a plan under its pull request, or edit what stands there", _COMMENT_EXAMPLES))
    _matrix_flags(verb("matrix", "spread the builds of a saved plan over jobs of GitHub Actions", _MATRIX_EXAMPLES))
    _build_flags(verb("build", "do one job of a matrix: build, push by digest, sign nothing", _BUILD_EXAMPLES))
    _demo_flags(verb("demo", "plan, apply and plan again, all on this machine", _DEMO_EXAMPLES))
    return parser


_PLAN_EXAMPLES = """\
  reconcile plan                                  what would apply do?
  reconcile plan --app outline                    only for one app
  reconcile plan --format markdown                for a comment on a pull request
  reconcile plan --format json --output plan.json to apply exactly this later
  reconcile plan --detailed-exitcode              status 2 if there is something to do"""
_APPLY_EXAMPLES = """\
  reconcile apply                                 plan, then do it
  reconcile apply --expect-plan sha256:...        only if the plan is still this one
  reconcile apply plan.json                       walk a saved plan
  reconcile apply --builder farm --jobs 4         builds side by side on a builder of buildx
  reconcile apply plan.json --results DIR --run ID  finish what the jobs of a matrix built, and build nothing"""
_MATRIX_EXAMPLES = """\
  reconcile matrix plan.json                      the jobs, as a matrix of GitHub Actions
  reconcile matrix plan.json --few 0              fan out whenever there is something to build"""
_BUILD_EXAMPLES = """\
  reconcile build plan.json --job outline@1.2.0@linux-arm64 --run ID --results results"""
_VERIFY_EXAMPLES = """\
  reconcile verify                                everything
  reconcile verify outline:1.2.0                  one version of one app
  reconcile verify --print-commands               how to check the same with cosign alone"""
_EXPLAIN_EXAMPLES = """\
  reconcile explain outline                       its releases, and why each is in the window or not
  reconcile explain outline:1.9.2                 the Dockerfile, the buildx and cosign commands
  reconcile explain outline:1.9.2 --from ../outline    from a clone on this machine, without network"""
_ADD_EXAMPLES = """\
  reconcile add https://github.com/owner/name     desired/name.yaml, with comments on what to check
  reconcile add https://gitlab.com/group/name --name other --yes
  reconcile add ghcr.io/owner/name                from an image that upstream publishes"""
_DOCTOR_EXAMPLES = """\
  reconcile doctor                                what is missing, and what to do about it
  reconcile doctor --builder farm                 with the builder that apply will use"""
_COMMENT_EXAMPLES = """\
  reconcile comment --pr 12 --plan plan.json      the plan of this run
  reconcile comment --head acme:topic --sha ...   the open pull request from there, while that is its head"""
_DEMO_EXAMPLES = """\
  reconcile demo                                  a registry, an upstream and a builder, then plan, apply, plan
  reconcile demo --keep                           leave the registry running to look around"""


def _desired(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--desired", type=Path, default=Path("desired"), metavar="DIR", help="the desired state")
    parser.add_argument("--allow-private", action="store_true", help="allow hosts on this machine or a private network")


def _common(parser: argparse.ArgumentParser) -> None:
    _desired(parser)
    parser.add_argument("--state", type=Path, default=Path("state"), metavar="DIR", help="the records")
    parser.add_argument("--app", action="append", default=[], metavar="NAME", help="only this app (repeatable)")
    parser.add_argument("--fresh", action="store_true", help="ignore records: read and verify everything")
    parser.add_argument("--retry", action="store_true", help="try builds again that failed a while ago")
    parser.add_argument(
        "--concurrency",
        type=_number(1),
        default=CONCURRENCY,
        metavar="N",
        help=f"requests in flight per host ({CONCURRENCY})",
    )


def _plan_flags(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("--format", choices=("text", "markdown", "html", "json"), default="text", help="of the plan")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it there instead of stdout")
    parser.add_argument("--detailed-exitcode", action="store_true", help="status 2 where there are changes")


def _apply_flags(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("plan", nargs="?", type=Path, metavar="PLAN.json", help="a saved plan to walk")
    parser.add_argument("--expect-plan", metavar="HASH", help="refuse any other plan than this one")
    parser.add_argument("--format", choices=("text", "markdown", "json"), default="text", help="of the report")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the report there instead of stdout")
    _tools(parser)
    parser.add_argument("--jobs", type=_number(1), default=2, metavar="N", help="builds side by side (2)")
    parser.add_argument("--max-builds", type=_number(0), metavar="N", help="at most so many builds in this run")
    parser.add_argument("--allow-lost", type=_number(1), metavar="N", help="go on though exactly N tags are lost")
    parser.add_argument(
        "--allow-replaced", type=_number(1), metavar="N", help="go on though exactly N digests are replaced"
    )
    parser.add_argument(
        "--lag", type=_seconds, metavar="S", help="seconds until the registry shows what was written (2; on loopback 0)"
    )
    parser.add_argument("--key", metavar="REF", help="the signing key: a file, env://NAME or a KMS reference")
    parser.add_argument("--identity-token", type=Path, metavar="FILE", help="a file with an OIDC token to sign with")
    parser.add_argument(
        "--results", type=Path, metavar="DIR", help="what the jobs of a matrix built: nothing is built here"
    )
    parser.add_argument("--run", metavar="ID", help="the run that built it, as `reconcile matrix` named it")
    parser.add_argument("--logs", type=Path, metavar="DIR", help="where the logs of builds go (default: a temp folder)")


def _matrix_flags(parser: argparse.ArgumentParser) -> None:
    _desired(parser)
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="a saved plan")
    parser.add_argument("--few", type=_number(0), default=3, metavar="N", help="so many builds are no fan-out yet (3)")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the matrix there instead of stdout")


def _build_flags(parser: argparse.ArgumentParser) -> None:
    _desired(parser)
    parser.add_argument("--state", type=Path, default=Path("state"), metavar="DIR", help="the records, only read here")
    parser.add_argument("plan", type=Path, metavar="PLAN.json", help="the saved plan that the matrix is of")
    parser.add_argument("--job", required=True, metavar="ID", help="which job of the matrix")
    parser.add_argument("--run", required=True, metavar="ID", help="the run it is for, as `reconcile matrix` named it")
    parser.add_argument("--results", required=True, type=Path, metavar="DIR", help="where a file per image goes")
    parser.add_argument("--expect-plan", metavar="HASH", help="refuse any other plan than this one")
    _tools(parser)
    parser.add_argument("--logs", type=Path, metavar="DIR", help="where the logs of builds go (default: a temp folder)")


def _tools(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--builder", default="", metavar="NAME", help="the builder of buildx to use")
    parser.add_argument(
        "--build-flag",
        action="append",
        default=[],
        metavar="FLAG",
        help="pass it to every build: --build-flag=--network=host",
    )


def _verify_flags(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("what", nargs="*", metavar="APP[:VERSION]", help="only these")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the report")
    parser.add_argument("--print-commands", action="store_true", help="print the cosign commands that check the same")


def _explain_flags(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    parser.add_argument("what", nargs="*", metavar="APP[:VERSION]", help="only these")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the explanation")
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="DIR", help="take releases and sources from this clone or folder"
    )
    _tools(parser)
    parser.add_argument("--key", metavar="REF", help="the signing key that apply will use")
    parser.add_argument("--identity-token", type=Path, metavar="FILE", help="the token that apply will use")


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="a repository on GitHub, a GitLab or elsewhere, or an image")
    parser.add_argument("--desired", type=Path, default=Path("desired"), metavar="DIR", help="the desired state")
    parser.add_argument("--name", default="", metavar="NAME", help="the app's name (default: the repository's)")
    parser.add_argument("--yes", action="store_true", help="write without asking (nothing is asked without a terminal)")
    parser.add_argument("--allow-private", action="store_true", help="allow hosts on this machine or a private network")


def _doctor_flags(parser: argparse.ArgumentParser) -> None:
    _common(parser)
    _tools(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text", help="of the findings")
    parser.add_argument("--key", metavar="REF", help="the signing key that apply will use")
    parser.add_argument("--identity-token", type=Path, metavar="FILE", help="the token that apply will use")


def _comment_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--pr", type=_number(1), metavar="N", help="the pull request")
    parser.add_argument("--head", default="", metavar="OWNER:BRANCH", help="or: the branch that it comes from")
    parser.add_argument("--sha", default="", metavar="COMMIT", help="only while this is its head")
    parser.add_argument("--plan", type=Path, metavar="FILE", help="the plan as JSON (plan --format json)")
    parser.add_argument("--body", type=Path, metavar="FILE", help="or: Markdown that is posted as it is")
    parser.add_argument("--run-url", default="", metavar="URL", help="where the plan was made, if not in this run")
    parser.add_argument("--state", type=Path, default=Path("state"), metavar="DIR", help="the records: warn of edits")
    parser.add_argument("--allow-private", action="store_true", help="allow a GitHub in a private network")


def _demo_flags(parser: argparse.ArgumentParser) -> None:
    _tools(parser)
    parser.add_argument("--keep", action="store_true", help="leave the registry running until Ctrl-C")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put everything there and leave it")


# what the environment may hold that must be seen nowhere; the clients of a run add what else they know
_SECRETS = (
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "RECONCILE_REGISTRY_PASSWORD",
    "COSIGN_PASSWORD",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
)


def redacted(text: str, secrets: set[str]) -> str:
    """`text` without any of the secrets, however they are encoded."""
    return _redactor(frozenset(secrets))(text) if secrets else text


@functools.lru_cache(maxsize=2)
def _redactor(secrets: frozenset[str]) -> Redactor:
    return Redactor(secrets)


def _ask(question: str) -> bool:
    """Asks the person at the terminal; no answer is no."""
    _say(f"{question} [y/N]")
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _say(line: str) -> None:
    # in a job of GitHub's, lines to stderr may be commands too
    _note(log(line, 1_000_000))


def _note(line: str) -> None:
    # a closed stderr keeps nobody from their plan
    with contextlib.suppress(OSError, ValueError):
        print(line, file=sys.stderr, flush=True)


def _report(error: ReconcileError, secrets: set[str]) -> None:
    """Says what went wrong, and shows it in the diff where a job has one."""
    _say(redacted(f"reconcile: {error}", secrets))
    if os.environ.get("GITHUB_ACTIONS") == "true":
        from reconciler.report.actions import messages

        for line in messages(error, os.environ):
            _note(redacted(line, secrets))


def _show(text: str) -> None:
    # for a story: whoever reads no longer (`| head`) doesn't end it
    _print(text)


def _settings(options: argparse.Namespace, secrets: set[str]) -> Settings:
    def say(line: str) -> None:
        _say(redacted(line, secrets))

    terminal = sys.stdout is not None and sys.stdout.isatty()
    return Settings(
        desired=getattr(options, "desired", Path("desired")),
        state=getattr(options, "state", Path("state")),
        say=say,
        secrets=secrets,
        env=os.environ,
        apps=tuple(getattr(options, "app", ())),
        fresh=getattr(options, "fresh", False),
        retry=getattr(options, "retry", False),
        allow_private=getattr(options, "allow_private", False),
        concurrency=getattr(options, "concurrency", CONCURRENCY),
        verbose=options.verbose,
        colour=terminal and "NO_COLOR" not in os.environ,
        width=shutil.get_terminal_size().columns if terminal else 0,
    )


def _run(options: argparse.Namespace, settings: Settings) -> Printed:
    match options.verb:
        case "plan":
            from reconciler.commands import plan

            return plan.run(
                settings, format=options.format, output=options.output, detailed_exitcode=options.detailed_exitcode
            )
        case "apply":
            from reconciler.commands import apply

            return apply.run(settings, apply.Flags.of(options))
        case "matrix":
            from reconciler.commands import matrix

            return matrix.run(settings, options.plan, few=options.few, output=options.output)
        case "build":
            from reconciler.commands import build

            return build.run(settings, build.Flags.of(options))
        case "verify":
            from reconciler.commands import verify

            return verify.run(settings, options.what, format=options.format, print_commands=options.print_commands)
        case "explain":
            from reconciler.commands import explain

            return explain.run(settings, options.what, explain.Flags.of(options))
        case "add":
            from reconciler.commands import add

            ask = None if options.yes or not sys.stdin.isatty() else _ask
            return add.run(settings, options.url, name=options.name, ask=ask)
        case "doctor":
            from reconciler.commands import doctor

            return doctor.run(
                settings,
                builder=options.builder,
                key=options.key,
                token=options.identity_token,
                format=options.format,
            )
        case "comment":
            from reconciler.commands import comment

            target = comment.Target(pr=options.pr, head=options.head, sha=options.sha, run_url=options.run_url)
            return comment.run(settings, target, plan=options.plan, body=options.body)
        case _:
            from reconciler.commands import demo

            return demo.run(settings, show=_show, builder=options.builder, keep=options.keep, folder=options.folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status of behaviours.md and never raises for what users can cause."""
    for stream in (sys.stdout, sys.stderr):
        # a terminal or a file that knows less than Unicode gets escapes instead of an error
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        options = _parser().parse_args(arguments)
    except SystemExit as exit_:
        return exit_.code if isinstance(exit_.code, int) else USAGE
    secrets = {value for name in _SECRETS if (value := os.environ.get(name))}
    try:
        printed = _run(options, _settings(options, secrets))
        if printed.error is not None:
            _report(printed.error, secrets)
        return _print(redacted(printed.text, secrets)) or printed.status
    except KeyboardInterrupt:
        _say("reconcile: interrupted")
        return Interrupted.exit_code
    except ReconcileError as error:
        _report(error, secrets)
        return error.exit_code
    except Exception as error:
        _say(redacted(f"reconcile: this is a bug, please report it: {type(error).__name__}: {error}", secrets))
        if options.verbose:
            _say(redacted(traceback.format_exc(), secrets))
        return ReconcileError.exit_code


def _print(text: str) -> int:
    """Writes the artefact to stdout; 0, or 1 where it can't be written."""
    if sys.stdout is None or not text:
        return 0
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # whoever read the output has seen enough (`| head`); Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        _say(f"reconcile: stdout: it can't be written: {error.strerror}")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ReconcileError.exit_code
    return 0


def collect_rarely() -> None:
    """Look for garbage after 200,000 new objects, not 700.

    What is imported and read stays to the end: looking through it again and again is a tenth of a plan's time, of a
    small one's start as of a large one's records.
    """
    gc.set_threshold(200_000, 20, 50)


def run() -> NoReturn:
    """The entry point: SIGTERM is taken like Ctrl-C where a command has no better use for it."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    collect_rarely()
    try:
        status = main()
    except KeyboardInterrupt:
        # one more, on the way out
        status = Interrupted.exit_code
    # the status is settled: whoever is impatient now must not turn it into another one while Python ends
    for one in (signal.SIGINT, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)
    # the process ends: that nobody looks for garbage in what is left of it saves a fifth of a small plan's time
    gc.freeze()
    sys.exit(status)
