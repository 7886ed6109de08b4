// The devices: a list of all, and a page for each.

import { DeviceList } from "../devices/list.js";
import { DevicePage } from "../devices/device.js";

export function page(root, context) {
  const shown = context.params.id ? new DevicePage(root, context) : new DeviceList(root, context);
  shown.begin();
}
