"""A real browser for the tests: headless Chromium, controlled through a pipe by the DevTools protocol."""

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine: `apt-get install chromium` brings it"
)
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")

# Chromium reads from descriptor 3 and writes to 4, whatever our descriptors are
LAUNCH = """
import fcntl, os, sys
for index, number in enumerate([fcntl.fcntl(int(text), fcntl.F_DUPFD, 10) for text in sys.argv[1:3]]):
    os.dup2(number, 3 + index)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Browser:
    """One page in a separate Chromium process. Messages are JSON, each ended by a zero byte."""

    def __init__(self, profile: Path) -> None:
        theirs, self.to = os.pipe()
        self.back, mine = os.pipe()
        command = [str(CHROMIUM), *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}", "about:blank"]
        with (profile / "errors.txt").open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(theirs), str(mine), *command],
                pass_fds=(theirs, mine),
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        os.close(theirs)
        os.close(mine)
        self.session: str | None = None
        self.waiting, self.count, self.events = b"", 0, []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params):
        """The result of a command. Events that arrive meanwhile are appended to `events`."""
        self.count += 1
        message = {"id": self.count, "method": method, "params": params} | ({"sessionId": self.session} if self.session else {})
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self.count:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self, timeout_s: float = 60):
        end = time.monotonic() + timeout_s
        while b"\0" not in self.waiting:
            ready = select.select([self.back], [], [], max(0.0, end - time.monotonic()))[0]
            got = os.read(self.back, 1 << 20) if ready else b""
            assert got, "Chromium is silent or gone"
            self.waiting += got
        message, _, self.waiting = self.waiting.partition(b"\0")
        return json.loads(message)

    def js(self, expression: str):
        """The value of an expression in the page; promises are awaited."""
        found = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def until(self, expression: str, timeout_s: float = 20) -> None:
        end = time.monotonic() + timeout_s
        while not self.js(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def open(self, path: Path, width: int = 1400, height: int = 1000) -> None:
        self.events.clear()
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600)
        self.call("Page.navigate", url=path.as_uri())
        self.until(f"location.href === {json.dumps(path.as_uri())} && document.readyState === 'complete'")

    def screenshot(self) -> bytes:
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def mouse(self, kind: str, x: float, y: float) -> None:
        held = 0 if kind == "mouseReleased" else 1
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=held, clickCount=1)

    def key(self, name: str) -> None:
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=name, code="Space" if name == " " else name)

    def choose(self, selector: str, value: int, event: str) -> None:
        """Set a control as a user does."""
        self.js(f"window.control = document.querySelector('{selector}'); control.value = {value}")
        self.js(f"control.dispatchEvent(new Event('{event}'))")

    def requests(self) -> list[str]:
        return [entry["params"]["request"]["url"] for entry in self.events if entry["method"] == "Network.requestWillBeSent"]

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, thrown exceptions and broken rules of the page's own security policy."""
        loud = [entry["params"] for entry in self.events if entry["method"] in ("Runtime.exceptionThrown", "Log.entryAdded")]
        logged = [entry["params"] for entry in self.events if entry["method"] == "Runtime.consoleAPICalled"]
        return [json.dumps(entry) for entry in (*loud, *logged)]

    def close(self) -> None:
        os.close(self.to)  # Chromium ends with its pipe
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        os.close(self.back)
