// The console's root: who is signed in, and which page is shown.

import { Router } from "./shell/router.js";
import { Session } from "./shell/session.js";

const session = new Session(() => router.renew());
const router = new Router(session);
router.prepare();
await session.load();
router.begin();
