"""A browser that does what the lines of standard input say: chromium, without a window of its own, over its WebDriver.

Each line is a command and its JSON value; each answer is one line of JSON. Needs chromium, chromium-driver and nothing but Python's library.
"""
import base64
import json
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
SWITCHES = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
            "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"]


def request(method, url, value=None):
    data = None if value is None else json.dumps(value).encode()
    asked = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return json.load(answer)["value"]
    except urllib.error.HTTPError as error:
        return {"failed": json.load(error)["value"]["message"]}


def main():
    # On a busy machine the browser may not be there in time. Then it is started again.
    for _ in range(10):
        with tempfile.TemporaryDirectory(prefix="fernchat-browser-", ignore_cleanup_errors=True) as folder:
            driver = subprocess.Popen(["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            try:
                if session := begin(driver, folder):
                    obey(session, folder)
                    request("DELETE", session)
                    return
            finally:
                driver.terminate()
                driver.wait()


def begin(driver, folder):
    """Returns the address of the session, or nothing if there is none."""
    port = next((line for line in driver.stdout if "started successfully on port" in line), "0").split()[-1].rstrip(".")
    options = {"args": SWITCHES + [f"--user-data-dir={folder}/profile"], "prefs": {"download.default_directory": folder + "/saved"}}
    always = {"browserName": "chrome", "goog:chromeOptions": options, "unhandledPromptBehavior": "ignore"}
    sessions = f"http://127.0.0.1:{port}/session"
    try:
        session = request("POST", sessions, {"capabilities": {"alwaysMatch": always}})
        return f"{sessions}/{session['sessionId']}"
    except (OSError, KeyError) as error:
        print(f"no browser: {error!r} {port}", file=sys.stderr)
        return None


def obey(url, folder):
    def find(css):
        return request("POST", f"{url}/element", {"using": "css selector", "value": css})[ELEMENT]

    def devtools(command, **values):
        return request("POST", f"{url}/goog/cdp/execute", {"cmd": command, "params": values})

    def keys(css, text):
        return request("POST", f"{url}/element/{find(css)}/value", {"text": text})

    def shot(path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(request("GET", f"{url}/screenshot")))

    commands = {
        "go": lambda address: request("POST", f"{url}/url", {"url": address}),
        "js": lambda script: request("POST", f"{url}/execute/sync", {"script": script, "args": []}),
        "click": lambda css: request("POST", f"{url}/element/{find(css)}/click", {}),
        "keys": lambda value: keys(*value),
        "press": lambda keys: request("POST", f"{url}/actions", {"actions": [{"type": "key", "id": "keys", "actions": [
            {"type": kind, "value": key} for key in keys for kind in ("keyDown", "keyUp")]}]}),
        "tab": lambda address: (request("POST", f"{url}/window", {
            "handle": request("POST", f"{url}/window/new", {"type": "tab"})["handle"]}), request("POST", f"{url}/url", {"url": address})),
        "to": lambda number: request("POST", f"{url}/window", {"handle": request("GET", f"{url}/window/handles")[number]}),
        "close": lambda _: request("DELETE", f"{url}/window"),
        "size": lambda size: devtools("Emulation.setDeviceMetricsOverride", width=size[0], height=size[1], deviceScaleFactor=1, mobile=False),
        "scheme": lambda scheme: devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}]),
        "allow": lambda origin: devtools("Browser.grantPermissions", origin=origin, permissions=["notifications"]),
        "shot": shot,
        "saved": lambda _: folder + "/saved",
    }
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        command, value = line.split(" ", 1)
        try:
            print(json.dumps(commands[command](json.loads(value))), flush=True)
        except (KeyError, TypeError) as error:
            print(json.dumps({"failed": repr(error)}), flush=True)


main()
