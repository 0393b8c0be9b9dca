"""Under which keys a log's hot tasks stand in Redis: those of each set of layouts and each generation beside the others."""

from projections import layouts_id
from projections.task.hot import HotKeys


def hot_keys(log_name: str, generation: int) -> HotKeys:
    """The keys of one generation of one log's hot tasks, in this release's layouts."""
    return HotKeys(f"{_beginning(log_name)}{generation}:", generation)


def generations_pattern(log_name: str) -> str:
    """A glob pattern for the keys of every generation in this release's layouts. Names of logs hold no character that patterns
    give a meaning."""
    return f"{_beginning(log_name)}*"


def _beginning(log_name: str) -> str:
    return f"tm:{{{log_name}}}:hot-{layouts_id()}:"
