"""`suan cp`: a job's outputs from the platform, or files and folders to it."""

from __future__ import annotations

import re
from pathlib import Path

from suanwang.edge.cli.doing import Doing, client_of
from suanwang.edge.cli.output import print_json
from suanwang.edge.cli.parsing import Args, Parser
from suanwang.edge.cli.words import say
from suanwang.edge.client.client import Client
from suanwang.kernel.errors import InvalidInput, NotFound

_JOB = re.compile(r"^(?:job_)?[0-9a-z]{4,}(?::[^/]+)?$")


def _options(parser: Parser) -> None:
    parser.usage = "suan cp JOB[:OUTPUT] [FOLDER]  |  suan cp PATH…"
    parser.option(
        "words",
        help="JOB[:OUTPUT] and a folder, or local paths",
        nargs="+",
        metavar="JOB[:OUTPUT]|PATH",
    )
    parser.common()


def _cp(args: Args) -> int:
    """A first word that exists here is a local path; otherwise it names a job."""
    client = client_of(args)
    if all(Path(word).exists() for word in args.words):
        return _send(client, args)
    first, rest = args.words[0], args.words[1:]
    if not _JOB.match(first) or len(rest) > 1:
        raise InvalidInput(
            "PathMissing",
            say("{path} is neither here nor a job.", path=first),
            hint=say("Fetch: suan cp JOB[:OUTPUT] FOLDER. Send: suan cp PATH…"),
        )
    return _fetch(client, first, rest[0] if rest else ".", args)


def _fetch(client: Client, named: str, folder: str, args: Args) -> int:
    from suanwang.edge.cli.progress import BytesProgress

    job_id, _, output = named.partition(":")
    progress = BytesProgress(say("fetching"))
    written = client.download(job_id, folder, output or None, progress)
    progress.end()
    if not written:
        raise NotFound(
            "NoOutputs",
            say("Job {id} has kept no outputs.", id=job_id),
            hint=say("Name them in the specification: outputs: {result: out.txt}"),
        )
    if args.json:
        print_json([str(path) for path in written])
    else:
        print("\n".join(map(str, written)))
    return 0


def _send(client: Client, args: Args) -> int:
    """Prints the digest of each, to be named as workdir or input."""
    from suanwang.edge.cli.progress import BytesProgress

    progress = BytesProgress(say("uploading"))
    sent = []
    for word in args.words:
        path = Path(word)
        tree = path.is_dir()
        send = client.upload_folder if tree else client.upload_file
        sent.append({"path": word, "digest": send(path, progress), "tree": tree})
    progress.end()
    if args.json:
        print_json(sent)
    else:
        for item in sent:
            print(f"{item['digest']}  {item['path']}")
    return 0


COMMANDS = {"cp": Doing(_options, _cp)}
