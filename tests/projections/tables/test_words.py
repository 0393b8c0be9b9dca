"""words: whatever somebody would type of a text finds it. Checked here by matching as PostgreSQL does, and over the real
index."""

# ruff: noqa: RUF001 - letters that look alike are what this is about

import re
from unicodedata import normalize

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from domain.task.events import TaskCreated, TaskDescribed, TaskLabelAdded
from projections.tables.words import LEXEME_BYTES_MAX, LEXEME_CHARACTERS, LEXEMES_MAX, lexemes, terms, tsquery
from tests.log_world import World, number
from tests.projections.task.test_list import find

LETTERS = "abcxyzABCXYZäöüßéñøłçÅİıσςΣжЖŁ漢字かなカナ한국ไทยअक्ष"
WORD = st.text(st.sampled_from(LETTERS + "0123456789"), min_size=1, max_size=9)
SEPARATORS = "-./_\\@:#+()[]{}<>,;'\"&|!*?=~"
COMPOUND = st.lists(WORD, min_size=1, max_size=5).flatmap(
    lambda parts: st.lists(st.sampled_from(SEPARATORS), min_size=len(parts), max_size=len(parts)).map(
        lambda signs: "".join(part + sign for part, sign in zip(parts, signs, strict=True))
    )
)


def finds(search: str, title: str, description: str = "", labels: tuple[str, ...] = ()) -> bool:
    """As the server does it: every term is a lexeme, or the beginning of one."""
    kept, asked = set(lexemes(title, labels, description)), terms(search)
    return bool(asked) and all(
        any(lexeme.startswith(term.lexeme) for lexeme in kept) if term.is_beginning else term.lexeme in kept for term in asked
    )


@given(st.lists(COMPOUND, min_size=1, max_size=5), st.data())
def test_any_part_of_any_word_finds_it_also_by_its_beginning(words: list[str], data: st.DataObject) -> None:
    title = " ".join(words)
    parts = [part for part in re.split(rf"[{re.escape(SEPARATORS)} ]+", title) if part]
    part = data.draw(st.sampled_from(parts))
    beginning = part[: data.draw(st.integers(1, len(part)))]
    for search in (part, beginning, f"{parts[0]} {part}", f"{part} {beginning}"):
        for form in ("NFC", "NFD"):
            for spelled in (search, search.upper(), search.lower()):
                assert finds(normalize(form, spelled), title), (spelled, lexemes(title, (), ""), terms(spelled))


@given(st.lists(COMPOUND, min_size=1, max_size=5))
@example(["getUserName", "PRJ-123", "src/main.py"])
def test_any_word_finds_it_whole_and_so_does_the_text_itself(words: list[str]) -> None:
    title = " ".join(words)
    assert finds(title, title)
    for word in words:
        assert finds(word, title)


@pytest.mark.parametrize(
    ("text", "searches"),
    [
        ("Alpha/Beta", "alpha beta alp bet alpha/beta alpha/be alphabeta beta/ (beta)"),
        ("PRJ-123", "prj 123 12 prj-123 prj-1 PRJ123 prj_123"),
        ("ABC123def", "abc abc123 123 def abc123def 123def"),
        ("getUserName HTTPServer2", "get user name username usern getusername http server httpserver server2"),
        ("src/api/tasks.py:42", "tasks tasks.py src/api api/tasks.py py 42 tasks.py:4"),
        (r"C:\Temp\Report (final)_v2.PDF", "temp report final v2 v pdf report.pdf c:\\temp _v2"),
        ("ada.lovelace@example.org", "ada lovelace example example.org ada.lovelace@example lovelace@"),
        ("O'Brien's re-entry", "o'brien brien obrien re-entry reentry entry"),
        ("https://example.org/a/b?q=1#top", "example https example.org/a top q=1"),
        ("naïve Ångström Straße ŁÓDŹ", "naive angstrom strasse STRASSE straße lodz łódź NAÏVE ang"),
        ("İstanbul ISSIZ ıssız", "istanbul ISTANBUL issiz ıssız"),
        ("ﬁle x² ①", "file fi x2 x² 1"),
        ("東京タワーへ行く", "東京 東 タワー ﾀﾜｰ 行く 京タ く"),
        ("한국어 테스트", "한국 한국어 테스 테"),
        ("हिन्दी में", "हिन्दी हिन् में"),
        ("ไทยแลนด์", "ไทย แลนด์ ย"),
        ("שָׁלוֹם", "שלום שָׁלוֹם"),
        ("soft­hyphen zero\u200bwidth", "softhyphen soft\u00adhyphen zero width zerowidth"),
        ("🔥 deploy ✓", "🔥 deploy ✓ dep"),
        ("1,234.50 EUR", "1,234.50 234 1,23 eur"),
    ],
)
def test_what_people_type_finds_what_they_mean(text: str, searches: str) -> None:
    for search in searches.split(" "):
        assert finds(search, text), (search, lexemes(text, (), ""), terms(search))


def test_only_the_last_word_may_be_a_beginning() -> None:
    assert finds("fix log", "Fix the login")
    assert not finds("log fix", "Fix the login")
    assert not finds("ogin", "Fix the login")


def test_title_description_and_labels_are_searched_together() -> None:
    assert finds("alpha beta gamma", "Alpha", "beta", ("Gamma",))
    assert not finds("alpha delta", "Alpha", "beta", ("Gamma",))


@given(st.text())
def test_no_text_is_more_than_words(text: str) -> None:
    """What reaches the server holds nothing that could end a quote."""
    for term in terms(text):
        assert not set(term.lexeme) & set("'\\&|!:*<>() ")
    assert tsquery(terms(text)).count("'") == 2 * len(terms(text))


@pytest.mark.parametrize("text", ["aB1-" * 16_384, "é\U00020000" * 10_900, " ".join(map(str, range(12_000))), "x" * 65_536])
def test_what_a_task_is_found_by_is_bounded(text: str) -> None:
    found = lexemes("the title is found", ("label",), text)
    assert len(found) <= LEXEMES_MAX
    assert max(map(len, found)) <= LEXEME_CHARACTERS
    assert sum(len(lexeme.encode()) for lexeme in found) <= LEXEME_BYTES_MAX
    assert {"title", "found", "label"} <= set(found)


@pytest.mark.parametrize("text", ["aB1-" * 16_384, "é\U00020000" * 10_900, "\U00020000\U00020001" * 8_192, "a b\n" * 16_000])
def test_the_server_takes_the_longest_texts(world: World, text: str) -> None:
    world.record(number(1), TaskCreated("First"), TaskDescribed(text), TaskLabelAdded("blue-green"))
    world.project()
    assert world.parked("task_list") == []
    assert find(world, q="green") == [1]


def test_the_index_answers_as_the_definition_does(world: World) -> None:
    titles = ["Alpha/Beta", "PRJ-123 naïve", "e\u0301te\u0301 2027", "東京タワー", "O'Brien's & <b>bold</b>", "🔥 hot"]
    for place, title in enumerate(titles, 1):
        world.record(number(place), TaskCreated(title, labels=("größe/XL",) if place == 1 else ()))
    world.project()
    for search in (
        "beta",
        "be",
        "prj",
        "123",
        "NAIVE",
        "été",
        "20",
        "京タ",
        "o'b",
        "bold",
        "🔥",
        "xl",
        "GRÖSSE",
        "' | '",
        "!x",
        "b:*",
    ):
        labelled = [("größe/XL",) if place == 1 else () for place in range(1, len(titles) + 1)]
        expected = [n for n, (t, labels) in enumerate(zip(titles, labelled, strict=True), 1) if finds(search, t, "", labels)]
        assert find(world, q=search) == expected, search
