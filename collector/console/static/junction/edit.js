// What a junction is called and where it is, as operators change it; and its end, where it was made by mistake.
//
// Lanes, movements and plans come from its file.

import { confirmed, formDialog } from "../shell/dialog.js";
import { h } from "../shell/dom.js";
import { inWords } from "../shell/fetching.js";
import { Field } from "../shell/form.js";

const DEGREES = { type: "number", step: "any", inputmode: "decimal", autocomplete: "off" };

export class EditButton {
  /** `means`: {ask, path, can, fail, edited, deleted}; the last two are called when something was done. */
  constructor(means) {
    this.means = means;
    this.root = h("button", { type: "button", hidden: true, onclick: () => this.#open() }, "Edit\u2026");
  }

  /** As it is by now: what is shown on the page may be some seconds old. */
  async #open() {
    try {
      this.#show(await this.means.ask(this.means.path));
    } catch (error) {
      this.means.fail(error);
    }
  }

  #show(junction) {
    const { ask, path, can, edited } = this.means;
    let current = junction;
    const before = valuesOf(junction);
    const fields = [...(can("admin") ? ofAdmins(before) : []), ...ofPlace(before)];
    const typed = () => Object.fromEntries(fields.map((field) => [field.name, field.value]));
    const { dialog, form } = formDialog(`Edit ${junction.name}`, {
      fields,
      submit: "Save",
      before: [can("admin") && h("p", { class: "hint" }, "Its lanes, movements and plans are imported from its file.")].filter(Boolean),
      after: can("admin") ? [h("button", { type: "button", class: "danger apart", onclick: () => this.#delete(current, dialog, form) }, "Delete\u2026")] : [],
      send: () => ask(path, { method: "PATCH", body: changeOf(typed(), current), version: current.version }),
      renew: async () => {
        current = await ask(path);
        return valuesOf(current);
      },
      done: edited,
    });
  }

  async #delete({ name, version }, dialog, form) {
    const body = [h("p", {}, "For one that was made by mistake. Its lanes, and who may see it, go along; one with devices, counts or orders stays.")];
    if (!(await confirmed({ title: `Delete ${name}?`, body, yes: "Delete it", danger: true }))) return;
    try {
      await this.means.ask(this.means.path, { method: "DELETE", version });
      dialog.close();
      this.means.deleted(name);
    } catch (error) {
      form.complain(error);
    }
  }
}

function ofAdmins(values) {
  const zones = h("datalist", { id: "zones" }, ...Intl.supportedValuesOf("timeZone").map((value) => h("option", { value })));
  const timezone = new Field("Time zone", { name: "timezone", value: values.timezone, required: true, maxlength: 100, list: "zones", autocomplete: "off", spellcheck: "false" }, { hint: "Its days and hours begin when they begin there." });
  timezone.root.append(zones);
  return [new Field("Name", { name: "name", value: values.name, required: true, maxlength: 100, autocomplete: "off" }), timezone];
}

function ofPlace(values) {
  const field = (label, name, attributes, hint) => new Field(label, { name, value: values[name], ...attributes }, { hint });
  return [
    field("Place", "location.name", { maxlength: 100, autocomplete: "off" }, "Left empty, it is the junction's name."),
    field("Address", "location.address", { maxlength: 500, autocomplete: "off" }),
    field("Latitude", "location.latitude", { ...DEGREES, min: -90, max: 90 }, "Degrees north, as 52.52; south with a minus."),
    field("Longitude", "location.longitude", { ...DEGREES, min: -180, max: 180 }, "Degrees east, as 13.405; west with a minus."),
  ];
}

/** What the fields show, by their names. A place that is called as the junction goes on being so. */
function valuesOf({ name, timezone, location }) {
  const text = (value) => String(value ?? "");
  return {
    name,
    timezone,
    "location.name": location?.name === name ? "" : text(location?.name),
    "location.address": inOneLine(location?.address),
    "location.latitude": text(location?.latitude),
    "location.longitude": text(location?.longitude),
  };
}

/** As a field shows it. */
function inOneLine(address) {
  return (address ?? "").trim().replace(/\s*[\r\n]+\s*/g, ", ");
}

/** A place that is left empty is not made. An address that nobody changed stays in its lines. */
function changeOf(typed, { location }) {
  const { name, timezone } = typed;
  const text = (part) => typed[`location.${part}`] || null;
  const number = (part) => (text(part) === null ? null : Number(text(part)));
  const address = typed["location.address"] === inOneLine(location?.address) ? (location?.address ?? null) : text("address");
  const place = { name: text("name"), address, latitude: number("latitude"), longitude: number("longitude") };
  const isPlaced = location !== null || Object.values(place).some((value) => value !== null);
  return { name, timezone, location: isPlaced ? place : null };
}
