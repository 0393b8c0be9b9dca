"""Schemas of OpenAPI 3.0 for the types that requests and answers are made of, read off the types themselves.

3.0 and not 3.1, because generators take it without reservation. What generated clients need and JSON Schema leaves open is
settled here: every enum is a component with a type, every union of structs has a discriminator that is required, and no
property has a `default`, which generators read as "always there". What an answer always carries is required.
"""

from collections.abc import Iterable, Mapping
from inspect import cleandoc
from typing import Any, Final, Literal, get_args

import msgspec
from msgspec import NODEFAULT, inspect

from api.edge.problem import Problem
from application.principal import Role
from domain.aggregates import ALL
from domain.task.values import Priority, Status
from infrastructure.read_models.diff_reads import Whereabouts
from projections.feed.entries import FieldChange, HistoryEntry
from projections.project.list import ProjectSort
from projections.task.list_query import Sort

Schema = dict[str, Any]
Direction = Literal["request", "answer"]

_ENUMS: Final[Mapping[str, tuple[str, tuple[Any, ...]]]] = {
    "Priority": ("How urgent a task is, `none` where nobody said.", get_args(Priority)),
    "Status": ("Where a task stands.", get_args(Status)),
    "Sort": ("The order of a list; `-` is descending.", get_args(Sort)),
    "ProjectSort": ("The order of a list of projects; `-` is descending.", get_args(ProjectSort)),
    "Difference": ("What became of a task on a list.", get_args(Whereabouts)),
    "Role": ("What somebody is in a workspace.", get_args(Role)),
    "EventType": ("What happened.", tuple(sorted(str(event.__struct_config__.tag) for each in ALL for event in each.events))),
    "FieldName": (
        "A field of a task, or of whatever else an event is about.",
        tuple(sorted({f for each in ALL for f in each.fields})),
    ),
}
# Texts whose values are known, though their own type does not say so.
_CLOSED: Final[Mapping[tuple[type, str], str]] = {
    (HistoryEntry, "type"): "EventType",
    (FieldChange, "field"): "FieldName",
}
_NUMBERS: Final = {"ge": "minimum", "le": "maximum"}


def reference(name: str) -> Schema:
    """A reference to the component `name`."""
    return {"$ref": f"#/components/schemas/{name}"}


class Components:
    """The components that a description refers to, collected while its parts are described."""

    def __init__(self) -> None:
        self.schemas: dict[str, Schema] = {}
        self._directions: dict[str, Direction] = {}

    def schema(self, type_: Any, direction: Direction) -> Schema:
        """The schema of a type as it stands in requests or in answers; structs and enums in it become components.

        Raises `ValueError` for what cannot be described, a choice of words without a name among it.
        """
        return self._schema(inspect.type_info(type_), direction)

    def problem(self, name: str, codes: Iterable[str], description: str) -> Schema:
        """The component `name`: a problem document whose code is one of `codes`."""
        enum = f"{name}Code"
        self._enum(enum, f"Which refusal it is: {description}", tuple(sorted(codes)))
        schema = self._struct(_struct_info(Problem), "answer", {"code": reference(enum)})
        self.schemas[name] = schema | {"description": description}
        return reference(name)

    def _schema(self, found: inspect.Type, direction: Direction) -> Schema:  # noqa: PLR0911 - one line a kind of type
        match found:
            case inspect.Metadata():
                return _annotated(self._schema(found.type, direction), found.extra_json_schema or {})
            case inspect.StructType():
                return self._component(found, direction)
            case inspect.UnionType():
                return self._union(found, direction)
            case inspect.LiteralType():
                return self._literal(found)
            case inspect.ListType() | inspect.VarTupleType():
                schema = {"type": "array", "items": self._schema(found.item_type, direction)}
                return schema | _present(minItems=found.min_length, maxItems=found.max_length)
            case inspect.DictType():
                return {"type": "object", "additionalProperties": self._schema(found.value_type, direction)}
            case _:
                return _scalar(found)

    def _component(self, found: inspect.StructType, direction: Direction) -> Schema:
        name = found.cls.__name__
        if self._directions.setdefault(name, direction) != direction:
            raise ValueError(f"{name} stands in requests and in answers, which require different fields of it")
        if name not in self.schemas:
            self.schemas[name] = {}  # It may contain itself.
            self.schemas[name] = self._struct(found, direction, {})
        return reference(name)

    def _struct(self, found: inspect.StructType, direction: Direction, closed: Mapping[str, Schema]) -> Schema:
        always = direction == "answer" and not found.cls.__struct_config__.omit_defaults
        properties: dict[str, Schema] = {}
        required = []
        for field in found.fields:
            properties[field.encode_name] = closed.get(field.name) or self._property(found.cls, field, direction)
            defaulted = field.default is not NODEFAULT or field.default_factory is not NODEFAULT
            if field.required or (always and defaulted):
                required.append(field.encode_name)
        schema: Schema = {"type": "object", "description": cleandoc(found.cls.__doc__ or ""), "properties": properties}
        if required:
            schema["required"] = required
        if found.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _property(self, struct: type[msgspec.Struct], field: inspect.Field, direction: Direction) -> Schema:
        name = _CLOSED.get((struct, field.name))
        # A member that is left out where it would be null is never null.
        omitted = direction == "answer" and struct.__struct_config__.omit_defaults and field.default is None
        schema = self._named(name) if name else self._schema(_not_null(field.type) if omitted else field.type, direction)
        if direction == "request" and field.default not in (NODEFAULT, None, "", ()):
            default = msgspec.json.encode(field.default).decode()
            return _annotated(schema, {"description": f"{schema.get('description', '')} Left out: `{default}`.".strip()})
        return schema

    def _union(self, found: inspect.UnionType, direction: Direction) -> Schema:
        parts = [part for part in found.types if not isinstance(part, inspect.NoneType)]
        if len(parts) == 1:
            schema = self._schema(parts[0], direction)
        elif all(isinstance(part, inspect.StructType) and part.tag_field for part in parts):
            schema = self._tagged([part for part in parts if isinstance(part, inspect.StructType)], direction)
        else:
            schema = {"anyOf": [self._schema(part, direction) for part in parts]}
        return self._nullable(schema) if len(parts) < len(found.types) else schema

    def _nullable(self, schema: Schema) -> Schema:
        """The schema or null. `nullable` needs a `type` beside it, which a reference does not have."""
        if "$ref" not in schema:
            return schema | {"nullable": True}
        named = self.schemas[schema["$ref"].rpartition("/")[2]]
        return {"type": named.get("type", "object"), "nullable": True, "allOf": [schema]}

    def _tagged(self, structs: list[inspect.StructType], direction: Direction) -> Schema:
        """One of several structs: each a component of its own with the tag, which the struct alone does not need."""
        field = structs[0].tag_field or ""
        mapping = {}
        for struct in structs:
            name = f"Tagged{struct.cls.__name__}"
            schema = self._struct(struct, direction, {})
            schema["properties"] = {field: {"type": "string", "enum": [struct.tag]}} | schema["properties"]
            schema["required"] = [field, *schema.get("required", ())]
            self.schemas[name] = schema
            mapping[str(struct.tag)] = reference(name)["$ref"]
        self.schemas[f"Any{field.capitalize()}"] = {
            "description": f"One of them, told apart by `{field}`.",
            "oneOf": [{"$ref": target} for target in mapping.values()],
            "discriminator": {"propertyName": field, "mapping": mapping},
        }
        return reference(f"Any{field.capitalize()}")

    def _literal(self, found: inspect.LiteralType) -> Schema:
        if len(found.values) == 1:
            return _choice(found.values)
        for name, (_, values) in _ENUMS.items():
            if set(values) == set(found.values):
                return self._named(name)
        raise ValueError(f"the choice of {found.values} has no name in api/openapi/schemas.py")

    def _named(self, name: str) -> Schema:
        description, values = _ENUMS[name]
        self._enum(name, description, values)
        return reference(name)

    def _enum(self, name: str, description: str, values: tuple[Any, ...]) -> None:
        self.schemas[name] = _choice(values) | {"description": description}


def _struct_info(struct: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(struct)
    if not isinstance(found, inspect.StructType):
        raise TypeError(f"{struct} is no struct")
    return found


def _not_null(found: inspect.Type) -> inspect.Type:
    if not isinstance(found, inspect.UnionType):
        return found
    return inspect.UnionType(tuple(part for part in found.types if not isinstance(part, inspect.NoneType)))


def _choice(values: Iterable[Any]) -> Schema:
    kinds = {type(value) for value in values}
    return {"type": {frozenset({str}): "string", frozenset({int}): "integer"}[frozenset(kinds)], "enum": list(values)}


def _annotated(schema: Schema, more: Mapping[str, Any]) -> Schema:
    """The schema with something beside it, which may not stand beside a reference. `examples` is 3.1's word."""
    more = {name: value for name, value in more.items() if name != "examples"} | _present(
        example=next(iter(more.get("examples", ())), None)
    )
    if not more:
        return schema
    return {"allOf": [schema], **more} if "$ref" in schema else schema | more


def _scalar(found: inspect.Type) -> Schema:  # noqa: PLR0911 - one line a kind of type
    match found:
        case inspect.AnyType():
            return {}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() | inspect.FloatType():
            bounds = {word: getattr(found, bound) for bound, word in _NUMBERS.items()}
            kind = {"type": "integer", "format": "int64"} if isinstance(found, inspect.IntType) else {"type": "number"}
            return kind | _present(**bounds)
        case inspect.StrType():
            return {"type": "string"} | _present(minLength=found.min_length, maxLength=found.max_length, pattern=found.pattern)
        case inspect.UUIDType():
            return {"type": "string", "format": "uuid"}
        case inspect.DateTimeType():
            return {"type": "string", "format": "date-time"}
        case inspect.DateType():
            return {"type": "string", "format": "date"}
        case _:
            raise ValueError(f"{found} has no schema")


def _present(**members: Any) -> Schema:
    return {name: value for name, value in members.items() if value is not None}
