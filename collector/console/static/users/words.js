// Users, roles and deeds in words.

export const ROLES = [
  ["viewer", "Viewer: sees"],
  ["operator", "Operator: orders lights too"],
  ["admin", "Admin: may do everything"],
];
export const LEVELS = [
  ["read", "may see it"],
  ["operate", "may operate it"],
];

export const ACTIONS = {
  signed_in: "signed in",
  sign_in_blocked: "failed to sign in so often that the next try has to wait",
  session_stolen: "a session was used twice, and ended: somebody may have stolen it",
  password_changed: "changed their password",
  password_reset: "set a new password for",
  user_created: "made the user",
  user_changed: "changed the user",
  invited: "invited somebody",
  invitation_revoked: "took an invitation back",
  access_granted: "granted a junction to",
  access_withdrawn: "withdrew a junction from",
  token_made: "made the API token",
  token_revoked: "revoked the API token",
  junction_created: "made the junction",
  junction_changed: "changed the junction",
  junction_deleted: "deleted the junction",
  mode_ordered: "ordered the lights of",
  device_changed: "changed the device",
  device_revoked: "revoked the device",
  rejects_seen: "saw what was put aside of the device",
};

export function roleOf(user) {
  return { viewer: "Viewer", operator: "Operator", admin: "Admin" }[user.role] ?? user.role;
}

/** What a user sees, as far as their entry tells. */
export function sightOf(user) {
  if (user.role === "admin" || user.all_junctions) return "all junctions";
  return "what was granted";
}

/** What changed: `role: viewer → operator`. Ids are left out, where names tell the same. */
export function changeInWords({ before, after }) {
  const names = [...new Set([...Object.keys(before ?? {}), ...Object.keys(after ?? {})])].filter((name) => !name.endsWith("_id"));
  const told = names.map((name) => {
    const [old, now] = [before?.[name], after?.[name]].map(valueInWords);
    const what = name.replaceAll("_", " ");
    if (old === null) return now === null || now === "no" ? null : `${what}: ${now}`;
    return now === null ? `${what}: no longer ${old}` : `${what}: ${old} \u2192 ${now}`;
  });
  return told.filter(Boolean).join(", ");
}

function valueInWords(value) {
  if (value === null || value === undefined || value === "") return null;
  if (value === true) return "yes";
  if (value === false) return "no";
  if (typeof value !== "object") return String(value);
  const n = Object.keys(value).length;
  return n === 0 ? null : String(n);
}
