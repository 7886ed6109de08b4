"""Making and changing junctions: `POST` and `PATCH /api/junctions`, `import` and `template`."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Request, Response, delete, get, patch, post
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.datastructures import ResponseSpec
from litestar.openapi.spec import Example, OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema
from litestar.params import FromPath, JSONBody, QueryParameter

from collector.errors import ApiProblem
from collector.identity.access import Access, check_role
from collector.identity.users import Role
from collector.junctions.differences import Difference
from collector.junctions.editing import Edited, Editing, Outcome, faulty
from collector.junctions.examples import EDITED_EXAMPLE, FILE_EXAMPLE
from collector.junctions.template import TemplateKind, template
from collector.junctions.wanted import MAX_FILE_BYTES, Location, Wanted, read_file, read_tree
from collector.ops.etag import CHANGED, IfMatch, wanted_versions
from collector.ops.problems import problem_specs
from common.junction import Name
from common.junction_checks import timezone_faults

_TAGS = ["junctions"]
_TOML = "application/toml"
_TOLD = {
    401: "Nobody signed in.",
    403: "This user may not.",
    404: "There is no such junction, or it is not this user's.",
    409: "The name is taken.",
    413: f"The file is larger than {MAX_FILE_BYTES // 1024} kB.",
    422: "The junction cannot be so; `errors` tells everything that is wrong with it.",
} | CHANGED

AnyRequest = Request[Any, Any, Any]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What clients send. The description is a `common.junction.Junction`; all its faults are told at once."""


class NewJunction(_Body, frozen=True):
    """A junction to be made. One that only counts needs no description."""

    name: Name
    timezone: Name = "UTC"
    """IANA name: days and hours of its counts begin when they begin there."""
    location: Location | None = None
    description: dict[str, Any] | None = None
    devices: list[Name] | None = None
    """Names or ids of devices that stand there. Those that are not enrolled yet are awaited."""
    metadata: dict[str, Any] | None = None


class JunctionChange(_Body, frozen=True):
    """What is to change; what is left out stays. Operators of the junction may change location and metadata."""

    name: Name | None = None
    timezone: Name | None = None
    location: Location | None = None
    description: dict[str, Any] | None = None
    devices: list[Name] | None = None
    metadata: dict[str, Any] | None = None


class EditedItem(msgspec.Struct, frozen=True):
    """What was done, or with `dry_run` would be."""

    id: UUID | None
    """Null: it would be made."""
    name: str
    version: str | None
    """After it; with `dry_run` as it is, to be sent with `If-Match`. Null: there is none of that name yet."""
    outcome: Outcome
    dry_run: bool
    changes: list[Difference]
    """Part by part; empty for a new one."""
    notes: list[str]
    """What is no fault, and yet should be known."""


@dataclass
class _FileOperation(Operation):
    """The body is a file, and read by hand."""

    def __post_init__(self) -> None:
        junction = Schema(
            type=OpenAPIType.OBJECT, required=["name"], properties={"name": Schema(type=OpenAPIType.STRING)}
        )
        self.request_body = RequestBody(
            required=True,
            description="A junction's description, and beside its members `location`, `devices`, `metadata`.",
            content={
                "application/json": OpenAPIMediaType(
                    schema=junction, examples={"counting": Example(value=FILE_EXAMPLE)}
                ),
                _TOML: OpenAPIMediaType(schema=Schema(type=OpenAPIType.STRING)),
            },
        )


_EDITED = ResponseSpec(EditedItem, description="It is so.", examples=[Example(value=EDITED_EXAMPLE)])
DryRun = Annotated[bool, QueryParameter(name="dry_run", description="Only tell what would change.")]
Kind = Annotated[TemplateKind, QueryParameter(name="kind", description="Which junction.")]
TemplateName = Annotated[
    str, QueryParameter(name="name", min_length=1, max_length=100, description="Of the junction.")
]
Timezone = Annotated[str, QueryParameter(name="timezone", max_length=100, description="IANA name.")]


def editing_routes(editing: Editing, access: Access) -> list[HTTPRouteHandler]:
    """The handlers."""
    admins = [access.requires(Role.ADMIN)]

    @post(
        "/api/junctions",
        operation_id="createJunction",
        summary="Make a junction",
        tags=_TAGS,
        request_max_body_size=MAX_FILE_BYTES,
        guards=admins,
        responses={201: _EDITED, **problem_specs(_TOLD, 401, 403, 409, 422)},
    )
    async def create(data: JSONBody[NewJunction], request: AnyRequest) -> EditedItem:
        wanted = _wanted(data, data.name)
        return _item(await editing.create(wanted, await access.needed_user(request)))

    @patch(
        "/api/junctions/{junction_id:uuid}",
        operation_id="changeJunction",
        summary="Change a junction",
        tags=_TAGS,
        description=(
            "What is left out stays. With `If-Match`, nothing that somebody else changed meanwhile is overwritten;"
            " what is so already is no fault, so that a request whose answer was lost can be sent again."
        ),
        request_max_body_size=MAX_FILE_BYTES,
        responses={200: _EDITED, **problem_specs(_TOLD, 401, 403, 404, 409, 412, 422)},
    )
    async def change(
        junction_id: FromPath[UUID],
        data: JSONBody[JunctionChange],
        request: AnyRequest,
        if_match: IfMatch = None,
    ) -> EditedItem:
        user = await access.may_operate(request, junction_id)
        if any(part is not None for part in (data.name, data.timezone, data.description, data.devices)):
            check_role(user, Role.ADMIN)
        wanted = _wanted(data, data.name or "x")
        versions = wanted_versions(if_match)
        return _item(await editing.change(junction_id, wanted, data.name, user, versions))

    @delete(
        "/api/junctions/{junction_id:uuid}",
        operation_id="deleteJunction",
        summary="Delete a junction that was made by mistake",
        description=(
            "Its lanes, and who may see it, go along; the audit log keeps what it was. One to which anything"
            " belongs that is never deleted stays: `bound` says how many devices, orders, overrides and days."
        ),
        tags=_TAGS,
        guards=admins,
        responses={
            204: ResponseSpec(None, description="It is gone."),
            **problem_specs(_TOLD | {409: "It has a history."}, 401, 403, 404, 409, 412),
        },
    )
    async def remove(junction_id: FromPath[UUID], request: AnyRequest, if_match: IfMatch = None) -> None:
        await editing.remove(junction_id, await access.needed_user(request), wanted_versions(if_match))

    return [create, change, remove, *_file_routes(editing, access)]


def _file_routes(editing: Editing, access: Access) -> list[HTTPRouteHandler]:
    @post(
        "/api/junctions/import",
        operation_id="importJunction",
        summary="Make or change a junction by a file",
        description=(
            "The junction of that name is made, or changed in what the file says otherwise. The same file again"
            " changes nothing. With `If-Match`, only what was seen before, as by `dry_run`, is changed."
        ),
        tags=_TAGS,
        status_code=200,
        guards=[access.requires(Role.ADMIN)],
        operation_class=_FileOperation,
        responses={200: _EDITED, **problem_specs(_TOLD, 401, 403, 412, 413, 422)},
    )
    async def import_junction(
        request: AnyRequest, dry_run: DryRun = False, if_match: IfMatch = None
    ) -> EditedItem:
        wanted, faults = read_file(await _file(request), is_toml=_is_toml(request))
        if wanted is None:
            raise faulty(faults)
        user = await access.needed_user(request)
        versions = wanted_versions(if_match)
        edited = await editing.take_in(wanted, user, dry_run=dry_run, versions=versions)
        return _item(edited, dry_run=dry_run)

    @get(
        "/api/junctions/template",
        operation_id="junctionTemplate",
        summary="A file to begin with",
        description="TOML, to be edited and imported. `four_way`: north, east, south and west, a lane each.",
        tags=_TAGS,
        media_type=_TOML,
        responses={
            200: ResponseSpec(str, description="The file.", media_type=_TOML, generate_examples=False),
            **problem_specs(_TOLD, 422),
        },
    )
    async def junction_template(
        kind: Kind = TemplateKind.FOUR_WAY, name: TemplateName = "junction", timezone: Timezone = "UTC"
    ) -> Response[str]:
        faults = list(timezone_faults(timezone))
        if "\x00" in name or faults:
            raise faulty(faults) if faults else ApiProblem(422, "junction_invalid", "No name", "name: holds a NUL")
        return Response(template(kind, name, timezone), media_type=f"{_TOML}; charset=utf-8")

    return [import_junction, junction_template]


def _wanted(data: NewJunction | JunctionChange, name: str) -> Wanted:
    head = {
        key: value
        for key in ("timezone", "location", "devices", "metadata")
        if (value := msgspec.to_builtins(getattr(data, key))) is not None
    }
    description = data.description
    if description is not None:
        zone = {} if data.timezone is None else {"timezone": data.timezone}
        description = {"name": name, **zone, **description}
    wanted, faults = read_tree({"name": name, **head}, description, "description")
    if wanted is None:
        raise faulty(faults)
    return wanted


async def _file(request: AnyRequest) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length) > MAX_FILE_BYTES:
        raise ApiProblem(413, "file_too_large", "The file is too large", _TOLD[413])
    return await request.body()


def _is_toml(request: AnyRequest) -> bool:
    """What is not said to be JSON is TOML: browsers do not know its name."""
    return "json" not in request.headers.get("content-type", "")


def _item(edited: Edited, *, dry_run: bool = False) -> EditedItem:
    return EditedItem(
        edited.id, edited.name, edited.version, edited.outcome, dry_run, edited.changes, edited.notes
    )
