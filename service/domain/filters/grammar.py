"""The grammar of filters, and what to say of a text that is not in it."""

from __future__ import annotations

import re

from lark import UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from service.domain.filters.mistakes import Misread, quoted

GRAMMAR = r"""
    ?start: disjunction
    ?disjunction: conjunction (_OR conjunction)*      -> disjunction
    ?conjunction: inverted (_AND inverted)*           -> conjunction
    ?inverted: NOT inverted                           -> negation
             | "(" disjunction ")"                    -> inside
             | leaf
    ?leaf: PATH OPERATOR value                        -> comparison
         | PATH _IN "(" value ("," value)* ")"        -> membership
         | PATH NOT _IN "(" value ("," value)* ")"    -> exclusion
         | PATH ":" STRING                            -> match
         | PATH ":" "*"                               -> presence
    ?value: STRING | NUMBER | TRUE | FALSE

    NOT.2: /NOT(?![\w.])/i
    _AND.2: /AND(?![\w.])/i
    _OR.2: /OR(?![\w.])/i
    _IN.2: /IN(?![\w.])/i
    TRUE.2: /true(?![\w.])/i
    FALSE.2: /false(?![\w.])/i
    OPERATOR: /<=|>=|!=|=|<|>/
    PATH: /[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z0-9_]+)*/
    NUMBER: /[-+]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?(?![\w.])/
    STRING: /"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'/s
    %ignore /[ \t\r\n]+/
"""
_WORDS = {
    "PATH": "a path",
    "OPERATOR": "=, !=, <, <=, >, >=",
    "STRING": "a text in quotes",
    "NUMBER": "a number",
    "TRUE": "true",
    "FALSE": "false",
    "NOT": "NOT",
    "_AND": "AND",
    "_OR": "OR",
    "_IN": "IN",
    "LPAR": "(",
    "RPAR": ")",
    "COLON": ":",
    "COMMA": ",",
    "STAR": "*",
    "$END": "the end",
}
_REPAIRS = {
    "==": "write = for equal",
    "<>": "write != for not equal",
    "&&": "write AND",
    "||": "write OR",
    "~": 'write path:"text" for a text that is in there somewhere',
    "null": "write path:* for a value that is there, NOT path:* for one that is missing",
    "none": "write path:* for a value that is there, NOT path:* for one that is missing",
}


def misplaced(text: str, error: UnexpectedInput) -> Misread:
    """Say what stands where it cannot, and what could."""
    if isinstance(error, UnexpectedToken):
        at = len(text.rstrip()) if error.token.type == "$END" else (error.token.start_pos or 0)
        expected = error.accepts or error.expected
    else:
        at = error.pos_in_stream or 0
        expected = error.allowed if isinstance(error, UnexpectedCharacters) else set()
    rest = text[at:]
    if rest[:1] in ("'", '"') and "STRING" in expected:
        return Misread("filter", text, at, f"the text that begins here has no end; close it with {rest[0]}.")
    got = f"got {quoted(_word(rest))}" if rest.strip() else "it ends here"
    repair = next((said for wrong, said in _REPAIRS.items() if _begins(text, at, wrong)), None)
    if repair is None:
        wanted = [said for name, said in _WORDS.items() if name in expected]
        repair = f"expected {_listed(wanted)}"
        if "STRING" in expected and re.match(r"[A-Za-z_]", rest):
            repair += "; put a text into quotes"
    return Misread("filter", text, at, f"{got}; {repair}.")


def _begins(text: str, at: int, wrong: str) -> bool:
    """Whether the wrong thing stands here, or ends here, as the second sign of `==` does."""
    return text[at : at + len(wrong)].lower() == wrong or (len(wrong) == 2 and text[max(0, at - 1) : at + 1] == wrong)


def _word(rest: str) -> str:
    found = re.match(r"[\w.]+|\S", rest)
    return found.group() if found else rest[:1]


def _listed(words: list[str]) -> str:
    return " or ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words) or "something else"
