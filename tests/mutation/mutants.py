"""Mutants of C text: small wrongs that still look like code, found token by token within the bodies of functions.

    for m in mutants("queue/retry.c", text): m.line, m.kind, m.apply(text)

Left alone: comments, strings, preprocessor lines, declarations and tables outside functions, assertions (they are checks
themselves) and `(void)`. The style of this tree is taken for granted: a body is what stands between a line "{" and a line "}"."""
import dataclasses
import re

_TOKEN = re.compile(r"""
    (?P<skip> \s+ | //[^\n]* | /\*.*?\*/ | ^[ \t]*\#(?:[^\n\\]|\\.)*$ )
  | (?P<text> "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' )
  | (?P<number> 0[xX][0-9a-fA-F]+[uUlL]* | \d+(?:\.\d+)?[uUlLfF]* )
  | (?P<name> [A-Za-z_]\w* )
  | (?P<mark> <<=|>>=|\.\.\.|->|\+\+|--|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|[-+*/%&|^~!<>=?:;,.(){}\[\]] )
""", re.X | re.S | re.M)

_COMPARE = {"==": ("!=",), "!=": ("==",), "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"),
            "&&": ("||",), "||": ("&&",)}
_ARITHMETIC = {"+": "-", "-": "+", "*": "/", "/": "*", "%": "/", "|": "&", "&": "|", "<<": ">>", ">>": "<<"}
_ASSIGN = {"+=": "-=", "-=": "+=", "|=": "&=", "&=": "|=", "++": "--", "--": "++"}
_TYPES = {"struct", "enum", "union", "const", "static", "unsigned", "int", "char", "bool", "void", "size_t", "ptrdiff_t",
          "uint8_t", "uint16_t", "uint32_t", "uint64_t", "int64_t", "int32_t", "double", "MDB_val", "MDB_cursor", "MDB_txn"}
_NO_STATEMENT = {"return", "break", "continue", "goto", "case", "default", "if", "else", "for", "while", "do", "switch", "sizeof",
                 "ASSERT", "STATIC_ASSERT", "log_event", "log_emit"}


@dataclasses.dataclass(frozen=True)
class Mutant:
    file: str
    line: int
    kind: str
    start: int  # octets of the text that are replaced
    end: int
    old: str
    new: str

    def apply(self, text):
        return text[:self.start] + self.new + text[self.end:]

    def __str__(self):
        old, new = (re.sub(r"\s+", " ", s).strip() for s in (self.old, self.new))
        return f"{self.file}:{self.line}: {self.kind}: {old[:70]} -> {new[:70] or '(nothing)'}"


class _Token:
    __slots__ = ("kind", "text", "start", "end", "line")

    def __init__(self, kind, text, start, line):
        self.kind, self.text, self.start, self.end, self.line = kind, text, start, start + len(text), line


def _tokens(text):
    at, line, found = 0, 1, []
    while at < len(text):
        m = _TOKEN.match(text, at)
        if m is None:
            raise ValueError(f"line {line}: no token: {text[at:at + 20]!r}")
        if m.lastgroup != "skip":
            found.append(_Token(m.lastgroup, m.group(), at, line))
        line += m.group().count("\n")
        at = m.end()
    return found


def _bodies(text, tokens):
    """(first, behind last) of the tokens within each function's body."""
    begin = None
    for i, t in enumerate(tokens):
        column_0 = t.start == 0 or text[t.start - 1] == "\n"
        if t.text == "{" and column_0 and i > 0 and tokens[i - 1].text == ")":
            begin = i + 1
        elif t.text == "}" and column_0 and begin is not None:
            yield begin, i
            begin = None


def _partner(tokens, i, end):
    """The index of the parenthesis that closes the one at i."""
    depth = 0
    for j in range(i, end):
        depth += {"(": 1, ")": -1}.get(tokens[j].text, 0)
        if depth == 0:
            return j
    return end


def _asserted(tokens, begin, end):
    """Indices within assertions and (void) casts."""
    left = set()
    for i in range(begin, end - 1):
        if tokens[i].text in ("ASSERT", "STATIC_ASSERT") and tokens[i + 1].text == "(":
            left.update(range(i, _partner(tokens, i + 1, end) + 1))
    return left


def _is_declaration(words):
    if words[0].text in _TYPES:
        return True
    return len(words) > 1 and words[0].kind == "name" and words[1].kind == "name"


def _statements(tokens, begin, end):
    """(first, last) of each expression statement, the semicolon being last."""
    within = 0  # parentheses: of a for, say
    for i in range(begin, end):
        before = tokens[i - 1].text
        within += {"(": 1, ")": -1}.get(before, 0) if i > begin else 0
        if within > 0 or tokens[i].kind != "name" and tokens[i].text not in ("*", "++", "--"):
            continue
        if before == ")":  # of an if, for or while; not of a cast or a call
            depth, j = 0, i - 1
            while j >= begin:
                depth += {")": 1, "(": -1}.get(tokens[j].text, 0)
                if depth == 0:
                    break
                j -= 1
            if tokens[j - 1].text not in ("if", "for", "while"):
                continue
        elif before not in (";", "{", "}", "else", ":"):
            continue
        elif before == ":" and not any(t.text in ("case", "default") for t in tokens[max(begin, i - 4):i - 1]):
            continue
        if tokens[i].text in _NO_STATEMENT:
            continue
        depth = 0
        for j in range(i, end):
            depth += {"(": 1, "{": 1, "[": 1, ")": -1, "}": -1, "]": -1}.get(tokens[j].text, 0)
            if depth < 0:
                break
            if depth == 0 and tokens[j].text == ";":
                if j > i + 1 and not _is_declaration(tokens[i:j]):
                    yield i, j
                break


def mutants(file, text):
    tokens = _tokens(text)
    found = []

    def add(kind, first, last, new):
        a, b = tokens[first], tokens[last]
        found.append(Mutant(file, a.line, kind, a.start, b.end, text[a.start:b.end], new))
    for begin, end in _bodies(text, tokens):
        left = _asserted(tokens, begin, end)
        for i in range(begin, end):
            t, before = tokens[i], tokens[i - 1]
            if i in left:
                continue
            operand = before.kind in ("name", "number", "text") and before.text not in ("return", "case", "sizeof") \
                or before.text in (")", "]")
            if t.text in _COMPARE:
                for new in _COMPARE[t.text]:
                    add("compare" if t.text not in ("&&", "||") else "logic", i, i, new)
            elif t.text in _ASSIGN:
                add("assign", i, i, _ASSIGN[t.text])
            elif t.text in _ARITHMETIC and operand and not (before.text in _TYPES and t.text == "*"):
                add("arithmetic", i, i, _ARITHMETIC[t.text])
            elif t.kind == "number" and re.fullmatch(r"\d+", t.text):
                add("constant", i, i, str(int(t.text) + 1))
                if int(t.text) > 0:
                    add("constant", i, i, str(int(t.text) - 1))
            elif t.text in ("true", "false"):
                add("constant", i, i, "false" if t.text == "true" else "true")
            elif t.text == "if" and tokens[i + 1].text == "(":
                close = _partner(tokens, i + 1, end)
                inner = text[tokens[i + 1].end:tokens[close].start]
                add("condition", i + 1, close, f"(!({inner}))")
            elif t.text == "return" and tokens[i + 1].text == "OK" and tokens[i + 2].text == ";":
                add("return", i + 1, i + 1, 'FAIL(CODE_IO, "mutant")')
            elif t.text == "FAIL" and before.text == "return":
                add("return", i, _partner(tokens, i + 1, end), "OK")
        for first, last in _statements(tokens, begin, end):
            if first in left or tokens[first].text == "va_start":
                continue
            kind = "drop call" if tokens[first + 1].text == "(" else "drop statement"
            add(kind, first, last, ";")
    return found
