"""Shapes of a dataset's columns, guessed from the Python functions that read its rows: the counterpart of synthetic.py
for `!function` tasks.

A parameter or lambda argument that is indexed with text is taken for a row. How a column is used says what it holds:
looked up in a dictionary or list of constants, turned into a number, read as a Python literal, joined, looped over.
"""

import ast
import inspect

from synthetic import DICT_METHODS, STRING_METHODS, Shape

LIST_READERS = {"enumerate", "zip", "len", "list", "sorted", "set", "any", "all", "sum", "map", "tuple", "min", "max"}


class Module:
    """The names of a module that its functions use."""

    def __init__(self, function, given):
        self.values = {**getattr(function, "__globals__", {}), **given}

    def constant(self, node, local):
        """The value of a list, tuple or dict that stands in the code or in the module."""
        try:
            return ast.literal_eval(node)
        except (ValueError, TypeError, SyntaxError, MemoryError):
            pass
        if isinstance(node, ast.Name):
            if node.id in local:
                return self.constant(local[node.id], {})
            value = self.values.get(node.id)
            return value if isinstance(value, (list, tuple, dict, str, set)) else None
        return None


def members(value):
    return list(value) if isinstance(value, (list, tuple, dict, str, set, range)) else []


class Reader(ast.NodeVisitor):
    """Looks at one function: `rows` are the names that hold a row, by scope, and the shapes that stand for them."""

    def __init__(self, module, shapes, seen):
        self.module, self.shapes, self.seen = module, shapes, seen
        self.known, self.local, self.parents = {}, {}, {}

    def read(self, tree):
        for parent in ast.walk(tree):
            for child in ast.iter_child_nodes(parent):
                self.parents[child] = parent
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.local.setdefault(node.targets[0].id, node.value)
        for _ in range(2):  # a second time with what was learnt of local names
            self.visit(tree)

    def shape_of(self, node):
        """The shape of the value that an expression reads from a row; nothing for other expressions."""
        if isinstance(node, ast.Name):
            return self.known.get(node.id)
        if isinstance(node, ast.Subscript):
            base = self.shape_of(node.value)
            if base is None:
                return None
            index = node.slice
            if isinstance(index, ast.Constant) and isinstance(index.value, str):
                return base.key(index.value)
            if isinstance(index, ast.Slice):
                return base
            inner = self.shape_of(index)
            if inner is not None:
                inner.kinds.add("int")
            return base.element() if "str" not in base.kinds else None
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            base = self.shape_of(node.func.value)
            if base is not None and node.func.attr == "get" and node.args and isinstance(node.args[0], ast.Constant):
                return base.key(node.args[0].value)
            if base is not None and node.func.attr in STRING_METHODS - {"split", "splitlines", "join", "format"}:
                base.kinds.add("str")
                return base
            if self.is_literal(node) and node.args:
                inner = self.shape_of(node.args[0])
                if inner is not None:
                    inner.kinds.add("literal")
                    inner.literal = getattr(inner, "literal", None) or Shape()
                    return inner.literal
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("list", "str", "sorted") and node.args:
            return self.shape_of(node.args[0])
        if isinstance(node, ast.BoolOp):
            return self.shape_of(node.values[0])
        return None

    @staticmethod
    def is_literal(node):
        return isinstance(node.func, ast.Attribute) and node.func.attr in ("literal_eval", "loads")

    def learn(self, name, shape):
        if shape is not None:
            self.known[name] = shape

    def visit_FunctionDef(self, node):
        for argument in node.args.args:
            if self.indexed_with_text(node, argument.arg):
                self.learn(argument.arg, self.shapes)
        self.generic_visit(node)

    def visit_Lambda(self, node):
        for argument in node.args.args:
            if self.indexed_with_text(node, argument.arg):
                self.learn(argument.arg, self.shapes)
        self.generic_visit(node)

    @staticmethod
    def indexed_with_text(function, name):
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == name:
                if isinstance(node.slice, (ast.Constant, ast.JoinedStr)) and not isinstance(getattr(node.slice, "value", ""), int):
                    return True
            if isinstance(node, ast.Attribute) and node.attr == "get" and isinstance(node.value, ast.Name) and node.value.id == name:
                return True
        return False

    def visit_Assign(self, node):
        self.generic_visit(node)
        if len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            self.learn(node.targets[0].id, self.shape_of(node.value))

    def loop(self, target, iterated):
        if isinstance(iterated, ast.Call) and isinstance(iterated.func, ast.Name) and iterated.args:
            if iterated.func.id == "enumerate" and isinstance(target, ast.Tuple):
                return self.loop(target.elts[1], iterated.args[0])
            if iterated.func.id == "zip" and isinstance(target, ast.Tuple):
                for one, argument in zip(target.elts, iterated.args):
                    self.loop(one, argument)
                return
        shape = self.shape_of(iterated)
        if shape is not None and isinstance(target, ast.Name):
            self.learn(target.id, shape.element())

    def visit_For(self, node):
        self.loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_comprehension(self, node):
        self.loop(node.target, node.iter)
        self.generic_visit(node)

    def visit_ListComp(self, node):
        for generator in node.generators:
            self.visit(generator)
        self.generic_visit(node)

    visit_GeneratorExp = visit_SetComp = visit_DictComp = visit_ListComp

    def visit_Subscript(self, node):
        self.shape_of(node)
        shape = self.shape_of(node.slice) if not isinstance(node.slice, ast.Slice) else None
        if shape is not None:
            table = self.module.constant(node.value, self.local)
            if isinstance(table, dict):
                shape.constants += [key for key in table if key not in shape.constants]
            elif isinstance(table, (list, tuple)):
                shape.kinds.add("int")
                shape.bound = len(table)
        self.generic_visit(node)

    def visit_Compare(self, node):
        sides = [node.left, *node.comparators]
        for one, other in zip(sides, sides[1:]):
            for a, b in ((one, other), (other, one)):
                shape = self.shape_of(a)
                if shape is None:
                    continue
                if isinstance(b, ast.Constant) and b.value is not None:
                    shape.constants.append(b.value)
                elif not isinstance(b, ast.Constant):
                    table = self.module.constant(b, self.local)
                    shape.constants += [table] * 3 + ["other"] if isinstance(table, str) else members(table)[:30]
        self.generic_visit(node)

    def visit_BinOp(self, node):
        for one, other in ((node.left, node.right), (node.right, node.left)):
            shape = self.shape_of(one)
            if shape is not None and isinstance(other, (ast.Constant, ast.JoinedStr)):
                shape.kinds.add("int" if isinstance(getattr(other, "value", ""), (int, float)) else "str")
        self.generic_visit(node)

    def visit_FormattedValue(self, node):
        shape = self.shape_of(node.value)
        if shape is not None and not shape.kinds:
            shape.kinds.add("str")
        self.generic_visit(node)

    def visit_Call(self, node):
        name = node.func.id if isinstance(node.func, ast.Name) else None
        shapes = [self.shape_of(argument) for argument in node.args]
        if isinstance(node.func, ast.Attribute):
            base = self.shape_of(node.func.value)
            if base is not None and base is not self.shapes:
                if node.func.attr in STRING_METHODS:
                    base.kinds.add("str")
                elif node.func.attr in DICT_METHODS and node.func.attr != "get":
                    base.kinds.add("dict")
            for shape in filter(None, shapes):
                if node.func.attr in ("index", "get"):
                    table = self.module.constant(node.func.value, self.local)
                    shape.constants += [c for c in members(table) if c not in shape.constants]
                    holder = self.shape_of(node.func.value)
                    if holder is not None and table is None:
                        shape.member_of = holder
                        holder.kinds.add("list")
                elif node.func.attr == "join":
                    shape.element().kinds.add("str")
                elif node.func.attr in ("sub", "findall", "search", "match", "split"):
                    shape.kinds.add("str")
        for shape in filter(None, shapes):
            if name in ("int", "float"):
                shape.kinds.add("digits")
            elif name == "ord":
                shape.constants += list("ABCD")
            elif name in LIST_READERS and not shape.kinds and shape is not self.shapes:
                shape.element()
        called = self.module.values.get(name) if name else None
        if inspect.isfunction(called):
            follow(called, self.shapes, self.seen)
        self.generic_visit(node)


def follow(function, shapes, seen):
    """Adds to `shapes` what a function and those of its module that it calls read of a row."""
    given = {}
    while hasattr(function, "func"):  # functools.partial
        given = {**function.keywords, **given}
        function = function.func
    if not inspect.isfunction(function) or function in seen:
        return
    seen.add(function)
    try:
        source = inspect.getsource(function)
    except OSError:
        return
    lines = source.split("\n")
    indent = len(lines[0]) - len(lines[0].lstrip())
    text = "\n".join(line[indent:] if line[:indent].isspace() or indent == 0 else line for line in lines)
    try:
        tree = ast.parse(text)
    except SyntaxError:
        return
    Reader(Module(function, given), shapes, seen).read(tree)


def columns_of(functions):
    """The shape of a row that these functions can read: a Shape whose keys are the columns."""
    row, seen = Shape(), set()
    for function in functions:
        follow(function, row, seen)
    return row
