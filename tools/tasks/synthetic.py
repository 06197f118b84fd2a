"""Documents invented for templates: rows whose columns have the shapes that templates use them in.

`Shapes` looks at how a Jinja template uses its variables (called as text, indexed, looped over, compared with a
constant ...); `invent` makes a document from that. What the guess gets wrong is left to the caller, who tries again with
another seed until the template renders.
"""

import jinja2
from jinja2 import nodes

STRING_METHODS = {"strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "upper", "lower", "replace", "capitalize", "title",
                  "startswith", "endswith", "format", "join", "find", "rfind", "isdigit", "isspace", "removeprefix", "removesuffix"}
DICT_METHODS = {"items", "keys", "values", "get"}
LIST_FILTERS = {"join", "list", "first", "last", "length", "count", "sort", "map", "select", "reject", "unique", "sum", "batch", "random",
                "selectattr", "rejectattr", "max", "min", "reverse"}
STRING_FILTERS = {"upper", "lower", "trim", "capitalize", "title", "replace", "regex_replace", "wordcount", "indent", "truncate", "escape", "e"}
NUMBER_FILTERS = {"int", "float", "round", "abs"}

WORDS = ["a cat", "it's late", 'he said "no"', "caf\u00e9 \u2013 noir", "\u6c34 and \u0938\u093e\u0924", "two\nlines", " spaced  out ", "back\\slash", "x", "42",
         "7", "A", "B", "Title Case Words", "ends with dot.", "\U0001f600 ok", "{{ braces }}", "", "tab\there", "#### 12", "[1, 2]", "['p', 'q']",
         "True", "\u0130stanbul stra\u00dfe", "question? answer!", "5.50", "a, b; c", "<b>bold</b> & co"]


class Shape:
    """How a value is used: the kinds seen, its keys, its items, and the constants it is compared with."""

    def __init__(self):
        self.kinds = set()
        self.keys = {}
        self.item = None
        self.constants = []
        self.bound = None

    def key(self, name):
        self.kinds.add("dict")
        return self.keys.setdefault(name, Shape())

    def element(self):
        self.kinds.add("list")
        if self.item is None:
            self.item = Shape()
        return self.item


class Shapes:
    """The shapes of all variables of some templates."""

    def __init__(self, environment):
        self.environment = environment
        self.variables = {}

    def add_template(self, source):
        self.statements(self.environment.parse(source).body, {})

    def add_column(self, name, kind=None):
        shape = self.variables.setdefault(name, Shape())
        if kind:
            shape.kinds.add(kind)
        return shape

    def statements(self, body, scope):
        for node in body:
            self.visit(node, scope)

    def visit(self, node, scope):
        if node is None:
            return Shape()
        method = getattr(self, "visit_" + type(node).__name__, None)
        if method:
            return method(node, scope) or Shape()
        for child in node.iter_child_nodes():
            self.visit(child, scope)
        return Shape()

    def visit_Name(self, node, scope):
        if node.name in scope:
            return scope[node.name]
        if node.name in ("range", "namespace", "dict", "loop", "lipsum", "cycler", "joiner"):
            return Shape()
        return self.variables.setdefault(node.name, Shape())

    def visit_Getattr(self, node, scope):
        base = self.visit(node.node, scope)
        return base.key(node.attr)

    def visit_Getitem(self, node, scope):
        base = self.visit(node.node, scope)
        if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str):
            return base.key(node.arg.value)
        if isinstance(node.arg, nodes.Slice):
            base.kinds.add("sliced")
            return base
        index = self.visit(node.arg, scope)
        if isinstance(node.node, (nodes.List, nodes.Tuple)):
            index.kinds.add("int")
            index.bound = len(node.node.items)
            return Shape()
        if isinstance(node.node, nodes.Dict):
            index.constants += [pair.key.value for pair in node.node.items if isinstance(pair.key, nodes.Const)]
            return Shape()
        if not isinstance(node.arg, (nodes.Const, nodes.Neg)):
            index.kinds.add("int")
        return base.element()

    def visit_Call(self, node, scope):
        for argument in node.args:
            self.visit(argument, scope)
        if isinstance(node.node, nodes.Getattr):
            base = self.visit(node.node.node, scope)
            if node.node.attr in STRING_METHODS:
                base.kinds.add("str")
                if node.node.attr in ("split", "rsplit", "splitlines"):
                    result = Shape()
                    result.kinds.add("list")
                    return result
            elif node.node.attr in DICT_METHODS:
                base.kinds.add("dict")
                base.keys.setdefault("some key", Shape())
            elif node.node.attr in ("index", "count"):
                listed = node.node.node
                element = base.element() if "str" not in base.kinds else Shape()
                for argument in node.args:
                    shape = self.member(argument, base, scope)
                    if isinstance(listed, (nodes.List, nodes.Tuple)):
                        shape.constants += [item.value for item in listed.items if isinstance(item, nodes.Const)]
                    elif isinstance(listed, nodes.Const):
                        shape.constants += list(listed.value)
                element.kinds.add("str")
            return Shape()
        self.visit(node.node, scope)
        if isinstance(node.node, nodes.Name) and node.node.name == "range":
            for argument in node.args:
                self.visit(argument, scope).kinds.add("int")
        return Shape()

    def member(self, node, holder, scope):
        """The argument of [..].index(argument), or what it is made from."""
        while isinstance(node, (nodes.Call, nodes.Filter, nodes.Getattr)):
            node = node.node
        shape = self.visit(node, scope)
        shape.member_of = holder
        return shape

    def visit_Filter(self, node, scope):
        base = self.visit(node.node, scope) if node.node is not None else Shape()
        for argument in node.args:
            self.visit(argument, scope)
        if node.name in STRING_FILTERS:
            base.kinds.add("str")
        elif node.name in NUMBER_FILTERS:
            base.kinds.add("number")
        for option in node.kwargs:
            if option.key == "attribute" and isinstance(option.value, nodes.Const):
                base.element().key(option.value.value)
        if node.name in LIST_FILTERS and not base.kinds:
            base.element()
        return base if node.name in ("sort", "list", "reverse", "unique") else Shape()

    def visit_Compare(self, node, scope):
        left = self.visit(node.expr, scope)
        for operand in node.ops:
            right = self.visit(operand.expr, scope)
            if isinstance(operand.expr, nodes.Const):
                left.constants.append(operand.expr.value)
            if isinstance(node.expr, nodes.Const):
                right.constants.append(node.expr.value)
            if isinstance(operand.expr, (nodes.List, nodes.Tuple)):
                left.constants += [item.value for item in operand.expr.items if isinstance(item, nodes.Const)]
            if operand.op in ("lt", "gt", "lteq", "gteq"):
                left.kinds.add("int")
        return Shape()

    def arithmetic(self, node, scope):
        left, right = self.visit(node.left, scope), self.visit(node.right, scope)
        for one, other in ((left, node.right), (right, node.left)):
            if isinstance(other, nodes.Const):
                one.kinds.add("str" if isinstance(other.value, str) else "int")
        return Shape()

    visit_Add = visit_Sub = visit_Mul = visit_Div = visit_FloorDiv = visit_Mod = arithmetic

    def visit_For(self, node, scope):
        iterated = self.visit(node.iter, scope)
        inner = dict(scope)
        if isinstance(node.target, nodes.Name):
            inner[node.target.name] = iterated.element()
        else:
            for name in node.target.find_all(nodes.Name):
                inner[name.name] = Shape()
        inner["loop"] = Shape()
        self.statements(node.body, inner)
        self.statements(node.else_, inner)

    def visit_Assign(self, node, scope):
        value = self.visit(node.node, scope)
        for name in [node.target] if isinstance(node.target, nodes.Name) else node.target.find_all(nodes.Name):
            scope[name.name] = value

    def visit_CondExpr(self, node, scope):
        self.visit(node.test, scope)
        return self.visit(node.expr1, scope) if not isinstance(node.expr1, nodes.Const) else self.visit(node.expr2, scope)


def invent(shape, rng, depth=0):
    """A value of this shape."""
    if shape.constants and rng.random() < 0.7:
        return rng.choice(shape.constants)
    if "dict" in shape.kinds and depth < 6 and rng.random() < 0.97:
        value = {name: invent(inner, rng, depth + 1) for name, inner in shape.keys.items()}
        lists = [v for v in value.values() if isinstance(v, list)]
        for one in lists[1:]:
            if len(one) < len(lists[0]) and one:
                one += [one[-1]] * (len(lists[0]) - len(one))
        return value
    if "str" in shape.kinds and rng.random() < 0.95:
        return text(rng)
    if "list" in shape.kinds and depth < 6 and rng.random() < 0.95:
        if shape.item is not None and not shape.item.kinds and not shape.item.constants and rng.random() < 0.15:
            return text(rng)
        return [invent(shape.item or Shape(), rng, depth + 1) for _ in range(rng.choice([2, 4, 4, 4, 5, 5, 10]))]
    if "int" in shape.kinds and rng.random() < 0.9:
        return rng.randrange(shape.bound or 4)
    if "number" in shape.kinds:
        return rng.choice([0, 3, 1.5, "2", "17", True])
    if "sliced" in shape.kinds and rng.random() < 0.1:
        return [text(rng) for _ in range(4)]
    return rng.choice([text(rng)] * 12 + [0, 1, 2, 3, 1.0, 0.25, 1e-7, 1e16, True, False, None, [text(rng), text(rng)]])


def text(rng):
    return " ".join(rng.choice(WORDS) for _ in range(rng.choice([1, 1, 2, 3])))


def settle_members(shape, value, document_values, rng):
    """A value that a template looks up in a list becomes one of its items."""
    holder = getattr(shape, "member_of", None)
    if holder is None:
        return value
    found = document_values.get(id(holder))
    if isinstance(found, (list, str)) and found and rng.random() < 0.95:
        return rng.choice(found)
    return value


def remember(shape, value, values):
    values[id(shape)] = value
    if isinstance(value, dict):
        for name, inner in shape.keys.items():
            if name in value:
                remember(inner, value[name], values)


def make_document(shapes, rng):
    """One document of all variables."""
    document = {name: invent(shape, rng) for name, shape in shapes.variables.items()}
    values = {}
    for name, shape in shapes.variables.items():
        remember(shape, document[name], values)
    for name, shape in shapes.variables.items():
        document[name] = settle_members(shape, document[name], values, rng)
        if isinstance(document[name], dict):
            for key, inner in shape.keys.items():
                document[name][key] = settle_members(inner, document[name][key], values, rng)
    return document


def harness_environment():
    """The environment of lm_eval/utils.py."""
    import re

    environment = jinja2.Environment(loader=jinja2.BaseLoader, undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = lambda string, pattern, repl, count=0: re.sub(pattern, repl, string, count=count)
    return environment
