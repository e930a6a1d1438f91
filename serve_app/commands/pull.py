"""`antiphon pull`: models onto this machine before anything needs them. `antiphon up` begins with the same."""

import argparse
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn, TransferSpeedColumn
from rich.progress import Progress as Bars

from deployments.errors import BadModel
from deployments.store import Catalogue, LogProgress, ModelSpec, Progress, Store
from serve_app.problems import SettingsError
from serve_app.settings import Settings, load_settings, needed_models

DEFAULT_CONFIG = "configs/local.yaml"
AT_ONCE = 4  # more downloads at a time only share the same line


class BarProgress:
    """One model's bar among the others of a terminal. The licence stands above the bars, and stays there."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._task: TaskID | None = None

    def started(self, total_bytes: int, label: str, licence: str) -> None:
        self._bars.console.print(f"[bold]{label}[/] licence: {licence}", highlight=False)
        self._task = self._bars.add_task(label, total=total_bytes)

    def advanced(self, count: int) -> None:
        if self._task is not None:
            self._bars.advance(self._task, count)

    def finished(self) -> None:
        if self._task is not None:
            self._bars.update(self._task, description=f"{self._bars.tasks[self._task].description} [green]✓[/]")

    def note(self, text: str) -> None:
        self._bars.console.print(text, style="dim", highlight=False)


def pull_all(specs: Sequence[ModelSpec], store: Store) -> None:
    """Fetch the models, at most four at a time: bars on a terminal, lines in the log otherwise. Blocks.

    The first failure, or Ctrl-C, stops the rest (what they have so far is kept for the next time). Raises BadModel.
    """
    distinct = list({spec.id: spec for spec in specs}.values())
    with _progress() as progress, ThreadPoolExecutor(AT_ONCE, thread_name_prefix="pull") as pool:
        pulls = [pool.submit(store.fetch, spec, progress()) for spec in distinct]
        try:
            for pull in as_completed(pulls):
                pull.result()
        except BaseException:
            store.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


@contextmanager
def _progress() -> Iterator[Callable[[], Progress]]:
    """How to make each model's progress, for as long as the pulls run."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield LogProgress
        return
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Bars(*columns, TimeRemainingColumn(), console=console) as bars:
        yield lambda: BarProgress(bars)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """`antiphon pull [CONFIG | MODEL_ID …]`."""
    parser = subparsers.add_parser(
        "pull",
        help="download models and check them",
        description="Download models and check them, so that nothing has to be downloaded later. What is here and "
        "right is left as it is; what was interrupted goes on where it stopped.",
    )
    parser.add_argument(
        "wanted",
        nargs="*",
        metavar="CONFIG | MODEL_ID",
        default=[DEFAULT_CONFIG],
        help=f"a settings file (all models it uses) or a model's id; without any: {DEFAULT_CONFIG}",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Exit code 0 when every model is here, 2 with one clear line when one cannot be had."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs addresses, and some carry a signature
    try:
        specs, store = _wanted(args.wanted)
        pull_all(specs, store)
        for spec in specs:
            folder = next(iter(store.fetch(spec).paths.values())).parent
            print(f"{spec.id}\t{spec.kind}\t{spec.licence}\t{folder}")
    except (BadModel, SettingsError) as problem:
        print(f"antiphon pull: {problem}", file=sys.stderr)
        return 2
    return 0


def _wanted(names: Sequence[str]) -> tuple[list[ModelSpec], Store]:
    """The models meant by `names`. Ids are looked up among the models that the settings files name, too."""
    configs = [load_settings(Path(name)) for name in names if _is_config(name)]
    catalogue = Catalogue.load({id: entry for config in configs for id, entry in config.models.items()})
    specs = [spec for config in configs for spec in needed_models(config)]
    specs += [catalogue.get(name) for name in names if not _is_config(name)]
    settings = configs[0] if configs else Settings.model_validate({})  # .env and the environment name a cache, too
    return list({spec.id: spec for spec in specs}.values()), Store(settings.store)


def _is_config(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or Path(name).is_file()
