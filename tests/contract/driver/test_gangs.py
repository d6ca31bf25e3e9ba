"""Every driver: the members of a gang start together, find each other, and end together."""

from __future__ import annotations

from pathlib import Path

from driver_case import DriverCase, until_file

from suanwang.protocol.messages import FailureClass, Phase

RING = """
import os, socket, threading
me, n = int(os.environ["SUAN_MEMBER"]), int(os.environ["SUAN_MEMBERS"])
peers = [(h, int(p)) for h, p in (x.rsplit(":", 1) for x in os.environ["SUAN_PEERS"].split(","))]
assert len(set(peers)) == n, peers
server = socket.create_server(("", peers[me][1]))
got = []
def listen():
    while len(got) < n - 1:
        connection, _ = server.accept()
        got.append(int(connection.makefile().readline()))
listener = threading.Thread(target=listen)
listener.start()
import time
for other in range(n):
    while other != me:
        try:
            with socket.create_connection(peers[other], 5) as s:
                s.sendall(b"%d\\n" % me)
            break
        except OSError:
            time.sleep(0.05)
listener.join()
print("member", me, "heard", sorted(got), flush=True)
"""


async def test_members_find_each_other(case: DriverCase) -> None:
    run = case.prepare("g", [case.python, "-c", RING], members=3, nodes=case.gang)
    await case.start(run)
    end = await case.end("g")
    assert (end.failure, end.exit_code) == (FailureClass.NONE, 0), _logs(run.folder)
    logs = _logs(run.folder)
    for me in range(3):
        others = [m for m in range(3) if m != me]
        assert f"member {me} heard {others}" in logs


async def test_a_failed_member_ends_the_gang_with_its_code(case: DriverCase) -> None:
    script = """
        echo up >up.$SUAN_MEMBER
        if [ $SUAN_MEMBER = 1 ]; then
            until [ -e up.0 ] && [ -e up.2 ]; do sleep 0.05; done
            exit 9
        fi
        exec sleep 600
    """
    run = case.shell("g", script, members=3, nodes=case.gang)
    await case.start(run)
    end = await case.end("g")
    assert (end.failure, end.exit_code) == (FailureClass.EXIT, 9), end


async def test_the_gang_ends_when_all_have_ended(case: DriverCase) -> None:
    script = "[ $SUAN_MEMBER = 2 ] && until [ -e go ]; do sleep 0.05; done; echo >end.$SUAN_MEMBER"
    run = case.shell("g", script, members=3, nodes=case.gang)
    await case.start(run)
    await until_file(run.work / "end.0")
    await until_file(run.work / "end.1")
    seen = await case.seen("g")
    assert seen is not None
    assert seen.phase is not Phase.ENDED
    (run.work / "go").touch()
    assert (await case.end("g")).failure is FailureClass.NONE


async def test_all_members_or_none(case: DriverCase) -> None:
    run = case.prepare("g", ["./not-there"], members=3, nodes=case.gang)
    await case.start(run)
    end = await case.end("g")
    assert end.failure is FailureClass.START_FAILED, end


async def test_stop_ends_all_members(case: DriverCase) -> None:
    run = case.shell("g", "echo up >up.$SUAN_MEMBER; exec sleep 600", members=3, nodes=case.gang)
    await case.start(run)
    for member in range(3):
        await until_file(run.work / f"up.{member}")
    await case.driver.stop("g", 5, FailureClass.STOPPED)
    assert (await case.end("g")).failure is FailureClass.STOPPED


def _logs(folder: Path) -> str:
    return "".join(path.read_text() for path in sorted(folder.glob("std*.log")))
