"""What TensorBoard shows of a folder of runs in a real browser: pictures of its pages, and the words on them.

    python scripts/tensorboard_pictures.py LOGDIR [--out docs/pictures] [--pages PAGE ...]

Needs Chromium with its driver, and selenium (``pip install -e '.[browser]'``). Prints, as JSON, the text of each page.
"""

import argparse
import json
import shutil
import time
from pathlib import Path

from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from tensorboard import program

# TensorBoard's pages nest shadow roots, which the document's own text does not reach into.
TEXT = """
const words = [];
const walk = node => {
  if (node.nodeType === Node.TEXT_NODE) {
    const style = node.parentElement && getComputedStyle(node.parentElement);
    const word = node.textContent.trim();
    if (word && (!style || style.display !== 'none')) words.push(word);
    return;
  }
  if (['STYLE', 'SCRIPT', 'TEMPLATE', 'DOM-MODULE'].includes(node.nodeName)) return;
  if (node.shadowRoot) walk(node.shadowRoot);
  node.childNodes.forEach(walk);
};
walk(document.body);
return words;
"""


def browser(size: tuple[int, int]) -> Chrome:
    """Chromium without a window."""
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome") or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={size[0]},{size[1]}"):
        options.add_argument(argument)
    return Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))


def settled(page: Chrome, seconds: float) -> list[str]:
    """The page's words, once they have stopped to change."""
    words: list[str] = []
    since = started = time.monotonic()
    while time.monotonic() - started < seconds:
        time.sleep(0.5)
        now = page.execute_script(TEXT)
        if now != words:
            words, since = now, time.monotonic()
        elif time.monotonic() - since > 4 and len(words) > 20:
            break
    return words


def main() -> None:
    """Open each page, take its picture, print its words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logdir", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    parser.add_argument("--pages", nargs="+", default=["scalars&tagFilter=nelbo", "hparams"])
    parser.add_argument("--size", nargs=2, type=int, default=[1600, 850])
    parser.add_argument("--seconds", type=float, default=60, help="longest wait for a page")
    arguments = parser.parse_args()
    server = program.TensorBoard()
    server.configure(argv=["tensorboard", "--logdir", str(arguments.logdir), "--port", "0", "--load_fast", "false"])
    url = server.launch()
    arguments.out.mkdir(parents=True, exist_ok=True)
    found = {}
    with browser(tuple(arguments.size)) as page:
        for name in arguments.pages:
            page.get(f"{url}#{name}")
            page.refresh()  # a change of the fragment alone does not load the page anew
            found[name] = settled(page, arguments.seconds)
            page.save_screenshot(str(arguments.out / f"tensorboard_{name.partition('&')[0]}.png"))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
