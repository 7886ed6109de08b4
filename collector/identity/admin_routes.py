"""`/api/users` and `/api/audit` for admins: who there is, who is invited, who sees what, and who did what."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from litestar import Response, delete, get, patch, post, put
from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Example
from litestar.params import FromPath, JSONBody, QueryParameter

from collector.errors import ApiProblem
from collector.identity.access import check_role
from collector.identity.audit import AuditAction, Wanted
from collector.identity.routes import DAY_S, AnyRequest, Identity
from collector.identity.shapes import (
    API_TOKEN_EXAMPLE,
    AUDIT_EXAMPLE,
    GRANT_EXAMPLE,
    ID,
    INVITATION_EXAMPLE,
    USER_DETAILS_EXAMPLE,
    USER_EXAMPLE,
    ApiTokenItem,
    AuditItem,
    AuditList,
    AuditSubject,
    Created,
    GrantItem,
    GrantList,
    Invitation,
    InvitationItem,
    InvitationList,
    Invite,
    JunctionAccess,
    NewUser,
    PasswordReset,
    Status,
    UserChange,
    UserDetails,
    UserItem,
    UserList,
    answer,
    grant_item,
    token_item,
    user_details,
    user_item,
)
from collector.identity.users import Filter, Invited, Role, User, no_such_user
from collector.ops.etag import CHANGED, NOT_MODIFIED, IfMatch, etagged, wanted_versions
from collector.ops.parameters import Limit, Offset, moment, not_before
from collector.ops.problems import problem_specs

_TAGS = ["users"]
_FIRST = 100
"""Of a user's junctions, in what is told of them."""
_Sort = Literal["name", "-name", "created_at", "-created_at", "signed_in_at", "-signed_in_at"]


def admin_routes(identity: Identity) -> list[HTTPRouteHandler]:
    """All handlers that need an admin, and what a user may ask of themself by their id."""
    return [
        *_user_routes(identity),
        _user_route(identity),
        _reset_route(identity),
        *_invitation_routes(identity),
        *_grant_routes(identity),
        *_others_tokens(identity),
        _audit_route(identity),
    ]


def _user_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, access = identity.users, identity.access
    admins = [access.requires(Role.ADMIN)]

    @get(
        "/api/users",
        operation_id="users",
        summary="All users",
        tags=_TAGS,
        guards=admins,
        responses=answer(UserList, {"users": [USER_EXAMPLE], "next_offset": None}, "A page of them."),
    )
    async def list_users(
        q: Annotated[
            str | None, QueryParameter(name="q", max_length=100, description="Part of a user's name.")
        ] = None,
        role: Annotated[Role | None, QueryParameter(name="role", description="Only users of this role.")] = None,
        status: Annotated[Status | None, QueryParameter(name="status", description="Only such users.")] = None,
        sort: Annotated[_Sort, QueryParameter(name="sort", description="With `-` backwards.")] = "name",
        limit: Limit = 100,
        offset: Offset = 0,
    ) -> UserList:
        found = await users.page(limit + 1, offset, Filter(_text(q, "q"), role, status, sort))
        return UserList(
            [user_item(each) for each in found[:limit]], offset + limit if len(found) > limit else None
        )

    @post(
        "/api/users",
        operation_id="create_user",
        summary="Make a user",
        description="With a password to be told to them, which they change. An invitation is the better way.",
        tags=_TAGS,
        guards=admins,
        responses=answer(Created, {"id": ID}, "The new user.", 201),
    )
    async def create(data: JSONBody[NewUser], request: AnyRequest) -> Created:
        by = await access.needed_user(request)
        return Created(
            await users.create(
                data.name,
                data.password,
                data.role,
                display_name=data.display_name,
                all_junctions=data.all_junctions,
                by=by,
            )
        )

    @patch(
        "/api/users/{user_id:uuid}",
        operation_id="change_user",
        summary="Change a user",
        description="Another role or status ends their access tokens; `disabled` ends their sessions as well.",
        tags=_TAGS,
        guards=admins,
        responses=answer(UserItem, USER_EXAMPLE, "The user as they are now.") | problem_specs(CHANGED, 412),
    )
    async def change(
        user_id: FromPath[UUID], data: JSONBody[UserChange], request: AnyRequest, if_match: IfMatch = None
    ) -> UserItem:
        await users.update(
            await access.needed_user(request),
            user_id,
            role=data.role,
            status=data.status,
            display_name=data.display_name,
            all_junctions=data.all_junctions,
            versions=wanted_versions(if_match),
        )
        return user_item(await _found(identity, user_id))

    return [list_users, create, change]


def _user_route(identity: Identity) -> HTTPRouteHandler:
    users, access = identity.users, identity.access

    @get(
        "/api/users/{user_id:uuid}",
        operation_id="user",
        summary="One user, and what opens something to them",
        description="For admins, and for the user themself.",
        tags=_TAGS,
        guards=[access.requires(Role.VIEWER)],
        responses=answer(UserDetails, USER_DETAILS_EXAMPLE, "The user.") | NOT_MODIFIED,
    )
    async def one(user_id: FromPath[UUID], request: AnyRequest) -> Response[UserDetails]:
        who = await access.needed_user(request)
        if who.id != user_id:
            check_role(who, Role.ADMIN)
        user = await _found(identity, user_id)
        granted = await identity.grants.page(user_id, _FIRST, 0)
        found = user_details(user, granted, await users.holds(user_id))
        return etagged(request, found, version=found.version)

    return one


def _reset_route(identity: Identity) -> HTTPRouteHandler:
    access = identity.access
    admins = [access.requires(Role.ADMIN)]

    @post("/api/users/{user_id:uuid}/password", operation_id="reset_password", summary="Set a user's password",
          description="All their sessions and access tokens end.", tags=_TAGS, status_code=204,
          guards=admins)  # fmt: skip
    async def reset(user_id: FromPath[UUID], data: JSONBody[PasswordReset], request: AnyRequest) -> None:
        by = await access.needed_user(request)
        if by.id == user_id:
            raise ApiProblem(
                403,
                "password_own",
                "Not your own",
                "your own is changed with the present one: users/me/password",
            )
        await identity.sessions.reset_password(by, user_id, data.password)

    return reset


def _invitation_routes(identity: Identity) -> list[HTTPRouteHandler]:
    users, access = identity.users, identity.access
    admins = [access.requires(Role.ADMIN)]
    told = {
        "id": ID,
        "invitation": "Zk3q0lq2b0m5q1b3mJm3gk0nJ0o6r4mB8w3yQnq1a2c",
        "expires_at": "2026-05-11T10:00:57Z",
    }

    @post(
        "/api/users/invitations",
        operation_id="invite",
        summary="Invite somebody",
        description="Whoever registers with it gets the role, and sees the junctions, that it names.",
        tags=_TAGS,
        guards=admins,
        responses=answer(Invitation, told, "The invitation.", 201),
    )
    async def invite(data: JSONBody[Invite], request: AnyRequest) -> Invitation:
        by = await access.needed_user(request)
        gets = Invited(data.role, data.all_junctions, {each.junction: each.level for each in data.junctions})
        token, invitation_id, expires_at = await users.invite(by, gets, data.days * DAY_S)
        return Invitation(invitation_id, token, expires_at)

    @get(
        "/api/users/invitations",
        operation_id="invitations",
        summary="Invitations that still hold",
        tags=_TAGS,
        guards=admins,
        responses=answer(InvitationList, {"invitations": [INVITATION_EXAMPLE]}, "The latest first."),
    )
    async def invitations() -> InvitationList:
        return InvitationList(
            [
                InvitationItem(
                    each.id,
                    Role(each.role),
                    each.all_junctions,
                    each.n_junctions,
                    each.invited_by,
                    each.created_at,
                    each.expires_at,
                )
                for each in await users.invitations()
            ]
        )

    @delete(
        "/api/users/invitations/{invitation_id:uuid}",
        operation_id="take_back_invitation",
        summary="Take an invitation back",
        tags=_TAGS,
        guards=admins,
    )
    async def take_back(invitation_id: FromPath[UUID], request: AnyRequest) -> None:
        await users.take_back(await access.needed_user(request), invitation_id)

    return [invite, invitations, take_back]


def _grant_routes(identity: Identity) -> list[HTTPRouteHandler]:
    grants, access = identity.grants, identity.access
    admins = [access.requires(Role.ADMIN)]
    page = {"junctions": [GRANT_EXAMPLE], "all_junctions": False, "next_offset": None}

    @get(
        "/api/users/{user_id:uuid}/junctions",
        operation_id="user_junctions",
        summary="Which junctions a user was granted",
        tags=_TAGS,
        guards=admins,
        responses=answer(GrantList, page, "A page of them, by name."),
    )
    async def granted(user_id: FromPath[UUID], limit: Limit = 100, offset: Offset = 0) -> GrantList:
        user = await _found(identity, user_id)
        found = await grants.page(user_id, limit + 1, offset)
        more = offset + limit if len(found) > limit else None
        sees_all = user.all_junctions or user.role == Role.ADMIN
        return GrantList([grant_item(each) for each in found[:limit]], sees_all, more)

    @put(
        "/api/users/{user_id:uuid}/junctions/{junction_id:uuid}",
        operation_id="grant_junction",
        summary="Let a user see or operate a junction",
        description="Or change how far their access goes. It holds from their next request on.",
        tags=_TAGS,
        guards=admins,
        responses=answer(GrantItem, GRANT_EXAMPLE, "What is granted now.") | problem_specs(CHANGED, 412),
    )
    async def grant(
        user_id: FromPath[UUID],
        junction_id: FromPath[UUID],
        data: JSONBody[JunctionAccess],
        request: AnyRequest,
        if_match: IfMatch = None,
    ) -> GrantItem:
        by, versions = await access.needed_user(request), wanted_versions(if_match)
        return grant_item(await grants.grant(by, user_id, junction_id, data.level, versions))

    @delete(
        "/api/users/{user_id:uuid}/junctions/{junction_id:uuid}",
        operation_id="withdraw_junction",
        summary="Withdraw a user's access to a junction",
        description="It is gone with their next request; streams that are open end or narrow within a minute.",
        tags=_TAGS,
        guards=admins,
        responses=problem_specs(CHANGED, 412),
    )
    async def withdraw(
        user_id: FromPath[UUID], junction_id: FromPath[UUID], request: AnyRequest, if_match: IfMatch = None
    ) -> None:
        by, versions = await access.needed_user(request), wanted_versions(if_match)
        await grants.withdraw(by, user_id, junction_id, versions)

    return [granted, grant, withdraw]


def _others_tokens(identity: Identity) -> list[HTTPRouteHandler]:
    tokens, access = identity.tokens, identity.access
    admins = [access.requires(Role.ADMIN)]

    @get(
        "/api/users/{user_id:uuid}/tokens",
        operation_id="user_api_tokens",
        summary="A user's API tokens",
        tags=_TAGS,
        guards=admins,
        responses=answer(list[ApiTokenItem], [API_TOKEN_EXAMPLE], "Those that were not revoked."),
    )
    async def of_user(user_id: FromPath[UUID]) -> list[ApiTokenItem]:
        await _found(identity, user_id)
        return [token_item(each) for each in await tokens.of_user(user_id)]

    @delete(
        "/api/users/{user_id:uuid}/tokens/{token_id:uuid}",
        operation_id="revoke_user_api_token",
        summary="Revoke a user's API token",
        tags=_TAGS,
        guards=admins,
    )
    async def revoke(user_id: FromPath[UUID], token_id: FromPath[UUID], request: AnyRequest) -> None:
        await tokens.revoke(await access.needed_user(request), user_id, token_id)

    return [of_user, revoke]


def _audit_route(identity: Identity) -> HTTPRouteHandler:
    @get(
        "/api/audit",
        operation_id="audit",
        summary="Who did what",
        description="Signing in, passwords, users, access, tokens, junctions and orders to the lights.",
        tags=["audit"],
        guards=[identity.access.requires(Role.ADMIN)],
        responses=answer(AuditList, {"entries": [AUDIT_EXAMPLE], "next": None}, "A page, the latest first."),
    )
    async def entries(
        user: Annotated[
            UUID | None, QueryParameter(name="user", description="Who did it, or whom it was done to.")
        ] = None,
        action: Annotated[
            list[AuditAction] | None, QueryParameter(name="action", description="Only such; repeatable.")
        ] = None,
        junction: Annotated[
            UUID | None, QueryParameter(name="junction", description="Only what concerns this junction.")
        ] = None,
        start: Annotated[str | None, _time("from", "Not before this time. Default: whenever.")] = None,
        end: Annotated[str | None, _time("to", "Before this time. Default: now.")] = None,
        cursor: Annotated[
            int | None, QueryParameter(name="cursor", ge=1, le=2**63 - 1, description="`next` of the page before.")
        ] = None,
        limit: Limit = 100,
    ) -> AuditList:
        since = None if start is None else moment("from", start)
        until = None if end is None else moment("to", end)
        if since is not None and since >= (until or datetime.now(UTC)):
            raise not_before(start, end)
        wanted = Wanted(user, action, junction, since, until)
        found = await identity.audit_log.page(wanted, limit + 1, cursor)
        items = [
            AuditItem(
                no=each.no,
                at=each.at,
                user_id=each.user_id,
                user_name=each.user_name,
                address=each.address,
                action=each.action,
                subject=AuditSubject(each.subject_kind, each.subject_id, each.subject_name),
                junction_id=each.junction_id,
                before=each.before,
                after=each.after,
            )
            for each in found[:limit]
        ]
        return AuditList(items, items[-1].no if len(found) > limit else None)

    return entries


async def _found(identity: Identity, user_id: UUID) -> User:
    user = await identity.users.find(user_id)
    if user is None:
        raise no_such_user(user_id)
    return user


def _text(value: str | None, name: str) -> str | None:
    """A text that a database can look for."""
    if value is not None and "\0" in value:
        raise ApiProblem(400, "bad_request", "Bad Request", f"{name}: no name has a NUL character")
    return value or None


def _time(name: str, description: str) -> QueryParameter:
    return QueryParameter(
        name=name,
        description=f"RFC 3339 time. {description}",
        examples=[Example(value="2026-05-04T00:00:00+02:00")],
    )
