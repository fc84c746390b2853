"""Headless Chromium, steered through its DevTools pipe: opens a page, presses keys, says what it heard, takes pictures."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
KEYS = {"Tab": 9, "Enter": 13, " ": 32}


class Browser:
    """One Chromium with one tab; `events` holds what it told: requests, console, exceptions."""

    def __init__(self, profile: Path, limit: float = 1200.0) -> None:
        """Start it.

        Args:
            profile: a folder for it to write to.
            limit: seconds after which an unanswered call is an error.
        """
        if CHROMIUM is None:
            raise FileNotFoundError("no Chromium is installed (Debian: apt-get install chromium)")
        (child_in, self._out), (self._in, child_out) = os.pipe(), os.pipe()
        # Chromium reads from descriptor 3 and writes to 4; above these, the one does not close the other
        above = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 10) for descriptor in (child_in, child_out)]
        self.events: list[dict[str, Any]] = []
        self._limit, self._last, self._rest, self._session = limit, 0, b"", ""
        arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(
            [CHROMIUM, *arguments, "--remote-debugging-pipe"],
            preexec_fn=lambda: (os.dup2(above[0], 3), os.dup2(above[1], 4)),
            pass_fds=(3, 4),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for descriptor in (child_in, child_out, *above):
            os.close(descriptor)
        os.set_blocking(self._in, False)
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def __enter__(self) -> Browser:
        """Give it."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the DevTools protocol and wait for its answer."""
        self._last += 1
        session = {"sessionId": self._session} if self._session else {}
        os.write(self._out, json.dumps({"id": self._last, "method": method, "params": params} | session).encode() + b"\0")
        end = time.monotonic() + self._limit
        while True:
            message = self._message(end)
            if message.get("id") == self._last:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self.events.append(message)

    def _message(self, end: float) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if time.monotonic() > end or self._process.poll() is not None:
                raise TimeoutError("Chromium does not answer")
            try:
                self._rest += os.read(self._in, 1 << 20)
            except BlockingIOError:
                time.sleep(0.005)
        first, _, self._rest = self._rest.partition(b"\0")
        return json.loads(first)

    def evaluate(self, expression: str) -> Any:
        """The value of JavaScript, awaited."""
        answer = self.call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until JavaScript is true."""
        end = time.monotonic() + self._limit
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"never true: {expression}")
            time.sleep(0.05)

    def window(self, width: int, height: int, dark: bool = False) -> None:
        """Set the window's size in CSS pixels, and whether its user prefers dark pages."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def open(self, page: Path) -> None:
        """Open a file and wait until it is loaded."""
        self.call("Page.navigate", url=page.absolute().as_uri())
        self.wait_for("document.readyState === 'complete'")

    def press(self, key: str) -> None:
        """Press a key of `KEYS`, or type a character."""
        if key not in KEYS:
            self.call("Input.insertText", text=key)
            return
        text = {"Enter": "\r", " ": " "}.get(key, "")
        code = {"key": key, "windowsVirtualKeyCode": KEYS[key], "code": "Space" if key == " " else key}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **code)
        self.call("Input.dispatchKeyEvent", type="keyUp", **code)

    def picture(self, path: Path) -> None:
        """Write what the window shows as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))
